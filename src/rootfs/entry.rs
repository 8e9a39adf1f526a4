//! One entry of `mounts`, decided: where it goes, what it is, and with which attributes.

use super::cgroupfs::{self, CgroupMount};
use super::options::{Attributes, Options};
use super::plan::{Facts, Request};
use crate::config::{IdMapping, Mount};
use crate::sys::mount::{Propagation, attribute};
use anyhow::{Result, bail, ensure};
use std::path::{Component, Path, PathBuf};

/// A mount to make.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// Its place in config.json: `mounts[7] (/data)`.
    pub(super) place: String,
    /// Where it goes, relative to the root.
    pub(super) target: PathBuf,
    pub(super) what: What,
    pub(super) options: Options,
    /// Ids are mapped by this.
    pub(super) id_map: Option<IdMap>,
    /// A later step begins at this mount, so its descriptor is kept.
    pub(super) kept: bool,
}

/// What kind of mount it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// A part of the host's tree.
    Bind(Bind),
    /// A new filesystem, or a new mount of a filesystem that is there.
    Filesystem(Filesystem),
    /// The container's part of version 1 cgroups.
    Cgroups(cgroupfs::Tree),
    /// A change of what is mounted there already.
    Remount { kind: String, settings: Vec<(String, Option<String>)> },
}

/// A bind mount.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bind {
    pub(super) source: PathBuf,
    pub(super) recursive: bool,
    pub(super) follow: bool,
    /// A source that is a symbolic link is made again instead.
    pub(super) copy_symlink: bool,
    pub(super) opened: Opened,
    /// It shares mounts with the host: what is mounted there by one is seen by the other.
    pub(super) shares: bool,
    /// Bound read-only where the source is not there.
    pub(super) instead: Option<PathBuf>,
    /// Only procfs may be bound there.
    pub(super) must_be_proc: bool,
}

/// Who opens a bind's source, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    /// The child, when it is the entry's turn.
    InTurn,
    /// The child, before the host's tree stops sharing mounts with the host: the bind is to share them.
    First,
    /// The parent: the container's user may not reach it, or may not map its ids.
    ByParent,
}

/// A filesystem to mount.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Filesystem {
    pub(super) kind: String,
    /// What mountinfo shows as source, or the device.
    pub(super) source: Option<String>,
    pub(super) settings: Vec<(String, Option<String>)>,
    /// No symbolic link on the way: procfs and sysfs must be where they seem (CVE-2019-19921, CVE-2025-54867).
    pub(super) strict: bool,
    /// tmpfs without `mode`: takes the mode of what it covers.
    pub(super) takes_mode: bool,
    /// Later mountpoints are made in it, so it becomes read-only at the end.
    pub(super) late_read_only: bool,
    /// Bound instead where the kernel refuses to mount it in a user namespace.
    pub(super) instead: Option<PathBuf>,
}

/// Whose mapping an idmapped mount has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IdMap {
    pub(super) recursive: bool,
    /// The mount's own mappings, or the container's; none: the joined user namespace itself.
    pub(super) mappings: Option<(Vec<IdMapping>, Vec<IdMapping>)>,
}

/// What may be mounted inside /proc: files that lxcfs and the like stand in for (runc's list).
const ALLOWED_IN_PROC: &[&str] = &[
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/loadavg",
    "proc/meminfo",
    "proc/net/dev",
    "proc/slabinfo",
    "proc/stat",
    "proc/swaps",
    "proc/sys/crypto/fips_enabled",
    "proc/sys/kernel/ns_last_pid",
    "proc/uptime",
];

/// Decides one entry.
pub(super) fn plan(index: usize, mount: &Mount, request: &Request<'_>, facts: &Facts) -> Result<Entry> {
    let target = inside(&mount.destination);
    ensure!(!target.as_os_str().is_empty(), "a mount over the root itself is not possible");
    let mut options = Options::parse(&mount.options);
    let kind = mount.kind.as_deref().unwrap_or("");
    // "bind" and "rbind" are no filesystems: whoever writes them as a type means the option.
    if options.bind.is_none() && !options.remount && matches!(kind, "bind" | "rbind") {
        options.bind = Some(kind == "rbind");
    }
    let id_map = id_map(mount, &options, facts)?;
    let what = match options.bind {
        _ if options.remount => remount(kind, &options, &target)?,
        Some(recursive) => What::Bind(bind(mount, &options, recursive, &target, id_map.is_some(), request, facts)?),
        None if kind == "cgroup" => cgroup(&mut options, request, facts),
        None => What::Filesystem(filesystem(mount, kind, &mut options, &target, facts)?),
    };
    ensure!(
        id_map.is_none() || matches!(what, What::Bind(_) | What::Filesystem(_)),
        "idmap is possible for bind mounts and new filesystems only"
    );
    let place = format!("mounts[{index}] ({})", mount.destination.display());
    Ok(Entry { place, target, what, options, id_map, kept: false })
}

