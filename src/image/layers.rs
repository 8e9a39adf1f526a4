//! The layers of an image together: received and unpacked several at once, each as one stream, each into its own
//! directory of the store; or one after the other into one plain tree.

use crate::image::digest::Digest;
use crate::image::manifest::Descriptor;
use crate::image::progress::Progress;
use crate::image::store::{LayerDirectory, Store};
use crate::image::unpack::{Ids, Limits};
use anyhow::Result;
use std::io::Read;
use std::path::Path;

/// One layer of an image: where its compressed bytes are named, and the digest of its tar.
#[derive(Debug, Clone)]
pub struct Layer {
    /// From the manifest.
    pub descriptor: Descriptor,
    /// From the image config, `rootfs.diff_ids` at the same place.
    pub diff_id: Digest,
}

/// Opens the stream of a blob that is not in the store; verifying is the caller's of this function.
pub type Fetch<'a> = dyn Fn(&Descriptor) -> Result<Box<dyn Read + Send + 'a>> + Sync + 'a;

/// How layers are unpacked.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What an image may demand of this machine.
    pub limits: Limits,
    /// Layers at once; 0 is `min(cores + 1, 4)`.
    pub jobs: usize,
    /// Who owns the files.
    pub ids: Ids,
}

/// Makes the unpacked directory of every layer, lowest first; what is there already is not fetched.
pub fn prepare(
    store: &Store,
    layers: &[Layer],
    fetch: &Fetch<'_>,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Vec<LayerDirectory>> {
    let _ = (store, layers, fetch, options, progress);
    anyhow::bail!("layers cannot be unpacked yet")
}

/// Unpacks the layers in order into the one directory `into`, which must be empty or absent.
pub fn flatten(
    store: &Store,
    layers: &[Layer],
    fetch: &Fetch<'_>,
    into: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<()> {
    let _ = (store, layers, fetch, into, options, progress);
    anyhow::bail!("layers cannot be unpacked yet")
}

/// Brings the blobs of the layers into the store without unpacking them.
pub fn download(
    store: &Store,
    layers: &[Descriptor],
    fetch: &Fetch<'_>,
    options: &Options,
    progress: &dyn Progress,
) -> Result<()> {
    let _ = (store, layers, fetch, options, progress);
    anyhow::bail!("layers cannot be downloaded yet")
}
