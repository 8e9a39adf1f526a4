//! The container's network namespace: loopback up, and the host's devices that move in (config-linux.md, "Network Devices").

use crate::config::NetDevice;
use crate::sys::netlink::{CREATE_EXCLUSIVE, DUMP, Netlink, attributes, number, put};
use crate::sys::{self, clone, files};
use anyhow::{Context, Result, bail};
use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Devices that move.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Name on the host, name in the container (`%d` is a number of the kernel's choice).
    pub devices: Vec<(String, String)>,
}

/// Checks the names as the kernel does (dev_valid_name()), and that no two devices want the same one.
pub fn plan(devices: &BTreeMap<String, NetDevice>) -> Result<Plan> {
    let mut planned: Vec<(String, String)> = Vec::with_capacity(devices.len());
    for (from, device) in devices {
        let place = place(from);
        let to = device.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(from);
        for name in [from.as_str(), to] {
            let odd = |c: char| c == '/' || c == ':' || c.is_whitespace() || c == '\0';
            if name.is_empty() || name.len() > 15 || matches!(name, "." | "..") || name.contains(odd) {
                bail!("{place}: {name:?} is no name of a network device");
            }
        }
        if from == "lo" || to == "lo" {
            bail!("{place}: each network namespace has its own lo");
        }
        if let Some((other, _)) = planned.iter().find(|(_, taken)| taken == to && !to.contains('%')) {
            bail!("{place}.name: {to:?} is the name of {} too", self::place(other));
        }
        if to.contains('%') && (to.matches('%').count() != 1 || !to.contains("%d")) {
            bail!("{place}.name: {to:?} may hold one %d and no other %");
        }
        planned.push((from.clone(), to.to_owned()));
    }
    // What has a name of its own goes first: a number must not take it.
    planned.sort_by_key(|(_, to)| to.contains('%'));
    Ok(Plan { devices: planned })
}

fn place(device: &str) -> String {
    format!("linux.netDevices[{device:?}]")
}

// include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_FLAGS: u16 = 8;
const IFA_CACHEINFO: u16 = 6;
const IFA_F_PERMANENT: u32 = 0x80;
const RT_SCOPE_UNIVERSE: u32 = 0;
const IFF_UP: u32 = 1;
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;

/// Brings `lo` up, in the calling process' network namespace.
pub fn loopback_up() -> Result<()> {
    set_loopback_up(&Netlink::open().context("loopback")?)
}

fn set_loopback_up(netlink: &Netlink) -> Result<()> {
    // The kernel gives the first device of a namespace, its loopback, this number (LOOPBACK_IFINDEX).
    const LOOPBACK: u32 = 1;
    netlink.request(RTM_NEWLINK, 0, &link_header(LOOPBACK, true), "set lo up").context("loopback")?;
    Ok(())
}

/// Brings `lo` up in another network namespace.
pub fn loopback_up_in(target: BorrowedFd<'_>) -> Result<()> {
    set_loopback_up(&open_in(target).context("loopback")?)
}

/// Moves the devices into the namespace `target`, gives them their names and permanent global addresses back and
/// sets them up. Called by the parent, in the host's network namespace; everything is looked at before anything moves.
pub fn move_devices(plan: &Plan, target: BorrowedFd<'_>) -> Result<()> {
    if plan.devices.is_empty() {
        return Ok(());
    }
    let host = Netlink::open()?;
    let container = open_in(target)?;
    let mut found = Vec::with_capacity(plan.devices.len());
    for (from, to) in &plan.devices {
        let index = index_of(&host, from).with_context(|| place(from))?;
        if !to.contains('%') && index_of(&container, to).is_ok() {
            bail!("{}: the container's network namespace already has a device {to:?}", place(from));
        }
        found.push((from, to, index, addresses(&host, index).with_context(|| place(from))?));
    }
    for (from, to, index, addresses) in found {
        let name = free_name(&container, to);
        move_one(&host, &container, target, (from, &name, index), &addresses).with_context(|| place(from))?;
    }
    Ok(())
}

