//! Compressed bytes to tar bytes. What a layer is compressed with is seen in its first bytes, as every registry client
//! does: media types lie more often than magic numbers.

use crate::image::zstd::{Decoder, Windows};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, Read};

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Plain,
    Gzip,
    Zstd,
}

/// Inflates `source` and gives the output to `take` in pieces; `buffer` is where a piece is made.
pub(super) fn run<R: BufRead>(
    mut source: R,
    windows: Windows<'_>,
    buffer: impl FnMut() -> Result<Vec<u8>>,
    take: impl FnMut(Vec<u8>) -> Result<()>,
) -> Result<R> {
    match format(source.fill_buf().context("layer")?)? {
        Format::Plain => {
            pump(&mut source, buffer, take)?;
            Ok(source)
        }
        Format::Gzip => gzip(source, buffer, take),
        Format::Zstd => {
            let mut decoder = Decoder::new(source, windows).context("zstd")?;
            pump(&mut decoder, buffer, take).context("zstd")?;
            Ok(decoder.into_inner())
        }
    }
}

fn format(start: &[u8]) -> Result<Format> {
    Ok(match start {
        [0x1f, 0x8b, ..] => Format::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Format::Zstd,
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, ..] => {
            bail!("layer is compressed with bzip2: not supported")
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => bail!("layer is compressed with xz: not supported"),
        _ => Format::Plain,
    })
}

/// Several gzip members are one stream; zeros or garbage after the last member are ignored, as gzip(1) does.
fn gzip<R: BufRead>(
    mut source: R,
    mut buffer: impl FnMut() -> Result<Vec<u8>>,
    mut take: impl FnMut(Vec<u8>) -> Result<()>,
) -> Result<R> {
    loop {
        let mut decoder = flate2::bufread::GzDecoder::new(source);
        pump(&mut decoder, &mut buffer, &mut take).context("gzip")?;
        source = decoder.into_inner();
        if !source.fill_buf().context("layer")?.starts_with(&[0x1f, 0x8b]) {
            return Ok(source);
        }
    }
}

fn pump(
    from: &mut impl Read,
    mut buffer: impl FnMut() -> Result<Vec<u8>>,
    mut take: impl FnMut(Vec<u8>) -> Result<()>,
) -> Result<()> {
    loop {
        let mut piece = buffer()?;
        piece.resize(super::pipeline::PIECE, 0);
        let mut filled = 0;
        while let Some(space) = piece.get_mut(filled..).filter(|space| !space.is_empty()) {
            match from.read(space) {
                Ok(0) => {
                    piece.truncate(filled);
                    return if filled > 0 { take(piece) } else { Ok(()) };
                }
                Ok(length) => filled += length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        take(piece)?;
    }
}
