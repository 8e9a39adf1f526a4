//! The store: content-addressed blobs in an OCI image layout that other tools read, and beside them the unpacked layers.
//!
//! ```text
//! STORE/                       0700: set-user-id files of images lie below (CVE-2021-41103)
//!   oci-layout  index.json     image-spec image-layout.md; a reference is the annotation org.opencontainers.image.ref.name
//!   blobs/sha256/HEX           complete and verified, or absent
//!   ocicat/
//!     lock                     shared by everybody who uses the store, exclusive for gc
//!     index.lock               held while index.json is read, changed and replaced
//!     tmp/                     what is being made; everything here is garbage when nobody holds `lock`
//!     layers/HEX/              the unpacked layer of that chain id: `tree`, and `record.json`
//!     bundles/HEX              which bundle (its path) uses which layers
//!     unsynced/BOOT/KIND-HEX   published in that boot and not yet known to be on the disk; unsynced.lock
//! ```
//!
//! Everything is made under `tmp/` and published by one rename. Data is not synced at each publishing: that costs more
//! than the download. Instead a mark in `unsynced/` goes before the rename, and whoever opens the store after a
//! reboot verifies what is still marked; a later command takes the marks away when syncing costs nothing any more.
//! A blob or layer that claims to be whole is whole, after any kill or crash.

mod blob;
mod bundles;
mod garbage;
mod index;
mod layer;
mod ledger;
mod lock;

pub use blob::{BlobReader, BlobWriter};
pub use bundles::BundleUse;
pub use garbage::{Collected, Problem};
pub use index::Tag;
pub use layer::{LayerDirectory, LayerDraft, LayerRecord};
pub use ledger::WHILE_WAITING;
pub(crate) use lock::Held;

use crate::image::digest::Digest;
use crate::sys::{self, Asked};
use anyhow::{Context, Result, bail};
use rustix::fs::{Access, AtFlags, Mode, OFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// An open store. Any number of processes and threads may use one at once.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    root: OwnedFd,
    /// Shared lock for as long as the store is open: what is being made is not garbage.
    lock: OwnedFd,
    sequence: AtomicU64,
    boot: String,
    stop: Stop,
}

/// Tells whether long work is to end.
#[derive(Default)]
struct Stop(Option<Box<dyn Fn() -> bool + Send + Sync>>);

impl std::fmt::Debug for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "asks" } else { "never" })
    }
}

/// Directories that a store has, in the order they are made.
const DIRECTORIES: [&str; 8] = [
    "blobs",
    "blobs/sha256",
    "ocicat",
    "ocicat/tmp",
    "ocicat/layers",
    "ocicat/bundles",
    "ocicat/unsynced",
    "ocicat/locks",
];

impl Store {
    /// Opens the store at `path`, and makes it if it is not there; any OCI image layout will do.
    pub fn open(path: &Path) -> Result<Store> {
        let path = sys::files::absolute(path).with_context(|| format!("store {}", path.display()))?;
        let store = Store::open_absolute(&path).with_context(|| format!("store {}", path.display()))?;
        store.verify_unsynced()?;
        // Marks that stay cost only the next boot.
        let _ = store.make_durable_if_cheap(ledger::ON_THE_WAY);
        Ok(store)
    }

    /// Opens the store at `path` for reading: nothing is made, and it may be read-only. `None` if it is not there.
    pub fn open_to_read(path: &Path) -> Result<Option<Store>> {
        let path = std::path::absolute(path).with_context(|| format!("store {}", path.display()))?;
        let root = match sys::files::open(&path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(error) if error.errno.0 == libc::ENOENT => return Ok(None),
            other => other.with_context(|| format!("store {}", path.display()))?,
        };
        let read = || -> Result<Store> {
            let lock = match lock::open_to_read(root.as_fd()) {
                // A layout that only others used so far: no `gc` of ours is in it.
                Err(error) if error.errno.0 == libc::ENOENT => sys::files::open_at(&root, ".", OFlags::RDONLY)?,
                other => other?,
            };
            Store::locked(&path, root, lock)
        };
        let store = read().with_context(|| format!("store {}", path.display()))?;
        // Who may not write leaves that to the next who may: what is read is held against its digest anyway.
        let denied = [libc::EROFS, libc::EACCES, libc::ENOENT];
        match store.verify_unsynced() {
            Err(error) if !sys::errno_of(&error).is_some_and(|errno| denied.contains(&errno.0)) => Err(error),
            _ => Ok(Some(store)),
        }
    }

