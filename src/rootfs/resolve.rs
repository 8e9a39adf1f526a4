//! Paths inside the container's root: found and made without ever leaving it.

use crate::sys;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use sys::Asked;

/// Opens `path` as if `root` were `/`: symbolic links and `..` stay inside, links of procfs are refused.
///
/// # Errors
///
/// As openat2(2).
pub fn open(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> sys::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
        .asked(|| format!("openat2 {}", path.display()))
}

/// Opens the directory `path` inside `root` as O_PATH, making what is missing with mode 0755.
///
/// # Errors
///
/// As openat2(2) and mkdirat(2); ENOTDIR when something else is in the way.
pub fn directory(root: BorrowedFd<'_>, path: &Path) -> sys::Result<OwnedFd> {
    open(root, path, OFlags::PATH | OFlags::DIRECTORY)
}

/// Opens the file `path` inside `root` as O_PATH, making it (empty) and its directories if they are missing.
///
/// # Errors
///
/// As openat2(2) and openat(2).
pub fn file(root: BorrowedFd<'_>, path: &Path) -> sys::Result<OwnedFd> {
    open(root, path, OFlags::PATH)
}
