//! From the store to a registry: config and layers, several at once, then the manifest that names them.

use crate::image::manifest::{self, Descriptor, Document, Index, LIMIT, Manifest, media};
use crate::image::progress::Progress;
use crate::image::pull::ACCEPT;
use crate::image::reference::Reference;
use crate::image::store::{BlobReader, Store};
use crate::registry::upload::{Sent, Source};
use crate::registry::{Client, Digest, Repository};
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Seek, SeekFrom};
use std::sync::Mutex;

/// How to push.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Blobs at once; 0 is four.
    pub jobs: usize,
    /// Larger blobs are sent in chunks of this many bytes.
    pub chunk: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { jobs: 4, chunk: 64 << 20 }
    }
}

/// What a push did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Blobs sent.
    pub uploaded: usize,
    /// Blobs that the registry took from another repository.
    pub mounted: usize,
    /// Blobs that were there.
    pub present: usize,
}

/// Sends what `descriptor` points at and gives it the tag (or the digest) of `target`.
pub fn push(
    store: &Store,
    client: &Client,
    descriptor: &Descriptor,
    target: &Reference,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Pushed> {
    if target.digest.as_ref().is_some_and(|digest| *digest != descriptor.digest) {
        bail!("{target}: the image has digest {}", descriptor.digest);
    }
    let work = Work { store, client, repository: &target.repository, options, progress };
    let known = work.repositories_with_blobs()?;
    let mut pushed = Pushed::default();
    work.document(descriptor, target.selector(), &known, &mut pushed)?;
    Ok(pushed)
}

/// Which repository of the same registry has a blob, as far as the names of the store tell.
type Known = BTreeMap<Digest, Repository>;

struct Work<'a> {
    store: &'a Store,
    client: &'a Client,
    repository: &'a Repository,
    options: &'a Options,
    progress: &'a dyn Progress,
}

