//! A bundle's writable layer becomes a layer of a new image in the store.

use crate::image::digest::Digest;
use crate::image::store::Store;
use anyhow::Result;
use std::path::Path;

/// What a commit says about itself.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `author` of the image config.
    pub author: Option<String>,
    /// `comment` of the history entry.
    pub comment: Option<String>,
    /// Instead of the `Cmd` of the image.
    pub command: Option<Vec<String>>,
}

/// Writes the changes of the bundle as a layer, config and manifest into the store and gives them the name `reference`;
/// returns the digest of the manifest.
pub fn commit(store: &Store, bundle: &Path, reference: &str, options: &Options) -> Result<Digest> {
    let _ = (store, bundle, reference, options);
    anyhow::bail!("bundles cannot be committed yet")
}
