//! Temporary bundles: whoever made one takes it away, unless he is killed. A lock on the bundle's directory (flock(2)), held
//! by him and by the runtime that he starts, tells `gc` that it is in use; without it the bundle is a leftover.

use super::{Record, remove};
use crate::image::store::Store;
use crate::sys::{self, Asked};
use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, OFlags};
use rustix::io::FdFlags;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The mark; dropping it lets go.
#[derive(Debug)]
pub struct InUse {
    directory: OwnedFd,
}

impl InUse {
    /// Marks a bundle. Goes before the store's lock is let go.
    pub fn mark(directory: &Path) -> Result<InUse> {
        let marked = InUse::try_mark(directory)?;
        marked.with_context(|| format!("bundle {} is in use", directory.display()))
    }

    fn try_mark(directory: &Path) -> Result<Option<InUse>> {
        let open = sys::files::open(directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
        match rustix::fs::flock(&open, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(InUse { directory: open })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Ok(Err(errno).asked(|| format!("flock {}", directory.display()))?),
        }
    }

    /// Programs that this process starts hold the mark too.
    pub fn inherit(&self) -> Result<()> {
        Ok(rustix::io::fcntl_setfd(&self.directory, FdFlags::empty()).asked(|| "fcntl F_SETFD".to_owned())?)
    }
}

/// Removes temporary bundles that nobody uses: of a program that was killed, or from before a reboot.
pub fn remove_abandoned(store: &Store) -> Result<u64> {
    store.alone(|| {
        let mut removed = 0;
        for bundle in store.bundles()? {
            // A bundle of somebody else at this place is not ours to judge.
            let Ok(record) = Record::read(&bundle.path) else { continue };
            if !record.temporary || record.store != store.path() {
                continue;
            }
            if let Some(_unused) = InUse::try_mark(&bundle.path)? {
                remove(store, &bundle.path).with_context(|| format!("remove bundle {}", bundle.path.display()))?;
                removed += 1;
            }
        }
        Ok(removed)
    })
}
