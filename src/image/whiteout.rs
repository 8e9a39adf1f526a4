//! Whiteouts of layers (image-spec layer.md): names that say what vanishes, and their meaning in a plain tree.

use crate::image::remove::{descend, for_each};
use crate::image::unpack::Marks;
use crate::sys::{self, Asked};
use anyhow::{Result, bail};
use rustix::fs::{AtFlags, FileType};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

/// What the last component of a name says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Marker<'n> {
    /// An ordinary name.
    Name,
    /// This name of the lower layers vanishes.
    Whiteout(&'n [u8]),
    /// Everything of the lower layers in this directory vanishes.
    Opaque,
    /// Bookkeeping of aufs, which no other file system understands.
    Bookkeeping,
}

/// Reads a name; `.wh.` before nothing, `.` or `..` would remove the directory itself or its parent.
pub(crate) fn marker(name: &[u8]) -> Result<Marker<'_>> {
    let Some(hidden) = name.strip_prefix(b".wh.") else { return Ok(Marker::Name) };
    match hidden {
        b".wh..opq" => Ok(Marker::Opaque),
        b"" | b"." | b".." => bail!("whiteout of nothing that may vanish"),
        _ if hidden.starts_with(b".wh.") => Ok(Marker::Bookkeeping),
        _ => Ok(Marker::Whiteout(hidden)),
    }
}

/// Directories within directories that are walked; more nobody could have made with a path.
const DEPTH: usize = 2048;

/// Removes what is not this layer's from a directory; true when something stays in it.
pub(crate) fn prune(directory: BorrowedFd<'_>, marks: &Marks) -> Result<bool> {
    prune_below(directory, marks, 0)
}

fn prune_below(directory: BorrowedFd<'_>, marks: &Marks, depth: usize) -> Result<bool> {
    if depth > DEPTH {
        bail!("directories are nested more than {DEPTH} deep");
    }
    let inode = rustix::fs::fstat(directory).asked(|| "fstat".to_owned())?.st_ino;
    let mut names: Vec<(CString, FileType)> = Vec::new();
    for_each(directory, |name, kind| -> Result<(), sys::Error> {
        names.push((name.to_owned(), kind));
        Ok(())
    })?;
    let mut stays = false;
    for (name, kind) in names {
        stays |= prune_name(directory, inode, &name, kind, marks, depth)?;
    }
    Ok(stays)
}

fn prune_name(
    directory: BorrowedFd<'_>,
    inode: u64,
    name: &CStr,
    kind: FileType,
    marks: &Marks,
    depth: usize,
) -> Result<bool> {
    let ours = marks.has(inode, name.to_bytes());
    let flags = if kind == FileType::Directory {
        let inner = descend(directory, name)?;
        if prune_below(inner.as_fd(), marks, depth + 1)? || ours {
            return Ok(true);
        }
        AtFlags::REMOVEDIR
    } else if ours {
        return Ok(true);
    } else {
        AtFlags::empty()
    };
    rustix::fs::unlinkat(directory, name, flags).asked(|| format!("unlink {}", name.to_string_lossy()))?;
    Ok(false)
}

/// Removes `name` in a plain tree as far as it is not this layer's.
pub(crate) fn remove_lower(directory: BorrowedFd<'_>, inode: u64, name: &[u8], marks: &Marks) -> Result<()> {
    let name = CString::new(name)?;
    let stat = match rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(errno) => return Ok(Err(errno).asked(|| format!("stat {}", name.to_string_lossy()))?),
    };
    prune_name(directory, inode, &name, FileType::from_raw_mode(stat.st_mode), marks, 0)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_can_vanish_are_whiteouts() {
        assert_eq!(marker(b"a").unwrap(), Marker::Name);
        assert_eq!(marker(b".wh.a").unwrap(), Marker::Whiteout(b"a"));
        assert_eq!(marker(b".wh..a").unwrap(), Marker::Whiteout(b".a"));
        assert_eq!(marker(b".wh..wh..opq").unwrap(), Marker::Opaque);
        assert_eq!(marker(b".wh..wh.plnk").unwrap(), Marker::Bookkeeping);
        for wrong in [&b".wh."[..], b".wh..", b".wh..."] {
            assert!(marker(wrong).is_err());
        }
    }
}
