//! From a reference to an image in the store: manifest, config and layers, and the name that is given last.
//!
//! The name points at the manifest of one machine, so that tools which know no indexes read the store; when the registry
//! has an index, its digest is noted beside it, and a later pull compares that one with a single HEAD request.

use crate::image::configuration::ImageConfiguration;
use crate::image::layers::{self, Layer};
use crate::image::manifest::{self, Descriptor, Document, LIMIT, Manifest, Platform, layer_compression, media};
use crate::image::platform;
use crate::image::progress::Progress;
use crate::image::reference::Reference;
use crate::image::store::Store;
pub use crate::registry::Client;
use crate::registry::{Digest, Fetched, Repository};
use anyhow::{Context, Result, bail};
use std::io::Read;

/// What we understand, as the Accept header says it.
pub const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
                          application/vnd.docker.distribution.manifest.v2+json, \
                          application/vnd.docker.distribution.manifest.list.v2+json";

/// The annotation of a name in the store: what the registry's tag pointed at, when that was an index.
const SOURCE: &str = "org.ocicat.image.index.digest";
/// The platform that was asked for, when an index had the answer.
const ASKED: &str = "org.ocicat.image.index.platform";

/// An index may point at indexes, not deeper than this.
const DEPTH: u32 = 4;

/// An image of the store, its documents read and verified.
#[derive(Debug, Clone)]
pub struct Image {
    /// Where the manifest is.
    pub descriptor: Descriptor,
    /// The manifest.
    pub manifest: Manifest,
    /// The config.
    pub configuration: ImageConfiguration,
}

impl Image {
    /// Reads the image that `descriptor` points at; it must be the manifest of one.
    pub fn read(store: &Store, descriptor: &Descriptor) -> Result<Image> {
        let manifest = read_manifest(store, descriptor)?;
        let bytes = store.read_blob(&manifest.config.digest, LIMIT as usize)?;
        let configuration = ImageConfiguration::parse(&bytes)?;
        check_layers(&manifest, &configuration)?;
        Ok(Image { descriptor: descriptor.clone(), manifest, configuration })
    }

    /// The image of a name in the store, if it is there.
    pub fn named(store: &Store, name: &str) -> Result<Option<Image>> {
        match store.resolve(name)? {
            Some(descriptor) => Image::read(store, &descriptor).with_context(|| name.to_owned()).map(Some),
            None => Ok(None),
        }
    }

    /// The layers, lowest first, with the digests of their contents.
    pub fn layers(&self) -> Vec<Layer> {
        let diff_ids = self.configuration.rootfs.diff_ids.iter();
        let pairs = self.manifest.layers.iter().zip(diff_ids);
        pairs.map(|(descriptor, id)| Layer { descriptor: descriptor.clone(), diff_id: id.clone() }).collect()
    }

    /// The machine that the image says it is for.
    pub fn platform(&self) -> Platform {
        let text = |key: &str| self.configuration.rest.get(key).and_then(|value| value.as_str()).map(str::to_owned);
        Platform {
            os: self.configuration.os.clone(),
            architecture: self.configuration.architecture.clone(),
            variant: text("variant"),
        }
    }

    /// Compressed bytes of all layers.
    pub fn size(&self) -> u64 {
        self.manifest.layers.iter().map(|layer| layer.size).sum()
    }
}

/// Makes something of an image whose layers are fetched at the same time; called only if something has to be fetched.
pub type Make<'a> = dyn Fn(&Image, &layers::Fetch<'_>, &dyn Progress) -> Result<()> + 'a;

/// What a pull does with the layers.
#[derive(Clone, Copy)]
pub enum Unpack<'a> {
    /// Into directories of the store, one for each layer, ready for overlay mounts.
    Layers,
    /// What the caller wants, as `layers::flatten` does it: no layer is unpacked besides.
    Own(&'a Make<'a>),
    /// Not at all: only the blobs are kept.
    No,
}

/// How to pull.
pub struct Options<'a> {
    /// For which machine.
    pub platform: Platform,
    /// What becomes of the layers.
    pub unpack: Unpack<'a>,
    /// How layers are received and unpacked.
    pub layers: layers::Options,
}

/// What a pull did.
pub struct Pulled {
    /// The image.
    pub image: Image,
    /// Something was fetched; otherwise the image was here and is what the registry has.
    pub changed: bool,
}

