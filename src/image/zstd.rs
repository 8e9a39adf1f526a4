//! zstd frames (RFC 8878), decompressed by libzstd. What a frame's header asks for is seen before it gets memory. Windows are
//! counted, and large ones are in a file besides: their pages are the kernel's to take.

use super::store::Store;
use super::unpack::Share;
use crate::sys::zstd::{Decompressor, Step};
use std::io::{BufRead, Error, ErrorKind, Read, Result};
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

/// The largest window of a frame that we take (2^27: what `zstd --ultra -22` needs).
const WINDOW_LOG: u32 = 27;
/// The longest header of a frame (bytes), its magic number included.
const HEADER: usize = 18;
/// Windows up to this size are not counted (bytes).
const SMALL: u64 = 512 << 10;
/// Windows above this size are in a file (bytes): more than a decoder has to support (RFC 8878 section 3.1.1.1.2), and only
/// asked for by the highest levels and `--long`.
const LARGE: u64 = 8 << 20;

/// Where the windows of a stream are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows<'s> {
    /// Counts them. `None`: nothing else is beside this one.
    pub(super) share: Option<&'s Share<'s>>,
    /// Has the files.
    pub(super) store: &'s Store,
}

/// The bytes of a compressed stream.
pub(super) struct Decoder<'s, R> {
    source: R,
    windows: Windows<'s>,
    small: DCtx<'static>,
    large: Option<Decompressor>,
    /// What was read ahead to see a header.
    ahead: Vec<u8>,
    frame: Frame,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frame {
    /// Between two.
    None,
    Small,
    Large,
}

impl<'s, R: BufRead> Decoder<'s, R> {
    pub(super) fn new(source: R, windows: Windows<'s>) -> Result<Decoder<'s, R>> {
        let mut small = DCtx::try_create().ok_or_else(|| Error::from(ErrorKind::OutOfMemory))?;
        small.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).map_err(named)?;
        Ok(Decoder { source, windows, small, large: None, ahead: Vec::with_capacity(HEADER), frame: Frame::None })
    }

    /// What follows the last frame.
    pub(super) fn into_inner(self) -> R {
        self.source
    }

    /// Goes to the next frame; false when there is none.
    fn begin(&mut self) -> Result<bool> {
        while self.ahead.len() < HEADER {
            let available = self.source.fill_buf()?;
            let length = available.len().min(HEADER - self.ahead.len());
            if length == 0 {
                break;
            }
            self.ahead.extend_from_slice(available.get(..length).unwrap_or_default());
            self.source.consume(length);
        }
        if self.ahead.is_empty() {
            return Ok(false);
        }
        let window = window(&self.ahead).unwrap_or(0);
        if let (SMALL.., Some(share)) = (window, self.windows.share) {
            share.window(window).map_err(Error::other)?;
        }
        self.frame = if self.is_in_file(window)? { Frame::Large } else { Frame::Small };
        Ok(true)
    }

    /// True when there is a decompressor for a large window.
    fn is_in_file(&mut self, window: u64) -> Result<bool> {
        // A larger one is refused by libzstd.
        if !(LARGE + 1..=1 << WINDOW_LOG).contains(&window) {
            return Ok(false);
        }
        let window = window as usize;
        if self.large.as_ref().is_none_or(|large| large.window() < window) {
            self.large = None;
            let file = self.windows.store.scratch().map_err(Error::other)?;
            self.large = Decompressor::new(file, window).map_err(Error::other)?;
        }
        Ok(self.large.is_some())
    }

    /// Decompresses some bytes and answers how many; none, when more has to be read first.
    fn step(&mut self, into: &mut [u8]) -> Result<usize> {
        let from_source = self.ahead.is_empty();
        let available = if from_source { self.source.fill_buf()? } else { &self.ahead };
        let is_last = available.is_empty();
        let Step { used, made, ended } = match (self.frame, &mut self.large) {
            (Frame::Large, Some(large)) => large.step(available, into).map_err(named)?,
            _ => step(&mut self.small, available, into)?,
        };
        if from_source {
            self.source.consume(used);
        } else {
            self.ahead.drain(..used);
        }
        if is_last && made == 0 && !ended {
            return Err(Error::new(ErrorKind::UnexpectedEof, "incomplete frame"));
        }
        if ended {
            self.frame = Frame::None;
        }
        Ok(made)
    }
}

fn step(context: &mut DCtx<'_>, input: &[u8], into: &mut [u8]) -> Result<Step> {
    let (mut input, mut output) = (InBuffer::around(input), OutBuffer::around(into));
    let left = context.decompress_stream(&mut output, &mut input).map_err(named)?;
    Ok(Step { used: input.pos(), made: output.pos(), ended: left == 0 })
}

impl<R: BufRead> Read for Decoder<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            if self.frame == Frame::None && !self.begin()? {
                return Ok(0);
            }
            let made = self.step(into)?;
            if made > 0 {
                return Ok(made);
            }
        }
    }
}

fn named(code: usize) -> Error {
    Error::other(get_error_name(code))
}

