//! What the container's root filesystem needs, decided before anything is done.

use super::build::Last;
use super::devices::{self, Devices};
use super::entry::{self, Entry, What};
use crate::config::{Config, IdMapping, Linux};
use crate::host::{CgroupMode, Host};
use crate::sys::mount::Propagation;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One cgroup hierarchy as the container may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// `cpu,cpuacct`, `name=systemd`, or nothing for cgroup2.
    pub name: String,
    /// Where the host mounts it.
    pub mount: PathBuf,
    /// The container's directory in it, on the host.
    pub directory: PathBuf,
}

/// The container's cgroup as far as mounts of type `cgroup` show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupView {
    /// Layout of the host.
    pub mode: CgroupMode,
    /// The hierarchies that the container is in.
    pub hierarchies: Vec<Hierarchy>,
    /// The container has a cgroup namespace of its own.
    pub private_namespace: bool,
}

/// What [`plan`] decides from.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The container's configuration.
    pub config: &'a Config,
    /// Facts of the host.
    pub host: &'a Host,
    /// Absolute path of the bundle; relative paths begin there.
    pub bundle: &'a Path,
    /// The container's cgroup.
    pub cgroups: &'a CgroupView,
    /// Move the root over `/` instead of pivot_root(2), for a root on an initial ramdisk.
    pub no_pivot: bool,
    /// A user namespace is made for the container.
    pub new_user_namespace: bool,
}

/// How the tree becomes the root of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Switch {
    /// pivot_root(2), and the host's tree is gone.
    Pivot,
    /// The tree is moved over `/`, for roots that pivot_root(2) refuses.
    Move,
    /// chroot(2): the mount namespace is not the container's alone. What is mounted stays in a tree that is attached
    /// nowhere, so nothing is seen by others, and nothing is left behind.
    Chroot,
}

/// The steps that make the root filesystem.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub(super) root: PathBuf,
    pub(super) switch: Switch,
    /// What the copy of the host's tree becomes first.
    pub(super) host_propagation: Propagation,
    pub(super) mounts: Vec<Entry>,
    pub(super) devices: Option<Devices>,
    /// The parent opens the root and the bind sources: the container's user may not reach them.
    pub(super) parent_opens: bool,
    pub(super) last: Last,
}

/// What config.json says about the container as a whole, as far as single mounts depend on it.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) user_namespace: bool,
    pub(super) joins_user_namespace: bool,
    pub(super) new_network: bool,
    pub(super) new_ipc: bool,
    pub(super) new_pid: bool,
    pub(super) parent_opens: bool,
    pub(super) shared_root: bool,
    pub(super) detached: bool,
    /// Option name and label for new filesystems.
    pub(super) label: Option<(String, String)>,
    pub(super) container_mappings: Option<(Vec<IdMapping>, Vec<IdMapping>)>,
}

/// Decides how the root filesystem is made.
///
/// # Errors
///
/// A mount, device or path that the spec or safety forbids, named by its place in config.json.
pub fn plan(request: &Request<'_>) -> Result<Plan> {
    let default = Linux::default();
    let linux = request.config.linux.as_ref().unwrap_or(&default);
    let root = request.config.root.as_ref().context("root is missing")?;
    ensure!(!root.path.as_os_str().is_empty(), "root.path is empty");
    let root_propagation = root_propagation(linux.rootfs_propagation.as_deref())?;
    let facts = facts(request, linux, root_propagation);
    let mut mounts = Vec::with_capacity(request.config.mounts.len());
    for (index, mount) in request.config.mounts.iter().enumerate() {
        let place = || format!("mounts[{index}] ({})", mount.destination.display());
        mounts.push(entry::plan(index, mount, request, &facts).with_context(place)?);
    }
    let devices = devices::plan(&linux.devices, &mounts, facts.user_namespace)?;
    keep_what_is_built_upon(&mut mounts, devices.as_ref());
    let host_propagation = match root_propagation {
        Some((Propagation::Private | Propagation::Unbindable, _)) => Propagation::Private,
        _ => Propagation::Slave,
    };
    Ok(Plan {
        root: request.bundle.join(&root.path),
        switch: switch(request, &facts),
        host_propagation,
        mounts,
        devices,
        parent_opens: facts.parent_opens,
        last: Last {
            masked: absolute(&linux.masked_paths, "linux.maskedPaths")?,
            read_only_paths: absolute(&linux.readonly_paths, "linux.readonlyPaths")?,
            // Private is what the root is from the beginning.
            propagation: root_propagation.filter(|(kind, _)| *kind != Propagation::Private),
            read_only: root.readonly,
            open_tree_attr: request.host.kernel >= (6, 15),
            label: facts.label,
        },
    })
}

