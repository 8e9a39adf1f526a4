//! The root filesystem of a bundle: an overlay upon the shared layers, or a plain copy; shifted for a user namespace.

use super::idmap::user_namespace;
use super::record::{Record, changed};
use crate::image::overlay::{self, borrowed};
use crate::image::store::{LayerDirectory, Store};
use crate::image::unpack::{Ids, Stack};
use crate::image::{copy, copy_tree};
use crate::sys::mount::Change;
use crate::sys::{self, Asked};
use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Directories of an overlay bundle besides `rootfs`.
pub(super) const WRITABLE: [&str; 2] = ["upper", "work"];

/// Opens layers, top first.
pub(super) fn open_layers(layers: &[LayerDirectory]) -> Result<Vec<OwnedFd>> {
    layers.iter().rev().map(LayerDirectory::open).collect()
}

/// Makes the writable directory: it is the root of the container, so it gets the attributes of the image's root.
pub(super) fn make_writable(bundle: &OwnedFd, record: &Record, layers: &[OwnedFd]) -> Result<()> {
    for name in WRITABLE {
        make(bundle, name)?;
    }
    let upper = open(bundle, "upper")?;
    if let Some(top) = layers.first() {
        copy::directory_attributes(top.as_fd(), upper.as_fd(), &owner(record))?;
    }
    Ok(())
}

/// Mounts the overlay of a bundle at `rootfs`.
pub(super) fn mount(bundle: &OwnedFd, directory: &Path, record: &Record, layers: &[OwnedFd]) -> Result<()> {
    let shifted;
    let layers = match &record.user_namespace {
        None => layers,
        Some((uids, gids)) => {
            let namespace = user_namespace(uids, gids)?;
            shifted = layers.iter().map(|layer| shift(layer, &namespace)).collect::<Result<Vec<_>>>()?;
            shifted.as_slice()
        }
    };
    let (upper, work) = (open(bundle, "upper")?, open(bundle, "work")?);
    let empty;
    let mut lowers = borrowed(layers);
    if lowers.is_empty() {
        // An image without layers: overlayfs wants one.
        make(bundle, "empty")?;
        empty = open(bundle, "empty")?;
        lowers.push(empty.as_fd());
    }
    let layers = overlay::Layers { lowers, upper: upper.as_fd(), work: work.as_fd(), volatile: record.temporary };
    overlay::mount(&layers, &directory.join("rootfs"))
}

/// A layer whose ids appear as the user namespace's (mount_setattr(2), MOUNT_ATTR_IDMAP).
fn shift(layer: &OwnedFd, namespace: &OwnedFd) -> Result<OwnedFd> {
    let mount = sys::mount::open_tree(layer, Path::new(""), false, false)?;
    let change = Change { id_map: Some(namespace.as_fd()), ..Change::default() };
    sys::mount::mount_setattr(&mount, &change).context("the file system of the store cannot shift ids")?;
    Ok(mount)
}

/// Copies the merged layers into `rootfs`.
pub(super) fn copy(store: &Store, bundle: &OwnedFd, record: &Record, layers: &[OwnedFd]) -> Result<()> {
    let rootfs = open(bundle, "rootfs")?;
    let stack = Stack::new(borrowed(layers));
    if layers.is_empty() {
        return Ok(());
    }
    copy_tree::tree(store, &stack, &stack.root()?, rootfs.as_fd(), &owner(record))
}

/// Who owns a file of the image on disk.
pub(super) fn owner(record: &Record) -> impl Fn(u32, u32) -> Result<(u32, u32)> {
    let ids = match &record.user_namespace {
        // Who is not root owns the files himself, and the namespace maps him; within that namespace ids are the image's.
        Some((uids, gids)) if rustix::process::geteuid().is_root() && !record.is_entered() => {
            Ids::Mapped { uids: uids.clone(), gids: gids.clone() }
        }
        _ => Ids::Kept,
    };
    move |uid, gid| Ok(ids.owner(uid, gid)?.unwrap_or((uid, gid)))
}

/// Gives a new directory to the container's root.
pub(super) fn give_to_root(directory: &OwnedFd, record: &Record) -> Result<()> {
    let (uid, gid) = owner(record)(0, 0)?;
    if (uid, gid) == (0, 0) || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    Ok(rustix::fs::fchown(directory, Some(uid), Some(gid)).asked(|| "fchown".to_owned())?)
}

pub(super) fn make(bundle: &OwnedFd, name: &str) -> Result<()> {
    match rustix::fs::mkdirat(bundle, name, Mode::from_raw_mode(0o755)) {
        Err(rustix::io::Errno::EXIST) => bail!("{name} is there already"),
        other => Ok(other.asked(|| format!("mkdir {name}"))?),
    }
}

/// The time by the clock of the bundle's file system, which may be a server's: what `rootfs`, not mounted upon yet or a plain
/// tree, says of its last change when it is changed now.
pub(super) fn now(bundle: &OwnedFd) -> Result<(i64, u32)> {
    let rootfs = open(bundle, "rootfs")?;
    let stat = || rustix::fs::fstat(&rootfs).asked(|| "fstat rootfs".to_owned());
    rustix::fs::futimens(&rootfs, &copy::times_of(&stat()?)).asked(|| "futimens rootfs".to_owned())?;
    Ok(changed(&stat()?))
}

pub(super) fn open(bundle: &OwnedFd, name: &str) -> Result<OwnedFd> {
    Ok(sys::files::open_at(bundle, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?)
}
