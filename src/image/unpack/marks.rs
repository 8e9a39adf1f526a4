//! Which entries of a plain tree this layer made: its own whiteouts do not concern them, whatever the order.

use crate::image::spill::Map;
use crate::image::store::Store;
use anyhow::Result;
use std::hash::{BuildHasher, RandomState};

/// A set of (directory, name), kept as keyed hashes: no archive can aim at a collision.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    hasher: RandomState,
    seen: Map,
}

impl Marks {
    /// `name` in the directory with this inode number is of this layer.
    pub(crate) fn add(&mut self, inode: u64, name: &[u8], store: &Store) -> Result<()> {
        self.seen.insert(self.hasher.hash_one((inode, name)), 1, store)
    }

    /// Whether it is.
    pub(crate) fn has(&self, inode: u64, name: &[u8]) -> Result<bool> {
        Ok(self.seen.get(self.hasher.hash_one((inode, name)))?.is_some())
    }
}
