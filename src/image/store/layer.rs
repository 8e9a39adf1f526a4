//! Unpacked layers, keyed by chain id.

use super::Store;
use crate::image::digest::Digest;
use anyhow::Result;
use std::path::PathBuf;

/// The unpacked directory of a layer: what one lower directory of an overlay mount is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerDirectory {
    /// The chain id (image-spec config.md).
    pub chain_id: Digest,
    /// Where the tree is.
    pub path: PathBuf,
}

/// A layer directory that is being made. Dropped without being published, nothing of it stays.
#[derive(Debug)]
pub struct LayerDraft<'a> {
    _store: &'a Store,
}

impl Store {
    /// The unpacked layer of a chain id, if it is here.
    pub fn layer(&self, chain_id: &Digest) -> Option<LayerDirectory> {
        let path = self.path.join(format!("ocicat/layers/{}/tree", chain_id.hex()));
        rustix::fs::stat(&path).ok()?;
        Some(LayerDirectory { chain_id: chain_id.clone(), path })
    }

    /// Waits until nobody else makes this layer; ask `layer` again when it returns.
    pub(crate) fn lock_layer(&self, chain_id: &Digest) -> Result<super::lock::Held> {
        super::lock::hold(self.root(), &format!("ocicat/locks/{}", chain_id.hex()))
    }
}
