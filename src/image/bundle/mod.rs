//! From an image to a bundle: root filesystem and config.json.
//!
//! ```text
//! DIR/config.json          for the runtime
//!     ocicat-image.json    where this came from; written first, removed last
//!     rootfs/              the overlay mount, or a plain tree
//!     upper/ work/         what the container writes (overlay)
//!     volumes/N/           a directory for each volume of the image
//! ```

mod convert;
mod idmap;
mod in_use;
mod record;
mod rootfs;
mod seccomp;
mod user;

pub use in_use::{InUse, refuse_used, remove_abandoned};
pub use record::{Made, Record};

use crate::config::{Config, IdMapping, Mount};
use crate::host::Host;
use crate::image::configuration::ImageConfiguration;
use crate::image::digest::{Digest, chain_ids};
use crate::image::store::{LayerDirectory, Store};
use crate::image::unpack::Stack;
use crate::image::{copy, copy_tree, overlay, remove};
use crate::sys::{self, Asked};
use anyhow::{Context, Result, bail};
use convert::Facts;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use user::Accounts;

/// What `create` makes in the directory of a bundle.
const PARTS: [&str; 7] = ["config.json", "rootfs", "upper", "work", "volumes", "empty", record::NAME];

/// How the root filesystem of a bundle is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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

impl Options {
    /// True when the user namespace has one group.
    fn has_one_group(&self) -> bool {
        let groups =
            |(_, gids): &(Vec<IdMapping>, Vec<IdMapping>)| gids.iter().map(|range| u64::from(range.size)).sum();
        self.user_namespace.as_ref().map(groups) == Some(1)
    }
}

/// Makes a plain tree in the directory.
pub type MakeTree<'a> = dyn Fn(BorrowedFd<'_>) -> Result<()> + 'a;

/// One bundle to make.
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
    /// Makes the root filesystem, a plain tree with its ids mapped if they are to be, while the layers come: then there are
    /// no `layers`.
    pub tree: Option<&'a MakeTree<'a>>,
    /// Overlay or copy.
    pub rootfs: Rootfs,
    /// The bundle goes with its container: nothing that is written need reach the disk.
    pub temporary: bool,
    /// The user's wishes.
    pub options: &'a Options,
}

/// Makes a bundle; on an error nothing of it is left.
pub fn create(store: &Store, request: &Request<'_>) -> Result<()> {
    let directory = sys::files::absolute(request.directory)?;
    let made = make_directory(&directory)?;
    let bundle = sys::files::open(&directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
    let there = |name: &&str| !made && rustix::fs::statat(&bundle, *name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    if let Some(name) = PARTS.into_iter().find(there) {
        bail!("{} is there already; hint: `ocicat-image remove` takes a bundle away", directory.join(name).display());
    }
    let created = fill(store, request, &directory, &bundle);
    if created.is_err() {
        let _ = take_apart(store, &directory, &bundle);
        if made {
            let _ = rustix::fs::rmdir(&directory);
        }
    }
    created
}

/// True when the directory was not there before.
fn make_directory(directory: &Path) -> Result<bool> {
    // 0700: set-user-id files of the image lie below.
    match rustix::fs::mkdir(directory, Mode::RWXU) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Ok(Err(errno).asked(|| format!("mkdir {}", directory.display()))?),
    }
}

fn fill(store: &Store, request: &Request<'_>, directory: &Path, bundle: &OwnedFd) -> Result<()> {
    let host = Host::read();
    let mut options = request.options.clone();
    if options.user_namespace.is_none() && host.euid != 0 {
        // Who is not root can only be root of himself.
        let own = |host_id| vec![IdMapping { container_id: 0, host_id, size: 1 }];
        options.user_namespace = Some((own(host.euid), own(host.egid)));
    }
    let mut record = Record {
        reference: request.reference.to_owned(),
        manifest: request.manifest.clone(),
        store: store.path().to_owned(),
        chain_ids: match request.tree {
            None => request.layers.iter().map(|layer| layer.chain_id.clone()).collect(),
            Some(_) => chain_ids(&request.image.rootfs.diff_ids),
        },
        rootfs: if request.tree.is_some() { Rootfs::Copy } else { request.rootfs },
        temporary: request.temporary,
        user_namespace: options.user_namespace.clone(),
        made: None,
    };
    store.note_bundle(&record.in_store(directory))?;
    record.write(bundle)?;
    rootfs::make(bundle, "rootfs")?;
    let from = rootfs::now(bundle)?;
    let content = match request.tree {
        None => Content { store, layers: lay_or_copy(store, request, directory, bundle, &mut record)?, shifted: false },
        Some(make) => {
            let tree = rootfs::open(bundle, "rootfs")?;
            rootfs::give_to_root(&tree, &record)?;
            make(tree.as_fd())?;
            Content { store, layers: vec![tree], shifted: true }
        }
    };
    if record.rootfs == Rootfs::Copy {
        record.made = Some(Made { from, until: rootfs::now(bundle)? });
        record.write(bundle)?;
    }
    let config = configure(request.image, &options, &host, directory, bundle, &record, &content)?;
    let bytes = serde_json::to_vec_pretty(&config).context("config.json")?;
    Ok(sys::files::replace_at(bundle, "config.json", &bytes, 0o600)?)
}

/// What the image has, top first.
struct Content<'s> {
    store: &'s Store,
    layers: Vec<OwnedFd>,
    /// The owners are those of the user namespace already.
    shifted: bool,
}

