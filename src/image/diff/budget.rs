//! What unpacking would refuse is not written: who commits still has the bundle, who has the image would have nothing.

use crate::image::tar::Entry;
use crate::image::unpack::{Limits, Pending, cleaned};
use anyhow::{Context, Result, anyhow};

/// Why an entry cannot be written.
const REFUSED: &str = "such a layer would be refused when it is unpacked";

/// What a layer may have, and what it has.
pub(super) struct Budget {
    limits: Limits,
    entries: u64,
    pending: Pending,
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Budget {
        Budget { limits: *limits, entries: 0, pending: Pending::default() }
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// Counts an entry that will be written.
    pub(super) fn entry(&mut self, entry: &Entry) -> Result<()> {
        cleaned(&entry.path, self.limits.depth).context(REFUSED)?;
        self.entries += 1;
        let limit = self.limits.entries;
        if self.entries > limit {
            return Err(anyhow!("layer has more than {limit} entries (limits.entries)").context(REFUSED));
        }
        Ok(())
    }

    /// Counts the name that a whiteout or opaque marker is for: unpacking keeps it until the lower layers are there.
    pub(super) fn hidden(&mut self, path: &[u8]) -> Result<()> {
        self.pending.account(path, self.limits.deferred).context(REFUSED)?;
        Ok(())
    }

    /// Holds the size of the tar so far against the limit (bytes).
    pub(super) fn size(&self, bytes: u64) -> Result<()> {
        let limit = self.limits.bytes;
        if bytes > limit {
            return Err(anyhow!("layer is larger than {limit} bytes unpacked (limits.bytes)").context(REFUSED));
        }
        Ok(())
    }
}
