//! Opening, reading, writing and replacing files.

use super::{Asked, Errno, Error, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Opens `path` relative to `dir` with O_CLOEXEC.
pub fn open_at(dir: impl AsFd, path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd> {
    let path = path.as_ref();
    rustix::fs::openat(dir, path, flags | OFlags::CLOEXEC, Mode::empty()).asked(|| format!("open {}", path.display()))
}

/// Opens `path` with O_CLOEXEC.
pub fn open(path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd> {
    open_at(rustix::fs::CWD, path, flags)
}

/// Opens `path` with O_PATH: a handle that names the file and can do nothing else.
pub fn open_path(path: impl AsRef<Path>) -> Result<OwnedFd> {
    open(path, OFlags::PATH)
}

/// Reads a whole file of at most `limit` bytes; a longer one is EFBIG.
pub fn read(path: impl AsRef<Path>, limit: usize) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let file = open(path, OFlags::RDONLY)?;
    read_fd(&file, limit).map_err(|mut e| {
        e.call = format!("read {}", path.display());
        e
    })
}

/// Reads an open file to its end, at most `limit` bytes; a longer one is EFBIG.
pub fn read_fd(file: impl AsFd, limit: usize) -> Result<Vec<u8>> {
    let size = rustix::fs::fstat(file.as_fd()).map(|s| s.st_size as usize).unwrap_or(0);
    let mut bytes = Vec::with_capacity(size.min(limit).max(4096) + 1);
    loop {
        if bytes.len() > limit {
            return Err(super::Error { call: "read".to_owned(), errno: super::Errno(libc::EFBIG) });
        }
        bytes.reserve(4096);
        match rustix::io::read(file.as_fd(), rustix::buffer::spare_capacity(&mut bytes)) {
            Ok(0) => return Ok(bytes),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).asked(|| "read".to_owned()),
        }
    }
}

/// `path` from the root on, the working directory before it where it is relative; links in it stay what they are.
pub fn absolute(path: impl AsRef<Path>) -> Result<PathBuf> {
    match path.as_ref() {
        empty if empty.as_os_str().is_empty() => {
            Err(Error { call: "a path that is empty".to_owned(), errno: Errno(libc::ENOENT) })
        }
        path => std::path::absolute(path).asked(|| "getcwd".to_owned()),
    }
}

/// Reads a small text file of the kernel's (procfs, sysfs, cgroupfs), at most 64 KiB.
pub fn read_text(path: impl AsRef<Path>) -> Result<String> {
    read(path, 65536).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads an open file of the kernel's from its start again, at most `limit` bytes.
pub fn read_start(file: impl AsFd, limit: usize) -> Result<String> {
    let mut bytes = vec![0; limit];
    let length = rustix::io::pread(file, &mut bytes, 0).asked(|| "pread".to_owned())?;
    bytes.truncate(length);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes all of `bytes` with as few writes as the kernel allows.
pub fn write_fd(file: impl AsFd, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file.as_fd(), bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).asked(|| "write".to_owned()),
        }
    }
    Ok(())
}

/// Writes `value` into an existing file of the kernel's, in one write, as such files want it.
pub fn write_value_at(dir: impl AsFd, path: impl AsRef<Path>, value: &str) -> Result<()> {
    let path = path.as_ref();
    let file = open_at(dir, path, OFlags::WRONLY)?;
    rustix::io::write(&file, value.as_bytes()).asked(|| format!("write {value:?} to {}", path.display()))?;
    Ok(())
}