/// Makes the root filesystem of layers that are there; answers them, opened.
fn lay_or_copy(
    store: &Store,
    request: &Request<'_>,
    directory: &Path,
    bundle: &OwnedFd,
    record: &mut Record,
) -> Result<Vec<OwnedFd>> {
    let layers = rootfs::open_layers(request.layers)?;
    if record.rootfs == Rootfs::Overlay && !lay(store, bundle, directory, record, &layers)? {
        record.rootfs = Rootfs::Copy;
        record.write(bundle)?;
    }
    if record.rootfs == Rootfs::Copy {
        rootfs::copy(store, bundle, record, &layers)?;
    }
    Ok(layers)
}

/// Mounts the overlay; false where this kernel or this user cannot, and nothing of it is left.
fn lay(store: &Store, bundle: &OwnedFd, directory: &Path, record: &Record, layers: &[OwnedFd]) -> Result<bool> {
    rootfs::make_writable(bundle, record, layers)?;
    let Err(error) = rootfs::mount(bundle, directory, record, layers) else {
        store.note_mount(record.in_store(directory), rootfs::open(bundle, "rootfs")?.as_fd())?;
        return Ok(true);
    };
    let refused = [libc::EPERM, libc::ENODEV, libc::EINVAL, libc::EOPNOTSUPP];
    if !sys::errno_of(&error).is_some_and(|errno| refused.contains(&errno.0)) {
        return Err(error);
    }
    for name in rootfs::WRITABLE {
        remove::tree(bundle.as_fd(), &CString::new(name)?)?;
    }
    Ok(false)
}

fn configure(
    image: &ImageConfiguration,
    options: &Options,
    host: &Host,
    directory: &Path,
    bundle: &OwnedFd,
    record: &Record,
    content: &Content<'_>,
) -> Result<Config> {
    let root = rootfs::open(bundle, "rootfs")?;
    let accounts = Accounts::read(root.as_fd())?;
    let mut account = accounts.find(options.user.as_deref().unwrap_or(&image.config.user))?;
    if options.has_one_group() {
        // Who may map only his own group must give up setgroups(2) for it (user_namespaces(7)), and has no other group anyway.
        account.user.additional_gids.clear();
    }
    let volumes = volumes(image, options, directory, bundle, record, content)?;
    let seccomp_file = match &options.seccomp {
        SeccompChoice::File(path) => Some(sys::files::read(path, 1 << 20)?),
        _ => None,
    };
    let exists = |path: &PathBuf| path.exists();
    let name = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let facts = Facts {
        account: &account,
        host,
        hostname: &hostname(&name),
        volumes: &volumes,
        seccomp_file: seccomp_file.as_deref(),
        masked: &thermal_paths(),
        network_files: &["/etc/resolv.conf", "/etc/hosts"]
            .map(PathBuf::from)
            .into_iter()
            .filter(exists)
            .collect::<Vec<_>>(),
    };
    convert::config(image, options, &facts)
}

