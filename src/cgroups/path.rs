//! Where a container's cgroup is: one directory in every mounted hierarchy, and how cgroupsPath becomes that.

use super::resctrl::Resctrl;
use super::scope::Bus;
use crate::host::{CgroupMode, Host};
use crate::sys::{cgroupfs, files};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::cell::OnceCell;
use std::path::{Component, Path, PathBuf};

/// Who makes the container's cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// We, in the cgroup filesystem.
    Cgroupfs,
    /// systemd, asked over D-Bus for a transient scope.
    Systemd,
    /// Nobody: the container stays in the caller's cgroup.
    #[default]
    None,
}

/// The container's directory in one mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// As its mount point is named: `memory`, `cpu,cpuacct`, `systemd` (v1 without a controller), `unified` (cgroup2).
    pub name: String,
    /// Where the hierarchy is mounted.
    pub mount: PathBuf,
    /// The container's directory in it, an absolute path.
    pub directory: PathBuf,
}

impl Hierarchy {
    /// True for cgroup2.
    pub fn is_unified(&self) -> bool {
        self.name == UNIFIED
    }

    /// True where `kill` finds its victims.
    pub(super) fn is_deadly(&self) -> bool {
        self.is_unified() || self.has("freezer")
    }

    /// True for the version 1 hierarchy that has `controller`.
    pub fn has(&self, controller: &str) -> bool {
        self.name.split(',').any(|name| name == controller)
    }
}

/// Every directory of a container: the write-ahead record of what may exist.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Paths {
    /// Who made them.
    pub driver: Driver,
    /// One for each hierarchy; empty when the container has no cgroup of its own.
    pub hierarchies: Vec<Hierarchy>,
    /// Directories above the container's own that did not exist before it, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<PathBuf>,
    /// The transient unit of the systemd driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Whose systemd has it.
    #[serde(skip_serializing_if = "is_default")]
    pub bus: Bus,
    /// What is written on the directories: for whom they were made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// Its class of service (linux.intelRdt).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resctrl: Option<Resctrl>,
}

fn is_default(bus: &Bus) -> bool {
    *bus == Bus::default()
}

impl Paths {
    /// True when the container has no cgroup of its own.
    pub fn is_empty(&self) -> bool {
        self.hierarchies.is_empty()
    }

    /// The cgroup2 directory: all there is on v2, an extra one on a hybrid host.
    pub fn unified(&self) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|h| h.is_unified())
    }

    /// Each controller as /proc/PID/cgroup names it (nothing for cgroup2), and the cgroup in its hierarchy.
    pub fn by_controller(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for hierarchy in &self.hierarchies {
            let Ok(below) = hierarchy.directory.strip_prefix(&hierarchy.mount) else { continue };
            let path = format!("/{}", below.display());
            match hierarchy.name.as_str() {
                UNIFIED => all.push((String::new(), path)),
                "systemd" => all.push(("name=systemd".to_owned(), path)),
                names => all.extend(names.split(',').map(|name| (name.to_owned(), path.clone()))),
            }
        }
        all
    }

    /// Where `kill` finds its victims.
    pub(super) fn deadly(&self) -> impl Iterator<Item = &Hierarchy> {
        self.hierarchies.iter().filter(|hierarchy| hierarchy.is_deadly())
    }

    /// The directory that limits and counts memory.
    pub(super) fn memory(&self) -> Option<&Hierarchy> {
        self.v1("memory").or(self.unified())
    }

    /// The version 1 directory that has `controller`.
    pub fn v1(&self, controller: &str) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|h| h.has(controller))
    }
}

/// The name of the cgroup2 hierarchy, which is also that of its mount point on hybrid hosts.
pub(super) const UNIFIED: &str = "unified";

/// Directories below /sys/fs/cgroup that are version 1 hierarchies (Documentation/admin-guide/cgroup-v1).
const V1_NAMES: &[&str] = &[
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "debug",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "misc",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
    "rdma",
    "systemd",
];

/// What this host says about cgroups, each fact read when it is first asked for.
#[derive(Debug, Default)]
pub struct OwnCgroups {
    mounts: OnceCell<Vec<String>>,
    own: OnceCell<Vec<(String, String)>>,
    controllers: OnceCell<Vec<String>>,
}

impl OwnCgroups {
    /// Nothing is read yet.
    pub fn new() -> OwnCgroups {
        OwnCgroups::default()
    }

    /// Given facts, for tests: names of the mounted v1 hierarchies, lines of /proc/self/cgroup, controllers of cgroup2.
    pub fn given(mounts: &[&str], own: &str, controllers: &str) -> OwnCgroups {
        OwnCgroups {
            mounts: OnceCell::from(mounts.iter().map(|m| (*m).to_owned()).collect::<Vec<_>>()),
            own: OnceCell::from(parse_own(own)),
            controllers: OnceCell::from(words(controllers)),
        }
    }

