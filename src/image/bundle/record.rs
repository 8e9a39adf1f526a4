//! What a bundle remembers of where it came from: ocicat-image.json beside config.json.

use super::Rootfs;
use crate::config::IdMapping;
use crate::image::digest::Digest;
use crate::image::manifest::Descriptor;
use crate::image::progress::Quiet;
use crate::image::pull::Image;
use crate::image::store::{BundleUse, LayerDirectory, Store};
use crate::image::{layers, rootless};
use crate::sys;
use anyhow::{Context, Result, bail};
use rustix::fs::{OFlags, Stat};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Its name.
pub(super) const NAME: &str = "ocicat-image.json";

/// The record. Written before the first thing of the bundle exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// How the image was named.
    pub reference: String,
    /// Digest of the image's manifest.
    pub manifest: Digest,
    /// The store with the layers.
    pub store: PathBuf,
    /// Chain ids of the layers, lowest first.
    pub chain_ids: Vec<Digest>,
    /// Overlay or copy.
    pub rootfs: Rootfs,
    /// The bundle goes with its container: nothing that is written need reach the disk.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub temporary: bool,
    /// Mappings of users and groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_namespace: Option<(Vec<IdMapping>, Vec<IdMapping>)>,
    /// When a plain tree was made; absent while it is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Made>,
}

/// The time in which a plain tree was made, by the clock of its file system: seconds since 1970 and nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Before the first file.
    pub from: (i64, u32),
    /// After the last one.
    pub until: (i64, u32),
}

impl Made {
    /// True when nothing of the file was changed afterwards: what was changed in the last moment may have been.
    pub(crate) fn includes(&self, stat: &Stat) -> bool {
        let changed = changed(stat);
        self.from <= changed && changed < self.until
    }
}

/// The time of the last change of an inode (ctime, inode(7)), which nobody can set.
pub(super) fn changed(stat: &Stat) -> (i64, u32) {
    (stat.st_ctime, stat.st_ctime_nsec as u32)
}

impl Record {
    /// Reads the record of the bundle in `directory`.
    pub fn read(directory: &Path) -> Result<Record> {
        let path = directory.join(NAME);
        let file = sys::files::open(&path, OFlags::RDONLY | OFlags::NOFOLLOW)
            .with_context(|| format!("{} is no bundle of ocicat-image", directory.display()))?;
        let bytes = sys::files::read_fd(file, 1 << 20).with_context(|| path.display().to_string())?;
        serde_json::from_slice(&bytes).with_context(|| path.display().to_string())
    }

    /// True when this process is in the user namespace that the bundle is for.
    pub(crate) fn is_entered(&self) -> bool {
        self.user_namespace.is_some() && self.user_namespace.as_ref() == rootless::entered()
    }

    /// The layers of the image, lowest first. What is not unpacked (a plain tree was made without it, or nothing proved
    /// after a reboot that it had reached the disk) is unpacked now from the blobs, which stay as long as the bundle.
    pub(crate) fn layers(&self, store: &Store) -> Result<Vec<LayerDirectory>> {
        if let Some(ready) = self.chain_ids.iter().map(|id| store.layer(id)).collect() {
            return Ok(ready);
        }
        let image = Image::read(store, &Descriptor::new("", self.manifest.clone(), 0))?;
        layers::prepare(store, &image.layers(), &absent, &layers::Options::default(), &Quiet)
            .with_context(|| self.reference.clone())
    }

    /// What the store is told of the bundle.
    pub(super) fn in_store(&self, directory: &Path) -> BundleUse {
        BundleUse {
            path: directory.to_owned(),
            manifest: self.manifest.clone(),
            chain_ids: self.chain_ids.clone(),
            mount: None,
        }
    }

    pub(super) fn write(&self, bundle: &OwnedFd) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(self).context(NAME)?;
        Ok(sys::files::replace_at(bundle, NAME, &bytes, 0o600)?)
    }
}

fn absent(descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
    bail!("blob {} is not in the store; hint: pull the image again", descriptor.digest)
}
