//! What a layer in a directory of its own leaves open until the layers below it are known.

use super::times::Times;
use anyhow::{Result, bail};
use std::collections::{BTreeMap, BTreeSet};

/// Names are relative to the root, without links in their parents as far as this layer knows.
#[derive(Debug, Default)]
pub struct Pending {
    /// Names that vanish.
    pub(super) whiteouts: Vec<Vec<u8>>,
    /// Directories whose lower entries vanish.
    pub(super) opaque: BTreeSet<Vec<u8>>,
    /// Hard links to files of lower layers: name, target.
    pub(super) links: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Directories that no entry describes.
    pub(super) implicit: BTreeSet<Vec<u8>>,
    /// What directories get at the very end.
    pub(super) times: Times,
    bytes: usize,
}

impl Pending {
    /// Counts what is kept: an archive cannot make us keep more than `limit` bytes.
    pub(super) fn account(&mut self, name: &[u8], limit: usize) -> Result<()> {
        self.bytes += name.len() + 64;
        if self.bytes > limit {
            bail!("layer has more than {limit} bytes of whiteouts, implied directories and links (limits.deferred)");
        }
        Ok(())
    }
}
