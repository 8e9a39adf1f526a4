//! `doctor`: what this host can do for containers and what not, with what to do about it.
//!
//! `Facts` are read once; the findings are a pure function of them.

use crate::host::{CgroupMode, Host};
use crate::sys::files;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is there.
    Ok,
    /// It is there in part, or containers do with less.
    Limited,
    /// It is not there.
    Missing,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub topic: &'static str,
    /// How it is.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What can be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What the findings are made from.
#[derive(Debug, Clone)]
struct Facts {
    host: Host,
    release: String,
    controllers_v1: Vec<String>,
    controllers_v2: Vec<String>,
    /// /proc/sys/user/max_user_namespaces, and whether those without privileges may make one.
    user_namespaces: (u64, bool),
    /// The caller has a line in /etc/subuid and in /etc/subgid.
    ranges: (bool, bool),
    /// /proc/sys/kernel/seccomp/actions_avail
    seccomp_actions: Vec<String>,
    /// /sys/kernel/security/lsm
    security_modules: String,
    /// The socket by which systemd is asked.
    systemd: Option<PathBuf>,
    newuidmap: Option<PathBuf>,
    criu: Option<PathBuf>,
}

/// Looks at this host.
pub fn doctor(host: &Host) -> Vec<Finding> {
    findings(&Facts::read(host))
}

impl Facts {
    fn read(host: &Host) -> Facts {
        let text = |path: &str| files::read_text(path).unwrap_or_default().trim().to_owned();
        let words = |text: String| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let allowed = |path: &str| files::read_text(path).map_or(true, |text| text.trim() != "0");
        let restricted = |path: &str| files::read_text(path).is_ok_and(|text| text.trim() == "1");
        let unified = match host.cgroup {
            CgroupMode::Hybrid => host.cgroup_root.join("unified"),
            _ => host.cgroup_root.clone(),
        };
        Facts {
            host: host.clone(),
            release: rustix::system::uname().release().to_string_lossy().into_owned(),
            controllers_v1: controllers_v1(&text("/proc/self/cgroup")),
            controllers_v2: words(files::read_text(unified.join("cgroup.controllers")).unwrap_or_default()),
            user_namespaces: (
                text("/proc/sys/user/max_user_namespaces").parse().unwrap_or(0),
                allowed("/proc/sys/kernel/unprivileged_userns_clone")
                    && !restricted("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            ),
            ranges: (has_range("/etc/subuid", host.euid), has_range("/etc/subgid", host.euid)),
            seccomp_actions: words(text("/proc/sys/kernel/seccomp/actions_avail")),
            security_modules: text("/sys/kernel/security/lsm"),
            systemd: systemd_socket(host),
            newuidmap: in_path("newuidmap"),
            criu: in_path("criu"),
        }
    }
}

/// The controllers in lines of /proc/self/cgroup: `4:cpu,cpuacct:/path`, a named hierarchy without one.
fn controllers_v1(text: &str) -> Vec<String> {
    let names = text.lines().filter_map(|line| line.split(':').nth(1));
    let mut all: Vec<String> = names
        .flat_map(|names| names.split(','))
        .filter(|n| !n.is_empty() && !n.contains('='))
        .map(str::to_owned)
        .collect();
    all.sort();
    all
}

/// subuid(5): `NAME-OR-UID:START:COUNT`.
fn has_range(file: &str, uid: u32) -> bool {
    let passwd = files::read_text("/etc/passwd").unwrap_or_default();
    let number = uid.to_string();
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let name =
        passwd.lines().map(fields).find(|line| line.get(2) == Some(&number)).and_then(|line| line.first().cloned());
    let text = files::read_text(file).unwrap_or_default();
    let mut owners = text.lines().filter_map(|line| line.split(':').next());
    owners.any(|owner| owner == number || Some(owner) == name.as_deref())
}

fn systemd_socket(host: &Host) -> Option<PathBuf> {
    let directory = match host.rootless() {
        true => PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty())?),
        false => PathBuf::from("/run"),
    };
    let names: &[&str] = match host.rootless() {
        true => &["systemd/private", "bus"],
        false => &["systemd/private", "dbus/system_bus_socket"],
    };
    names.iter().map(|name| directory.join(name)).find(|socket| socket.exists())
}

fn in_path(program: &str) -> Option<PathBuf> {
    // Programs of the administrator are often not in a user's PATH.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    path.split(':').filter(|dir| !dir.is_empty()).map(|dir| Path::new(dir).join(program)).find(|file| file.is_file())
}

