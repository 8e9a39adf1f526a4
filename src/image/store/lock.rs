//! Advisory locks of the store (flock(2)): they die with the process that holds them.

use crate::sys::{self, Asked};
use anyhow::Result;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::os::fd::{BorrowedFd, OwnedFd};

/// Opens (and makes) a lock file.
pub(super) fn open(root: BorrowedFd<'_>, name: &str) -> sys::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(root, name, flags, Mode::from_raw_mode(0o600)).asked(|| format!("open {name}"))
}

/// Opens the lock of the store without making it: flock(2) asks for no right to write.
pub(super) fn open_to_read(root: BorrowedFd<'_>) -> sys::Result<OwnedFd> {
    sys::files::open_at(root, "ocicat/lock", OFlags::RDONLY | OFlags::NOFOLLOW)
}

/// Waits for a lock that others may hold too.
pub(super) fn shared(file: &OwnedFd) -> sys::Result<()> {
    wait(file, FlockOperation::LockShared)
}

/// Waits for a lock of our own.
pub(super) fn exclusive(file: &OwnedFd) -> sys::Result<()> {
    wait(file, FlockOperation::LockExclusive)
}

/// Takes a lock of our own if nobody else has one.
pub(super) fn try_exclusive(file: &OwnedFd) -> sys::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno).asked(|| "flock LOCK_EX|LOCK_NB".to_owned()),
    }
}

/// Lets go of a lock that stays open.
pub(super) fn unlock(file: &OwnedFd) -> sys::Result<()> {
    wait(file, FlockOperation::Unlock)
}

fn wait(file: &OwnedFd, operation: FlockOperation) -> sys::Result<()> {
    loop {
        match rustix::fs::flock(file, operation) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.asked(|| format!("flock {operation:?}")),
        }
    }
}

/// A held lock; dropping it lets go.
#[derive(Debug)]
pub(crate) struct Held {
    _file: OwnedFd,
}

/// Waits for the exclusive lock `name`.
pub(super) fn hold(root: BorrowedFd<'_>, name: &str) -> Result<Held> {
    let file = open(root, name)?;
    exclusive(&file)?;
    Ok(Held { _file: file })
}

/// Takes the exclusive lock `name` if it is free.
pub(super) fn try_hold(root: BorrowedFd<'_>, name: &str) -> Result<Option<Held>> {
    let file = open(root, name)?;
    Ok(try_exclusive(&file)?.then_some(Held { _file: file }))
}