fn move_one(
    host: &Netlink,
    container: &Netlink,
    target: BorrowedFd<'_>,
    (from, to, index): (&str, &str, u32),
    addresses: &[Vec<u8>],
) -> Result<()> {
    // A device that is up cannot be renamed, and what it loses by going down it would lose by moving.
    host.request(RTM_NEWLINK, 0, &link_header(index, false), &format!("set {from} down"))?;
    let mut payload = link_header(index, false);
    put(&mut payload, IFLA_NET_NS_FD, &target.as_raw_fd().to_ne_bytes());
    put(&mut payload, IFLA_IFNAME, &zero_terminated(to));
    host.request(RTM_NEWLINK, 0, &payload, &format!("move {from} as {to}"))?;
    // Another number where the old one is taken there.
    let index = index_of(container, to)?;
    for address in addresses {
        let mut payload = address.clone();
        // ifa_index, the last number of the header.
        if let Some(field) = payload.get_mut(4..8) {
            field.copy_from_slice(&index.to_ne_bytes());
        }
        match container.request(RTM_NEWADDR, CREATE_EXCLUSIVE, &payload, &format!("add an address to {to}")) {
            Err(error) if error.errno.0 == libc::EEXIST => {}
            other => drop(other?),
        }
    }
    container.request(RTM_NEWLINK, 0, &link_header(index, true), &format!("set {to} up"))?;
    Ok(())
}

/// The first name of the form that no device there has. We choose and not the kernel: it would not tell which one it took.
fn free_name(container: &Netlink, template: &str) -> String {
    let mut names = (0..u16::MAX).map(|number| template.replace("%d", &number.to_string()));
    match template.contains('%') {
        true => names.find(|name| index_of(container, name).is_err()).unwrap_or_default(),
        false => template.to_owned(),
    }
}

/// A socket of another network namespace: entered for a moment and left again, which must not fail.
fn open_in(target: BorrowedFd<'_>) -> Result<Netlink> {
    let own = files::open("/proc/self/ns/net", OFlags::RDONLY)?;
    clone::setns(target, libc::CLONE_NEWNET as u64)?;
    let opened = Netlink::open();
    clone::setns(&own, libc::CLONE_NEWNET as u64).context("go back to the host's network namespace")?;
    Ok(opened?)
}

fn index_of(netlink: &Netlink, name: &str) -> sys::Result<u32> {
    let mut payload = vec![0; LINK_HEADER];
    put(&mut payload, IFLA_IFNAME, &zero_terminated(name));
    let answers = netlink.request(RTM_GETLINK, 0, &payload, &format!("look for {name}"))?;
    let index =
        answers.iter().find(|answer| answer.kind == RTM_NEWLINK).and_then(|answer| number(&answer.payload, 4, 4));
    index.ok_or_else(|| sys::Error { call: format!("look for {name}"), errno: sys::Errno(libc::ENODEV) })
}

/// The permanent addresses of global scope as requests that add them again: the kernel forgets them when the device moves.
/// Left out are link-local and dynamic ones (the spec names global ones only), and the age of each.
fn addresses(netlink: &Netlink, index: u32) -> sys::Result<Vec<Vec<u8>>> {
    let all = netlink.request(RTM_GETADDR, DUMP, &[0; ADDRESS_HEADER], "list addresses")?;
    let ours = all.iter().filter(|answer| {
        let header = |at, length| number(&answer.payload, at, length);
        answer.kind == RTM_NEWADDR && header(4, 4) == Some(index) && header(3, 1) == Some(RT_SCOPE_UNIVERSE)
    });
    let mut kept = Vec::new();
    for answer in ours {
        let attributes = attributes(&answer.payload, ADDRESS_HEADER);
        let flags = attributes.iter().find(|(kind, _)| *kind == IFA_FLAGS).and_then(|(_, value)| number(value, 0, 4));
        let flags = flags.or_else(|| number(&answer.payload, 2, 1)).unwrap_or(0);
        if flags & IFA_F_PERMANENT == 0 {
            continue;
        }
        let mut request = answer.payload.get(..ADDRESS_HEADER).unwrap_or_default().to_vec();
        for (kind, value) in attributes.into_iter().filter(|(kind, _)| !matches!(*kind, IFA_CACHEINFO | IFA_FLAGS)) {
            put(&mut request, kind, value);
        }
        kept.push(request);
    }
    Ok(kept)
}