/// Writes a file as a whole or not at all: a new file beside it, then a rename over the name.
pub fn replace_at(dir: impl AsFd, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let temporary = format!(".{name}.{}", rustix::process::getpid().as_raw_nonzero());
    let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = match rustix::fs::openat(dir.as_fd(), &temporary, create, Mode::from_raw_mode(mode)) {
        // Left by a killed process that had our pid.
        Err(rustix::io::Errno::EXIST) => {
            let _ = rustix::fs::unlinkat(dir.as_fd(), &temporary, AtFlags::empty());
            rustix::fs::openat(dir.as_fd(), &temporary, create, Mode::from_raw_mode(mode))
        }
        other => other,
    };
    let file = made.asked(|| format!("create {temporary}"))?;
    let written = write_fd(&file, bytes).and_then(|()| {
        rustix::fs::renameat(dir.as_fd(), &temporary, dir.as_fd(), name)
            .asked(|| format!("rename {temporary} to {name}"))
    });
    if written.is_err() {
        let _ = rustix::fs::unlinkat(dir.as_fd(), &temporary, AtFlags::empty());
    }
    written
}

/// Opens a file to append to it, and makes it where there is none. A fifo that nobody reads is an error (ENXIO) and not waited for.
pub fn append_to(path: impl AsRef<Path>, flags: OFlags, mode: u32) -> Result<OwnedFd> {
    let path = path.as_ref();
    let all = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(rustix::fs::CWD, path, all, Mode::from_raw_mode(mode)).and_then(|file| {
        // Whoever reads slowly is waited for.
        rustix::fs::fcntl_setfl(&file, OFlags::APPEND).map(|()| file)
    });
    opened.asked(|| {
        let fifo = rustix::fs::stat(path).is_ok_and(|status| FileType::from_raw_mode(status.st_mode).is_fifo());
        let why = if fifo { ": nobody reads from this fifo" } else { "" };
        format!("open {}{why}", path.display())
    })
}

/// Makes a file that was not there; an existing one, or a link of that name, is EEXIST.
pub fn create_new(path: impl AsRef<Path>, bytes: &[u8], mode: u32) -> Result<()> {
    let path = path.as_ref();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(rustix::fs::CWD, path, flags, Mode::from_raw_mode(mode))
        .asked(|| format!("create {}", path.display()))?;
    write_fd(&file, bytes)
}

/// The names in a directory.
pub fn names(directory: impl AsFd) -> Result<Vec<CString>> {
    let mut found = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory).asked(|| "getdents".to_owned())? {
        let name = entry.asked(|| "getdents".to_owned())?.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            found.push(name);
        }
    }
    Ok(found)
}

/// Removes everything in a directory. Links are not followed, and what is mounted there is left alone: EBUSY or EXDEV.
pub fn empty(directory: &OwnedFd) -> Result<()> {
    for name in names(directory)? {
        match rustix::fs::unlinkat(directory, &name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            // The kernel says EISDIR of a directory, POSIX EPERM.
            Err(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
                let below = rustix::fs::openat2(directory, &name, flags, Mode::empty(), resolve)
                    .asked(|| format!("open {}", name.to_string_lossy()))?;
                empty(&below)?;
                rustix::fs::unlinkat(directory, &name, AtFlags::REMOVEDIR)
                    .asked(|| format!("rmdir {}", name.to_string_lossy()))?;
            }
            Err(errno) => return Err(errno).asked(|| format!("unlink {}", name.to_string_lossy())),
        }
    }
    Ok(())
}

/// Closes every descriptor from `first` on but those of `keep` (close_range(2)), whoever opened them.
///
/// Only for a process that will use and drop nothing but what it keeps: a clone before its execve.
pub fn close_all_but(first: u32, keep: &[BorrowedFd<'_>]) -> Result<()> {
    let mut kept: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd() as u32).filter(|fd| *fd >= first).collect();
    kept.sort_unstable();
    kept.dedup();
    let mut from = first;
    for end in kept.into_iter().chain([u32::MAX]) {
        if end > from {
            let last = if end == u32::MAX { end } else { end - 1 };
            // SAFETY: close_range(2) takes numbers; by this function's contract nobody uses the closed descriptors again.
            let returned = unsafe { libc::syscall(libc::SYS_close_range, from, last, 0) };
            super::checked(returned).asked(|| format!("close_range {from} {last}"))?;
        }
        from = end.saturating_add(1);
    }
    Ok(())
}