    /// Names of the mounted version 1 hierarchies. Controllers mounted together have one directory, and
    /// symbolic links beside it that we pass over.
    pub(super) fn mounts(&self, root: &Path) -> Result<&[String]> {
        if let Some(known) = self.mounts.get() {
            return Ok(known);
        }
        let mut names = Vec::new();
        let entries = std::fs::read_dir(root).with_context(|| format!("readdir {}", root.display()))?;
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let known = name.split(',').all(|part| V1_NAMES.contains(&part));
            let directory = known && entry.file_type().is_ok_and(|kind| kind.is_dir());
            // A directory on which nothing is mounted (systemd leaves some) is no hierarchy.
            if directory && cgroupfs::is_hierarchy(&entry.path()) {
                names.push(name);
            }
        }
        names.sort();
        Ok(self.mounts.get_or_init(|| names))
    }

    /// The cgroup of this process in the hierarchy `name`, as /proc/self/cgroup says (cgroups(7)).
    pub(super) fn own(&self, name: &str) -> Result<&str> {
        if self.own.get().is_none() {
            let text = files::read_text("/proc/self/cgroup")?;
            let _ = self.own.set(parse_own(&text));
        }
        let wanted = match name {
            UNIFIED => "",
            "systemd" => "name=systemd",
            other => other.split(',').next().unwrap_or(other),
        };
        let lines = self.own.get().map(Vec::as_slice).unwrap_or_default();
        Ok(lines.iter().find(|(names, _)| names.split(',').any(|n| n == wanted)).map_or("/", |(_, path)| path))
    }

    /// The controllers that the cgroup2 hierarchy mounted at `mount` has.
    pub(super) fn controllers(&self, mount: &Path) -> Result<&[String]> {
        if let Some(known) = self.controllers.get() {
            return Ok(known);
        }
        let read = words(&files::read_text(mount.join("cgroup.controllers"))?);
        Ok(self.controllers.get_or_init(|| read))
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn parse_own(text: &str) -> Vec<(String, String)> {
    let line = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// A path without `.`, `..` and doubled slashes; `..` never leads above the beginning, so it cannot leave the hierarchy.
pub(super) fn clean(path: &str) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => {
                cleaned.pop();
            }
            _ => {}
        }
    }
    cleaned
}

/// The directory of the container in every mounted hierarchy.
///
/// An absolute cgroupsPath counts from the mount point, and a missing one is `/ID` (config-linux.md, "Cgroups Path").
/// A relative one counts from the mount point as well, so that the same value always means the same place, whoever
/// calls; without privileges only the cgroup that was delegated to the caller can be written, so there both count from it.
pub(super) fn hierarchies(
    host: &Host,
    cgroups_path: Option<&str>,
    id: &str,
    own: &OwnCgroups,
) -> Result<Vec<Hierarchy>> {
    let asked = cgroups_path.filter(|path| !path.is_empty());
    let absolute = asked.is_some_and(|path| path.starts_with('/')) || !host.rootless();
    let inner = clean(asked.unwrap_or(id));
    anyhow::ensure!(
        inner.components().next().is_some(),
        "linux.cgroupsPath ({}): names the root of the hierarchy and not a cgroup",
        asked.unwrap_or_default()
    );
    let base = |name: &str| if absolute { Ok(PathBuf::new()) } else { delegated(name, own) };
    everywhere(host, own, &inner, &base)
}

/// The directory of a systemd unit in every mounted hierarchy; `unit` is its path below the manager's own cgroup.
pub(super) fn unit_hierarchies(host: &Host, unit: &Path, bus: Bus, own: &OwnCgroups) -> Result<Vec<Hierarchy>> {
    let base = |_: &str| match bus {
        Bus::System => Ok(PathBuf::new()),
        Bus::User => user_manager(own, host.euid),
    };
    everywhere(host, own, unit, &base)
}

/// The cgroup of the systemd instance of user `uid`: all that it runs is below it, and so, as a rule, are we.
fn user_manager(own: &OwnCgroups, uid: u32) -> Result<PathBuf> {
    let path = clean(own.own(UNIFIED)?);
    let is_manager = |path: &&Path| {
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        name.starts_with("user@") && name.ends_with(".service")
    };
    let usual = || PathBuf::from(format!("user.slice/user-{uid}.slice/user@{uid}.service"));
    Ok(path.ancestors().find(is_manager).map_or_else(usual, Path::to_path_buf))
}

fn everywhere(
    host: &Host,
    own: &OwnCgroups,
    inner: &Path,
    base: &dyn Fn(&str) -> Result<PathBuf>,
) -> Result<Vec<Hierarchy>> {
    let mut found = Vec::new();
    let mut add = |name: &str, mount: PathBuf| -> Result<()> {
        let directory = mount.join(base(name)?).join(inner);
        found.push(Hierarchy { name: name.to_owned(), mount, directory });
        Ok(())
    };
    let root = &host.cgroup_root;
    match host.cgroup {
        CgroupMode::None => {}
        CgroupMode::V2 => add(UNIFIED, root.clone())?,
        CgroupMode::V1 | CgroupMode::Hybrid => {
            for name in own.mounts(root)? {
                add(name, root.join(name))?;
            }
            if host.cgroup == CgroupMode::Hybrid {
                add(UNIFIED, root.join(UNIFIED))?;
            }
        }
    }
    Ok(found)
}

