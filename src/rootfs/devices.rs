//! Device nodes, the links of /dev, and the console.
//!
//! A node is made by mknod(2), or where the kernel forbids that (a user namespace) the host's is bound. What is bound is
//! looked at before it is used: the host's /dev/null must be a device, the console the slave of a pty.

use super::entry::{self, Entry, What};
use super::resolve;
use super::tree::Tree;
use crate::config::Device;
use crate::sys::{self, files, mount, nodes};
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{CWD, FileType};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// What is made in /dev, and the configured devices wherever they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Devices {
    /// The host's nodes are bound, because mknod(2) is not allowed.
    bind: bool,
    nodes: Vec<Node>,
    /// The links of /dev are made; not where /dev is the host's.
    links: bool,
}

/// One device node, fifo included.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    place: String,
    path: PathBuf,
    kind: FileType,
    device: u64,
    mode: u32,
    owner: Option<(u32, u32)>,
}

/// runtime-spec, config-linux.md, "Default Devices"; console and ptmx are no nodes of ours.
const DEFAULT: &[(&str, u32, u32)] =
    &[("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Name in /dev, and where it leads (runtime-linux.md, "Dev symbolic links").
const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// Decides which devices are made, and how; nothing in a /dev that is bound from the host.
pub(super) fn plan(devices: &[Device], mounts: &[Entry], user_namespace: bool) -> Result<Option<Devices>> {
    let hosts = mounts.iter().any(|entry| entry.target == Path::new("dev") && matches!(entry.what, What::Bind(_)));
    let mut nodes = Vec::new();
    for (index, device) in devices.iter().enumerate() {
        let place = format!("linux.devices[{index}] ({})", device.path.display());
        let node = node(place.clone(), device).context(place)?;
        // The link to the container's own devpts; a node would be the host's.
        if node.path != Path::new("dev/ptmx") && !(hosts && node.path.starts_with("dev")) {
            nodes.push(node);
        }
    }
    if !hosts {
        let missing = |name: &str| !nodes.iter().any(|node| node.path == Path::new("dev").join(name));
        let default: Vec<Node> = DEFAULT.iter().filter(|row| missing(row.0)).map(default).collect();
        nodes.splice(0..0, default);
    }
    let planned = Devices { bind: user_namespace, nodes, links: !hosts };
    Ok(Some(planned).filter(|planned| planned.links || !planned.nodes.is_empty()))
}

fn default((name, major, minor): &(&str, u32, u32)) -> Node {
    Node {
        place: format!("default device /dev/{name}"),
        path: Path::new("dev").join(name),
        kind: FileType::CharacterDevice,
        device: rustix::fs::makedev(*major, *minor),
        mode: 0o666,
        owner: None,
    }
}

fn node(place: String, device: &Device) -> Result<Node> {
    let kind = match device.kind.as_str() {
        "c" | "u" => FileType::CharacterDevice,
        "b" => FileType::BlockDevice,
        "p" => FileType::Fifo,
        other => bail!("type {other:?} is none of c, u, b, p"),
    };
    let path = entry::inside(&device.path);
    ensure!(path.file_name().is_some(), "the path is empty");
    let number = |number: Option<i64>, name: &str| match number {
        Some(number) => match u32::try_from(number) {
            Ok(number) => Ok(number),
            Err(_) => bail!("{name} {number} is no device number"),
        },
        None if kind == FileType::Fifo => Ok(0),
        None => bail!("{name} is missing"),
    };
    let numbers = (number(device.major, "major")?, number(device.minor, "minor")?);
    // A fifo has no numbers; some configurations give it some.
    let device_number = if kind == FileType::Fifo { 0 } else { rustix::fs::makedev(numbers.0, numbers.1) };
    let owner = (device.uid.unwrap_or(0), device.gid.unwrap_or(0));
    Ok(Node {
        place,
        path,
        kind,
        device: device_number,
        mode: device.file_mode.unwrap_or(0o666) & 0o7777,
        owner: (device.uid.is_some() || device.gid.is_some()).then_some(owner),
    })
}

impl Devices {
    /// The nodes that are the host's own: where in the container, and which of the host's.
    pub(super) fn bound(&self) -> impl Iterator<Item = (&Path, PathBuf)> {
        let bound = self.nodes.iter().filter(|node| self.bind && node.kind != FileType::Fifo);
        bound.map(|node| (node.path.as_path(), node.of_host()))
    }

    /// Makes the nodes and links; the umask is zero.
    pub(super) fn make(&self, tree: &Tree<'_>) -> Result<()> {
        let dev = match tree.kept(Path::new("dev")) {
            Some(kept) => kept,
            None => &resolve::directory(tree.root(), Path::new("dev")).context("/dev")?,
        };
        for node in &self.nodes {
            self.make_node(node, dev.as_fd(), tree).with_context(|| node.place.clone())?;
        }
        if self.links {
            LINKS.iter().try_for_each(|(name, target)| link(dev.as_fd(), name, target)).context("/dev")?;
        }
        Ok(())
    }

    fn make_node(&self, node: &Node, dev: BorrowedFd<'_>, tree: &Tree<'_>) -> Result<()> {
        let elsewhere;
        let dir = if node.path.parent() == Some(Path::new("dev")) {
            dev
        } else {
            elsewhere = resolve::parent(tree.root(), &node.path)?;
            elsewhere.as_fd()
        };
        let name = Path::new(node.path.file_name().unwrap_or_default());
        if self.bind && node.kind != FileType::Fifo {
            return node.bind(dir, name);
        }
        match node.make(dir, name) {
            // Without CAP_MKNOD, or below a user namespace that we could not see.
            Err(error) if error.errno.0 == libc::EPERM && node.kind != FileType::Fifo => node.bind(dir, name),
            Err(error) if error.errno.0 == libc::EEXIST => node.take(dir, name),
            other => Ok(other?),
        }
    }
}

impl Node {
    fn make(&self, dir: BorrowedFd<'_>, name: &Path) -> sys::Result<()> {
        nodes::mknod(dir, name, self.kind, self.mode, self.device)?;
        match self.owner {
            Some((uid, gid)) => nodes::chown(dir, name, uid, gid),
            None => Ok(()),
        }
    }

    /// Something stands there: the same device is made anew if mode or owner differ, anything else is an error.
    fn take(&self, dir: BorrowedFd<'_>, name: &Path) -> Result<()> {
        let facts = nodes::stat(dir, name)?;
        let kind = FileType::from_raw_mode(facts.st_mode);
        ensure!(
            kind == self.kind && (kind == FileType::Fifo || facts.st_rdev == self.device),
            "another file is at this path ({})",
            kind_word(kind)
        );
        let owner = self.owner.unwrap_or((facts.st_uid, facts.st_gid));
        if facts.st_mode & 0o7777 == self.mode && (facts.st_uid, facts.st_gid) == owner {
            return Ok(());
        }
        nodes::unlink(dir, name)?;
        Ok(self.make(dir, name)?)
    }

    /// Binds the host's node over an empty file.
    fn bind(&self, dir: BorrowedFd<'_>, name: &Path) -> Result<()> {
        let path = self.of_host();
        let host = mount::open_tree(CWD, &path, false, true)?;
        ensure!(self.is(&nodes::fstat(&host)?), "{} of the host is another file", path.display());
        let target = empty_file(dir, name)?;
        Ok(mount::move_mount(&host, &target, Path::new(""), false)?)
    }

    /// The host's node: at the same path, or by the kernel's own name where the container calls it otherwise
    /// (`docker run --device /dev/sdb:/dev/disk`; Documentation/ABI/stable/sysfs-devices, uevent).
    fn of_host(&self) -> PathBuf {
        let is_it = |path: &Path| nodes::stat(CWD, path).is_ok_and(|facts| self.is(&facts));
        let same = Path::new("/").join(&self.path);
        if is_it(&same) {
            return same;
        }
        let kind = if self.kind == FileType::BlockDevice { "block" } else { "char" };
        let (major, minor) = (rustix::fs::major(self.device), rustix::fs::minor(self.device));
        let uevent = files::read_text(format!("/sys/dev/{kind}/{major}:{minor}/uevent")).unwrap_or_default();
        let named = uevent.lines().find_map(|line| line.strip_prefix("DEVNAME="));
        named.map(|name| Path::new("/dev").join(name)).filter(|path| is_it(path)).unwrap_or(same)
    }

    fn is(&self, facts: &rustix::fs::Stat) -> bool {
        FileType::from_raw_mode(facts.st_mode) == self.kind && facts.st_rdev == self.device
    }
}

/// Opens a name that something is to be mounted over, making an empty file if nothing is there.
fn empty_file(dir: BorrowedFd<'_>, name: &Path) -> Result<std::os::fd::OwnedFd> {
    match nodes::create_file(dir, name, 0o644) {
        Err(error) if error.errno.0 != libc::EEXIST => return Err(error.into()),
        _ => {}
    }
    let target = nodes::open_name(dir, name)?;
    let kind = FileType::from_raw_mode(nodes::fstat(&target)?.st_mode);
    ensure!(
        !matches!(kind, FileType::Symlink | FileType::Directory),
        "another file is at this path ({})",
        kind_word(kind)
    );
    Ok(target)
}

/// Makes a link of /dev; the image's own device or link of that name gives way.
fn link(dev: BorrowedFd<'_>, name: &str, target: &str) -> sys::Result<()> {
    let (name, target) = (Path::new(name), Path::new(target));
    match nodes::symlink(target, dev, name) {
        Err(error) if error.errno.0 == libc::EEXIST => {
            if nodes::readlink(dev, name).is_ok_and(|led| led == target.as_os_str()) {
                return Ok(());
            }
            if name != Path::new("ptmx") {
                return Ok(());
            }
            nodes::unlink(dev, name)?;
            nodes::symlink(target, dev, name)
        }
        other => other,
    }
}

fn kind_word(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::RegularFile => "a regular file",
        FileType::CharacterDevice | FileType::BlockDevice => "another device",
        FileType::Fifo => "a fifo",
        _ => "another kind",
    }
}

/// Mounts the pty's slave over /dev/console, by descriptor: no path of the container's decides what the console is
/// (CVE-2025-52565).
///
/// # Errors
///
/// The descriptor is not the slave of a pty, or the console's place cannot be made.
pub fn bind_console(root: BorrowedFd<'_>, pty_slave: BorrowedFd<'_>) -> Result<()> {
    const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;
    /// Documentation/admin-guide/devices.txt: Unix98 pty slaves.
    const SLAVES: std::ops::RangeInclusive<u32> = 136..=143;
    let facts = nodes::fstat(pty_slave)?;
    let is_slave = FileType::from_raw_mode(facts.st_mode) == FileType::CharacterDevice
        && SLAVES.contains(&rustix::fs::major(facts.st_rdev));
    ensure!(is_slave && mount::filesystem_magic(pty_slave)? == DEVPTS_SUPER_MAGIC, "the console is no pty of devpts");
    let copy = mount::open_tree(pty_slave, Path::new(""), false, true).context("/dev/console")?;
    let dev = resolve::directory(root, Path::new("dev")).context("/dev")?;
    let target = empty_file(dev.as_fd(), Path::new("console")).context("/dev/console")?;
    mount::move_mount(&copy, &target, Path::new(""), false).context("/dev/console")
}

impl std::fmt::Display for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bound = |kind: FileType| self.bind && kind != FileType::Fifo;
        for node in &self.nodes {
            let letter = match node.kind {
                FileType::BlockDevice => "b",
                FileType::Fifo => "p",
                _ => "c",
            };
            let (major, minor) = (rustix::fs::major(node.device), rustix::fs::minor(node.device));
            write!(f, "device /{}: ", node.path.display())?;
            match (bound(node.kind), node.owner) {
                (true, _) => writeln!(f, "bind the host's {letter} {major}:{minor}")?,
                (false, None) => writeln!(f, "{letter} {major}:{minor} {:04o}", node.mode)?,
                (false, Some((uid, gid))) => writeln!(f, "{letter} {major}:{minor} {:04o} {uid}:{gid}", node.mode)?,
            }
        }
        let links = if self.links { LINKS } else { &[] };
        links.iter().try_for_each(|(name, target)| writeln!(f, "link /dev/{name} -> {target}"))
    }
}
