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

/// What of a plain tree belongs to the layer that is being applied.
pub(crate) struct Pruning<'a> {
    /// Its entries.
    pub(crate) marks: &'a Marks,
    /// Called for a directory of the lower layers that is hidden as well. With `true` it has entries of this layer in it and
    /// stays, with nothing of what it was; else it goes.
    pub(crate) hidden: &'a mut dyn FnMut(BorrowedFd<'_>, bool) -> Result<()>,
}

impl Pruning<'_> {
    /// Removes everything in a directory that is not this layer's; true when something stays in it.
    pub(crate) fn content(&mut self, directory: BorrowedFd<'_>) -> Result<bool> {
        self.below(directory, 0)
    }

    /// Removes `name` as far as it is not this layer's.
    pub(crate) fn name(&mut self, directory: BorrowedFd<'_>, inode: u64, name: &[u8]) -> Result<()> {
        let name = CString::new(name)?;
        let stat = match rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            Err(errno) => return Ok(Err(errno).asked(|| format!("stat {}", name.to_string_lossy()))?),
        };
        self.entry(directory, inode, &name, FileType::from_raw_mode(stat.st_mode), 0)?;
        Ok(())
    }

    fn below(&mut self, directory: BorrowedFd<'_>, depth: usize) -> Result<bool> {
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
            stays |= self.entry(directory, inode, &name, kind, depth)?;
        }
        Ok(stays)
    }

    fn entry(
        &mut self,
        directory: BorrowedFd<'_>,
        inode: u64,
        name: &CStr,
        kind: FileType,
        depth: usize,
    ) -> Result<bool> {
        let ours = self.marks.has(inode, name.to_bytes());
        let flags = if kind == FileType::Directory {
            let inner = descend(directory, name)?;
            let stays = self.below(inner.as_fd(), depth + 1)?;
            if !ours {
                (self.hidden)(inner.as_fd(), stays)?;
            }
            if stays || ours {
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
