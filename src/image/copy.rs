//! Copies single files with everything that belongs to them: owner, mode, times, extended attributes, holes.

use crate::image::tar::shown;
use crate::image::unpack::{all_xattrs, by_descriptor, is_overlays, privileged};
use crate::sys::{self, Asked};
use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// Who owns the copy.
pub(crate) type Owner<'a> = &'a dyn Fn(u32, u32) -> Result<(u32, u32)>;

/// The copy belongs to whom the original belongs.
pub(crate) fn same_owner(uid: u32, gid: u32) -> Result<(u32, u32)> {
    Ok((uid, gid))
}

/// Copies what is no directory; `stat` is what `name` in `from` is.
pub(crate) fn node(
    from: BorrowedFd<'_>,
    name: &[u8],
    stat: &Stat,
    to: BorrowedFd<'_>,
    to_name: &[u8],
    owner: Owner<'_>,
) -> Result<()> {
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => data(from, name, stat, to, to_name)?,
        FileType::Symlink => {
            let target =
                rustix::fs::readlinkat(from, name, Vec::new()).asked(|| format!("readlink {}", shown(name)))?;
            rustix::fs::symlinkat(target, to, to_name).asked(|| format!("symlink {}", shown(to_name)))?;
        }
        FileType::Directory | FileType::Unknown => bail!("{}: a directory is not copied as a file", shown(name)),
        FileType::Socket => return Ok(()),
        special => {
            rustix::fs::mknodat(to, to_name, special, mode, stat.st_rdev)
                .asked(|| format!("mknod {}", shown(to_name)))?;
        }
    }
    let source = [by_descriptor(from).as_bytes(), b"/", name].concat();
    let copy = [by_descriptor(to).as_bytes(), b"/", to_name].concat();
    describe(OsStr::from_bytes(&source), stat, to, to_name, OsStr::from_bytes(&copy), owner)
}

/// Gives the directory `to` what the directory `from` has, except its times.
pub(crate) fn directory_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>, owner: Owner<'_>) -> Result<Stat> {
    let stat = rustix::fs::fstat(from).asked(|| "fstat".to_owned())?;
    let (uid, gid) = owner(stat.st_uid, stat.st_gid)?;
    chown(to, b"", uid, gid, AtFlags::EMPTY_PATH)?;
    let copy = by_descriptor(to);
    rustix::fs::chmod(copy.as_str(), Mode::from_raw_mode(stat.st_mode & 0o7777)).asked(|| "chmod".to_owned())?;
    xattrs(format!("{}/.", by_descriptor(from)).as_ref(), format!("{copy}/.").as_ref())?;
    Ok(stat)
}

fn describe(
    source: &OsStr,
    stat: &Stat,
    to: BorrowedFd<'_>,
    name: &[u8],
    copy: &OsStr,
    owner: Owner<'_>,
) -> Result<()> {
    let (uid, gid) = owner(stat.st_uid, stat.st_gid)?;
    chown(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        rustix::fs::chmodat(to, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())
            .asked(|| format!("chmod {}", shown(name)))?;
    }
    xattrs(source, copy)?;
    rustix::fs::utimensat(to, name, &times_of(stat), AtFlags::SYMLINK_NOFOLLOW)
        .asked(|| format!("utimensat {}", shown(name)))?;
    Ok(())
}

/// The times of a file, for another one.
pub(crate) fn times_of(stat: &Stat) -> Timestamps {
    let spec = |seconds: i64, nanoseconds: u64| Timespec { tv_sec: seconds, tv_nsec: nanoseconds.cast_signed() };
    Timestamps {
        last_access: spec(stat.st_atime, stat.st_atime_nsec),
        last_modification: spec(stat.st_mtime, stat.st_mtime_nsec),
    }
}

fn chown(to: BorrowedFd<'_>, name: &[u8], uid: u32, gid: u32, flags: AtFlags) -> Result<()> {
    match rustix::fs::chownat(to, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), flags) {
        // Who is not root owns everything that is made.
        Err(Errno::PERM) if !rustix::process::geteuid().is_root() => Ok(()),
        other => Ok(other.asked(|| format!("chown {}", shown(name)))?),
    }
}

