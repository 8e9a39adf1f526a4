//! zstd frames (RFC 8878): decompressed by libzstd, each after the memory for its window was asked for.

use super::memory::Share;
use std::io::{BufRead, Error, ErrorKind, Read, Result};
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

/// The largest window of a frame that we give memory to (2^27: what `zstd --ultra -22` needs).
const WINDOW_LOG: u32 = 27;
/// The longest header of a frame (bytes), its magic number included.
const HEADER: usize = 18;
/// Windows up to this size are not counted (bytes).
const SMALL: u64 = 512 << 10;

/// The tar bytes of a compressed layer.
pub(super) struct Decoder<'s, R> {
    source: R,
    context: DCtx<'static>,
    share: &'s Share<'s>,
    /// What was read ahead to see a header.
    ahead: Vec<u8>,
    in_frame: bool,
}

impl<'s, R: BufRead> Decoder<'s, R> {
    pub(super) fn new(source: R, share: &'s Share<'s>) -> Result<Decoder<'s, R>> {
        let mut context = DCtx::try_create().ok_or_else(|| Error::from(ErrorKind::OutOfMemory))?;
        context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).map_err(named)?;
        Ok(Decoder { source, context, share, ahead: Vec::with_capacity(HEADER), in_frame: false })
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
        if window > SMALL {
            self.share.window(window).map_err(Error::other)?;
        }
        self.in_frame = true;
        Ok(true)
    }

    /// Decompresses some bytes and answers how many; none, when more has to be read first.
    fn step(&mut self, into: &mut [u8]) -> Result<usize> {
        let mut output = OutBuffer::around(into);
        let from_source = self.ahead.is_empty();
        let available = if from_source { self.source.fill_buf()? } else { &self.ahead };
        let ended = available.is_empty();
        let mut input = InBuffer::around(available);
        let left = self.context.decompress_stream(&mut output, &mut input).map_err(named)?;
        let (used, made) = (input.pos(), output.pos());
        if from_source {
            self.source.consume(used);
        } else {
            self.ahead.drain(..used);
        }
        self.in_frame = left != 0;
        if ended && made == 0 && self.in_frame {
            return Err(Error::new(ErrorKind::UnexpectedEof, "incomplete frame"));
        }
        Ok(made)
    }
}

impl<R: BufRead> Read for Decoder<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.in_frame && !self.begin()? {
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
    use super::super::memory::Pool;
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
        let pool = Pool::default();
        let (mut whole, mut slow) = (Vec::new(), Vec::new());
        Decoder::new(&stream[..], &pool.share()).unwrap().read_to_end(&mut whole).unwrap();
        Decoder::new(Slow(&stream), &pool.share()).unwrap().read_to_end(&mut slow).unwrap();
        assert!(whole == expected && slow == expected);
        for (wrong, reason) in [
            (&stream[..stream.len() - 1], "incomplete frame"),
            (&[&stream[..], b"x"].concat()[..], "Unknown frame descriptor"),
            (b"\x28\xb5\x2f\xfd\x00\xff", "too much memory"),
        ] {
            let error = Decoder::new(wrong, &pool.share()).unwrap().read_to_end(&mut Vec::new()).unwrap_err();
            assert!(error.to_string().contains(reason), "{reason}: {error}");
        }
    }
}
