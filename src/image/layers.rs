//! The layers of an image together: received and unpacked several at once, each as one stream, each into its own
//! directory of the store; or one after the other into one plain tree.

use crate::image::digest::{self, Digest};
use crate::image::manifest::Descriptor;
use crate::image::progress::Progress;
use crate::image::remove;
use crate::image::store::{Held, LayerDirectory, LayerDraft, LayerRecord, Store};
use crate::image::unpack::{
    self, Below, Ids, Limits, Opener, Pending, Pool, Room, Settled, Share, Source, Target, lock, settle,
};
use crate::sys::{self, Asked};
use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{Mode, OFlags};
use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;

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
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
    let chain = digest::chain_ids(&diff_ids);
    let ready: Vec<_> = chain.iter().map(|chain_id| store.layer(chain_id)).collect();
    let mut missing: Vec<usize> = (0..layers.len()).filter(|n| ready.get(*n).is_some_and(Option::is_none)).collect();
    for (layer, _) in layers.iter().zip(&ready).filter(|(_, ready)| ready.is_some()) {
        progress.layer_done(&layer.descriptor.digest, true);
    }
    missing.sort_by_key(|n| std::cmp::Reverse(layers.get(*n).map_or(0, |layer| layer.descriptor.size)));
    let jobs = jobs(options.jobs).min(missing.len());
    let publisher = Publisher { waiting: (0..layers.len()).map(|_| None).collect(), ready };
    let work = Work {
        store,
        layers,
        chain,
        fetch,
        options,
        progress,
        queue: Mutex::new(missing),
        publisher: Mutex::new(publisher),
        pool: Pool::default(),
        crowded: Mutex::new(Vec::new()),
        notes: Notes { store, file: Mutex::new(None) },
    };
    in_parallel(jobs, || {
        crate::sys::umask::own(0)?;
        while let Some((number, held)) = work.next()? {
            if !work.unpack(number, held, work.pool.share())? {
                lock(&work.crowded)?.push(number);
            }
        }
        Ok(())
    })?;
    work.unpack_crowded()?;
    let publisher = work.publisher.into_inner().map_err(|_| anyhow!("a thread panicked"))?;
    publisher.ready.into_iter().collect::<Option<_>>().context("not every layer was unpacked")
}

/// Runs `work` in `jobs` threads; the first error wins.
fn in_parallel(jobs: usize, work: impl Fn() -> Result<()> + Sync) -> Result<()> {
    #[allow(clippy::disallowed_methods, reason = "the image tool starts no container in these threads' process")]
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(&work)).collect();
        let results: Vec<Result<()>> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked"))))
            .collect();
        results.into_iter().collect()
    })
}

fn jobs(wanted: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if wanted > 0 { wanted } else { (cores + 1).min(4) }
}

/// A layer that is unpacked and waits for the ones below it.
struct Waiting<'a> {
    draft: LayerDraft<'a>,
    record: LayerRecord,
    pending: Noted,
    _held: Held,
}

/// What a layer leaves open until its lower ones are known.
struct Noted {
    /// In the file of notes.
    place: u64,
    /// What it takes in memory.
    bytes: u64,
}

/// Waiting layers leave their notes in a file: any number of them can wait.
struct Notes<'a> {
    store: &'a Store,
    file: Mutex<Option<File>>,
}

impl Notes<'_> {
    fn save(&self, pending: &Pending) -> Result<Noted> {
        let mut file = lock(&self.file)?;
        let file = match &mut *file {
            Some(file) => file,
            empty => empty.insert(File::from(self.store.scratch()?)),
        };
        let place = pending.save(file).context("notes of a layer")?;
        Ok(Noted { place, bytes: pending.bytes() })
    }

    /// Reads them again, when `share` has the memory.
    fn load(&self, noted: &Noted, share: &Share<'_>) -> Result<Pending> {
        share.grow(noted.bytes)?;
        let mut file = lock(&self.file)?;
        let file = file.as_mut().context("notes of a layer: no file")?;
        Pending::load(file, noted.place).context("notes of a layer")
    }
}

/// Layers get their names from the lowest up, because each is completed upon those below.
struct Publisher<'a> {
    waiting: Vec<Option<Waiting<'a>>>,
    ready: Vec<Option<LayerDirectory>>,
}

struct Work<'a, 'f> {
    store: &'a Store,
    layers: &'a [Layer],
    chain: Vec<Digest>,
    fetch: &'a Fetch<'f>,
    options: &'a Options,
    progress: &'a dyn Progress,
    queue: Mutex<Vec<usize>>,
    publisher: Mutex<Publisher<'a>>,
    pool: Pool,
    /// Layers that need more memory than there is beside others.
    crowded: Mutex<Vec<usize>>,
    notes: Notes<'a>,
}

