//! An image as files, for other tools.

use crate::image::progress::Progress;
use crate::image::pull::Image;
use crate::image::reference::Reference;
use crate::image::store::Store;
use anyhow::{Result, bail};
use std::path::Path;

/// What the files look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A directory: an OCI layout.
    Layout,
    /// A tar file of an OCI layout.
    OciArchive,
    /// What `docker load` reads.
    DockerArchive,
}

/// Writes an image.
pub fn export(
    store: &Store,
    image: &Image,
    reference: &Reference,
    target: &Path,
    shape: Shape,
    progress: &dyn Progress,
) -> Result<()> {
    let _ = (store, image, reference, target, shape, progress);
    bail!("not there yet")
}