/// A path of the container, without what leads nowhere: relative to its root, `.` and `..` taken out as Go's Clean does.
pub(super) fn inside(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean
}

fn bind(
    mount: &Mount,
    options: &Options,
    recursive: bool,
    target: &Path,
    mapped: bool,
    request: &Request<'_>,
    facts: &Facts,
) -> Result<Bind> {
    let Some(source) = mount.source.as_ref().filter(|source| !source.as_os_str().is_empty()) else {
        bail!("a bind mount needs a source");
    };
    if let Some(flag) = options.superblock.first() {
        bail!("option {flag} belongs to a whole filesystem and cannot be set by a bind mount");
    }
    allowed_in_proc(target, "bind")?;
    let shares = |kinds: &[Propagation]| options.propagation.iter().any(|(kind, _)| kinds.contains(kind));
    let shared = facts.shared_root && !shares(&[Propagation::Private, Propagation::Slave, Propagation::Unbindable]);
    let opened = match () {
        () if mapped || facts.parent_opens => Opened::ByParent,
        () if shared => Opened::First,
        () => Opened::InTurn,
    };
    Ok(Bind {
        source: request.bundle.join(source),
        recursive,
        follow: !options.source_nofollow,
        copy_symlink: options.copy_symlink,
        opened,
        shares: shared,
        instead: None,
        must_be_proc: target == Path::new("proc"),
    })
}

fn filesystem(mount: &Mount, kind: &str, options: &mut Options, target: &Path, facts: &Facts) -> Result<Filesystem> {
    ensure!(!kind.is_empty() && kind != "none", "the type is missing, and so is the option bind");
    if kind != "proc" || target != Path::new("proc") {
        ensure!(target != Path::new("proc"), "only procfs may be mounted on /proc, not {kind}");
        allowed_in_proc(target, kind)?;
    }
    let mut settings: Vec<(String, Option<String>)> =
        options.superblock.iter().map(|f| ((*f).to_owned(), None)).collect();
    settings.append(&mut options.data.clone());
    if let Some((key, label)) = facts.label.as_ref().filter(|_| takes_label(kind)) {
        settings.push((key.clone(), Some(label.clone())));
    }
    // As mount(2) does: the filesystem of a device is itself mounted read-only, or its journal would be replayed.
    let read_only = options.attributes.set & attribute::READ_ONLY != 0;
    if read_only && !IN_MEMORY.contains(&kind) {
        settings.push(("ro".to_owned(), None));
    }
    // The kernel has one kind of devpts since 4.7 and ignores the word.
    settings.retain(|(key, _)| kind != "devpts" || key != "newinstance");
    let tmpfs = kind == "tmpfs";
    Ok(Filesystem {
        kind: kind.to_owned(),
        source: Some(mount.source.as_ref().map_or(kind.into(), |source| source.to_string_lossy().into_owned())),
        strict: matches!(kind, "proc" | "sysfs"),
        takes_mode: tmpfs && !settings.iter().any(|(key, _)| key == "mode"),
        late_read_only: tmpfs && read_only && !facts.detached,
        instead: instead(kind, facts),
        settings,
    })
}

/// Filesystems without a device, for which read-only is a matter of the mount.
const IN_MEMORY: &[&str] = &[
    "proc", "sysfs", "tmpfs", "ramfs", "devpts", "mqueue", "cgroup", "cgroup2", "overlay", "bpf", "tracefs", "debugfs",
];

/// The kernel's own trees have labels of their own; the label of `mountLabel` is for new files (runc's rule).
fn takes_label(kind: &str) -> bool {
    !matches!(kind, "proc" | "sysfs" | "mqueue" | "cgroup" | "cgroup2")
}

/// In a user namespace that does not own the resource, the kernel refuses a new mount of it: show the host's.
fn instead(kind: &str, facts: &Facts) -> Option<PathBuf> {
    let path = match kind {
        "sysfs" if !facts.new_network => "/sys",
        "mqueue" if !facts.new_ipc => "/dev/mqueue",
        "proc" if !facts.new_pid => "/proc",
        _ => return None,
    };
    facts.user_namespace.then(|| PathBuf::from(path))
}

