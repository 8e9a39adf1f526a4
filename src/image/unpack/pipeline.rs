//! The two threads of a layer and the buffers between them.

use super::apply::{Applier, Target};
use super::memory::Room;
use super::{Pending, inflate};
use crate::image::digest::{Digest, Hasher};
use crate::image::manifest::Descriptor;
use crate::image::progress::Progress;
use crate::image::store::BlobWriter;
use crate::image::tar;
use crate::image::zstd::Windows;
use anyhow::{Context, Result, anyhow, bail};
use std::io::{BufRead, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Bytes of one buffer.
pub(super) const PIECE: usize = 64 << 10;
/// Buffers between the threads.
const PIECES: usize = 4;

/// Where the compressed bytes of a layer come from.
pub struct Source<'a> {
    /// The bytes.
    pub reader: Box<dyn Read + Send + 'a>,
    /// What they must be.
    pub descriptor: Descriptor,
    /// Where they are kept as well; verified by this. Without it they come from the store and were verified.
    pub blob: Option<BlobWriter<'a>>,
    /// What the tar must be.
    pub diff_id: Digest,
}

/// What a layer was.
#[derive(Debug)]
pub struct Unpacked {
    /// Digest of the tar: verified.
    pub diff_id: Digest,
    /// Number of entries.
    pub entries: u64,
    /// Bytes of file data.
    pub bytes: u64,
    /// What must wait for the lower layers.
    pub pending: Pending,
}

/// Unpacks one layer into `target`.
pub fn layer(source: Source<'_>, target: Target<'_>, room: &Room<'_>, progress: &dyn Progress) -> Result<Unpacked> {
    let mut results = layers(vec![Box::new(move || Ok(source))], vec![target], room, progress)?;
    results.pop().context("layer was not unpacked")
}

/// A source that is opened when its turn comes.
pub type Opener<'a> = Box<dyn FnOnce() -> Result<Source<'a>> + Send + 'a>;

/// Unpacks layers in order, each into its target: while one is applied the next is received.
pub fn layers<'a>(
    sources: Vec<Opener<'a>>,
    targets: Vec<Target<'_>>,
    room: &Room<'_>,
    progress: &dyn Progress,
) -> Result<Vec<Unpacked>> {
    let (full, pieces) = sync_channel(PIECES);
    let (give_back, empty) = sync_channel(PIECES + 4);
    #[allow(clippy::disallowed_methods, reason = "the image tool starts no container in these threads' process")]
    std::thread::scope(|scope| {
        let receiving = scope.spawn(move || {
            let mut feeder = Feeder { full, empty };
            sources.into_iter().try_for_each(|open| feeder.feed(open()?, room, progress))
        });
        let applying = scope.spawn(move || {
            crate::sys::umask::own(0)?;
            let mut stream = Stream::new(pieces, give_back);
            targets.into_iter().map(|target| stream.apply(target, room, progress)).collect::<Result<Vec<_>>>()
        });
        let applied = applying.join().map_err(|_| anyhow!("the unpacking thread panicked"))?;
        let received = receiving.join().map_err(|_| anyhow!("the receiving thread panicked"))?;
        match (received, applied) {
            // The receiver only says that nobody listens any more: the applier knows why.
            (Err(received), Err(applied)) if received.is::<NobodyListens>() => Err(applied),
            (Err(received), _) => Err(received),
            (Ok(()), applied) => applied,
        }
    })
}

/// The other thread has ended.
#[derive(Debug)]
struct NobodyListens;

impl std::fmt::Display for NobodyListens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("unpacking ended early")
    }
}

impl std::error::Error for NobodyListens {}

/// What goes through the channel.
enum Piece {
    /// The layer with this digest begins.
    Begin(Digest),
    Data(Vec<u8>),
    /// The layer is complete, and its compressed bytes were what they must be; this must be its tar.
    End(Digest),
}

/// The first thread.
struct Feeder {
    full: SyncSender<Piece>,
    empty: Receiver<Vec<u8>>,
}

impl Feeder {
    fn feed(&mut self, source: Source<'_>, room: &Room<'_>, progress: &dyn Progress) -> Result<()> {
        let digest = source.descriptor.digest.clone();
        let diff_id = source.diff_id.clone();
        progress.layer_started(&digest, source.descriptor.size);
        self.full.send(Piece::Begin(digest.clone())).map_err(|_| NobodyListens)?;
        self.stream(source, room, progress).with_context(|| format!("layer {}", digest.short()))?;
        self.full.send(Piece::End(diff_id)).map_err(|_| NobodyListens)?;
        Ok(())
    }

