//! Which entries of a plain tree this layer made: its own whiteouts do not concern them, whatever the order.

use crate::image::store::Store;
use crate::sys::Asked;
use anyhow::{Context, Result, bail};
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::OwnedFd;

/// Entries kept in memory; more are kept in a file (1.2 MB). In unit tests few are more.
const IN_MEMORY: usize = if cfg!(test) { 10 } else { 100_000 };

/// A set of (directory, name), kept as keyed hashes: 8 bytes an entry, and no archive can aim at a collision.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    hasher: RandomState,
    seen: HashSet<u64>,
    table: Option<Table>,
}

impl Marks {
    /// `name` in the directory with this inode number is of this layer, which has at most `limit` such entries.
    pub(crate) fn add(&mut self, inode: u64, name: &[u8], limit: u64, store: &Store) -> Result<()> {
        let key = self.key(inode, name);
        if let Some(table) = &self.table {
            return table.insert(key);
        }
        self.seen.insert(key);
        if self.seen.len() >= IN_MEMORY {
            let table = Table::new(store.scratch()?, limit);
            std::mem::take(&mut self.seen).into_iter().try_for_each(|key| table.insert(key))?;
            self.table = Some(table);
        }
        Ok(())
    }

    /// Whether it is.
    pub(crate) fn has(&self, inode: u64, name: &[u8]) -> Result<bool> {
        let key = self.key(inode, name);
        match &self.table {
            Some(table) => table.has(key),
            None => Ok(self.seen.contains(&key)),
        }
    }

    fn key(&self, inode: u64, name: &[u8]) -> u64 {
        // Zero is an empty place of the table.
        self.hasher.hash_one((inode, name)).max(1)
    }
}

/// Keys of a bucket.
const BUCKET: usize = 8;

/// An open hash table in a file: the page cache has it, and the disk when memory is needed for something else.
#[derive(Debug)]
struct Table {
    file: OwnedFd,
    buckets: u64,
}

impl Table {
    /// For at most `limit` keys: it is half full then.
    fn new(file: OwnedFd, limit: u64) -> Table {
        Table { file, buckets: (limit / BUCKET as u64 * 2).max(1024) }
    }

    fn insert(&self, key: u64) -> Result<()> {
        match self.find(key)? {
            None => Ok(()),
            Some(place) => {
                let written = rustix::io::pwrite(&self.file, &key.to_ne_bytes(), place).asked(|| "pwrite".to_owned());
                match written.context("table of entries")? {
                    8 => Ok(()),
                    _ => bail!("table of entries: no space left"),
                }
            }
        }
    }

    fn has(&self, key: u64) -> Result<bool> {
        Ok(self.find(key)?.is_none())
    }

    /// The empty place where a key belongs (an offset in the file), or `None` when it is there.
    fn find(&self, key: u64) -> Result<Option<u64>> {
        for step in 0..self.buckets {
            let offset = (key.wrapping_add(step) % self.buckets) * (BUCKET * 8) as u64;
            // What was never written reads as zeros, or is beyond the end of the file.
            let mut bytes = [0u8; BUCKET * 8];
            rustix::io::pread(&self.file, &mut bytes, offset)
                .asked(|| "pread".to_owned())
                .context("table of entries")?;
            let (keys, _) = bytes.as_chunks::<8>();
            for (place, found) in (offset..).step_by(8).zip(keys) {
                match u64::from_ne_bytes(*found) {
                    0 => return Ok(Some(place)),
                    found if found == key => return Ok(None),
                    _ => {}
                }
            }
        }
        bail!("table of entries is full")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_entries_than_memory_has_room_for_are_known_all_the_same() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path()).unwrap();
        let mut marks = Marks::default();
        let count = IN_MEMORY as u64 + 5000;
        for n in 0..count {
            marks.add(n % 7, n.to_string().as_bytes(), count, &store).unwrap();
        }
        assert!(marks.table.is_some() && marks.seen.is_empty());
        for n in (0..count).step_by(97) {
            assert!(marks.has(n % 7, n.to_string().as_bytes()).unwrap(), "{n}");
            assert!(!marks.has(n % 7 + 1, n.to_string().as_bytes()).unwrap(), "{n}");
        }
    }

    #[test]
    fn a_full_table_says_so() {
        let place = tempfile::tempdir().unwrap();
        let table = Table { file: Store::open(place.path()).unwrap().scratch().unwrap(), buckets: 2 };
        (1..=16).for_each(|key| table.insert(key * 3).unwrap());
        assert!(table.has(48).unwrap());
        assert!(table.insert(1).unwrap_err().to_string().contains("full"));
    }
}
