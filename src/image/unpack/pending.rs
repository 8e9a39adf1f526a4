//! What a layer in a directory of its own leaves open until the layers below it are known.

use super::times::Times;
use anyhow::{Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Names are relative to the root, without links in their parents as far as this layer knows.
#[derive(Debug, Default)]
pub struct Pending {
    /// Names that vanish.
    pub(super) whiteouts: BTreeSet<Vec<u8>>,
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

    /// Whether a name of the lower layers is hidden by what came so far.
    pub(super) fn hides(&self, path: &[u8]) -> bool {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        let mut above = std::iter::once(0).chain(ends).filter_map(|end| path.get(..end));
        self.whiteouts.contains(path)
            || above.any(|above| self.opaque.contains(above) || self.whiteouts.contains(above))
    }

    /// A directory of this layer is gone for the sake of something else: nothing below waits any more. The lower layers'
    /// directory is hidden with everything in it.
    pub(super) fn forget_below(&mut self, path: &[u8]) {
        for set in [&mut self.whiteouts, &mut self.opaque, &mut self.implicit] {
            let gone: Vec<_> = set.range(below(path)).cloned().collect();
            for name in gone {
                set.remove(&name);
            }
        }
        self.opaque.remove(path);
        self.implicit.remove(path);
        let gone: Vec<_> = self.links.range(below(path)).map(|(name, _)| name.clone()).collect();
        for name in gone {
            self.links.remove(&name);
        }
    }
}

/// The names below a directory in the order of bytes: from `path/` up to what follows the slash.
fn below(path: &[u8]) -> Range<Vec<u8>> {
    [path, b"/"].concat()..[path, b"0"].concat()
}
