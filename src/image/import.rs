//! Images from files: an OCI layout, a tar file of one (oci-archive), or what `docker save` writes (docker-archive).
//!
//! Nothing of a source is believed: every blob is held against its digest on its way into the store.

use crate::image::archive::{Source, compression_of};
use crate::image::configuration::ImageConfiguration;
use crate::image::manifest::{self, Compression, Descriptor, Document, Index, LIMIT, Manifest, Platform, media};
use crate::image::platform;
use crate::image::progress::Progress;
use crate::image::pull::{Image, check_is_image};
use crate::image::reference::{Reference, is_tag};
use crate::image::store::{BlobWriter, Store};
use crate::image::unpack::Limits;
use crate::registry::Digest;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::io::{Read, Write};
use std::path::Path;

/// What to take.
pub struct Options {
    /// The name in the store; without one, the names that the source has.
    pub name: Option<Reference>,
    /// Only the image of this name in the source.
    pub only: Option<String>,
    /// Which image of an index.
    pub platform: Platform,
}

/// The annotation with a tag or a name, and the one with a whole name that containerd and docker write.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
pub(super) const FULL_NAME: &str = "io.containerd.image.name";

/// Indexes within indexes, not deeper than this.
const DEPTH: u32 = 4;

/// Takes images in; answers their names and digests.
pub fn import(
    store: &Store,
    source: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Vec<(String, Digest)>> {
    let files = Source::open(source, store, &Limits::default()).with_context(|| source.display().to_string())?;
    // A word for images that have only a tag: the name of the file.
    let stem = source.file_stem().and_then(|stem| stem.to_str()).unwrap_or("image");
    let stem: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let stem = Some(stem.trim_matches('-')).filter(|stem| !stem.is_empty()).unwrap_or("image").to_owned();
    let work = Work { store, files: &files, options, progress, stem };
    let taken = if files.has("index.json") && files.has("oci-layout") {
        work.layout()
    } else if files.has("manifest.json") {
        work.docker()
    } else {
        bail!(
            "{}: neither an OCI layout (oci-layout, index.json) nor a docker-archive (manifest.json)",
            source.display()
        )
    };
    taken.with_context(|| source.display().to_string())
}

struct Work<'a> {
    store: &'a Store,
    files: &'a Source,
    options: &'a Options,
    progress: &'a dyn Progress,
    stem: String,
}

