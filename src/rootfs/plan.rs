//! What the container's root filesystem needs, decided before anything is done.

use crate::config::Config;
use crate::host::{CgroupMode, Host};
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

/// The steps that make the root filesystem.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {}

/// Decides how the root filesystem is made.
///
/// # Errors
///
/// A mount, device or path that the spec or safety forbids, named by its place in config.json.
pub fn plan(_request: &Request) -> anyhow::Result<Plan> {
    Ok(Plan {})
}

impl std::fmt::Display for Plan {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}
