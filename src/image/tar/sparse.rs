//! Maps of sparse files: the old GNU header and its continuation blocks, and the map before the data of PAX 1.0.

use super::header::number;
use super::{BLOCK, Segment};
use anyhow::{Result, bail};

/// Segments in a sparse header block: place of the first, and how many fit.
const OLD_HEADER: (usize, usize) = (386, 4);
/// And in a continuation block.
const CONTINUATION: (usize, usize) = (0, 21);

/// The real size that an old GNU sparse header tells.
pub(super) fn old_real_size(block: &[u8; BLOCK]) -> Option<u64> {
    number(block.get(483..495)?).and_then(|n| u64::try_from(n).ok())
}

/// True when a continuation block follows the header.
pub(super) fn header_continues(block: &[u8; BLOCK]) -> bool {
    block.get(482).is_some_and(|flag| *flag != 0)
}

/// True when another continuation block follows this one.
pub(super) fn continuation_continues(block: &[u8; BLOCK]) -> bool {
    block.get(504).is_some_and(|flag| *flag != 0)
}

/// Adds the segments of an old GNU header.
pub(super) fn add_header(block: &[u8; BLOCK], map: &mut Vec<Segment>) -> Result<()> {
    add(block, OLD_HEADER, map)
}

/// Adds the segments of a continuation block.
pub(super) fn add_continuation(block: &[u8; BLOCK], map: &mut Vec<Segment>) -> Result<()> {
    add(block, CONTINUATION, map)
}

fn add(block: &[u8; BLOCK], (start, count): (usize, usize), map: &mut Vec<Segment>) -> Result<()> {
    for place in (start..).step_by(24).take(count) {
        let field = |from: usize| block.get(from..from + 12).unwrap_or_default();
        if field(place).first() == Some(&0) {
            break;
        }
        let part = |from| number(field(from)).and_then(|n| u64::try_from(n).ok());
        let (Some(offset), Some(length)) = (part(place), part(place + 12)) else {
            bail!("sparse map has an invalid number");
        };
        map.push((offset, length));
    }
    Ok(())
}

/// A map must ascend without overlaps, stay within the file, and account for every byte of data in the archive.
pub(super) fn check(map: &[Segment], data: u64, real_size: u64) -> Result<()> {
    let (mut end, mut sum) = (0u64, 0u64);
    for (offset, length) in map {
        let after = offset.checked_add(*length);
        match after {
            Some(after) if *offset >= end && after <= real_size => end = after,
            _ => bail!("sparse map is out of order or beyond the file's size"),
        }
        sum = sum.saturating_add(*length);
    }
    if sum != data {
        bail!("sparse map describes {sum} bytes where the archive has {data}");
    }
    Ok(())
}