/// Pulls an image and gives it its whole name.
pub fn pull(
    store: &Store,
    client: &Client,
    reference: &Reference,
    options: &Options<'_>,
    progress: &dyn Progress,
) -> Result<Pulled> {
    let name = reference.to_string();
    if let Some(image) = still_current(store, client, reference, options)? {
        return Ok(Pulled { image, changed: false });
    }
    let repository = &reference.repository;
    let (top, descriptor, bytes) = find_manifest(client, repository, reference.selector(), &options.platform)?;
    let manifest = match manifest::parse(&bytes, Some(&descriptor.media_type))? {
        Document::Manifest(manifest) => manifest,
        Document::Index(_) => bail!("{name}: an index where a manifest was promised"),
    };
    check_is_image(&manifest).with_context(|| name.clone())?;
    let configuration = fetch_configuration(store, client, repository, &manifest)?;
    check_layers(&manifest, &configuration).with_context(|| name.clone())?;
    let mut descriptor = descriptor;
    if top != descriptor.digest {
        let asked = options.platform.to_string();
        descriptor.annotations = Some([(SOURCE.to_owned(), top.to_string()), (ASKED.to_owned(), asked)].into());
    }
    let mut image = Image { descriptor, manifest, configuration };
    if image.platform().normal() != options.platform && options.platform.rank_of(&image.platform()).is_none() {
        progress.warning(&format!("{name} is an image for {}, not for {}", image.platform(), options.platform));
    }
    image.descriptor.platform = Some(image.platform());
    store.put(&bytes)?;
    receive(store, client, repository, &image, options, progress)?;
    store.tag(&name, &image.descriptor)?;
    Ok(Pulled { image, changed: true })
}

/// The image of the store if it is whole and the registry's tag still means it. A digest needs no question.
fn still_current(
    store: &Store,
    client: &Client,
    reference: &Reference,
    options: &Options<'_>,
) -> Result<Option<Image>> {
    let Some(descriptor) = store.resolve(&reference.to_string())? else { return Ok(None) };
    // What cannot be read is pulled again.
    let Ok(image) = Image::read(store, &descriptor) else { return Ok(None) };
    if !serves(&image, &options.platform) || !is_whole(store, &image, options.unpack) {
        return Ok(None);
    }
    if reference.digest.is_some() {
        return Ok(Some(image));
    }
    let told = client.head_manifest(&reference.repository, reference.selector(), ACCEPT)?;
    let Some(digest) = told.and_then(|told| told.digest) else { return Ok(None) };
    let known = descriptor.annotation(SOURCE).unwrap_or(descriptor.digest.as_str());
    Ok(Some(image).filter(|_| known == digest.as_str()))
}

/// True when the store's image is what a pull for the platform would bring. Of an index that may have better ones, it is only
/// if it was chosen for that platform, or is exactly it.
pub fn serves(image: &Image, wanted: &Platform) -> bool {
    let is_of_index = image.descriptor.annotation(SOURCE).is_some();
    let is_exact = || image.platform().normal() == wanted.normal();
    let was_chosen = || image.descriptor.annotation(ASKED) == Some(&wanted.to_string());
    if is_of_index { is_exact() || was_chosen() } else { wanted.rank_of(&image.platform()).is_some() }
}

fn is_whole(store: &Store, image: &Image, unpack: Unpack<'_>) -> bool {
    let blobs = || image.manifest.layers.iter().all(|layer| store.has_whole(layer));
    let layers = || {
        let ids = crate::image::digest::chain_ids(&image.configuration.rootfs.diff_ids);
        ids.iter().all(|id| store.layer(id).is_some())
    };
    blobs() && (!matches!(unpack, Unpack::Layers) || layers())
}

/// Follows indexes to the manifest of a machine. Answers what the selector means, the manifest's descriptor and bytes.
fn find_manifest(
    client: &Client,
    repository: &Repository,
    selector: &str,
    wanted: &Platform,
) -> Result<(Digest, Descriptor, Vec<u8>)> {
    let mut fetched = client.manifest(repository, selector, ACCEPT, LIMIT)?;
    let top = fetched.digest.clone();
    for _ in 0..DEPTH {
        let place = || format!("{repository}@{}", fetched.digest);
        let index = match manifest::parse(&fetched.bytes, fetched.media_type.as_deref()).with_context(place)? {
            Document::Manifest(manifest) => {
                let media_type = media_type_of(&fetched, manifest.media_type);
                let descriptor = Descriptor::new(&media_type, fetched.digest, fetched.bytes.len() as u64);
                return Ok((top, descriptor, fetched.bytes));
            }
            Document::Index(index) => index,
        };
        let chosen = platform::choose(&index, wanted).with_context(|| repository.to_string())?;
        if chosen.size > LIMIT {
            bail!("{repository}@{}: a manifest of {} bytes: the limit is {LIMIT}", chosen.digest, chosen.size);
        }
        fetched = client.manifest(repository, chosen.digest.as_str(), ACCEPT, LIMIT)?;
        if fetched.bytes.len() as u64 != chosen.size {
            bail!("{repository}@{}: {} bytes, but the index says {}", chosen.digest, fetched.bytes.len(), chosen.size);
        }
        let came_as = fetched.media_type.get_or_insert_with(|| chosen.media_type.clone());
        if *came_as != chosen.media_type {
            bail!("{repository}@{}: came as {came_as:?}, but the index says {:?}", chosen.digest, chosen.media_type);
        }
    }
    bail!("{repository}: indexes within indexes, more than {DEPTH} deep")
}

