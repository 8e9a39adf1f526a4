//! Which entries of a plain tree this layer made: its own whiteouts do not concern them, whatever the order.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// A set of (directory, name), kept as keyed hashes: 8 bytes an entry, and no archive can aim at a collision.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    hasher: RandomState,
    seen: HashSet<u64>,
}

impl Marks {
    /// `name` in the directory with this inode number is of this layer.
    pub(crate) fn add(&mut self, inode: u64, name: &[u8]) {
        self.seen.insert(self.hasher.hash_one((inode, name)));
    }

    /// Whether it is.
    pub(crate) fn has(&self, inode: u64, name: &[u8]) -> bool {
        self.seen.contains(&self.hasher.hash_one((inode, name)))
    }
}