    fn open_absolute(path: &Path) -> Result<Store> {
        make_directories(path)?;
        let root = sys::files::open(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        // Whoever makes a store may be killed in between.
        let has = |name: &str| rustix::fs::accessat(&root, name, Access::EXISTS, AtFlags::empty()).is_ok();
        if !DIRECTORIES.into_iter().all(has) || !has("index.json") {
            for name in DIRECTORIES {
                make_directory(root.as_fd(), name)?;
            }
            index::initialise(root.as_fd())?;
        }
        let lock = lock::open(root.as_fd(), "ocicat/lock")?;
        Store::locked(path, root, lock)
    }

    fn locked(path: &Path, root: OwnedFd, lock: OwnedFd) -> Result<Store> {
        lock::shared(&lock)?;
        let boot = sys::files::read_text("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(Store { path: path.to_owned(), root, lock, sequence: AtomicU64::new(0), boot, stop: Stop::default() })
    }

    /// From now on, when `stop` says so, what reads or writes blobs or copies trees ends with an error.
    pub fn stop_when(&mut self, stop: impl Fn() -> bool + Send + Sync + 'static) {
        self.stop = Stop(Some(Box::new(stop)));
    }

    /// An error when the work is to end.
    pub(crate) fn go_on(&self) -> Result<()> {
        match &self.stop.0 {
            Some(stop) if stop() => bail!("interrupted"),
            _ => Ok(()),
        }
    }

    /// Where the store is: an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// A file without a name, for what does not fit into memory: below the store, or where temporary files go if the store
    /// is read-only.
    pub(crate) fn scratch(&self) -> Result<OwnedFd> {
        let make = |directory: BorrowedFd<'_>, name: &str| -> sys::Result<OwnedFd> {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o600))
                .asked(|| format!("create {name}"))?;
            rustix::fs::unlinkat(directory, name, AtFlags::empty()).asked(|| format!("unlink {name}"))?;
            Ok(file)
        };
        match make(self.root(), &self.temporary("scratch")) {
            Err(error) if [libc::EROFS, libc::EACCES, libc::ENOENT].contains(&error.errno.0) => {
                let place = std::env::temp_dir();
                let directory = sys::files::open(&place, OFlags::PATH | OFlags::DIRECTORY)?;
                let name = format!("ocicat-image-{:08x}{:08x}", random(), random());
                make(directory.as_fd(), &name).with_context(|| place.display().to_string())
            }
            other => Ok(other?),
        }
    }

    /// A name below `ocicat/tmp` that nobody else uses.
    fn temporary(&self, kind: &str) -> String {
        let number = self.sequence.fetch_add(1, Ordering::Relaxed);
        let random = random();
        format!("ocicat/tmp/{kind}-{}-{number}-{random:08x}", rustix::process::getpid().as_raw_nonzero())
    }
}

fn random() -> u32 {
    let mut bytes = [0u8; 4];
    let _ = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
    u32::from_ne_bytes(bytes)
}

fn make_directory(root: BorrowedFd<'_>, name: &str) -> sys::Result<()> {
    match rustix::fs::mkdirat(root, name, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).asked(|| format!("mkdir {name}")),
    }
}

/// Makes `path` and its missing parents, 0700: the caller names this place, no image does.
fn make_directories(path: &Path) -> sys::Result<()> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(rustix::io::Errno::NOENT) if path.parent().is_some() => {
            make_directories(path.parent().unwrap_or(path))?;
            make_directories(path)
        }
        Err(errno) => Err(errno).asked(|| format!("mkdir {}", path.display())),
    }
}

/// Where a blob lies below the store.
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

#[cfg(test)]
mod tests;