/// A registry that says nothing about the type leaves it to the document.
fn media_type_of(fetched: &Fetched, inside: Option<String>) -> String {
    fetched.media_type.clone().or(inside).unwrap_or_else(|| media::MANIFEST.to_owned())
}

pub(super) fn check_is_image(manifest: &Manifest) -> Result<()> {
    match manifest.config.media_type.as_str() {
        media::CONFIG | media::DOCKER_CONFIG => {}
        other => bail!("an artifact of type {other:?}, not an image of a filesystem"),
    }
    if manifest.layers.len() > manifest::LAYERS {
        bail!("{} layers: the limit is {}", manifest.layers.len(), manifest::LAYERS);
    }
    for (index, layer) in manifest.layers.iter().enumerate() {
        layer_compression(&layer.media_type).with_context(|| format!("layers[{index}]"))?;
    }
    Ok(())
}

fn check_layers(manifest: &Manifest, configuration: &ImageConfiguration) -> Result<()> {
    let (layers, ids) = (manifest.layers.len(), configuration.rootfs.diff_ids.len());
    if layers != ids {
        bail!("the manifest has {layers} layers, the config {ids} diff_ids");
    }
    Ok(())
}

fn fetch_configuration(
    store: &Store,
    client: &Client,
    repository: &Repository,
    manifest: &Manifest,
) -> Result<ImageConfiguration> {
    let config = &manifest.config;
    if config.size > LIMIT {
        bail!("{repository}: an image config of {} bytes: the limit is {LIMIT}", config.size);
    }
    if !store.has_whole(config) {
        let mut bytes = Vec::new();
        let read = client.blob(repository, &config.digest, config.size).read_to_end(&mut bytes);
        read.context("image config")?;
        store.put(&bytes)?;
    }
    ImageConfiguration::parse(&store.read_blob(&config.digest, LIMIT as usize)?)
}

fn receive(
    store: &Store,
    client: &Client,
    repository: &Repository,
    image: &Image,
    options: &Options<'_>,
    progress: &dyn Progress,
) -> Result<()> {
    let fetch = fetcher(client, repository);
    image.manifest.layers.iter().for_each(|layer| progress.layer_known(&layer.digest, layer.size));
    let unpacked = match options.unpack {
        Unpack::Layers => layers::prepare(store, &image.layers(), &fetch, &options.layers, progress).map(|_| ()),
        Unpack::Own(make) => make(image, &fetch, progress),
        Unpack::No => Ok(()),
    };
    // An unpacked layer may have lost its blob, which a push needs.
    let received =
        unpacked.and_then(|()| layers::download(store, &image.manifest.layers, &fetch, &options.layers, progress));
    // Of several layers the one that failed says more than those that were stopped for it.
    received.map_err(|error| client.reason().map_or(error, |reason| anyhow::anyhow!(reason)))
}

/// Opens blobs of a repository. Their digests are computed where they are written, so not here a second time; the
/// foreign `urls` of a descriptor are never followed.
pub fn fetcher<'a>(
    client: &'a Client,
    repository: &'a Repository,
) -> impl Fn(&Descriptor) -> Result<Box<dyn Read + Send + 'a>> + Sync + 'a {
    move |descriptor| {
        let mut blob = client.blob(repository, &descriptor.digest, descriptor.size).without_digest();
        blob.open().inspect_err(|error| client.stop_for(&format!("{error:#}")))?;
        Ok(Box::new(StopsOthers { blob, client }))
    }
}

/// One layer that cannot be had makes the others useless: their waits end too.
struct StopsOthers<'c> {
    blob: crate::registry::Blob<'c>,
    client: &'c Client,
}

impl Read for StopsOthers<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.blob.read(buffer).inspect_err(|error| self.client.stop_for(&error.to_string()))
    }
}

fn read_manifest(store: &Store, descriptor: &Descriptor) -> Result<Manifest> {
    let bytes = store.read_blob(&descriptor.digest, LIMIT as usize)?;
    let media_type = Some(descriptor.media_type.as_str()).filter(|text| !text.is_empty());
    match manifest::parse(&bytes, media_type).with_context(|| format!("blob {}", descriptor.digest))? {
        Document::Manifest(manifest) => Ok(manifest),
        Document::Index(_) => bail!("blob {}: an index, not the manifest of one image", descriptor.digest),
    }
}