fn cgroup(options: &mut Options, request: &Request<'_>, facts: &Facts) -> What {
    let own = request.cgroups.hierarchies.iter().any(|hierarchy| hierarchy.name.is_empty());
    let bind = |source: PathBuf| Bind {
        source,
        recursive: true,
        follow: true,
        copy_symlink: false,
        shares: false,
        opened: if facts.parent_opens { Opened::ByParent } else { Opened::InTurn },
        // Without privileges the container may have got no cgroup.
        instead: request.host.rootless().then(|| request.host.cgroup_root.clone()),
        must_be_proc: false,
    };
    match cgroupfs::plan(request.cgroups, request.host) {
        CgroupMount::Tree(tree) => What::Cgroups(tree),
        CgroupMount::Directory(directory) => {
            // Without a cgroup of its own the container sees the host's, and must not write there (CVE-2023-25809).
            if !own {
                options.attributes.set |= attribute::READ_ONLY;
            }
            What::Bind(bind(directory))
        }
        CgroupMount::Unified(directory) => What::Filesystem(Filesystem {
            kind: "cgroup2".to_owned(),
            source: Some("cgroup".to_owned()),
            settings: Vec::new(),
            strict: false,
            takes_mode: false,
            late_read_only: false,
            instead: Some(directory),
        }),
    }
}

fn remount(kind: &str, options: &Options, target: &Path) -> Result<What> {
    allowed_in_proc(target, "remount")?;
    let flags = options.superblock.iter().map(|flag| ((*flag).to_owned(), None));
    let settings = match options.bind {
        Some(_) => Vec::new(),
        None => flags.chain(options.data.iter().cloned()).collect(),
    };
    Ok(What::Remount { kind: kind.to_owned(), settings })
}

fn allowed_in_proc(target: &Path, kind: &str) -> Result<()> {
    let inside = target.starts_with("proc") && target != Path::new("proc");
    ensure!(
        !inside || ALLOWED_IN_PROC.iter().any(|allowed| target == Path::new(allowed)),
        "a {kind} mount inside /proc is not allowed: it could feign what the runtime relies on"
    );
    Ok(())
}

fn id_map(mount: &Mount, options: &Options, facts: &Facts) -> Result<Option<IdMap>> {
    let given = (!mount.uid_mappings.is_empty(), !mount.gid_mappings.is_empty());
    let recursive = options.id_map == Some(true);
    let mappings = match given {
        (true, true) => Some((mount.uid_mappings.clone(), mount.gid_mappings.clone())),
        (false, false) if options.id_map.is_none() => return Ok(None),
        (false, false) => match &facts.container_mappings {
            Some(mappings) => Some(mappings.clone()),
            None if facts.joins_user_namespace => None,
            None => bail!("idmap needs uidMappings and gidMappings, or a container with a user namespace"),
        },
        _ => bail!("uidMappings and gidMappings must be given together"),
    };
    Ok(Some(IdMap { recursive, mappings }))
}

impl Entry {
    /// A filesystem that becomes read-only when nothing is made in it any more.
    pub(super) fn read_only_late(&self) -> bool {
        matches!(&self.what, What::Filesystem(filesystem) if filesystem.late_read_only)
    }

    /// Attributes of the mount alone.
    pub(super) fn attributes(&self) -> Attributes {
        self.options.attributes
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.place)?;
        match &self.what {
            What::Bind(bind) => {
                write!(f, "{} {}", if bind.recursive { "rbind" } else { "bind" }, bind.source.display())?;
                match bind.opened {
                    Opened::InTurn => {}
                    Opened::First => write!(f, " (opened first)")?,
                    Opened::ByParent => write!(f, " (opened by the parent)")?,
                }
            }
            What::Filesystem(filesystem) => {
                write!(f, "{}", filesystem.kind)?;
                if let Some(source) = &filesystem.source {
                    write!(f, " from {source}")?;
                }
                if let Some(instead) = &filesystem.instead {
                    write!(f, ", or bind {}", instead.display())?;
                }
            }
            What::Cgroups(tree) => write!(f, "{}", CgroupMount::Tree(tree.clone()))?,
            What::Remount { .. } => write!(f, "change")?,
        }
        let settings = match &self.what {
            What::Filesystem(filesystem) => filesystem.settings.as_slice(),
            What::Remount { settings, .. } => settings,
            _ => &[],
        };
        match self.options.shown(settings) {
            words if words.is_empty() => Ok(()),
            words => write!(f, "; {words}"),
        }?;
        match &self.id_map {
            Some(map) => {
                write!(f, "; ids mapped by {}", if map.mappings.is_some() { "given ranges" } else { "the container" })
            }
            None => Ok(()),
        }
    }
}