/// One image of docker's manifest.json.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Work<'_> {
    fn layout(&self) -> Result<Vec<(String, Digest)>> {
        let bytes = self.files.read("index.json", LIMIT)?;
        let index: Index = manifest::read(&bytes).context("index.json")?;
        let wanted = |d: &&Descriptor| match &self.options.only {
            Some(only) => [REF_NAME, FULL_NAME].iter().any(|key| d.annotation(key) == Some(only)),
            None => true,
        };
        let chosen: Vec<&Descriptor> = index.manifests.iter().filter(wanted).collect();
        self.check_count(chosen.len())?;
        let mut taken = Vec::new();
        for descriptor in chosen {
            let name = self.name_of(descriptor)?;
            let image = self.document(descriptor, 0).with_context(|| name.to_string())?;
            taken.push(self.named(&name, image, &descriptor.digest)?);
        }
        Ok(taken)
    }

    fn check_count(&self, count: usize) -> Result<()> {
        match (count, &self.options.only) {
            (0, Some(only)) => bail!("there is no image {only:?}"),
            (0, None) => bail!("there are no images"),
            (1, _) => Ok(()),
            _ if self.options.name.is_some() => bail!("{count} images and one name; hint: choose one with --ref"),
            _ => Ok(()),
        }
    }

    fn name_of(&self, descriptor: &Descriptor) -> Result<Reference> {
        if let Some(name) = &self.options.name {
            return Ok(name.clone());
        }
        if let Some(name) = descriptor.annotation(FULL_NAME) {
            return name.parse();
        }
        match descriptor.annotation(REF_NAME) {
            // skopeo and umoci write what stands after the colon, which is mostly a bare tag.
            Some(tag) if is_tag(tag) => format!("localhost/{}:{tag}", self.stem).parse(),
            Some(name) => name.parse(),
            None => format!("localhost/{}", self.stem).parse(),
        }
    }

    /// Follows indexes to the manifest of a machine, and takes it in with everything that it needs.
    fn document(&self, descriptor: &Descriptor, depth: u32) -> Result<Descriptor> {
        if descriptor.size > LIMIT {
            bail!("blob {}: a document of {} bytes: the limit is {LIMIT}", descriptor.digest, descriptor.size);
        }
        let bytes = self.files.read(&blob(&descriptor.digest), LIMIT)?;
        if Digest::of(&bytes) != descriptor.digest || bytes.len() as u64 != descriptor.size {
            bail!("blob {}: not the bytes of its digest and size", descriptor.digest);
        }
        let named = Some(descriptor.media_type.as_str()).filter(|text| !text.is_empty());
        match manifest::parse(&bytes, named)? {
            Document::Index(_) if depth >= DEPTH => bail!("indexes within indexes, more than {DEPTH} deep"),
            Document::Index(index) => self.document(platform::choose(&index, &self.options.platform)?, depth + 1),
            Document::Manifest(manifest) => {
                check_is_image(&manifest)?;
                for part in manifest.layers.iter().chain([&manifest.config]) {
                    self.copy(part)?;
                }
                self.store.put(&bytes)?;
                let media_type = manifest.media_type.as_deref().or(named).unwrap_or(media::MANIFEST);
                Ok(Descriptor::new(media_type, descriptor.digest.clone(), descriptor.size))
            }
        }
    }

    fn copy(&self, part: &Descriptor) -> Result<()> {
        self.progress.layer_started(&part.digest, part.size);
        let there = self.store.size(&part.digest) == Some(part.size);
        if !there {
            let mut writer = self.store.blob_writer(&part.digest, Some(part.size))?;
            self.pour(&mut *self.files.file(&blob(&part.digest))?, &mut writer, &part.digest)?;
            writer.finish()?;
        }
        self.progress.layer_done(&part.digest, there);
        Ok(())
    }

    fn pour(&self, from: &mut dyn Read, to: &mut BlobWriter<'_>, shown: &Digest) -> Result<()> {
        let mut buffer = vec![0; 256 << 10];
        loop {
            let count = from.read(&mut buffer).with_context(|| format!("blob {shown}"))?;
            if count == 0 {
                return Ok(());
            }
            to.write_all(buffer.get(..count).unwrap_or_default())?;
            self.progress.received(shown, count as u64);
        }
    }

    /// The name comes last: an image with a name is whole. One with a digest promises what it names: a later pull by that
    /// digest asks nobody. `top` is what the source has under the name, an index perhaps.
    fn named(&self, name: &Reference, mut descriptor: Descriptor, top: &Digest) -> Result<(String, Digest)> {
        if name.digest.as_ref().is_some_and(|digest| *digest != descriptor.digest && digest != top) {
            bail!("{name}: the image has digest {}", descriptor.digest);
        }
        let image = Image::read(self.store, &descriptor).with_context(|| name.to_string())?;
        descriptor.platform = Some(image.platform());
        self.store.tag(&name.to_string(), &descriptor)?;
        Ok((name.to_string(), descriptor.digest))
    }

    fn docker(&self) -> Result<Vec<(String, Digest)>> {
        let bytes = self.files.read("manifest.json", LIMIT)?;
        let saved: Vec<Saved> = manifest::read(&bytes).context("manifest.json")?;
        let has = |saved: &&Saved| match &self.options.only {
            Some(only) => saved.repo_tags.iter().flatten().any(|tag| tag == only),
            None => true,
        };
        let chosen: Vec<&Saved> = saved.iter().filter(has).collect();
        self.check_count(chosen.len())?;
        let mut taken = Vec::new();
        for saved in chosen {
            let mut names = match (&self.options.name, &saved.repo_tags) {
                (Some(name), _) => vec![name.clone()],
                (None, Some(tags)) => tags.iter().map(|tag| tag.parse()).collect::<Result<_>>()?,
                (None, None) => Vec::new(),
            };
            if names.is_empty() {
                names.push(format!("localhost/{}", self.stem).parse()?);
            }
            let descriptor = self.saved(saved)?;
            for name in names {
                taken.push(self.named(&name, descriptor.clone(), &descriptor.digest)?);
            }
        }
        Ok(taken)
    }

    /// docker's archive has no manifest of its own: it follows from the config and the layers.
    fn saved(&self, saved: &Saved) -> Result<Descriptor> {
        let config = self.files.read_named(&saved.config, LIMIT)?;
        let ids = ImageConfiguration::parse(&config)?.rootfs.diff_ids;
        if ids.len() != saved.layers.len() {
            bail!("{}: {} diff_ids, but {} layers", saved.config, ids.len(), saved.layers.len());
        }
        let mut layers = Vec::new();
        for (name, id) in saved.layers.iter().zip(&ids) {
            layers.push(self.saved_layer(name, id).with_context(|| name.clone())?);
        }
        self.store.put(&config)?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media::MANIFEST.to_owned()),
            artifact_type: None,
            config: Descriptor::of(media::CONFIG, &config),
            layers,
            subject: None,
            annotations: None,
        };
        let bytes = serde_json::to_vec(&manifest)?;
        self.store.put(&bytes)?;
        Ok(Descriptor::of(media::MANIFEST, &bytes))
    }

    fn saved_layer(&self, name: &str, id: &Digest) -> Result<Descriptor> {
        let mut magic = Vec::new();
        self.files.named(name)?.take(4).read_to_end(&mut magic)?;
        let (media_type, expected) = match compression_of(&magic) {
            Compression::Gzip => (media::LAYER_GZIP, None),
            Compression::Zstd => (media::LAYER_ZSTD, None),
            Compression::None => (media::LAYER, Some(id)),
        };
        let mut writer = match expected {
            Some(id) => self.store.blob_writer(id, None)?,
            None => self.store.new_blob()?,
        };
        self.pour(&mut *self.files.named(name)?, &mut writer, id)?;
        let size = writer.written();
        let digest = writer.finish()?;
        self.progress.layer_done(&digest, false);
        Ok(Descriptor::new(media_type, digest, size))
    }
}

pub(super) fn blob(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}