/// `struct ifinfomsg`: family, type, index, flags and which of them to change.
fn link_header(index: u32, up: bool) -> Vec<u8> {
    let mut header = vec![0; 4];
    header.extend(index.to_ne_bytes());
    header.extend((if up { IFF_UP } else { 0 }).to_ne_bytes());
    header.extend(IFF_UP.to_ne_bytes());
    header
}

fn zero_terminated(name: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0"].concat()
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.devices.iter().try_for_each(|(from, to)| writeln!(f, "network device {from} as {to}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::forked::in_child;
    use crate::sys::netlink::Message;
    use std::os::fd::AsFd;

    fn devices(json: &str) -> BTreeMap<String, NetDevice> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn names_are_those_that_the_kernel_takes() {
        let rows = [
            (r#"{"eth0": {}}"#, "network device eth0 as eth0"),
            (r#"{"eth0": {"name": "net%d"}}"#, "network device eth0 as net%d"),
            (r#"{"eth0": {"name": "a/b"}}"#, "linux.netDevices[\"eth0\"]: \"a/b\" is no name of a network device"),
            (
                r#"{"eth0": {"name": "0123456789abcdef"}}"#,
                "linux.netDevices[\"eth0\"]: \"0123456789abcdef\" is no name of a network device",
            ),
            (r#"{"lo": {}}"#, "linux.netDevices[\"lo\"]: each network namespace has its own lo"),
            (
                r#"{"a": {"name": "x"}, "b": {"name": "x"}}"#,
                "linux.netDevices[\"b\"].name: \"x\" is the name of linux.netDevices[\"a\"] too",
            ),
            (r#"{"a": {"name": "x%s"}}"#, "linux.netDevices[\"a\"].name: \"x%s\" may hold one %d and no other %"),
        ];
        for (json, expected) in rows {
            let shown =
                plan(&devices(json)).map_or_else(|e| e.to_string(), |plan| plan.to_string().trim_end().to_owned());
            assert_eq!(shown, expected);
        }
    }

    fn name_of(link: &Message) -> Option<String> {
        let attributes = attributes(&link.payload, LINK_HEADER);
        let name = attributes.iter().find(|(kind, _)| *kind == IFLA_IFNAME)?.1;
        Some(String::from_utf8_lossy(name.strip_suffix(b"\0").unwrap_or(name)).into_owned())
    }

    fn new_network() -> Result<(), String> {
        clone::unshare(libc::CLONE_NEWNET as u64).map_err(|error| error.to_string())
    }

    /// RTM_NEWLINK of type veth, with an IPv4 address; the kernel names the other end vethN.
    fn make_device(name: &str, address: [u8; 4]) -> sys::Result<()> {
        let netlink = Netlink::open()?;
        let mut payload = vec![0; LINK_HEADER];
        put(&mut payload, IFLA_IFNAME, &zero_terminated(name));
        let mut info = Vec::new();
        put(&mut info, 1, b"veth\0");
        put(&mut payload, 18, &info);
        netlink.request(RTM_NEWLINK, CREATE_EXCLUSIVE, &payload, "make veth")?;
        let mut payload = vec![2, 24, 0, 0];
        payload.extend(index_of(&netlink, name)?.to_ne_bytes());
        put(&mut payload, 1, &address);
        put(&mut payload, 2, &address);
        netlink.request(RTM_NEWADDR, CREATE_EXCLUSIVE, &payload, "add address")?;
        Ok(())
    }

    #[test]
    fn loopback_comes_up() {
        let said = in_child(|| {
            new_network()?;
            let answers = || {
                std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| std::net::TcpStream::connect(l.local_addr()?))
            };
            let before = answers().is_ok();
            loopback_up().map_err(|error| format!("{error:#}"))?;
            Ok(format!("{before} {}", answers().is_ok()))
        });
        assert_eq!(said.unwrap(), "false true");
    }

    /// Moves devices of a new namespace ("the host") to another; what that one then has.
    fn moved_devices(json: &'static str, taken: &'static str) -> Result<String, String> {
        in_child(|| {
            let text = |error: anyhow::Error| format!("{error:#}");
            new_network()?;
            if !taken.is_empty() {
                make_device(taken, [10, 9, 9, 9]).map_err(|e| e.to_string())?;
            }
            let target = files::open("/proc/self/ns/net", OFlags::RDONLY).map_err(|e| e.to_string())?;
            new_network()?;
            make_device("one", [10, 1, 2, 3]).map_err(|e| e.to_string())?;
            make_device("two", [10, 1, 2, 4]).map_err(|e| e.to_string())?;
            move_devices(&plan(&devices(json)).map_err(text)?, target.as_fd()).map_err(text)?;
            let container = open_in(target.as_fd()).map_err(text)?;
            let links = container.request(RTM_GETLINK, DUMP, &[0; LINK_HEADER], "list").map_err(|e| e.to_string())?;
            let shown = links
                .iter()
                .filter(|link| name_of(link).is_some_and(|name| name != "lo" && !name.starts_with("veth")))
                .map(|link| {
                    let index = number(&link.payload, 4, 4).unwrap();
                    let up = number(&link.payload, 8, 4).unwrap() & IFF_UP;
                    let addresses = addresses(&container, index).unwrap();
                    let of = |payload: &Vec<u8>| {
                        let address = attributes(payload, ADDRESS_HEADER)[0].1.to_vec();
                        format!("{}.{}.{}.{}/{}", address[0], address[1], address[2], address[3], payload[1])
                    };
                    format!("{} up={up} {}", name_of(link).unwrap(), addresses.iter().map(of).collect::<String>())
                });
            Ok(shown.collect::<Vec<_>>().join(", "))
        })
    }

    #[test]
    fn devices_move_with_names_and_addresses() {
        let rows = [
            (r#"{"one": {}}"#, "", "one up=1 10.1.2.3/24"),
            (r#"{"one": {"name": "eth0"}, "two": {}}"#, "", "eth0 up=1 10.1.2.3/24, two up=1 10.1.2.4/24"),
            (r#"{"one": {"name": "eth%d"}}"#, "", "eth0 up=1 10.1.2.3/24"),
            (r#"{"one": {"name": "eth%d"}}"#, "eth0", "eth0 up=0 10.9.9.9/24, eth1 up=1 10.1.2.3/24"),
            (
                r#"{"one": {"name": "eth%d"}, "two": {"name": "eth0"}}"#,
                "",
                "eth1 up=1 10.1.2.3/24, eth0 up=1 10.1.2.4/24",
            ),
            (r#"{"none": {}}"#, "", "linux.netDevices[\"none\"]: look for none: no such device (ENODEV)"),
            (
                r#"{"one": {"name": "eth0"}}"#,
                "eth0",
                "linux.netDevices[\"one\"]: the container's network namespace already has a device \"eth0\"",
            ),
        ];
        for (json, taken, expected) in rows {
            let said = moved_devices(json, taken).unwrap_or_else(|error| error);
            assert_eq!(said, expected, "{json}");
        }
    }
}