/// The bytes that a decoder has to keep for the frame which begins so; `None` if it needs none, or is no frame.
fn window(header: &[u8]) -> Option<u64> {
    let rest = header.strip_prefix(&[0x28, 0xb5, 0x2f, 0xfd])?;
    let (descriptor, rest) = rest.split_first()?;
    let single = descriptor & 0x20 != 0;
    let (window, rest) = if single {
        (u64::MAX, rest)
    } else {
        let (byte, rest) = rest.split_first()?;
        let base = 1u64 << (10 + (byte >> 3));
        (base + base / 8 * u64::from(byte & 7), rest)
    };
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let length = match descriptor >> 6 {
        0 => usize::from(single),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    if length == 0 {
        return Some(window);
    }
    let field = rest.get(dictionary..dictionary + length)?;
    let content = field.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    Some(window.min(if length == 2 { content + 256 } else { content }))
}

#[cfg(test)]
mod tests {
    use super::super::unpack::Pool;
    use super::*;
    use std::io::Write;

    /// A frame of some bytes with a window of 2^log, its size told or not.
    fn frame(bytes: &[u8], log: u32, told: bool) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(log).unwrap();
        if told {
            encoder.set_pledged_src_size(Some(bytes.len() as u64)).unwrap();
        }
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    struct Place {
        _directory: tempfile::TempDir,
        store: Store,
        pool: Pool,
    }

    fn place() -> Place {
        let directory = tempfile::tempdir().unwrap();
        Place { store: Store::open(directory.path()).unwrap(), _directory: directory, pool: Pool::default() }
    }

    fn decoded(stream: &[u8]) -> Result<Vec<u8>> {
        let place = place();
        let share = place.pool.share();
        let mut all = Vec::new();
        let windows = Windows { share: Some(&share), store: &place.store };
        Decoder::new(stream, windows)?.read_to_end(&mut all)?;
        Ok(all)
    }

    /// One byte at a time.
    struct Slow<'b>(&'b [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> Result<usize> {
            self.0.read(into)
        }
    }

    impl BufRead for Slow<'_> {
        fn fill_buf(&mut self) -> Result<&[u8]> {
            Ok(self.0.get(..1.min(self.0.len())).unwrap_or_default())
        }

        fn consume(&mut self, amount: usize) {
            self.0 = self.0.get(amount..).unwrap_or_default();
        }
    }

    #[test]
    fn the_window_is_what_the_header_says() {
        let large = vec![7; 3 << 20];
        for (bytes, log, told, expected) in [
            (&large[..], 23, false, Some(8 << 20)),
            (&large, 21, true, Some(2 << 20)),
            (&large, 23, true, Some(3 << 20)),
            (b"few", 23, true, Some(3)),
            (&[7; 300], 23, true, Some(300)),
            (&[7; 70_000], 23, true, Some(70_000)),
        ] {
            assert_eq!(window(&frame(bytes, log, told)), expected, "{log} {told}");
        }
        for (header, expected) in [
            (&b"\x28\xb5\x2f\xfd\x00\x5a"[..], Some(1 << 21 | 1 << 19)),
            (b"\x28\xb5\x2f\xfd\x03\x58\0\0\0\0", Some(1 << 21)),
            (b"\x28\xb5\x2f\xfd\xe0\0\0\0\0\0\x01\0\0", Some(1 << 40)),
            (b"\x28\xb5\x2f\xfd\xe0\0\0", None),
            (b"\x28\xb5\x2f\xfd", None),
            (b"\x50\x2a\x4d\x18\x01\0\0\0", None),
        ] {
            assert_eq!(window(header), expected, "{}", header.escape_ascii());
        }
    }

    #[test]
    fn frames_follow_each_other_wherever_the_buffers_end() {
        let large: Vec<u8> = (0..900_000u32).flat_map(u32::to_le_bytes).collect();
        let empty = frame(b"", 20, true);
        let skipped = b"\x5f\x2a\x4d\x18\x03\0\0\0abc".to_vec();
        let stream = [empty.clone(), frame(b"one", 20, true), skipped, frame(&large, 22, false), empty].concat();
        let expected = [b"one".to_vec(), large].concat();
        assert_eq!(decoded(&stream).unwrap(), expected);
        let mut slow = Vec::new();
        let place = place();
        let windows = Windows { share: None, store: &place.store };
        Decoder::new(Slow(&stream), windows).unwrap().read_to_end(&mut slow).unwrap();
        assert!(slow == expected);
        for (wrong, reason) in [
            (&stream[..stream.len() - 1], "incomplete frame"),
            (&[&stream[..], b"x"].concat()[..], "Unknown frame descriptor"),
            (b"\x28\xb5\x2f\xfd\x00\xff", "too much memory"),
        ] {
            let error = decoded(wrong).unwrap_err();
            assert!(error.to_string().contains(reason), "{reason}: {error}");
        }
    }

    #[test]
    fn what_refers_far_back_is_found_in_a_file() {
        let mut number = 1u64;
        let mut noise = |length: usize| -> Vec<u8> {
            let step = || {
                number ^= number << 13;
                number ^= number >> 7;
                number ^= number << 17;
                Some(number)
            };
            std::iter::from_fn(step).flat_map(u64::to_le_bytes).take(length).collect()
        };
        let part = noise(14 << 20);
        // Nearly the whole window back, twice, and the ring goes round.
        let large = [&part[..], &noise(1 << 20), &part, &noise(1 << 20), &part].concat();
        let stream = [
            frame(b"small", 20, true),
            frame(&large, 24, false),
            frame(&part, 23, false),
            frame(&large[..20 << 20], 25, true),
            frame(b"few", 27, false),
        ];
        assert!(stream[1].len() < 20 << 20, "nothing refers back");
        let expected = [b"small", &large[..], &part, &large[..20 << 20], b"few"].concat();
        let whole = stream.concat();
        assert!(decoded(&whole).unwrap() == expected);
        let cut = &whole[..whole.len() - stream[4].len() - stream[3].len() / 2];
        assert_eq!(decoded(cut).unwrap_err().to_string(), "incomplete frame");
        let mut wrong = whole;
        wrong[stream[0].len() + 6..][..2].fill(0xff);
        assert!(decoded(&wrong).is_err());
    }
}
