//! A bundle's writable layer becomes a layer of a new image in the store.

mod gzip;

use crate::image::bundle::{Record, Rootfs};
use crate::image::configuration::{History, ImageConfiguration};
use crate::image::diff::{self, Against};
use crate::image::digest::{Algorithm, Digest, Hasher};
use crate::image::manifest::{self, Descriptor, Document, Manifest, media};
use crate::image::overlay::borrowed;
use crate::image::owners::Owners;
use crate::image::store::{BlobWriter, LayerDirectory, Store};
use crate::image::unpack::{Limits, Stack};
use crate::sys;
use anyhow::{Context, Result, bail};
use gzip::Gzip;
use rustix::fs::OFlags;
use std::io::Write;
use std::os::fd::OwnedFd;
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

/// The layer type of docker's manifests; those of OCI have their own.
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Writes the changes of the bundle as a layer, config and manifest into the store and gives them the name `reference`;
/// returns the digest of the manifest.
pub fn commit(store: &Store, bundle: &Path, reference: &str, options: &Options) -> Result<Digest> {
    commit_within(store, bundle, reference, options, &Limits::default())
}

fn commit_within(store: &Store, bundle: &Path, reference: &str, options: &Options, limits: &Limits) -> Result<Digest> {
    let record = Record::read(bundle)?;
    let (mut manifest, mut image) = read_image(store, &record)?;
    let layer = write_layer(store, bundle, &record, limits)?;
    let now = sys::clock::now_rfc3339();
    image.history.push(History {
        created: Some(now.clone()),
        author: options.author.clone(),
        created_by: Some("ocicat-image commit".to_owned()),
        comment: options.comment.clone(),
        empty_layer: layer.is_none().then_some(true),
    });
    image.created = Some(now);
    image.author = options.author.clone().or(image.author);
    if let Some(command) = &options.command {
        image.config.cmd.clone_from(command);
    }
    if let Some((descriptor, diff_id)) = layer {
        let is_docker = manifest.media_type.as_deref() == Some(media::DOCKER_MANIFEST);
        let media_type = if is_docker { DOCKER_LAYER } else { media::LAYER_GZIP };
        manifest.layers.push(Descriptor { media_type: media_type.to_owned(), ..descriptor });
        image.rootfs.diff_ids.push(diff_id);
    }
    let bytes = serde_json::to_vec(&image).context("image config")?;
    store.put(&bytes)?;
    manifest.config = Descriptor::of(&manifest.config.media_type, &bytes);
    // Notes of the old manifest are about the old image.
    manifest.annotations = None;
    manifest.subject = None;
    let bytes = serde_json::to_vec(&manifest).context("manifest")?;
    let digest = store.put(&bytes)?;
    let media_type = manifest.media_type.as_deref().unwrap_or(media::MANIFEST);
    store.tag(reference, &Descriptor::of(media_type, &bytes))?;
    Ok(digest)
}

fn read_image(store: &Store, record: &Record) -> Result<(Manifest, ImageConfiguration)> {
    let bytes = store.read_blob(&record.manifest, manifest::LIMIT as usize)?;
    let Document::Manifest(manifest) = manifest::parse(&bytes, None)? else {
        bail!("{} is an index and no image", record.manifest);
    };
    let bytes = store.read_blob(&manifest.config.digest, manifest::LIMIT as usize)?;
    Ok((manifest, ImageConfiguration::parse(&bytes)?))
}

/// The compressed layer in the store; `None` when nothing was changed.
fn write_layer(store: &Store, bundle: &Path, record: &Record, limits: &Limits) -> Result<Option<(Descriptor, Digest)>> {
    let to = Layered { tar: Hasher::new(Algorithm::Sha256), gzip: Gzip::new(store.new_blob()?, limits) };
    let owners = Owners {
        namespace: record.user_namespace.as_ref().filter(|_| !record.is_entered()),
        are_remembered: !rustix::process::geteuid().is_root(),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let layers = lower_layers(store, record)?;
    let stack = Stack::new(borrowed(&layers));
    let (directory, against) = match record.rootfs {
        Rootfs::Overlay => ("upper", Against::Overlay(&stack)),
        Rootfs::Copy => ("rootfs", Against::Layers(&stack, record.made.as_ref())),
    };
    let directory = sys::files::open(bundle.join(directory), flags)?;
    let written = diff::layer(&directory, &against, &owners, limits, to)?;
    let (blob, diff_id) = written.to.finish()?;
    if written.entries == 0 {
        return Ok(None);
    }
    let size = blob.written();
    Ok(Some((Descriptor::new(media::LAYER_GZIP, blob.finish()?, size), diff_id)))
}

/// The layers below, top first.
fn lower_layers(store: &Store, record: &Record) -> Result<Vec<OwnedFd>> {
    record.layers(store)?.iter().rev().map(LayerDirectory::open).collect()
}

/// Digest of the tar, gzip, blob.
struct Layered<'a> {
    tar: Hasher,
    gzip: Gzip<BlobWriter<'a>>,
}

impl<'a> Layered<'a> {
    fn finish(self) -> Result<(BlobWriter<'a>, Digest)> {
        Ok((self.gzip.finish()?, self.tar.finish()))
    }
}

impl Write for Layered<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.gzip.write_all(bytes)?;
        self.tar.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.gzip.flush()
    }
}

#[cfg(test)]
mod tests;
