//! Memory that a file holds. The kernel can write it out and take the pages whenever it needs them, as it does with the page
//! cache: a program that is limited to little memory can use much of it.

use super::{Asked, Result};
use rustix::fs::FallocateFlags;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::ffi::c_void;
use std::os::fd::AsFd;
use std::ptr::NonNull;

/// A shared mapping of a file.
#[derive(Debug)]
pub(super) struct FileMemory {
    start: NonNull<c_void>,
    length: usize,
}

// SAFETY: the mapping belongs to the process, and only its owner has the address.
unsafe impl Send for FileMemory {}

impl FileMemory {
    /// `length` bytes in an empty file, whose blocks are reserved first: writing to a mapped hole of a full disk ends the
    /// process (SIGBUS, mmap(2)). `None` where the file system cannot promise that, or cannot map.
    pub(super) fn new(file: impl AsFd, length: usize) -> Result<Option<FileMemory>> {
        let not_here = [libc::EOPNOTSUPP, libc::ENOSYS, libc::ENODEV];
        let file = file.as_fd();
        keep_in_place(file);
        let reserved = rustix::fs::fallocate(file, FallocateFlags::empty(), 0, length as u64);
        match reserved.asked(|| format!("fallocate {length} bytes")).and_then(|()| map(file, length)) {
            Ok(start) => {
                // A page that was taken comes back alone, not with its neighbours. A failure costs time only.
                // SAFETY: the mapping that was just made, in its whole length.
                _ = unsafe { rustix::mm::madvise(start.as_ptr(), length, Advice::Random) };
                Ok(Some(FileMemory { start, length }))
            }
            Err(error) if not_here.contains(&error.errno.0) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where it is, at the beginning of a page.
    pub(super) fn start(&self) -> NonNull<c_void> {
        self.start
    }

    /// Takes the pages that lie wholly behind the first `from` bytes out of the process; their content is still there.
    pub(super) fn let_go(&self, from: usize) {
        let from = from.next_multiple_of(rustix::param::page_size());
        let Some(length) = self.length.checked_sub(from) else { return };
        // SAFETY: the range is inside the mapping, which nobody unmaps before it is dropped. Shared pages of a file keep
        // what was written to them (madvise(2), MADV_DONTNEED).
        let start = unsafe { self.start.byte_add(from) };
        // SAFETY: as above. A failure leaves the pages where they are.
        _ = unsafe { rustix::mm::madvise(start.as_ptr(), length, Advice::LinuxDontNeed) };
    }
}

impl Drop for FileMemory {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length; whoever had the address is gone with the owner.
        _ = unsafe { rustix::mm::munmap(self.start.as_ptr(), self.length) };
    }
}

/// On btrfs only such a file is overwritten in place, in the blocks that were reserved (btrfs(5), nodatacow).
fn keep_in_place(file: impl AsFd) {
    const BTRFS: u64 = 0x9123_683e;
    if rustix::fs::fstatfs(&file).is_ok_and(|all| all.f_type as u64 == BTRFS) {
        // Refused, it costs what it costs on a full disk.
        _ = rustix::fs::ioctl_setflags(&file, rustix::fs::IFlags::NOCOW);
    }
}

fn map(file: impl AsFd, length: usize) -> Result<NonNull<c_void>> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at a place that the kernel chooses.
    let start = unsafe { rustix::mm::mmap(std::ptr::null_mut(), length, access, MapFlags::SHARED, file, 0) };
    let start = start.asked(|| format!("mmap {length} bytes of a file"))?;
    NonNull::new(start).ok_or(rustix::io::Errno::NOMEM).asked(|| "mmap at 0".to_owned())
}