/// The cgroup that was given to the caller. On cgroup2 that is the parent of its own: its own has processes inside, and
/// a cgroup with processes cannot have limited children (Documentation/admin-guide/cgroup-v2.rst, "No Internal Process").
fn delegated(name: &str, own: &OwnCgroups) -> Result<PathBuf> {
    let mut path = clean(own.own(name)?);
    if name == UNIFIED {
        path.pop();
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directories(host: &Host, cgroups_path: Option<&str>) -> String {
        let own = OwnCgroups::given(&["cpu,cpuacct", "memory", "systemd"], OWN, "cpu memory pids");
        match hierarchies(host, cgroups_path, "box", &own) {
            Ok(all) => all.iter().map(|h| h.directory.display().to_string()).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        }
    }

    const OWN: &str = "2:memory:/m/own\n1:name=systemd:/s\n3:cpu,cpuacct:/\n0::/user.slice/app.scope\n";

    #[test]
    fn cgroups_path_becomes_a_directory_in_every_hierarchy() {
        let v2 = Host::modern();
        let v1 = Host { cgroup: CgroupMode::V1, ..Host::modern() };
        let hybrid = Host { cgroup: CgroupMode::Hybrid, ..Host::modern() };
        let user = Host { euid: 1000, ..Host::modern() };
        let user_v1 = Host { euid: 1000, ..v1.clone() };
        for (host, path, expected) in [
            (&v2, None, "/sys/fs/cgroup/box"),
            (&v2, Some(""), "/sys/fs/cgroup/box"),
            (&v2, Some("/a/b"), "/sys/fs/cgroup/a/b"),
            (&v2, Some("a/b"), "/sys/fs/cgroup/a/b"),
            (&v2, Some("/a/../../../etc/./x//y"), "/sys/fs/cgroup/etc/x/y"),
            (&v2, Some("../../x"), "/sys/fs/cgroup/x"),
            (&v2, Some("/"), "linux.cgroupsPath (/): names the root of the hierarchy and not a cgroup"),
            (&v2, Some("a/.."), "linux.cgroupsPath (a/..): names the root of the hierarchy and not a cgroup"),
            (&v1, Some("/a"), "/sys/fs/cgroup/cpu,cpuacct/a /sys/fs/cgroup/memory/a /sys/fs/cgroup/systemd/a"),
            (
                &hybrid,
                Some("a"),
                "/sys/fs/cgroup/cpu,cpuacct/a /sys/fs/cgroup/memory/a /sys/fs/cgroup/systemd/a /sys/fs/cgroup/unified/a",
            ),
            (&user, None, "/sys/fs/cgroup/user.slice/box"),
            (&user, Some("x/../y"), "/sys/fs/cgroup/user.slice/y"),
            (&user, Some("../../y"), "/sys/fs/cgroup/user.slice/y"),
            (&user, Some("/abs"), "/sys/fs/cgroup/abs"),
            (
                &user_v1,
                None,
                "/sys/fs/cgroup/cpu,cpuacct/box /sys/fs/cgroup/memory/m/own/box /sys/fs/cgroup/systemd/s/box",
            ),
        ] {
            assert_eq!(directories(host, path), expected, "{path:?} for uid {}", host.euid);
        }
    }

    #[test]
    fn each_controller_has_its_cgroup_and_one_directory_freezes_them_all() {
        let hierarchy = |name: &str| Hierarchy {
            name: name.to_owned(),
            mount: PathBuf::from("/m").join(name),
            directory: PathBuf::from("/m").join(name).join("a/b"),
        };
        let rows: [(&[&str], &str, Option<&str>); 4] = [
            (&["unified"], "[(\"\", \"/a/b\")]", Some("/m/unified/a/b")),
            (
                &["cpu,cpuacct", "systemd"],
                "[(\"cpu\", \"/a/b\"), (\"cpuacct\", \"/a/b\"), (\"name=systemd\", \"/a/b\")]",
                None,
            ),
            (&["freezer", "unified"], "[(\"freezer\", \"/a/b\"), (\"\", \"/a/b\")]", Some("/m/freezer/a/b")),
            (&[], "[]", None),
        ];
        for (names, expected, freezer) in rows {
            let hierarchies = names.iter().map(|name| hierarchy(name)).collect();
            let paths = Paths { hierarchies, ..Paths::default() };
            assert_eq!(format!("{:?}", paths.by_controller()), expected);
            assert_eq!(paths.freezer(), freezer.map(Path::new), "{names:?}");
        }
    }

    #[test]
    fn an_empty_record_reads_back() {
        let paths: Paths = serde_json::from_str("{}").unwrap();
        assert_eq!(paths, Paths::default());
        assert!(paths.is_empty());
    }
}