    fn stream(&mut self, source: Source<'_>, room: &Room<'_>, progress: &dyn Progress) -> Result<()> {
        let size = source.descriptor.size;
        let limits = &room.limits;
        let input = Input::new(source, progress);
        let mut made = 0u64;
        let empty = &self.empty;
        let full = &self.full;
        let buffer = || Ok(empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(PIECE)));
        let take = |piece: Vec<u8>| -> Result<()> {
            made += piece.len() as u64;
            if made > limits.bytes {
                bail!("layer is larger than {} bytes unpacked (limits.bytes)", limits.bytes);
            }
            if made > limits.ratio_from && made / limits.ratio.max(1) > size {
                bail!("layer of {size} bytes unpacks to more than {} times as much (limits.ratio)", limits.ratio);
            }
            full.send(Piece::Data(piece)).map_err(|_| NobodyListens.into())
        };
        let windows = Windows { share: Some(&room.share), store: room.store };
        match inflate::run(input, windows, buffer, take) {
            Ok(input) => input.finish(),
            Err(error) if error.is::<NobodyListens>() => Err(NobodyListens.into()),
            Err(error) => Err(error),
        }
    }
}

/// The compressed bytes: counted, hashed and kept while they are read.
struct Input<'a, 'p> {
    reader: Box<dyn Read + Send + 'a>,
    blob: Option<BlobWriter<'a>>,
    descriptor: Descriptor,
    progress: &'p dyn Progress,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl<'a, 'p> Input<'a, 'p> {
    fn new(source: Source<'a>, progress: &'p dyn Progress) -> Input<'a, 'p> {
        let Source { reader, descriptor, blob, .. } = source;
        Input { reader, blob, descriptor, progress, buffer: vec![0; PIECE], start: 0, end: 0 }
    }

    /// Reads what the decompressor left, and verifies the whole.
    fn finish(mut self) -> Result<()> {
        loop {
            let available = self.fill_buf().context("layer")?.len();
            if available == 0 {
                break;
            }
            self.consume(available);
        }
        if let Some(blob) = self.blob {
            blob.finish()?;
        }
        Ok(())
    }
}

impl Read for Input<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..length), available.get(..length)) {
            to.copy_from_slice(from);
        }
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Input<'_, '_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.start == self.end {
            self.start = 0;
            self.end = loop {
                match self.reader.read(&mut self.buffer) {
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    other => break other?,
                }
            };
            let fresh = self.buffer.get(..self.end).unwrap_or_default();
            if let Some(blob) = &mut self.blob {
                blob.write_all(fresh)?;
            }
            self.progress.received(&self.descriptor.digest, fresh.len() as u64);
        }
        Ok(self.buffer.get(self.start..self.end).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.start = (self.start + amount).min(self.end);
    }
}

/// The second thread's end of the channel: one layer's tar after the other.
struct Stream {
    pieces: Receiver<Piece>,
    give_back: SyncSender<Vec<u8>>,
    current: Vec<u8>,
    position: usize,
    hasher: Hasher,
    /// The layer.
    digest: Option<Digest>,
    /// Set at the end of a layer.
    expected: Option<Digest>,
}

impl Stream {
    fn new(pieces: Receiver<Piece>, give_back: SyncSender<Vec<u8>>) -> Stream {
        let hasher = Hasher::new(crate::registry::Algorithm::Sha256);
        Stream { pieces, give_back, current: Vec::new(), position: 0, hasher, digest: None, expected: None }
    }

    fn apply(&mut self, target: Target<'_>, room: &Room<'_>, progress: &dyn Progress) -> Result<Unpacked> {
        self.expected = None;
        let applied = self.apply_entries(target, room, progress);
        match &self.digest {
            Some(digest) => applied.with_context(|| format!("layer {}", digest.short())),
            None => applied,
        }
    }

    fn apply_entries(&mut self, target: Target<'_>, room: &Room<'_>, progress: &dyn Progress) -> Result<Unpacked> {
        let mut applier = Applier::new(target, room, progress)?;
        let ask = |bytes| room.share.grow(bytes);
        let mut reader = tar::Reader::new(&mut *self, room.limits.header).with_room(&ask);
        applier.run(&mut reader)?;
        reader.drain()?;
        let expected = self.expected.clone().context("layer did not end")?;
        let fresh = Hasher::new(crate::registry::Algorithm::Sha256);
        let diff_id = std::mem::replace(&mut self.hasher, fresh).finish();
        if diff_id != expected {
            bail!("the tar of the layer has the digest {diff_id}, but the image config says {expected}");
        }
        let (entries, bytes, pending) = applier.finish()?;
        Ok(Unpacked { diff_id, entries, bytes, pending })
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..length), available.get(..length)) {
            to.copy_from_slice(from);
        }
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Stream {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        while self.position == self.current.len() && self.expected.is_none() {
            match self.pieces.recv() {
                Ok(Piece::Data(piece)) => {
                    self.hasher.update(&piece);
                    let used = std::mem::replace(&mut self.current, piece);
                    let _ = self.give_back.try_send(used);
                    self.position = 0;
                }
                Ok(Piece::Begin(digest)) => self.digest = Some(digest),
                Ok(Piece::End(diff_id)) => self.expected = Some(diff_id),
                Err(_) => return Err(std::io::Error::other("the stream of the layer broke off")),
            }
        }
        Ok(self.current.get(self.position..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.position = (self.position + amount).min(self.current.len());
    }
}
