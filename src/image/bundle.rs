//! From an image to a bundle: root filesystem and config.json.

use crate::config::{IdMapping, Mount};
use crate::image::configuration::ImageConfiguration;
use crate::image::digest::Digest;
use crate::image::store::{LayerDirectory, Store};
use anyhow::Result;
use std::path::{Path, PathBuf};

/// How the root filesystem of a bundle is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rootfs {
    /// An overlay mount upon the shared layers: made in milliseconds, shared by all bundles of the image.
    #[default]
    Overlay,
    /// A plain copy of the merged tree.
    Copy,
}

/// The network of the container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Network {
    /// A new network namespace with a loopback device.
    #[default]
    Private,
    /// The network of the host.
    Host,
}

/// Seccomp profile of the container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SeccompChoice {
    /// None.
    #[default]
    Unconfined,
    /// Ours, which allows what Docker's default profile allows.
    Default,
    /// A file with a `linux.seccomp` object, or Docker's format of it.
    File(PathBuf),
}

/// What the user asks for besides what the image says.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Instead of the image's `Cmd` (and after its `Entrypoint`).
    pub command: Vec<String>,
    /// Instead of the image's `Entrypoint`; `Some(vec![])` removes it.
    pub entrypoint: Option<Vec<String>>,
    /// `NAME=VALUE`, or `NAME` for the caller's value.
    pub env: Vec<String>,
    /// `USER[:GROUP]`, names or numbers, instead of the image's.
    pub user: Option<String>,
    /// Instead of the image's.
    pub working_directory: Option<String>,
    /// The container's host name.
    pub hostname: Option<String>,
    /// More mounts.
    pub mounts: Vec<Mount>,
    /// The root filesystem is read-only.
    pub read_only: bool,
    /// A pseudoterminal.
    pub terminal: bool,
    /// Bytes.
    pub memory: Option<i64>,
    /// Cores: 1.5 is one and a half.
    pub cpus: Option<f64>,
    /// Number of processes.
    pub pids: Option<i64>,
    /// A new user namespace with these mappings (users, groups); files shown shifted.
    pub user_namespace: Option<(Vec<IdMapping>, Vec<IdMapping>)>,
    /// Network.
    pub network: Network,
    /// Seccomp.
    pub seccomp: SeccompChoice,
    /// More capabilities, `CAP_X` or `X`, or `ALL`.
    pub capabilities_add: Vec<String>,
    /// Fewer capabilities.
    pub capabilities_drop: Vec<String>,
}

/// One bundle to make.
#[derive(Debug)]
pub struct Request<'a> {
    /// Where: made if absent.
    pub directory: &'a Path,
    /// How the image was named.
    pub reference: &'a str,
    /// The digest of the image's manifest in the store.
    pub manifest: &'a Digest,
    /// The image's config.
    pub image: &'a ImageConfiguration,
    /// Lowest first, from `layers::prepare`.
    pub layers: &'a [LayerDirectory],
    /// Overlay or copy.
    pub rootfs: Rootfs,
    /// The user's wishes.
    pub options: &'a Options,
}

/// Makes a bundle; on an error nothing of it is left.
pub fn create(store: &Store, request: &Request<'_>) -> Result<()> {
    let _ = (store, request);
    anyhow::bail!("bundles cannot be made yet")
}

/// Mounts the overlay root filesystem of a bundle again (after a reboot).
pub fn mount(store: &Store, directory: &Path) -> Result<()> {
    let _ = (store, directory);
    anyhow::bail!("bundles cannot be mounted yet")
}

/// Unmounts the overlay root filesystem; the writable layer stays.
pub fn unmount(directory: &Path) -> Result<()> {
    let _ = directory;
    anyhow::bail!("bundles cannot be unmounted yet")
}

/// Unmounts and removes a bundle that `create` made, and nothing else in its directory.
pub fn remove(store: &Store, directory: &Path) -> Result<()> {
    let _ = (store, directory);
    anyhow::bail!("bundles cannot be removed yet")
}
