//! What directories get at the end, when nothing is made in them any more: their times, and modes that would have kept us
//! out.

use super::directories::open_in_root;
use super::merged::by_descriptor;
use crate::image::tar::Time;
use crate::sys::Asked;
use anyhow::Result;
use rustix::fs::{Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT};
use std::collections::HashMap;
use std::os::fd::BorrowedFd;

/// Bytes that are kept; an archive with more directories gets its times in several goes. In unit tests few are more.
const KEPT: usize = if cfg!(test) { 1 << 10 } else { 256 << 10 };
/// What an entry takes beside its path: itself, its key, and the room between the entries of a hash table (bytes).
const ENTRY: usize = 2 * (size_of::<Last>() + size_of::<u64>());

/// The times of an inode that has none of its own in the archive are those it had.
#[derive(Debug, Clone)]
struct Last {
    path: Vec<u8>,
    mtime: Time,
    atime: Option<Time>,
    mode: Option<u32>,
}

/// By inode number: an archive may name one directory in several ways.
#[derive(Debug, Default)]
pub(crate) struct Times {
    by_inode: HashMap<u64, Last>,
    bytes: usize,
    applied: bool,
}

impl Times {
    /// Sets what the directory gets; a later entry of the archive wins.
    pub(crate) fn set(&mut self, inode: u64, path: &[u8], mtime: Time, atime: Option<Time>, mode: Option<u32>) {
        self.bytes += path.len() + ENTRY;
        self.by_inode.insert(inode, Last { path: path.to_vec(), mtime, atime, mode });
    }

    /// Something will change in a directory that may have its time already: it keeps what it has, and is opened for us if
    /// we are not root.
    pub(crate) fn touch(&mut self, directory: BorrowedFd<'_>, path: impl FnOnce() -> Vec<u8>) -> Result<()> {
        let stat = rustix::fs::fstat(directory).asked(|| "fstat".to_owned())?;
        self.touch_known(directory, &stat, path)
    }

    /// The same for a directory about which this is known.
    pub(crate) fn touch_known(
        &mut self,
        directory: BorrowedFd<'_>,
        stat: &Stat,
        path: impl FnOnce() -> Vec<u8>,
    ) -> Result<()> {
        if self.by_inode.contains_key(&stat.st_ino) {
            return Ok(());
        }
        let mode = stat.st_mode & 0o7777;
        let closed = mode & 0o300 != 0o300 && !rustix::process::geteuid().is_root();
        let mtime = Time { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 };
        self.set(stat.st_ino, &path(), mtime, None, closed.then_some(mode));
        if closed {
            rustix::fs::chmod(by_descriptor(directory), Mode::from_raw_mode(mode | 0o700))
                .asked(|| "chmod".to_owned())?;
        }
        Ok(())
    }

    /// The directory keeps the times that it has.
    pub(crate) fn forget(&mut self, inode: u64) {
        self.by_inode.remove(&inode);
    }

    /// Gives the directories their times when too many wait for them; true when it did.
    pub(crate) fn apply_if_full(&mut self, root: BorrowedFd<'_>) -> Result<bool> {
        let is_full = self.bytes > KEPT;
        if is_full {
            self.apply(root)?;
        }
        Ok(is_full)
    }

    /// True when some directories have their times already: whoever makes something in one keeps its time first.
    pub(crate) fn was_applied(&self) -> bool {
        self.applied
    }

    /// Gives the directories what they get. One that is gone, or another by now, is passed over.
    pub(crate) fn apply(&mut self, root: BorrowedFd<'_>) -> Result<()> {
        self.bytes = 0;
        self.applied |= !self.by_inode.is_empty();
        for (inode, last) in std::mem::take(&mut self.by_inode) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let Some(fd) = open_in_root(root, &last.path, flags)? else { continue };
            // Another directory may have taken the place of one that a whiteout removed.
            if rustix::fs::fstat(&fd).asked(|| "fstat".to_owned())?.st_ino != inode {
                continue;
            }
            rustix::fs::futimens(&fd, &timestamps(last.mtime, last.atime)).asked(|| "futimens".to_owned())?;
            if let Some(mode) = last.mode {
                rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode)).asked(|| "fchmod".to_owned())?;
            }
        }
        Ok(())
    }
}

/// For utimensat(2); an archive without an access time leaves the one of the unpacking.
pub(super) fn timestamps(mtime: Time, atime: Option<Time>) -> Timestamps {
    let spec = |time: Time| Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    let omitted = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    Timestamps { last_access: atime.map_or(omitted, spec), last_modification: spec(mtime) }
}
