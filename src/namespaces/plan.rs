//! config.json's `linux.namespaces` → who makes or enters which namespace, and when. Pure.
//!
//! The child is cloned into all new namespaces at once and enters the others by itself. Three things differ:
//! * a pid or time namespace changes only the *children* of the process that enters it: the parent enters, clones, and
//!   goes back;
//! * with a new user namespace the child would lack the rights over namespaces of the host: the parent enters those too;
//! * new namespaces must belong to a user namespace that is joined: a helper joins it and clones init as its sibling.
//!
//! A new cgroup namespace is unshared by the child once it is in its cgroup: its root is the cgroup at that moment.

use super::Mappings;
use crate::config::{Config, Linux, TimeOffset};
use crate::host::Host;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// A kind of namespace.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// First in the order of entering: it gives the rights over the others.
    User,
    Pid,
    Time,
    Network,
    Ipc,
    Uts,
    Cgroup,
    /// Last in the order of entering: paths of the host are gone afterwards.
    Mount,
}

impl Kind {
    /// All kinds with the spec's words and the kernel's flags (namespaces(7)).
    const ALL: [(Kind, &'static str, i32); 8] = [
        (Kind::User, "user", libc::CLONE_NEWUSER),
        (Kind::Pid, "pid", libc::CLONE_NEWPID),
        (Kind::Time, "time", libc::CLONE_NEWTIME),
        (Kind::Network, "network", libc::CLONE_NEWNET),
        (Kind::Ipc, "ipc", libc::CLONE_NEWIPC),
        (Kind::Uts, "uts", libc::CLONE_NEWUTS),
        (Kind::Cgroup, "cgroup", libc::CLONE_NEWCGROUP),
        (Kind::Mount, "mount", libc::CLONE_NEWNS),
    ];

    /// The kind that the spec calls `word`.
    pub fn from_word(word: &str) -> Option<Kind> {
        Self::ALL.iter().find(|row| row.1 == word).map(|row| row.0)
    }

    /// The spec's words, for `features`.
    pub fn words() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|row| row.1)
    }

    /// The spec's word.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }

    /// The kernel's flag (CLONE_NEW*).
    pub fn flag(self) -> u64 {
        Self::ALL.iter().find(|row| row.0 == self).map_or(0, |row| row.2 as u64)
    }
}

/// A namespace to enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// What it must be.
    pub kind: Kind,
    /// Where it is pinned.
    pub path: PathBuf,
    /// Its index in `linux.namespaces`.
    pub index: usize,
}

/// What happens to the namespaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Kinds that are new.
    pub new: Vec<Kind>,
    /// Namespaces that the parent enters around the clone, for its child only.
    pub borrow: Vec<Join>,
    /// Namespaces that the child (or the helper) enters, in order.
    pub join: Vec<Join>,
    /// Mappings of a new user namespace.
    pub mappings: Option<Mappings>,
    /// Offsets of a new time namespace.
    pub offsets: BTreeMap<String, TimeOffset>,
    /// Init is cloned by a helper that has joined the user namespace.
    pub helper: bool,
    /// Init itself makes the time namespace, which it enters at its execve: the parent has no right to make one.
    pub time_at_execve: bool,
}

/// Plans the namespaces of a container.
pub fn plan(config: &Config, host: &Host) -> Result<Plan> {
    let listed = config.linux.as_ref().map(|linux| linux.namespaces.as_slice()).unwrap_or_default();
    if !host.may_administer && !listed.iter().any(|namespace| namespace.kind == "user") {
        bail!(
            "linux.namespaces: without CAP_SYS_ADMIN a container needs a user namespace; hint: ocicat spec --rootless writes such a config.json"
        );
    }
    let Some(linux) = &config.linux else { return Ok(Plan::default()) };
    let mut plan = Plan::default();
    let mut joins = Vec::new();
    for (index, namespace) in linux.namespaces.iter().enumerate() {
        let kind = Kind::from_word(&namespace.kind)
            .with_context(|| format!("linux.namespaces[{index}].type: {:?} is no namespace", namespace.kind))?;
        match &namespace.path {
            Some(path) if !path.as_os_str().is_empty() => joins.push(Join { kind, path: path.clone(), index }),
            _ => plan.new.push(kind),
        }
    }
    plan.new.sort();
    joins.sort_by_key(|join| join.kind);
    let new_user = plan.new.contains(&Kind::User);
    plan.helper = joins.iter().any(|join| join.kind == Kind::User);
    plan.time_at_execve = plan.new.contains(&Kind::Time) && (new_user || plan.helper);
    if plan.time_at_execve && host.kernel < (6, 3) && host.rootless() {
        bail!("linux.namespaces: a time namespace inside a user namespace needs Linux 6.3 when not run as root");
    }
    (plan.borrow, plan.join) = joins.into_iter().partition(|join| {
        let by_children_only = matches!(join.kind, Kind::Pid | Kind::Time);
        !plan.helper && (by_children_only || (new_user && join.kind != Kind::Mount))
    });
    if new_user {
        plan.mappings = Some(mappings(linux, host)?);
    }
    plan.offsets = linux.time_offsets.clone();
    Ok(plan)
}