/// The bundle's name as far as it can be a host name.
fn hostname(name: &str) -> String {
    let fit: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(63).collect();
    let fit = fit.trim_matches('-');
    if fit.is_empty() { "container".to_owned() } else { fit.to_owned() }
}

/// Counters of the processor's temperature, from which other containers' work can be read.
fn thermal_paths() -> Vec<PathBuf> {
    let path = |cpu: u32| PathBuf::from(format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle"));
    (0..4096).map(path).take_while(|path| path.exists()).collect()
}

/// A directory of its own for each volume of the image, with what the image has there.
fn volumes(
    image: &ImageConfiguration,
    options: &Options,
    directory: &Path,
    bundle: &OwnedFd,
    record: &Record,
    content: &Content<'_>,
) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut made = Vec::new();
    let mapped = rootfs::owner(record);
    let owner: copy::Owner<'_> = if content.shifted { &copy::same_owner } else { &mapped };
    for volume in image.config.volumes.keys() {
        let inside = PathBuf::from(convert::absolute(volume));
        if inside == Path::new("/") || options.mounts.iter().any(|mount| mount.destination == inside) {
            continue;
        }
        if made.is_empty() {
            rootfs::make(bundle, "volumes")?;
        }
        let name = format!("volumes/{}", made.len());
        rootfs::make(bundle, &name)?;
        let to = rootfs::open(bundle, &name)?;
        let stack = Stack::new(overlay::borrowed(&content.layers));
        // Links of the image end within its root (CVE-2022-23648).
        let real = stack.resolve(inside.as_os_str().as_bytes()).with_context(|| format!("volume {volume}"))?;
        match real.last() {
            Some((_, Some(merged))) => copy_tree::tree(content.store, &stack, merged, to.as_fd(), owner)?,
            _ => rootfs::give_to_root(&to, record).context(name.clone())?,
        }
        made.push((inside, directory.join(name)));
    }
    Ok(made)
}

/// Mounts the overlay root filesystem of a bundle again (after a reboot).
pub fn mount(store: &Store, directory: &Path) -> Result<()> {
    let directory = sys::files::absolute(directory)?;
    let record = Record::read(&directory)?;
    if record.rootfs != Rootfs::Overlay || overlay::is_mounted(&directory.join("rootfs")) {
        return Ok(());
    }
    let bundle = sys::files::open(&directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
    // It may have been moved.
    store.note_bundle(&record.in_store(&directory))?;
    rootfs::mount(&bundle, &directory, &record, &rootfs::open_layers(&record.layers(store)?)?)?;
    store.note_mount(record.in_store(&directory), rootfs::open(&bundle, "rootfs")?.as_fd())
}

/// Unmounts the overlay root filesystem; the writable layer stays.
pub fn unmount(directory: &Path) -> Result<()> {
    let directory = sys::files::absolute(directory)?;
    Record::read(&directory)?;
    Ok(overlay::unmount(&directory.join("rootfs"))?)
}

/// Unmounts and removes a bundle that `create` made, and nothing else in its directory.
pub fn remove(store: &Store, directory: &Path) -> Result<()> {
    let directory = sys::files::absolute(directory)?;
    Record::read(&directory)?;
    let bundle = sys::files::open(&directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
    take_apart(store, &directory, &bundle)?;
    match rustix::fs::rmdir(&directory) {
        Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY) => Ok(()),
        Err(errno) => Ok(Err(errno).asked(|| format!("rmdir {}", directory.display()))?),
    }
}

/// The mount first, the record last: whoever is killed in between can remove it again.
fn take_apart(store: &Store, directory: &Path, bundle: &OwnedFd) -> Result<()> {
    overlay::unmount(&directory.join("rootfs"))?;
    for name in PARTS.into_iter().filter(|name| *name != record::NAME) {
        remove::tree(bundle.as_fd(), &CString::new(name)?).with_context(|| directory.display().to_string())?;
    }
    store.forget_bundle(directory)?;
    remove::tree(bundle.as_fd(), &CString::new(record::NAME)?)?;
    Ok(())
}

#[cfg(test)]
mod tests;