impl<'a, 'f: 'a> Work<'a, 'f> {
    /// The next layer that no other process makes, the largest first; if others make all of them, waits for the lowest:
    /// that one gets its name without waiting for another, so no two processes wait for each other.
    fn next(&self) -> Result<Option<(usize, Held)>> {
        let lowest = {
            let mut queue = lock(&self.queue)?;
            for place in 0..queue.len() {
                let Some(number) = queue.get(place).copied() else { break };
                if let Some(held) = self.store.try_lock_layer(self.chain_id(number)?)? {
                    queue.remove(place);
                    return Ok(Some((number, held)));
                }
            }
            let Some(lowest) = queue.iter().copied().min() else { return Ok(None) };
            queue.retain(|number| *number != lowest);
            lowest
        };
        Ok(Some((lowest, self.store.lock_layer(self.chain_id(lowest)?)?)))
    }

    fn chain_id(&self, number: usize) -> Result<&Digest> {
        self.chain.get(number).context("no such layer")
    }

    /// The layers for which there was no memory beside the others, one after the other.
    fn unpack_crowded(&self) -> Result<()> {
        let crowded = std::mem::take(&mut *lock(&self.crowded)?);
        for number in crowded {
            let held = self.store.lock_layer(self.chain_id(number)?)?;
            self.unpack(number, held, self.pool.patient_share())?;
        }
        Ok(())
    }

    /// False when it has to be done again without others.
    fn unpack(&self, number: usize, held: Held, share: Share<'_>) -> Result<bool> {
        let layer = self.layers.get(number).context("no such layer")?;
        if let Some(ready) = self.store.layer(self.chain_id(number)?) {
            // Another process was faster.
            self.progress.layer_done(&layer.descriptor.digest, true);
            self.publish(|publisher| {
                if let Some(place) = publisher.ready.get_mut(number) {
                    *place = Some(ready);
                }
            })?;
            return Ok(true);
        }
        let draft = self.store.layer_draft()?;
        let below = if number == 0 { Below::Nothing } else { Below::Unknown };
        let target = Target { root: draft.root(), below, ids: &self.options.ids };
        let source = source(self.store, layer, self.fetch)?;
        let room = self.room(share);
        let unpacked = match unpack::layer(source, target, &room, self.progress) {
            Err(_) if room.share.is_crowded() => return Ok(false),
            other => other?,
        };
        let pending = self.notes.save(&unpacked.pending)?;
        let record = LayerRecord { diff_id: unpacked.diff_id, entries: unpacked.entries, bytes: unpacked.bytes };
        drop(unpacked.pending);
        // Whoever publishes may wait for memory.
        drop(room);
        self.publish(|publisher| {
            if let Some(place) = publisher.waiting.get_mut(number) {
                *place = Some(Waiting { draft, record, pending, _held: held });
            }
        })?;
        Ok(true)
    }

    fn room<'r>(&'r self, share: Share<'r>) -> Room<'r> {
        Room { limits: self.options.limits, share, store: self.store }
    }

    /// Notes what is new, then completes and publishes every layer whose lower ones have their names.
    fn publish(&self, note: impl FnOnce(&mut Publisher<'a>)) -> Result<()> {
        let mut publisher = lock(&self.publisher)?;
        note(&mut publisher);
        for number in 0..self.layers.len() {
            if publisher.ready.get(number).is_some_and(Option::is_some) {
                continue;
            }
            let Some(waiting) = publisher.waiting.get_mut(number).and_then(Option::take) else { break };
            let layer = self.layers.get(number).context("no such layer")?;
            let lowers: Vec<LayerDirectory> = publisher.ready.iter().take(number).flatten().cloned().collect();
            let ready = self
                .complete(number, waiting, &lowers)
                .with_context(|| format!("layer {}", layer.descriptor.digest.short()))?;
            if let Some(place) = publisher.ready.get_mut(number) {
                *place = Some(ready);
            }
            self.progress.layer_done(&layer.descriptor.digest, false);
        }
        Ok(())
    }

    fn complete(&self, number: usize, waiting: Waiting<'_>, lowers: &[LayerDirectory]) -> Result<LayerDirectory> {
        let Waiting { mut draft, record, pending, _held } = waiting;
        let room = self.room(self.pool.patient_share());
        let pending = self.notes.load(&pending, &room.share)?;
        let open: Vec<OwnedFd> = lowers.iter().rev().map(LayerDirectory::open).collect::<Result<_>>()?;
        let below: Vec<BorrowedFd<'_>> = open.iter().map(AsFd::as_fd).collect();
        if settle(draft.root(), &below, pending)? == Settled::Again {
            let layer = self.layers.get(number).context("no such layer")?;
            draft.clear()?;
            let target = Target { root: draft.root(), below: Below::Stack(below.clone()), ids: &self.options.ids };
            let source = source(self.store, layer, self.fetch)?;
            let again = unpack::layer(source, target, &room, self.progress)?;
            if settle(draft.root(), &below, again.pending)? == Settled::Again {
                bail!("a directory of the layer is a symbolic link of a lower layer");
            }
        }
        draft.publish(self.chain_id(number)?, &record)
    }
}