fn mappings(linux: &Linux, host: &Host) -> Result<Mappings> {
    if linux.uid_mappings.is_empty() || linux.gid_mappings.is_empty() {
        bail!("linux.uidMappings and linux.gidMappings: a new user namespace needs both");
    }
    Ok(Mappings { uids: linux.uid_mappings.clone(), gids: linux.gid_mappings.clone(), privileged: host.euid == 0 })
}

impl Plan {
    /// True when a namespace of this kind is made.
    pub fn makes(&self, kind: Kind) -> bool {
        self.new.contains(&kind)
    }

    /// True when a namespace of this kind is entered by path.
    pub fn joins(&self, kind: Kind) -> bool {
        self.join.iter().chain(&self.borrow).any(|join| join.kind == kind)
    }

    /// The flags for the clone: all new namespaces but the ones that are made before or after it.
    pub fn clone_flags(&self) -> u64 {
        let later = |kind: &&Kind| !matches!(kind, Kind::Time | Kind::Cgroup);
        self.new.iter().filter(later).fold(0, |flags, kind| flags | kind.flag())
    }

    /// Processes besides the runtime itself.
    pub fn processes(&self) -> usize {
        if self.helper { 2 } else { 1 }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for join in &self.borrow {
            writeln!(f, "parent: enter {} {} for the child", join.kind.word(), join.path.display())?;
        }
        if self.makes(Kind::Time) && !self.time_at_execve {
            writeln!(f, "parent: new time namespace for the child{}", offsets(&self.offsets))?;
        }
        if self.helper {
            writeln!(f, "helper: clone")?;
        }
        for join in &self.join {
            let who = if self.helper && join.kind != Kind::Mount { "helper" } else { "init" };
            writeln!(f, "{who}: enter {} {}", join.kind.word(), join.path.display())?;
        }
        let new: Vec<_> =
            self.new.iter().filter(|k| !matches!(k, Kind::Time | Kind::Cgroup)).map(|k| k.word()).collect();
        writeln!(f, "init: clone with new [{}]", new.join(" "))?;
        if let Some(mappings) = &self.mappings {
            write!(f, "{mappings}")?;
        }
        if self.makes(Kind::Cgroup) {
            writeln!(f, "init: new cgroup namespace")?;
        }
        if self.time_at_execve {
            writeln!(f, "init: new time namespace at execve{}", offsets(&self.offsets))?;
        }
        Ok(())
    }
}

fn offsets(offsets: &BTreeMap<String, TimeOffset>) -> String {
    offsets.iter().map(|(clock, o)| format!(", {clock} {}.{:09}", o.secs, o.nanosecs)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(linux: &str, host: Host) -> String {
        let config: Config = serde_json::from_str(&format!("{{\"linux\": {linux}}}")).unwrap();
        match plan(&config, &host) {
            Ok(plan) => plan.to_string(),
            Err(error) => format!("{error:#}\n"),
        }
    }

    #[test]
    fn namespaces_are_made_and_entered_in_the_order_that_the_kernel_allows() {
        const USER: &str = r#""uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
            "gidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}]"#;
        let table = [
            (r#"{"namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "cgroup"}]}"#.to_owned(),
             "init: clone with new [pid mount]\ninit: new cgroup namespace\n"),
            (r#"{"namespaces": [{"type": "mount"}, {"type": "pid", "path": "/p"}, {"type": "network", "path": "/n"}]}"#.to_owned(),
             "parent: enter pid /p for the child\ninit: enter network /n\ninit: clone with new [mount]\n"),
            (format!(r#"{{"namespaces": [{{"type": "mount"}}, {{"type": "user"}}, {{"type": "network", "path": "/n"}}], {USER}}}"#),
             "parent: enter network /n for the child\ninit: clone with new [user mount]\n\
              parent: map uids 0 100000 65536, gids 0 100000 65536\n"),
            (r#"{"namespaces": [{"type": "user", "path": "/u"}, {"type": "pid"}, {"type": "uts", "path": "/t"}]}"#.to_owned(),
             "helper: clone\nhelper: enter user /u\nhelper: enter uts /t\ninit: clone with new [pid]\n"),
            (r#"{"namespaces": [{"type": "time"}], "timeOffsets": {"monotonic": {"secs": 60, "nanosecs": 5}}}"#.to_owned(),
             "parent: new time namespace for the child, monotonic 60.000000005\ninit: clone with new []\n"),
            (r#"{"namespaces": [{"type": "user"}]}"#.to_owned(),
             "linux.uidMappings and linux.gidMappings: a new user namespace needs both\n"),
        ];
        for (linux, expected) in table {
            assert_eq!(planned(&linux, Host::modern()), expected, "{linux}");
        }
    }

    #[test]
    fn without_privileges_a_user_namespace_is_needed() {
        let user = || Host { euid: 1000, may_administer: false, ..Host::modern() };
        let refusal =
            "linux.namespaces: without CAP_SYS_ADMIN a container needs a user namespace; hint: ocicat spec --rootless";
        for linux in ["{}", r#"{"namespaces": [{"type": "mount"}, {"type": "pid"}]}"#] {
            assert!(planned(linux, user()).starts_with(refusal), "{linux}");
            assert!(planned(linux, Host { may_administer: true, ..user() }).starts_with("init: clone"), "{linux}");
        }
        let joined = r#"{"namespaces": [{"type": "user", "path": "/u"}]}"#;
        assert!(planned(joined, user()).starts_with("helper: clone"));
    }
}