fn facts(request: &Request<'_>, linux: &Linux, root_propagation: Option<(Propagation, bool)>) -> Facts {
    let namespace = |kind: &str| linux.namespaces.iter().find(|namespace| namespace.kind == kind);
    let new = |kind: &str| namespace(kind).is_some_and(|namespace| is_new(namespace.path.as_deref()));
    let joins = |kind: &str| namespace(kind).is_some_and(|namespace| !is_new(namespace.path.as_deref()));
    let mapped = request.new_user_namespace && !linux.uid_mappings.is_empty() && !linux.gid_mappings.is_empty();
    // Without SELinux no mount has a context, so none can be missing: the label that confines is the process', and that
    // one is an error where it cannot be applied (`process::lsm`). crun decides alike.
    let label = linux.mount_label.as_ref().filter(|label| !label.is_empty() && request.host.selinux);
    let label_kind = request.config.annotations.get("run.oci.mount_context_type").map_or("context", String::as_str);
    Facts {
        user_namespace: request.new_user_namespace || joins("user") || request.host.rootless(),
        joins_user_namespace: joins("user"),
        new_network: new("network"),
        new_ipc: new("ipc"),
        new_pid: new("pid"),
        parent_opens: (request.new_user_namespace || joins("user")) && request.host.euid == 0,
        shared_root: matches!(root_propagation, Some((Propagation::Shared, _))),
        detached: !new("mount"),
        label: label.map(|label| (label_kind.to_owned(), label.clone())),
        container_mappings: mapped.then(|| (linux.uid_mappings.clone(), linux.gid_mappings.clone())),
    }
}

fn is_new(path: Option<&Path>) -> bool {
    path.is_none_or(|path| path.as_os_str().is_empty())
}

fn switch(request: &Request<'_>, facts: &Facts) -> Switch {
    match facts.detached {
        true => Switch::Chroot,
        false if request.no_pivot => Switch::Move,
        false => Switch::Pivot,
    }
}

fn root_propagation(word: Option<&str>) -> Result<Option<(Propagation, bool)>> {
    let Some(word) = word.filter(|word| !word.is_empty()) else { return Ok(None) };
    let kind = match word.strip_prefix('r').unwrap_or(word) {
        "shared" => Propagation::Shared,
        "slave" => Propagation::Slave,
        "private" => Propagation::Private,
        "unbindable" => Propagation::Unbindable,
        _ => bail!("linux.rootfsPropagation: {word:?} is none of [r]shared, [r]slave, [r]private, [r]unbindable"),
    };
    Ok(Some((kind, word.starts_with('r'))))
}

fn absolute(paths: &[PathBuf], place: &str) -> Result<Vec<PathBuf>> {
    for (index, path) in paths.iter().enumerate() {
        ensure!(path.is_absolute(), "{place}[{index}] ({}): must be an absolute path", path.display());
    }
    Ok(paths.iter().map(|path| entry::inside(path)).collect())
}

/// A filesystem that later mountpoints or devices are made in directly is kept open: no path is looked up for them.
fn keep_what_is_built_upon(mounts: &mut [Entry], devices: Option<&Devices>) {
    let mut later = BTreeSet::new();
    for entry in mounts.iter_mut().rev() {
        let for_devices = devices.is_some() && entry.target == Path::new("dev");
        entry.kept = matches!(entry.what, What::Filesystem(_)) && (for_devices || later.contains(&entry.target));
        later.extend(entry.target.parent().map(Path::to_owned));
    }
}

impl Plan {
    /// The lines of what is done while the host's tree is in sight; the hooks of the runtime's namespace come after it.
    pub fn show_build(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.switch {
            Switch::Chroot => writeln!(f, "root {}: a private tree, attached nowhere", self.root.display())?,
            _ => {
                writeln!(f, "host's tree: r{}", self.host_propagation.word())?;
                writeln!(f, "root {}: bound to itself, private", self.root.display())?;
            }
        }
        self.mounts.iter().try_for_each(|entry| writeln!(f, "{entry}"))?;
        self.devices.iter().try_for_each(|devices| write!(f, "{devices}"))
    }

    /// The lines of the switch to the new root, and of what comes after it.
    pub fn show_finish(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.switch {
            Switch::Pivot => writeln!(f, "pivot_root")?,
            Switch::Move => writeln!(f, "move the root over /, chroot")?,
            Switch::Chroot => writeln!(f, "chroot")?,
        }
        let last = &self.last;
        last.read_only_paths.iter().try_for_each(|path| writeln!(f, "read-only /{}", path.display()))?;
        last.masked.iter().try_for_each(|path| writeln!(f, "mask /{}", path.display()))?;
        for entry in self.mounts.iter().filter(|entry| entry.read_only_late()) {
            writeln!(f, "read-only mount /{}", entry.target.display())?;
        }
        if let Some((kind, recursive)) = last.propagation {
            writeln!(f, "root: {}{}", if recursive { "r" } else { "" }, kind.word())?;
        }
        if last.read_only {
            writeln!(f, "root: read-only")?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.show_build(f)?;
        self.show_finish(f)
    }
}