fn findings(facts: &Facts) -> Vec<Finding> {
    let mut all = vec![kernel(facts), cgroups(facts)];
    all.extend([user_namespaces(facts), ranges(facts), seccomp(facts), landlock(facts), labels(facts)]);
    all.extend([systemd(facts), exit_codes(facts), criu(facts)]);
    all
}

fn finding(topic: &'static str, state: State, found: impl Into<String>, hint: Option<&str>) -> Finding {
    Finding { topic, state, found: found.into(), hint: hint.map(str::to_owned) }
}

fn kernel(facts: &Facts) -> Finding {
    let found = format!("Linux {}", facts.release);
    match facts.host.kernel {
        version if version >= (5, 12) => finding("kernel", State::Ok, found, None),
        version if version >= (5, 6) => {
            finding("kernel", State::Limited, found, Some("id-mapped mounts need 5.12, cgroup.kill 5.14"))
        }
        _ => finding("kernel", State::Missing, found, Some("5.6 is the oldest that works: openat2 and pidfd_open")),
    }
}

fn cgroups(facts: &Facts) -> Finding {
    let (v1, v2) = (facts.controllers_v1.join(" "), facts.controllers_v2.join(" "));
    match facts.host.cgroup {
        CgroupMode::None => finding(
            "cgroups",
            State::Missing,
            "none mounted at /sys/fs/cgroup",
            Some("mount -t cgroup2 none /sys/fs/cgroup, or do without: --cgroup-manager disabled"),
        ),
        CgroupMode::V2 => {
            let wanted = ["cpu", "memory", "pids"];
            let lacks = wanted.iter().any(|name| !facts.controllers_v2.iter().any(|have| have == name));
            let hint = match (lacks, facts.host.rootless()) {
                (false, _) => None,
                (true, true) => Some("systemctl edit user@.service, [Service], Delegate=cpu cpuset io memory pids"),
                (true, false) => Some("a version 1 hierarchy holds the others, or the kernel was built without them"),
            };
            finding("cgroups", if lacks { State::Limited } else { State::Ok }, format!("version 2: {v2}"), hint)
        }
        CgroupMode::V1 => finding("cgroups", State::Ok, format!("version 1: {v1}"), None),
        CgroupMode::Hybrid if v2.is_empty() => {
            finding("cgroups", State::Ok, format!("hybrid: version 1: {v1}; version 2 without controllers"), None)
        }
        CgroupMode::Hybrid => finding("cgroups", State::Ok, format!("hybrid: version 1: {v1}; version 2: {v2}"), None),
    }
}

fn user_namespaces(facts: &Facts) -> Finding {
    let topic = "user namespaces";
    match facts.user_namespaces {
        (0, _) => finding(topic, State::Missing, "none may be made", Some("sysctl user.max_user_namespaces=15000")),
        (most, true) => finding(topic, State::Ok, format!("at most {most}"), None),
        (most, false) => finding(
            topic,
            State::Limited,
            format!("at most {most}, by root only"),
            Some("sysctl kernel.unprivileged_userns_clone=1, or kernel.apparmor_restrict_unprivileged_userns=0"),
        ),
    }
}

fn ranges(facts: &Facts) -> Finding {
    let topic = "id ranges";
    match (facts.host.rootless(), facts.ranges, &facts.newuidmap) {
        (false, ..) => finding(topic, State::Ok, "root maps any id", None),
        (true, (true, true), Some(_)) => finding(topic, State::Ok, "in /etc/subuid and /etc/subgid", None),
        (true, (true, true), None) => finding(
            topic,
            State::Limited,
            "there are, but no newuidmap",
            Some("install uidmap (Debian) or shadow-utils"),
        ),
        (true, ..) => finding(
            topic,
            State::Limited,
            "none of yours: one id only in a container",
            Some("usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER"),
        ),
    }
}

fn seccomp(facts: &Facts) -> Finding {
    let has = |action: &str| facts.seccomp_actions.iter().any(|known| known == action);
    let found = facts.seccomp_actions.join(" ");
    match (facts.seccomp_actions.is_empty(), has("user_notif")) {
        (true, _) => finding("seccomp", State::Missing, "not in this kernel", Some("CONFIG_SECCOMP_FILTER=y")),
        (false, true) => finding("seccomp", State::Ok, found, None),
        (false, false) => finding("seccomp", State::Limited, found, Some("SCMP_ACT_NOTIFY needs Linux 5.0")),
    }
}