impl Work<'_> {
    fn document(&self, descriptor: &Descriptor, selector: &str, known: &Known, pushed: &mut Pushed) -> Result<()> {
        let bytes = self.store.read_blob(&descriptor.digest, LIMIT as usize)?;
        let named = Some(descriptor.media_type.as_str()).filter(|text| !text.is_empty());
        let (media_type, subject) = match manifest::parse(&bytes, named)? {
            Document::Manifest(manifest) => {
                self.blobs(&manifest, known, pushed)?;
                let media_type = manifest.media_type.clone().unwrap_or_else(|| media::MANIFEST.to_owned());
                (media_type, manifest.subject.clone().map(|subject| (subject, manifest)))
            }
            Document::Index(index) => {
                for child in &index.manifests {
                    self.document(child, child.digest.as_str(), known, pushed)?;
                }
                (index.media_type.unwrap_or_else(|| media::INDEX.to_owned()), None)
            }
        };
        let noted = self.client.put_manifest(self.repository, selector, &media_type, &bytes)?;
        match subject.filter(|_| !noted) {
            Some((subject, manifest)) => self.note_referrer(&subject, &manifest, &media_type, &bytes),
            None => Ok(()),
        }
    }

    fn blobs(&self, manifest: &Manifest, known: &Known, pushed: &mut Pushed) -> Result<()> {
        let mut wanted: Vec<&Descriptor> = manifest.layers.iter().chain([&manifest.config]).collect();
        wanted.sort_by_key(|d| std::cmp::Reverse(d.size));
        wanted.dedup_by(|a, b| a.digest == b.digest);
        let queue = Mutex::new(wanted.into_iter().collect::<VecDeque<_>>());
        let next = || queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop_front();
        let jobs = if self.options.jobs == 0 { 4 } else { self.options.jobs };
        let outcomes: Vec<Result<Vec<Sent>>> = std::thread::scope(|scope| {
            let worker = || {
                let mut sent = Vec::new();
                while let Some(descriptor) = next() {
                    let outcome = self.blob(descriptor, known);
                    sent.push(outcome.inspect_err(|error| self.client.stop_for(&format!("{error:#}")))?);
                }
                Ok(sent)
            };
            let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(worker)).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        for outcome in outcomes {
            match outcome {
                Ok(sent) => sent.into_iter().for_each(|sent| pushed.count(sent)),
                // Of several blobs the one that failed says more than those that were stopped for it.
                Err(error) => return Err(self.client.reason().map_or(error, anyhow::Error::msg)),
            }
        }
        Ok(())
    }

    fn blob(&self, descriptor: &Descriptor, known: &Known) -> Result<Sent> {
        if self.client.is_stopped() {
            bail!("stopped");
        }
        let size = self.store.size(&descriptor.digest);
        let size = size.with_context(|| format!("blob {} is not in the store", descriptor.digest))?;
        self.progress.layer_started(&descriptor.digest, size);
        let open = |at: u64| -> Result<Box<dyn Read + '_>> {
            let mut file = self.store.open_blob(&descriptor.digest)?;
            file.seek(SeekFrom::Start(at)).with_context(|| format!("blob {}", descriptor.digest))?;
            Ok(Box::new(Counted { file, digest: descriptor.digest.clone(), progress: self.progress }))
        };
        let source = Source { digest: &descriptor.digest, size, open: &open };
        let from = known.get(&descriptor.digest);
        let sent = self.client.push_blob(self.repository, &source, from, self.options.chunk)?;
        self.progress.layer_done(&descriptor.digest, sent != Sent::Uploaded);
        Ok(sent)
    }

    fn repositories_with_blobs(&self) -> Result<Known> {
        let mut known = Known::new();
        for tag in self.store.list()? {
            let Ok(reference) = tag.reference.parse::<Reference>() else { continue };
            if reference.repository.host() != self.repository.host() || reference.repository == *self.repository {
                continue;
            }
            let Ok(bytes) = self.store.read_blob(&tag.descriptor.digest, LIMIT as usize) else { continue };
            if let Ok(Document::Manifest(manifest)) = manifest::parse(&bytes, None) {
                for blob in manifest.layers.iter().chain([&manifest.config]) {
                    known.insert(blob.digest.clone(), reference.repository.clone());
                }
            }
        }
        Ok(known)
    }

    /// A registry without the referrers API: the list of referrers is an index under a tag (distribution-spec 1.1).
    fn note_referrer(&self, subject: &Descriptor, manifest: &Manifest, media_type: &str, bytes: &[u8]) -> Result<()> {
        let tag = format!("{}-{}", subject.digest.algorithm().name(), subject.digest.hex());
        let mut index = match self.client.head_manifest(self.repository, &tag, ACCEPT)? {
            Some(_) => {
                let fetched = self.client.manifest(self.repository, &tag, ACCEPT, LIMIT)?;
                match manifest::parse(&fetched.bytes, fetched.media_type.as_deref())? {
                    Document::Index(index) => index,
                    Document::Manifest(_) => bail!("{}:{tag} is not the index of referrers", self.repository),
                }
            }
            None => Index {
                schema_version: 2,
                media_type: Some(media::INDEX.to_owned()),
                manifests: Vec::new(),
                annotations: None,
            },
        };
        let mut descriptor = Descriptor::of(media_type, bytes);
        if index.manifests.iter().any(|known| known.digest == descriptor.digest) {
            return Ok(());
        }
        descriptor.artifact_type = manifest.artifact_type.clone().or(Some(manifest.config.media_type.clone()));
        descriptor.annotations = manifest.annotations.clone();
        index.manifests.push(descriptor);
        let bytes = serde_json::to_vec(&index)?;
        self.client.put_manifest(self.repository, &tag, media::INDEX, &bytes).map(|_| ())
    }
}

/// Tells how much was read.
struct Counted<'a> {
    file: BlobReader<'a>,
    digest: Digest,
    progress: &'a dyn Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.progress.received(&self.digest, count as u64);
        Ok(count)
    }
}

impl Pushed {
    fn count(&mut self, sent: Sent) {
        match sent {
            Sent::Uploaded => self.uploaded += 1,
            Sent::Mounted => self.mounted += 1,
            Sent::Present => self.present += 1,
        }
    }
}
