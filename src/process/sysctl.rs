//! `linux.sysctl`: only what belongs to a namespace that is the container's own; everything else would change the host.

use crate::config::Linux;
use crate::sys::procfs::Procfs;
use anyhow::{Context, Result, bail};

/// Names and values in the order of config.json.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Key as config.json has it, path below /proc, value.
    pub writes: Vec<(String, String, String)>,
}

/// Which namespace (word of `linux.namespaces`) a path below /proc/sys belongs to; `None`: the whole host.
fn owner(path: &str) -> Option<&'static str> {
    /// kernel/ipc_sysctl.c and ipc/mq_sysctl.c.
    const IPC: [&str; 8] = ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];
    match path.split_once('/')? {
        ("net", _) => Some("network"),
        ("user", _) => Some("user"),
        ("fs", rest) if rest.starts_with("mqueue/") => Some("ipc"),
        ("kernel", name) if IPC.contains(&name) => Some("ipc"),
        ("kernel", "domainname" | "hostname") => Some("uts"),
        _ => None,
    }
}

/// `net.ipv4.ip_forward` to `net/ipv4/ip_forward`. As in sysctl.d(5): where a slash comes first, slashes separate and the dots
/// belong to the names, as in net/ipv4/conf/eno2.100/rp_filter; where a dot comes first, later slashes stand for dots.
fn path_of(key: &str) -> String {
    if key.find(['.', '/']).is_some_and(|at| key.get(at..).is_some_and(|rest| rest.starts_with('/'))) {
        return key.to_owned();
    }
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    key.chars().map(swap).collect()
}

/// Checks each name against the namespaces of the container.
pub fn plan(linux: &Linux) -> Result<Plan> {
    let mut writes = Vec::with_capacity(linux.sysctl.len());
    for (key, value) in &linux.sysctl {
        let path = path_of(key);
        let place = || format!("linux.sysctl[{key:?}]");
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) || key.contains('\0') || value.contains('\0') {
            bail!("{}: no name of a kernel parameter", place());
        }
        let Some(namespace) = owner(&path) else {
            bail!("{}: belongs to the whole host and to no namespace, a container may not change it", place());
        };
        if !linux.namespaces.iter().any(|n| n.kind == namespace) {
            bail!("{}: would change the host, the container has no {namespace} namespace of its own", place());
        }
        if path == "kernel/hostname" {
            bail!("{}: is what the field hostname sets", place());
        }
        writes.push((key.clone(), format!("sys/{path}"), value.clone()));
    }
    Ok(Plan { writes })
}

/// In the parent, before anything is made: a namespace that is joined by path may be the host's own after all.
pub fn check_joined(linux: &Linux) -> Result<()> {
    for key in linux.sysctl.keys() {
        let Some(kind) = owner(&path_of(key)) else { continue };
        let joined = linux.namespaces.iter().find(|n| n.kind == kind).and_then(|n| n.path.as_ref());
        let file = if kind == "network" { "net" } else { kind };
        let same = |path| {
            let (own, other) = (rustix::fs::stat(format!("/proc/self/ns/{file}")), rustix::fs::stat(path));
            matches!((own, other), (Ok(own), Ok(other)) if (own.st_dev, own.st_ino) == (other.st_dev, other.st_ino))
        };
        if let Some(path) = joined.filter(|path| same(*path)) {
            bail!("linux.sysctl[{key:?}]: would change the host, {} is its own {kind} namespace", path.display());
        }
    }
    Ok(())
}

/// Writes them, through the private procfs, from inside of the container's namespaces.
pub fn apply(plan: &Plan, procfs: &Procfs) -> Result<()> {
    for (key, path, value) in &plan.writes {
        procfs.write(path, value).with_context(|| format!("linux.sysctl[{key:?}]"))?;
    }
    Ok(())
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.writes.iter().try_for_each(|(key, _, value)| writeln!(f, "sysctl {key}={value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linux(key: &str, namespaces: &[(&str, &str)]) -> Linux {
        let namespace = |(kind, path): &(&str, &str)| crate::config::Namespace {
            kind: (*kind).to_owned(),
            path: (!path.is_empty()).then(|| path.into()),
        };
        Linux {
            namespaces: namespaces.iter().map(namespace).collect(),
            sysctl: [(key.to_owned(), "1".to_owned())].into(),
            ..Linux::default()
        }
    }

    #[test]
    fn only_what_a_namespace_of_the_containers_own_holds_may_be_set() {
        let rows: &[(&str, &str, &str)] = &[
            ("net.ipv4.ip_forward", "network", "sys/net/ipv4/ip_forward"),
            ("net/ipv4/conf/eno2.100/rp_filter", "network", "sys/net/ipv4/conf/eno2.100/rp_filter"),
            ("net.ipv4.conf.eno2/100.rp_filter", "network", "sys/net/ipv4/conf/eno2.100/rp_filter"),
            ("net.ipv4.ip_forward", "ipc", "would change the host, the container has no network namespace of its own"),
            ("kernel.shmmax", "ipc", "sys/kernel/shmmax"),
            ("kernel.shmmax", "uts", "would change the host, the container has no ipc namespace of its own"),
            ("fs.mqueue.msg_max", "ipc", "sys/fs/mqueue/msg_max"),
            ("kernel.domainname", "uts", "sys/kernel/domainname"),
            ("kernel.hostname", "uts", "is what the field hostname sets"),
            ("user.max_user_namespaces", "user", "sys/user/max_user_namespaces"),
            (
                "kernel.core_pattern",
                "uts",
                "belongs to the whole host and to no namespace, a container may not change it",
            ),
            ("vm.swappiness", "uts", "belongs to the whole host and to no namespace, a container may not change it"),
            ("net/../kernel/core_pattern", "network", "no name of a kernel parameter"),
            ("net..x", "network", "no name of a kernel parameter"),
            ("", "network", "no name of a kernel parameter"),
        ];
        for (key, namespace, expected) in rows {
            let expected = match expected.strip_prefix("sys/") {
                Some(_) => (*expected).to_owned(),
                None => format!("linux.sysctl[{key:?}]: {expected}"),
            };
            let shown = plan(&linux(key, &[(namespace, "")]));
            let shown = shown.map_or_else(|error| error.to_string(), |plan| plan.writes[0].1.clone());
            assert_eq!(shown, expected);
        }
    }

    #[test]
    fn a_joined_namespace_that_is_the_hosts_is_refused() {
        let hosts = linux("net.ipv4.ip_forward", &[("network", "/proc/self/ns/net")]);
        assert_eq!(
            check_joined(&hosts).unwrap_err().to_string(),
            "linux.sysctl[\"net.ipv4.ip_forward\"]: would change the host, /proc/self/ns/net is its own network namespace"
        );
        assert!(check_joined(&linux("net.ipv4.ip_forward", &[("network", "")])).is_ok());
    }

    #[test]
    fn a_value_is_written_through_a_private_procfs() {
        let said = crate::sys::forked::in_child(|| {
            crate::sys::clone::unshare((libc::CLONE_NEWUTS | libc::CLONE_NEWNS) as u64).map_err(|e| e.to_string())?;
            let mut asked = linux("kernel.domainname", &[("uts", "")]);
            asked.sysctl.insert("kernel.domainname".to_owned(), "inside.example".to_owned());
            let procfs = Procfs::open().map_err(|e| e.to_string())?;
            apply(&plan(&asked).unwrap(), &procfs).map_err(|e| format!("{e:#}"))?;
            Ok(rustix::system::uname().domainname().to_string_lossy().into_owned())
        });
        assert_eq!(said.unwrap(), "inside.example");
    }
}
