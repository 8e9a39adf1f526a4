//! The pieces of a regular file that have data.

use crate::image::copy::for_each_segment;
use crate::image::tar::Segment;
use anyhow::Result;
use rustix::fs::Stat;
use std::os::fd::OwnedFd;

/// Pieces of one file: a map of so many has less than the 1 MiB that unpacking takes (limits.header), and so does Go's reader.
const PIECES: usize = 16 << 10;

/// The pieces of the file in order: the whole file if it has no holes to speak of.
pub(super) fn pieces(file: &OwnedFd, stat: &Stat) -> Result<Vec<Segment>> {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if stat.st_blocks.saturating_mul(512) >= stat.st_size {
        return Ok(vec![(0, size)]);
    }
    let mut map = Map::default();
    for_each_segment(file, size, |offset, length| {
        map.add(offset, length);
        Ok(())
    })?;
    Ok(map.pieces)
}

/// Pieces in order. When they become too many, holes that are small count as data.
#[derive(Default)]
struct Map {
    pieces: Vec<Segment>,
    /// Bytes of a hole that counts as data.
    small: u64,
}

impl Map {
    fn add(&mut self, offset: u64, length: u64) {
        self.join(offset, length);
        while self.pieces.len() > PIECES {
            self.small = (self.small * 2).max(4096);
            for (offset, length) in std::mem::take(&mut self.pieces) {
                self.join(offset, length);
            }
        }
    }

    fn join(&mut self, offset: u64, length: u64) {
        match self.pieces.last_mut() {
            Some((start, before)) if offset - (*start + *before) <= self.small => *before = offset + length - *start,
            _ => self.pieces.push((offset, length)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::tar::{Entry, Reader, Writer};

    #[test]
    fn a_file_with_many_holes_has_a_map_that_is_read() {
        for (name, count, place) in [
            ("even", 100_000, (|n| n << 40) as fn(u64) -> u64),
            ("few", 1000, |n| n * 8192),
            ("in groups", 300_000, |n| n * 8192 + ((n / 100) << 30)),
        ] {
            let mut map = Map::default();
            (0..count).for_each(|n| map.add(place(n), 4096));
            assert!(map.pieces.len() <= PIECES, "{name}: {}", map.pieces.len());
            assert!(count > 1000 || map.pieces.len() == 1000, "{name}: {}", map.pieces.len());
            assert!(name != "in groups" || map.pieces.len() == 3000, "{name}: {}", map.pieces.len());
            let mut all = map.pieces.iter();
            let mut piece = *all.next().unwrap();
            for n in 0..count {
                while place(n) >= piece.0 + piece.1 {
                    piece = *all.next().unwrap();
                }
                assert!(piece.0 <= place(n) && place(n) + 4096 <= piece.0 + piece.1, "{name}: {n}");
            }
            let size = map.pieces.iter().map(|(_, length)| length).sum();
            let entry = Entry { path: b"f".to_vec(), size, sparse: Some((u64::MAX, map.pieces)), ..Entry::default() };
            let (mut bytes, mut read) = (Vec::new(), Entry::default());
            Writer::new(&mut bytes).entry(&entry).unwrap();
            assert!(Reader::new(&bytes[..], 1 << 20).next(&mut read).unwrap(), "{name}");
            assert_eq!(read.sparse, entry.sparse, "{name}");
        }
    }
}