/// The bytes of a layer: from the store, or fetched and kept.
fn source<'a, 'f: 'a>(store: &'a Store, layer: &Layer, fetch: &Fetch<'f>) -> Result<Source<'a>> {
    let descriptor = layer.descriptor.clone();
    let diff_id = layer.diff_id.clone();
    if store.has_whole(&descriptor) {
        let reader = Box::new(store.open_blob(&descriptor.digest)?);
        return Ok(Source { reader, descriptor, blob: None, diff_id });
    }
    let blob = store.blob_writer(&descriptor.digest, Some(descriptor.size))?;
    let reader = fetch(&descriptor).with_context(|| format!("layer {}", descriptor.digest.short()))?;
    Ok(Source { reader, descriptor, blob: Some(blob), diff_id })
}

/// Unpacks the layers in order into the one directory `into`, which must be empty or absent; after an error it is gone.
pub fn flatten(
    store: &Store,
    layers: &[Layer],
    fetch: &Fetch<'_>,
    into: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<()> {
    let made = make_empty(into)?;
    let unpacked = flatten_into(store, layers, fetch, made.as_fd(), options, progress);
    if unpacked.is_err()
        && let Ok(name) = CString::new(into.as_os_str().as_bytes())
    {
        let _ = remove::tree(rustix::fs::CWD, &name);
    }
    unpacked.with_context(|| into.display().to_string())
}

fn make_empty(into: &Path) -> Result<OwnedFd> {
    match rustix::fs::mkdir(into, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(errno) => Err(errno).asked(|| format!("mkdir {}", into.display()))?,
    }
    let made = sys::files::open(into, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
    remove::for_each(made.as_fd(), |_, _| bail!("{} is not empty", into.display()))?;
    Ok(made)
}

/// The same into an open directory, which is empty; what an error leaves is the caller's to remove.
pub fn flatten_into(
    store: &Store,
    layers: &[Layer],
    fetch: &Fetch<'_>,
    root: BorrowedFd<'_>,
    options: &Options,
    progress: &dyn Progress,
) -> Result<()> {
    let openers = layers.iter().map(|layer| -> Opener<'_> { Box::new(|| source(store, layer, fetch)) }).collect();
    let below = |number| if number == 0 { Below::Nothing } else { Below::Tree };
    let targets = (0..layers.len()).map(|number| Target { root, below: below(number), ids: &options.ids }).collect();
    let pool = Pool::default();
    let room = Room { limits: options.limits, share: pool.patient_share(), store };
    unpack::layers(openers, targets, &room, progress)?;
    for layer in layers {
        progress.layer_done(&layer.descriptor.digest, false);
    }
    Ok(())
}

/// Brings blobs into the store without unpacking them, several at once.
pub fn download(
    store: &Store,
    blobs: &[Descriptor],
    fetch: &Fetch<'_>,
    options: &Options,
    progress: &dyn Progress,
) -> Result<()> {
    let queue: Vec<&Descriptor> = blobs.iter().filter(|blob| !store.has_whole(blob)).collect();
    let count = jobs(options.jobs).min(queue.len());
    let queue = Mutex::new(queue);
    in_parallel(count, || {
        loop {
            let next = lock(&queue)?.pop();
            let Some(blob) = next else { return Ok(()) };
            keep(store, blob, fetch, progress).with_context(|| format!("blob {}", blob.digest.short()))?;
            progress.layer_done(&blob.digest, false);
        }
    })
}

fn keep(store: &Store, blob: &Descriptor, fetch: &Fetch<'_>, progress: &dyn Progress) -> Result<()> {
    let mut writer = store.blob_writer(&blob.digest, Some(blob.size))?;
    progress.layer_started(&blob.digest, blob.size);
    let mut reader = fetch(blob)?;
    let mut buffer = vec![0u8; 256 << 10];
    loop {
        let length = match reader.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if length == 0 {
            writer.finish()?;
            return Ok(());
        }
        writer.write_all(buffer.get(..length).unwrap_or_default())?;
        progress.received(&blob.digest, length as u64);
    }
}
