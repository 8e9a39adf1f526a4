//! Unpacked layers, keyed by chain id: made under `tmp/`, published by rename, shared by every overlay mount.

use super::{Store, lock, make_directory};
use crate::image::digest::Digest;
use crate::image::remove;
use crate::sys::{self, Asked};
use anyhow::{Context, Result};
use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// The unpacked directory of a layer: what one lower directory of an overlay mount is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerDirectory {
    /// The chain id (image-spec config.md).
    pub chain_id: Digest,
    /// Where the tree is.
    pub path: PathBuf,
}

impl LayerDirectory {
    /// Opens the tree.
    pub fn open(&self) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        sys::files::open(&self.path, flags).with_context(|| format!("layer {}", self.chain_id.short()))
    }
}

/// What is written beside a layer's tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerRecord {
    /// Digest of the layer's tar.
    pub diff_id: Digest,
    /// Number of entries.
    pub entries: u64,
    /// Bytes of file data.
    pub bytes: u64,
}

/// A layer directory that is being made. Dropped without being published, nothing of it stays.
#[derive(Debug)]
pub struct LayerDraft<'a> {
    store: &'a Store,
    temporary: String,
    tree: OwnedFd,
    published: bool,
}

impl Store {
    /// The unpacked layer of a chain id, if it is here.
    pub fn layer(&self, chain_id: &Digest) -> Option<LayerDirectory> {
        let name = layer_path(chain_id);
        rustix::fs::statat(self.root(), &name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(LayerDirectory { chain_id: chain_id.clone(), path: self.path.join(name).join("tree") })
    }

    /// What is known of an unpacked layer.
    pub fn layer_record(&self, chain_id: &Digest) -> Result<LayerRecord> {
        let name = format!("{}/record.json", layer_path(chain_id));
        let file = sys::files::open_at(self.root(), &name, OFlags::RDONLY | OFlags::NOFOLLOW)?;
        serde_json::from_slice(&sys::files::read_fd(file, 65536)?).context(name)
    }

    /// Begins a layer directory.
    pub fn layer_draft(&self) -> Result<LayerDraft<'_>> {
        let temporary = self.temporary("layer");
        make_directory(self.root(), &temporary)?;
        let tree = make_tree(self.root(), &temporary).inspect_err(|_| {
            let _ = rustix::fs::unlinkat(self.root(), &temporary, AtFlags::REMOVEDIR);
        })?;
        Ok(LayerDraft { store: self, temporary, tree, published: false })
    }

    /// Waits until nobody else makes this layer; ask `layer` again when it returns.
    pub(crate) fn lock_layer(&self, chain_id: &Digest) -> Result<lock::Held> {
        lock::hold(self.root(), &format!("ocicat/locks/{}", chain_id.hex()))
    }

    /// The same without waiting.
    pub(crate) fn try_lock_layer(&self, chain_id: &Digest) -> Result<Option<lock::Held>> {
        lock::try_hold(self.root(), &format!("ocicat/locks/{}", chain_id.hex()))
    }

    /// Takes an unpacked layer away: first its name, then its content.
    pub(super) fn remove_layer(&self, hex: &str) -> Result<()> {
        let away = self.temporary("removed");
        match rustix::fs::renameat(self.root(), format!("ocicat/layers/{hex}"), self.root(), &away) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Ok(Err(errno).asked(|| format!("rename layer {hex}"))?),
        }
        Ok(remove::tree(self.root(), &CString::new(away)?)?)
    }
}

fn layer_path(chain_id: &Digest) -> String {
    format!("ocicat/layers/{}", chain_id.hex())
}

fn make_tree(root: BorrowedFd<'_>, temporary: &str) -> Result<OwnedFd> {
    let name = format!("{temporary}/tree");
    make_directory(root, &name)?;
    let tree = sys::files::open_at(root, &name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
    rustix::fs::fchmod(&tree, rustix::fs::Mode::from_raw_mode(0o755)).asked(|| "fchmod".to_owned())?;
    Ok(tree)
}

impl LayerDraft<'_> {
    /// The directory that the layer is unpacked into.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.tree.as_fd()
    }

    /// Begins anew.
    pub fn clear(&mut self) -> Result<()> {
        remove::tree(self.store.root(), &CString::new(format!("{}/tree", self.temporary))?)?;
        self.tree = make_tree(self.store.root(), &self.temporary)?;
        Ok(())
    }

    /// Gives the layer its name. Another process may have been first: then that one stays.
    pub fn publish(mut self, chain_id: &Digest, record: &LayerRecord) -> Result<LayerDirectory> {
        let bytes = serde_json::to_vec(record).context("record.json")?;
        let directory = sys::files::open_at(self.store.root(), &self.temporary, OFlags::RDONLY | OFlags::DIRECTORY)?;
        sys::files::replace_at(&directory, "record.json", &bytes, 0o600)?;
        self.store.mark_unsynced("layer", chain_id)?;
        let name = layer_path(chain_id);
        match rustix::fs::renameat(self.store.root(), &self.temporary, self.store.root(), &name) {
            Ok(()) => self.published = true,
            Err(Errno::EXIST | Errno::NOTEMPTY) => {}
            Err(errno) => return Ok(Err(errno).asked(|| format!("rename {} to {name}", self.temporary))?),
        }
        self.store.layer(chain_id).context("the published layer is gone")
    }
}

impl Drop for LayerDraft<'_> {
    fn drop(&mut self) {
        if !self.published
            && let Ok(name) = CString::new(self.temporary.as_str())
        {
            let _ = remove::tree(self.store.root(), &name);
        }
    }
}