fn xattrs(source: &OsStr, copy: &OsStr) -> Result<()> {
    for (name, value) in all_xattrs(source)? {
        if is_overlays(&name) {
            continue;
        }
        match rustix::fs::lsetxattr(copy, name.as_slice(), &value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(Errno::PERM) if !privileged() => {}
            Err(errno) => {
                Err(errno)
                    .asked(|| format!("setxattr {}", shown(&name)))
                    .with_context(|| copy.display().to_string())?;
            }
        }
    }
    Ok(())
}

fn data(from: BorrowedFd<'_>, name: &[u8], stat: &Stat, to: BorrowedFd<'_>, to_name: &[u8]) -> Result<()> {
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, name, read, Mode::empty()).asked(|| format!("open {}", shown(name)))?;
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let copy = rustix::fs::openat(to, to_name, write, Mode::RUSR | Mode::WUSR)
        .asked(|| format!("create {}", shown(to_name)))?;
    // Sharing the blocks costs nothing where the file system can (btrfs, xfs).
    if stat.st_size > 0 && rustix::fs::ioctl_ficlone(&copy, &source).is_ok() {
        return Ok(());
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    for_each_segment(&source, size, |offset, length| copy_range(&source, &copy, offset, length))?;
    if stat.st_blocks.saturating_mul(512) < stat.st_size {
        rustix::fs::ftruncate(&copy, size).asked(|| format!("ftruncate {}", shown(to_name)))?;
    }
    Ok(())
}

/// Calls `act` for every piece of a file that has data: offset and length (lseek(2), SEEK_DATA).
pub(crate) fn for_each_segment(file: &OwnedFd, size: u64, mut act: impl FnMut(u64, u64) -> Result<()>) -> Result<()> {
    let mut position = 0;
    while position < size {
        let start = match rustix::fs::seek(file, SeekFrom::Data(position)) {
            Ok(start) => start,
            // Only a hole is left.
            Err(Errno::NXIO) => break,
            // This file system does not tell.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return act(position, size - position),
            Err(errno) => return Ok(Err(errno).asked(|| "lseek SEEK_DATA".to_owned())?),
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start)).asked(|| "lseek SEEK_HOLE".to_owned())?.min(size);
        if end <= start {
            break;
        }
        act(start, end - start)?;
        position = end;
    }
    Ok(())
}

fn copy_range(source: &OwnedFd, copy: &OwnedFd, offset: u64, length: u64) -> Result<()> {
    let (mut from, mut to, mut left) = (offset, offset, length);
    while left > 0 {
        let want = usize::try_from(left.min(1 << 30))?;
        match rustix::fs::copy_file_range(source, Some(&mut from), copy, Some(&mut to), want) {
            Ok(0) => return Ok(()),
            Ok(done) => left = left.saturating_sub(done as u64),
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => {
                return by_hand(source, copy, from, left);
            }
            Err(errno) => return Ok(Err(errno).asked(|| "copy_file_range".to_owned())?),
        }
    }
    Ok(())
}

/// KERNEL(5.19): copy_file_range between file systems.
fn by_hand(source: &OwnedFd, copy: &OwnedFd, offset: u64, mut left: u64) -> Result<()> {
    let mut buffer = vec![0u8; 256 << 10];
    rustix::fs::seek(copy.as_fd(), SeekFrom::Start(offset)).asked(|| "lseek".to_owned())?;
    let mut position = offset;
    while left > 0 {
        let want = buffer.len().min(usize::try_from(left)?);
        let space = buffer.get_mut(..want).unwrap_or_default();
        let got = rustix::io::pread(source, space, position).asked(|| "pread".to_owned())?;
        if got == 0 {
            return Ok(());
        }
        sys::files::write_fd(copy, buffer.get(..got).unwrap_or_default())?;
        position += got as u64;
        left -= got as u64;
    }
    Ok(())
}
