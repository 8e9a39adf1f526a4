//! An image as files, for other tools: an OCI layout, a tar file of one, or what `docker load` reads.

use crate::config::json;
use crate::image::archive::{Sink, compression_of, uncompressed};
use crate::image::import::{FULL_NAME, REF_NAME, blob};
use crate::image::manifest::{Descriptor, Index, LIMIT, media};
use crate::image::progress::Progress;
use crate::image::pull::Image;
use crate::image::reference::Reference;
use crate::image::store::{BlobReader, Store};
use crate::registry::{Digest, Hasher};
use crate::sys::files;
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::io::{Read, Seek};
use std::path::Path;

/// What the files look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A directory: an OCI layout. One that exists gets one more image.
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
    let mut sink = match shape {
        Shape::Layout if target == Path::new("-") => {
            bail!("a layout is a directory; hint: --as oci-archive writes to -")
        }
        Shape::Layout => Sink::directory(target)?,
        Shape::OciArchive | Shape::DockerArchive => Sink::archive(target)?,
    };
    let written = match shape {
        Shape::Layout => {
            let known = known_images(target)?;
            layout(store, image, reference, known, &mut sink, progress)
        }
        Shape::OciArchive => layout(store, image, reference, Vec::new(), &mut sink, progress),
        Shape::DockerArchive => docker(store, image, reference, &mut sink, progress),
    };
    let shown = || if target == Path::new("-") { "standard output".to_owned() } else { target.display().to_string() };
    written.and_then(|()| sink.finish()).with_context(shown)
}

fn known_images(target: &Path) -> Result<Vec<Descriptor>> {
    let path = target.join("index.json");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let index: Index = json::parse(&files::read(&path, LIMIT as usize)?).context("index.json")?;
    Ok(index.manifests)
}

fn layout(
    store: &Store,
    image: &Image,
    reference: &Reference,
    known: Vec<Descriptor>,
    sink: &mut Sink,
    progress: &dyn Progress,
) -> Result<()> {
    sink.bytes("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    sink.make_directory("blobs")?;
    let mut directories = BTreeSet::new();
    let mut written = BTreeSet::new();
    let parts = image.manifest.layers.iter().chain([&image.manifest.config, &image.descriptor]);
    for part in parts.filter(|part| written.insert(part.digest.clone())) {
        if directories.insert(part.digest.algorithm().name()) {
            sink.make_directory(&format!("blobs/{}", part.digest.algorithm().name()))?;
        }
        progress.layer_started(&part.digest, part.size);
        let mut from = Verified::open(store, &part.digest, progress)?;
        sink.file(&blob(&part.digest), part.size, &mut from)?;
        progress.layer_done(&part.digest, false);
    }
    let mut named = Descriptor { annotations: None, ..image.descriptor.clone() };
    let tag = reference.tag.clone().unwrap_or_else(|| "latest".to_owned());
    // A name that was pulled by the digest of an index: what is written here has another one.
    let digest = reference.digest.as_ref().map(|_| image.descriptor.digest.clone());
    let whole = Reference { digest, ..reference.clone() }.to_string();
    // Another image's tag of the same word stays that image's.
    let is_others = |d: &Descriptor| d.annotation(REF_NAME) == Some(&tag) && d.annotation(FULL_NAME) != Some(&whole);
    let taken = known.iter().any(|other| is_others(other) && other.annotation(FULL_NAME).is_some());
    let short = if taken { whole.clone() } else { tag };
    let mut manifests = known;
    manifests.retain(|d| d.annotation(REF_NAME) != Some(&short) && d.annotation(FULL_NAME) != Some(&whole));
    named.annotations = Some([(REF_NAME.to_owned(), short), (FULL_NAME.to_owned(), whole)].into());
    manifests.push(named);
    let index = Index { schema_version: 2, media_type: Some(media::INDEX.to_owned()), manifests, annotations: None };
    // Last: what it names is there.
    sink.bytes("index.json", &serde_json::to_vec(&index)?)
}

fn docker(store: &Store, image: &Image, reference: &Reference, sink: &mut Sink, progress: &dyn Progress) -> Result<()> {
    let mut names = Vec::new();
    let mut written = BTreeSet::new();
    for layer in image.layers() {
        let name = format!("{}.tar", layer.diff_id.hex());
        if written.insert(name.clone()) {
            progress.layer_started(&layer.descriptor.digest, layer.descriptor.size);
            let mut blob = store.open_blob(&layer.descriptor.digest)?;
            // As when it is unpacked: media types lie more often than magic numbers.
            let mut magic = Vec::new();
            blob.by_ref().take(4).read_to_end(&mut magic).with_context(|| name.clone())?;
            blob.rewind().with_context(|| name.clone())?;
            let compression = compression_of(&magic);
            // A tar header has the size: the first pass counts.
            let mut count = uncompressed(blob, compression, store)?;
            let size = std::io::copy(&mut count, &mut std::io::sink()).with_context(|| name.clone())?;
            let blob = Verified::open(store, &layer.descriptor.digest, progress)?;
            sink.file(&name, size, &mut uncompressed(blob, compression, store)?)?;
            progress.layer_done(&layer.descriptor.digest, false);
        }
        names.push(name);
    }
    let config = store.read_blob(&image.manifest.config.digest, LIMIT as usize)?;
    let config_name = format!("{}.json", image.manifest.config.digest.hex());
    sink.bytes(&config_name, &config)?;
    let tags: Vec<String> = reference
        .tag
        .iter()
        .map(|tag| {
            let named = Reference { tag: Some(tag.clone()), digest: None, ..reference.clone() };
            named.familiar()
        })
        .collect();
    let document = serde_json::json!([{ "Config": config_name, "RepoTags": tags, "Layers": names }]);
    sink.bytes("manifest.json", document.to_string().as_bytes())
}

/// A blob of the store that is held against its digest while it is read.
struct Verified<'a> {
    file: BlobReader<'a>,
    digest: Digest,
    hasher: Option<Hasher>,
    progress: &'a dyn Progress,
}

impl<'a> Verified<'a> {
    fn open(store: &'a Store, digest: &Digest, progress: &'a dyn Progress) -> Result<Verified<'a>> {
        let file = store.open_blob(digest)?;
        Ok(Verified { file, digest: digest.clone(), hasher: Some(Hasher::new(digest.algorithm())), progress })
    }

    fn prove(&mut self) -> Result<()> {
        match self.hasher.take().map(Hasher::finish) {
            Some(found) if found != self.digest => bail!("blob {}: its content has the digest {found}", self.digest),
            _ => Ok(()),
        }
    }
}

impl Read for Verified<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            self.prove().map_err(|error| std::io::Error::other(error.to_string()))?;
        }
        if let (Some(hasher), Some(bytes)) = (&mut self.hasher, buffer.get(..count)) {
            hasher.update(bytes);
        }
        self.progress.received(&self.digest, count as u64);
        Ok(count)
    }
}
