//! gzip that never packs so well that the unpacking would take the layer for a bomb (limits.ratio).
//!
//! Zeros and repeated text become a thousand times smaller. Where that would be too much, pieces go in as they are (stored
//! blocks, RFC 1951 section 3.2.4) until the whole is large enough: less than a hundredth of the data. It is one ordinary gzip
//! stream that everybody reads, and layers below `ratio_from` have nothing of it.

use crate::image::unpack::Limits;
use anyhow::{Context, Result};
use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use std::io::{Error, Write};

/// Bytes that are looked at together: what a stored block may have.
const PIECE: usize = u16::MAX as usize;
/// The header: deflate, no name, no time, unknown system (RFC 1952 section 2.3).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

pub(super) struct Gzip<W> {
    deflate: Compress,
    sum: Crc,
    to: W,
    buffer: Vec<u8>,
    read: u64,
    made: u64,
    /// Times that the whole may become smaller: a tenth less than unpacking takes.
    ratio: u64,
    /// Bytes from which that is kept: so many before it counts that stored pieces can make up for all the others.
    from: u64,
    /// Everything that was read is in the output, and nothing will refer to it.
    is_flushed: bool,
}

impl<W: Write> Gzip<W> {
    pub(super) fn new(to: W, limits: &Limits) -> Gzip<W> {
        let ratio = (limits.ratio - limits.ratio / 10).max(1);
        Gzip {
            deflate: Compress::new(Compression::default(), false),
            sum: Crc::new(),
            to,
            buffer: vec![0; PIECE],
            read: 0,
            made: 0,
            ratio,
            from: limits.ratio_from.saturating_sub(limits.ratio_from / ratio * 2 + PIECE as u64),
            is_flushed: true,
        }
    }

    pub(super) fn finish(mut self) -> Result<W> {
        self.begin().context("gzip")?;
        self.compress(&[], FlushCompress::Finish).context("gzip")?;
        let (sum, length) = (self.sum.sum(), self.sum.amount());
        self.put(&[sum.to_le_bytes(), length.to_le_bytes()].concat()).context("gzip")?;
        Ok(self.to)
    }

    fn begin(&mut self) -> std::io::Result<()> {
        if self.made == 0 { self.put(&HEADER) } else { Ok(()) }
    }

    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.made += bytes.len() as u64;
        self.to.write_all(bytes)
    }

    /// True when the next piece must not become smaller. What the compressor still holds counts as nothing.
    fn is_too_good(&self) -> bool {
        self.read > self.from && self.read / self.ratio > self.made
    }

    /// Writes a piece as it is. A full flush before it ends at a byte, and nothing after it refers to what is before, so the
    /// compressor need not know.
    fn store(&mut self, piece: &[u8]) -> std::io::Result<()> {
        if !self.is_flushed {
            self.compress(&[], FlushCompress::Full)?;
            self.is_flushed = true;
        }
        let length = piece.len() as u16;
        let [low, high] = length.to_le_bytes();
        let [not_low, not_high] = (!length).to_le_bytes();
        self.put(&[0, low, high, not_low, not_high])?;
        self.put(piece)
    }

    fn compress(&mut self, mut input: &[u8], flush: FlushCompress) -> std::io::Result<()> {
        loop {
            let (read, made) = (self.deflate.total_in(), self.deflate.total_out());
            let status = self.deflate.compress(input, &mut self.buffer, flush).map_err(Error::other)?;
            let took = (self.deflate.total_in() - read) as usize;
            let made = (self.deflate.total_out() - made) as usize;
            self.to.write_all(self.buffer.get(..made).unwrap_or_default())?;
            self.made += made as u64;
            input = input.get(took..).unwrap_or_default();
            let is_done = match flush {
                FlushCompress::Finish => status == Status::StreamEnd,
                _ => input.is_empty() && made < self.buffer.len(),
            };
            if is_done {
                return Ok(());
            }
            if took == 0 && made == 0 {
                return Err(Error::other("the compressor makes no progress"));
            }
        }
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let piece = bytes.get(..PIECE).unwrap_or(bytes);
        self.begin()?;
        self.sum.update(piece);
        if self.is_too_good() {
            self.store(piece)?;
        } else {
            self.compress(piece, FlushCompress::None)?;
            self.is_flushed = false;
        }
        self.read += piece.len() as u64;
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.begin()?;
        self.compress(&[], FlushCompress::Sync)?;
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn packed(data: &[u8], step: usize, limits: &Limits) -> Vec<u8> {
        let mut gzip = Gzip::new(Vec::new(), limits);
        data.chunks(step).for_each(|piece| gzip.write_all(piece).unwrap());
        gzip.finish().unwrap()
    }

    /// Bytes that nothing makes smaller.
    fn noise(length: usize) -> Vec<u8> {
        let next = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        std::iter::successors(Some(7), next).map(|state| (state >> 33) as u8).take(length).collect()
    }

    #[test]
    fn nothing_becomes_so_small_that_unpacking_refuses_it() {
        let limits = Limits { ratio: 50, ratio_from: 1 << 20, ..Limits::default() };
        let text = b"the same line again\n".repeat(100_000);
        let zeros = vec![0; 3 << 20];
        for (name, data) in [
            ("as much as counts", vec![0; (1 << 20) + 1]),
            ("zeros", zeros.clone()),
            ("text", text.clone()),
            ("zeros after noise", [noise(300_000), zeros.clone()].concat()),
            ("noise after zeros", [zeros.clone(), noise(300_000)].concat()),
            ("all of it", [text, noise(1000), zeros.clone(), noise(10), zeros].concat()),
        ] {
            for step in [512, 10_000, 256 << 10] {
                let packed = packed(&data, step, &limits);
                let times = data.len() as u64 / packed.len() as u64;
                assert!((10..=limits.ratio).contains(&times) || name.contains("noise"), "{name}, {step}: {times}");
                assert!(data.len() as u64 / limits.ratio <= packed.len() as u64, "{name}, {step}: {times}");
                let mut read = Vec::new();
                flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut read).unwrap();
                assert!(read == data, "{name}, {step}");
            }
        }
    }

    #[test]
    fn what_is_small_or_packs_as_usual_is_not_touched() {
        let limits = Limits { ratio: 50, ratio_from: 1 << 20, ..Limits::default() };
        let never = Limits { ratio_from: u64::MAX, ..limits };
        let usual: Vec<u8> = noise(1 << 19).iter().flat_map(|byte| [byte % 7, 0, 0, byte % 3]).collect();
        for (name, data) in [("small", vec![0; 900_000]), ("as usual", usual)] {
            assert!(packed(&data, 5000, &limits) == packed(&data, 5000, &never), "{name}");
        }
    }
}
