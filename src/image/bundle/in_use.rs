//! Temporary bundles: whoever made one takes it away, unless he is killed. A lock on the bundle's directory (flock(2)), held
//! by him and by the runtime that he starts, tells `gc` that it is in use; without it the bundle is a leftover.

use super::{Record, remove};
use crate::image::remove::for_each;
use crate::image::store::Store;
use crate::sys::{self, Asked};
use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, FlockOperation, OFlags};
use rustix::io::FdFlags;
use std::os::fd::{AsFd, OwnedFd};
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

/// Refuses a bundle in which a process lives: its root is the bundle's root filesystem, mounted or plain. Processes that
/// this user may not look at are passed over (/proc/PID/root, PTRACE_MODE_READ).
pub fn refuse_used(directory: &Path) -> Result<()> {
    if let Some(pid) = process_in(&directory.join("rootfs"))? {
        bail!(
            "bundle {} is in use: process {pid} of a container has it as its root; hint: end the container, or --force",
            directory.display()
        );
    }
    InUse::mark(directory).map(drop)
}

/// The first process whose root is the directory.
fn process_in(root: &Path) -> Result<Option<i32>> {
    let identity = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
    let Ok(wanted) = rustix::fs::lstat(root).map(identity) else { return Ok(None) };
    let processes = sys::files::open("/proc", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut found: Option<i32> = None;
    for_each(processes.as_fd(), |name, _| -> sys::Result<()> {
        let Some(pid) = name.to_str().ok().and_then(|name| name.parse::<i32>().ok()) else { return Ok(()) };
        let own = rustix::fs::statat(&processes, format!("{pid}/root"), AtFlags::empty()).map(identity);
        if own == Ok(wanted) {
            found = Some(found.map_or(pid, |first| first.min(pid)));
        }
        Ok(())
    })?;
    Ok(found)
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
            // The container may outlive both programs that held the mark.
            if let Some(_unused) = InUse::try_mark(&bundle.path)?
                && process_in(&bundle.path.join("rootfs"))?.is_none()
            {
                remove(store, &bundle.path).with_context(|| format!("remove bundle {}", bundle.path.display()))?;
                removed += 1;
            }
        }
        Ok(removed)
    })
}
