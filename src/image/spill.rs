//! A map of numbers that takes bounded memory: beyond a limit it is kept in a file, which the page cache holds, and the disk
//! when memory is needed for something else.

use crate::image::store::Store;
use crate::sys::Asked;
use anyhow::{Context, Result, bail};
use rustix::io::{pread, pwrite};
use std::collections::HashMap;
use std::os::fd::OwnedFd;

/// Entries kept in memory (2.4 MB). In unit tests few are more.
const IN_MEMORY: usize = if cfg!(test) { 10 } else { 100_000 };

/// From keys, which are hashes and so evenly spread, to values.
#[derive(Debug, Default)]
pub(crate) struct Map {
    memory: HashMap<u64, u64>,
    file: Option<Table>,
}

impl Map {
    /// The value of a key.
    pub(crate) fn get(&self, key: u64) -> Result<Option<u64>> {
        match &self.file {
            Some(table) => table.get(key.max(1)),
            None => Ok(self.memory.get(&key.max(1)).copied()),
        }
    }

    /// Adds a key, or changes its value.
    pub(crate) fn insert(&mut self, key: u64, value: u64, store: &Store) -> Result<()> {
        // Zero is an empty place of the table.
        let key = key.max(1);
        match &mut self.file {
            Some(table) => return table.insert(key, value, store),
            None => self.memory.insert(key, value),
        };
        if self.memory.len() >= IN_MEMORY {
            let mut table = Table::new(store, IN_MEMORY as u64)?;
            for (key, value) in std::mem::take(&mut self.memory) {
                table.insert(key, value, store)?;
            }
            self.file = Some(table);
        }
        Ok(())
    }
}

/// Entries of a bucket.
const BUCKET: usize = 8;
/// Bytes of an entry: key and value.
const ENTRY: usize = 16;
const BYTES: usize = BUCKET * ENTRY;

/// An open hash table.
#[derive(Debug)]
struct Table {
    file: OwnedFd,
    buckets: u64,
    entries: u64,
}

impl Table {
    /// One that is a quarter full with so many entries.
    fn new(store: &Store, entries: u64) -> Result<Table> {
        let buckets = (entries * 4).div_ceil(BUCKET as u64);
        Ok(Table { file: store.scratch()?, buckets, entries: 0 })
    }

    fn get(&self, key: u64) -> Result<Option<u64>> {
        let (_, found) = self.find(key)?;
        Ok(found)
    }

    fn insert(&mut self, key: u64, value: u64, store: &Store) -> Result<()> {
        if self.entries * 2 > self.buckets * BUCKET as u64 {
            self.grow(store)?;
        }
        let (place, found) = self.find(key)?;
        let mut entry = [0u8; ENTRY];
        for (to, from) in entry.iter_mut().zip(key.to_ne_bytes().into_iter().chain(value.to_ne_bytes())) {
            *to = from;
        }
        let written = pwrite(&self.file, &entry, place).asked(|| "pwrite".to_owned()).context("scratch file")?;
        if written != entry.len() {
            bail!("scratch file: no space left");
        }
        self.entries += u64::from(found.is_none());
        Ok(())
    }

    /// Where a key is, or belongs (an offset in the file), and its value if it is there.
    fn find(&self, key: u64) -> Result<(u64, Option<u64>)> {
        for step in 0..self.buckets {
            let bucket = key.wrapping_add(step) % self.buckets;
            for (place, (found, value)) in (bucket * BYTES as u64..).step_by(ENTRY).zip(self.bucket(bucket)?) {
                if found == key {
                    return Ok((place, Some(value)));
                }
                if found == 0 {
                    return Ok((place, None));
                }
            }
        }
        bail!("scratch file is full")
    }

    /// Keys and values of a bucket; a free place has the key zero.
    fn bucket(&self, number: u64) -> Result<[(u64, u64); BUCKET]> {
        // What was never written is zeros, or beyond the end of the file.
        let mut bytes = [0u8; BYTES];
        pread(&self.file, &mut bytes, number * BYTES as u64).asked(|| "pread".to_owned()).context("scratch file")?;
        let mut entries = [(0, 0); BUCKET];
        for (entry, bytes) in entries.iter_mut().zip(bytes.as_chunks::<ENTRY>().0) {
            if let ([key, value], []) = bytes.as_chunks::<8>() {
                *entry = (u64::from_ne_bytes(*key), u64::from_ne_bytes(*value));
            }
        }
        Ok(entries)
    }

    fn grow(&mut self, store: &Store) -> Result<()> {
        let mut larger = Table::new(store, self.entries)?;
        for number in 0..self.buckets {
            for (key, value) in self.bucket(number)?.into_iter().filter(|(key, _)| *key != 0) {
                larger.insert(key, value, store)?;
            }
        }
        *self = larger;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, RandomState};

    #[test]
    fn what_does_not_fit_into_memory_is_kept_all_the_same() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path()).unwrap();
        let (mut map, hasher) = (Map::default(), RandomState::new());
        for n in 0..2000u64 {
            map.insert(hasher.hash_one(n), n, &store).unwrap();
            map.insert(hasher.hash_one(n / 2), n, &store).unwrap();
        }
        assert!(map.file.as_ref().is_some_and(|table| table.entries == 2000) && map.memory.is_empty());
        for n in 0..1000 {
            assert_eq!(map.get(hasher.hash_one(n)).unwrap(), Some(n * 2 + 1));
        }
        assert_eq!(map.get(hasher.hash_one(1500u64)).unwrap(), Some(1500));
        assert_eq!(map.get(hasher.hash_one(2000u64)).unwrap(), None);
        map.insert(0, 7, &store).unwrap();
        assert_eq!((map.get(0).unwrap(), map.get(1).unwrap()), (Some(7), Some(7)));
    }
}
