//! Making and looking at the nodes of a directory tree, one name at a time, relative to a directory's descriptor.

use super::{Asked, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec};
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// Opens `path` with O_CLOEXEC and these rules of resolution (openat2(2)).
pub fn openat2(dir: impl AsFd, path: &Path, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd> {
    rustix::fs::openat2(dir, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
        .asked(|| format!("openat2 {}", path.display()))
}

/// Opens `path` for looking only (O_PATH), without following it.
pub fn open_name(dir: impl AsFd, path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, path, flags, Mode::empty()).asked(|| format!("open {}", path.display()))
}

/// Makes a new file and opens it for writing; whatever stands there already is EEXIST.
pub fn create_file(dir: impl AsFd, path: &Path, mode: u32) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, path, flags, Mode::from_raw_mode(mode)).asked(|| format!("create {}", path.display()))
}

/// mkdirat(2).
pub fn mkdir(dir: impl AsFd, path: &Path, mode: u32) -> Result<()> {
    rustix::fs::mkdirat(dir, path, Mode::from_raw_mode(mode)).asked(|| format!("mkdir {}", path.display()))
}

/// mknodat(2): a device, fifo or empty file; the umask applies.
pub fn mknod(dir: impl AsFd, path: &Path, kind: FileType, mode: u32, device: u64) -> Result<()> {
    rustix::fs::mknodat(dir, path, kind, Mode::from_raw_mode(mode), device)
        .asked(|| format!("mknod {}", path.display()))
}

/// symlinkat(2).
pub fn symlink(target: &Path, dir: impl AsFd, path: &Path) -> Result<()> {
    rustix::fs::symlinkat(target, dir, path).asked(|| format!("symlink {} {}", target.display(), path.display()))
}

/// readlinkat(2); with an empty path of the link that `dir` opens.
pub fn readlink(dir: impl AsFd, path: &Path) -> Result<OsString> {
    let target = rustix::fs::readlinkat(dir, path, Vec::new()).asked(|| format!("readlink {}", path.display()))?;
    Ok(OsString::from_vec(target.into_bytes()))
}

/// Removes a name that is no directory.
pub fn unlink(dir: impl AsFd, path: &Path) -> Result<()> {
    rustix::fs::unlinkat(dir, path, AtFlags::empty()).asked(|| format!("unlink {}", path.display()))
}

/// Changes the owner of a name, not of what it links to.
pub fn chown(dir: impl AsFd, path: &Path, uid: u32, gid: u32) -> Result<()> {
    let owner = Some(rustix::fs::Uid::from_raw(uid));
    let group = Some(rustix::fs::Gid::from_raw(gid));
    rustix::fs::chownat(dir, path, owner, group, AtFlags::SYMLINK_NOFOLLOW)
        .asked(|| format!("chown {uid}:{gid} {}", path.display()))
}

/// Facts of a name, not of what it links to.
pub fn stat(dir: impl AsFd, path: &Path) -> Result<Stat> {
    rustix::fs::statat(dir, path, AtFlags::SYMLINK_NOFOLLOW).asked(|| format!("stat {}", path.display()))
}

/// Facts of what `fd` opens.
pub fn fstat(fd: impl AsFd) -> Result<Stat> {
    rustix::fs::fstat(fd).asked(|| "fstat".to_owned())
}

/// Changes the mode of an open file; unlike creation, the umask does not apply.
pub fn fchmod(fd: impl AsFd, mode: u32) -> Result<()> {
    rustix::fs::fchmod(fd, Mode::from_raw_mode(mode & 0o7777)).asked(|| format!("fchmod {mode:o}"))
}

/// linkat(2): another name for the file `old`, both below `dir`.
pub fn link(dir: impl AsFd, old: &Path, new_dir: impl AsFd, new: &Path) -> Result<()> {
    rustix::fs::linkat(dir, old, new_dir, new, AtFlags::empty())
        .asked(|| format!("link {} {}", old.display(), new.display()))
}

/// Gives a name the access and modification times of `facts`.
pub fn set_times(dir: impl AsFd, path: &Path, facts: &Stat) -> Result<()> {
    let times = rustix::fs::Timestamps {
        last_access: Timespec { tv_sec: facts.st_atime, tv_nsec: facts.st_atime_nsec as i64 },
        last_modification: Timespec { tv_sec: facts.st_mtime, tv_nsec: facts.st_mtime_nsec as i64 },
    };
    rustix::fs::utimensat(dir, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .asked(|| format!("utimensat {}", path.display()))
}

/// Copies the rest of one open file to another inside the kernel.
pub fn copy_data(from: impl AsFd, to: impl AsFd) -> Result<()> {
    const MOST: usize = 1 << 30;
    loop {
        match rustix::fs::sendfile(to.as_fd(), from.as_fd(), None, MOST) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).asked(|| "sendfile".to_owned()),
        }
    }
}

/// The names in a directory, without `.` and `..`.
pub fn names(dir: impl AsFd) -> Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir).asked(|| "getdents64".to_owned())? {
        let name = entry.asked(|| "getdents64".to_owned())?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    Ok(names)
}

/// Sets the mask of mode bits that new files do not get, and returns the former one.
pub fn umask(mask: u32) -> u32 {
    rustix::process::umask(Mode::from_raw_mode(mask)).as_raw_mode()
}