fn landlock(facts: &Facts) -> Finding {
    match facts.host.landlock {
        0 => finding("Landlock", State::Missing, "not enabled", Some("lsm=landlock,... on the kernel's command line")),
        version => finding("Landlock", State::Ok, format!("version {version}"), None),
    }
}

fn labels(facts: &Facts) -> Finding {
    let found = match (facts.host.apparmor, facts.host.selinux) {
        (true, true) => "AppArmor and SELinux",
        (true, false) => "AppArmor",
        (false, true) => "SELinux",
        (false, false) => "neither AppArmor nor SELinux",
    };
    let state = if facts.host.apparmor || facts.host.selinux { State::Ok } else { State::Limited };
    let modules = match facts.security_modules.as_str() {
        "" => String::new(),
        modules => format!(" (enabled: {modules})"),
    };
    let hint = (state == State::Limited).then_some("a bundle must not ask for a profile or label");
    finding("labels", state, format!("{found}{modules}"), hint)
}

fn systemd(facts: &Facts) -> Finding {
    match &facts.systemd {
        Some(socket) => finding("systemd", State::Ok, format!("asked at {}", socket.display()), None),
        None if facts.host.rootless() => finding(
            "systemd",
            State::Missing,
            "no bus of yours",
            Some("for --systemd-cgroup: loginctl enable-linger, and XDG_RUNTIME_DIR set"),
        ),
        None => finding("systemd", State::Missing, "not running", Some("do without --systemd-cgroup")),
    }
}

fn exit_codes(facts: &Facts) -> Finding {
    let topic = "exit codes";
    match facts.host.kernel >= (6, 15) {
        true => finding(topic, State::Ok, "whoever waits learns them", None),
        false => finding(
            topic,
            State::Limited,
            "told by a container's parent, or before it reaps",
            Some("ocicat wait is sure of them from Linux 6.15 on"),
        ),
    }
}

fn criu(facts: &Facts) -> Finding {
    match &facts.criu {
        Some(path) => finding("criu", State::Ok, path.display().to_string(), None),
        None => finding("criu", State::Missing, "not installed", Some("only checkpoint and restore need it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modern() -> Facts {
        Facts {
            host: Host::modern(),
            release: "6.18.1".to_owned(),
            controllers_v1: Vec::new(),
            controllers_v2: ["cpu", "memory", "pids"].map(str::to_owned).to_vec(),
            user_namespaces: (1000, true),
            ranges: (true, true),
            seccomp_actions: ["allow", "user_notif"].map(str::to_owned).to_vec(),
            security_modules: "landlock,apparmor".to_owned(),
            systemd: Some(PathBuf::from("/run/systemd/private")),
            newuidmap: Some(PathBuf::from("/usr/bin/newuidmap")),
            criu: Some(PathBuf::from("/usr/sbin/criu")),
        }
    }

    #[test]
    fn a_modern_host_lacks_nothing_but_labels() {
        let lacks: Vec<_> = findings(&modern()).into_iter().filter(|found| found.state != State::Ok).collect();
        assert_eq!(lacks.iter().map(|found| found.topic).collect::<Vec<_>>(), ["labels"]);
    }

    #[test]
    fn whatever_is_not_right_has_a_hint() {
        let old = Facts {
            host: Host { kernel: (4, 19), cgroup: CgroupMode::None, landlock: 0, euid: 1000, ..Host::modern() },
            user_namespaces: (0, false),
            ranges: (false, false),
            seccomp_actions: Vec::new(),
            systemd: None,
            criu: None,
            newuidmap: None,
            ..modern()
        };
        let found = findings(&old);
        assert!(found.iter().all(|found| found.state != State::Ok && found.hint.is_some()), "{found:?}");
        let limited = Facts { host: Host { euid: 1000, ..Host::modern() }, newuidmap: None, ..modern() };
        assert_eq!(ranges(&limited).found, "there are, but no newuidmap");
        let few = Facts { controllers_v2: vec!["pids".to_owned()], ..modern() };
        assert_eq!((cgroups(&few).state, cgroups(&few).found.as_str()), (State::Limited, "version 2: pids"));
    }

    #[test]
    fn controllers_are_read_from_the_processes_own_cgroups() {
        assert_eq!(
            controllers_v1("4:cpu,cpuacct:/\n3:memory:/x\n1:name=systemd:/\n0::/\n").join(" "),
            "cpu cpuacct memory"
        );
    }
}
