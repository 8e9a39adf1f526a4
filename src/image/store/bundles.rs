//! Which bundles use which layers, so that `gc` leaves those alone.

use super::Store;
use crate::image::digest::Digest;
use crate::image::overlay;
use crate::sys::{self, Asked};
use anyhow::{Context, Result};
use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A bundle that stands on layers of this store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleUse {
    /// Where the bundle is (absolute).
    pub path: PathBuf,
    /// The image's manifest.
    pub manifest: Digest,
    /// Chain ids of its layers, lowest first.
    pub chain_ids: Vec<Digest>,
    /// Its overlay mount, which stays with a bundle that is moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<Mounted>,
}

/// An overlay mount as long as this boot lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    /// /proc/sys/kernel/random/boot_id
    boot: String,
    /// The device number of the file system: of this mount alone while it is there (fs/super.c, get_anon_bdev).
    device: u64,
}

impl Store {
    /// Notes a bundle; goes before its mount.
    pub(crate) fn note_bundle(&self, bundle: &BundleUse) -> Result<()> {
        let directory = sys::files::open_at(self.root(), "ocicat/bundles", OFlags::RDONLY | OFlags::DIRECTORY)?;
        let bytes = serde_json::to_vec(bundle).context("bundle record")?;
        Ok(sys::files::replace_at(&directory, &name_of(&bundle.path), &bytes, 0o600)?)
    }

    /// Notes the mount of a bundle too: `root` is what is mounted.
    pub(crate) fn note_mount(&self, bundle: BundleUse, root: BorrowedFd<'_>) -> Result<()> {
        let device = rustix::fs::fstat(root).asked(|| "fstat".to_owned())?.st_dev;
        self.note_bundle(&BundleUse { mount: Some(Mounted { boot: self.boot.clone(), device }), ..bundle })
    }

    /// Forgets a bundle.
    pub(crate) fn forget_bundle(&self, path: &Path) -> Result<()> {
        let name = format!("ocicat/bundles/{}", name_of(path));
        match rustix::fs::unlinkat(self.root(), &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Ok(Err(errno).asked(|| format!("unlink {name}"))?),
        }
    }

    /// The bundles that still exist; records of the others are removed, unless the store is read-only. One that was moved
    /// while it is mounted still exists.
    pub fn bundles(&self) -> Result<Vec<BundleUse>> {
        let failed_with = |error: &anyhow::Error, number| sys::errno_of(error).is_some_and(|errno| errno.0 == number);
        let mut bundles = Vec::new();
        let names = match self.names("ocicat/bundles") {
            // Opened for reading, and made by somebody else.
            Err(error) if failed_with(&error, libc::ENOENT) => return Ok(bundles),
            other => other?,
        };
        for name in names.into_iter().filter(|name| !name.starts_with('.')) {
            let path = format!("ocicat/bundles/{name}");
            let file = sys::files::open_at(self.root(), &path, OFlags::RDONLY | OFlags::NOFOLLOW)?;
            let record = serde_json::from_slice(&sys::files::read_fd(file, 1 << 20)?);
            let bundle: BundleUse = record.with_context(|| {
                format!("{path}: a damaged record of a bundle; hint: `ocicat-image remove` of that bundle, or remove the file")
            })?;
            match rustix::fs::lstat(&bundle.path) {
                Err(Errno::NOENT | Errno::NOTDIR) if !self.is_mounted(&bundle)? => {
                    match self.forget_bundle(&bundle.path) {
                        Err(error) if !failed_with(&error, libc::EROFS) => return Err(error),
                        _ => {}
                    }
                }
                _ => bundles.push(bundle),
            }
        }
        Ok(bundles)
    }
}

impl Store {
    fn is_mounted(&self, bundle: &BundleUse) -> Result<bool> {
        match &bundle.mount {
            Some(mount) if mount.boot == self.boot => Ok(overlay::is_mounted_anywhere(mount.device)?),
            _ => Ok(false),
        }
    }
}

fn name_of(path: &Path) -> String {
    Digest::of(path.as_os_str().as_bytes()).hex().to_owned()
}
