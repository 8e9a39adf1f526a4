//! Whiteouts of layers (image-spec layer.md): names that say what vanishes, and their meaning in a plain tree.

use crate::image::remove::{Entries, descend};
use crate::image::unpack::{Marks, joined};
use crate::sys::{self, Asked};
use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, FileType, OFlags};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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

/// Is told what is done to the directories of a tree.
pub(crate) trait Pruned {
    /// A directory of the lower layers is hidden as well. One that `stays` has entries of this layer in it, and nothing of
    /// what it was; else it goes.
    fn hidden(&mut self, directory: BorrowedFd<'_>, stays: bool) -> Result<()>;

    /// An entry of a directory that is this layer's will go. `path` leads to it from the root.
    fn touched(&mut self, directory: BorrowedFd<'_>, path: &dyn Fn() -> Vec<u8>) -> Result<()>;
}

/// What of a plain tree belongs to the layer that is being applied.
pub(crate) struct Pruning<'a> {
    /// Its entries.
    pub(crate) marks: &'a Marks,
    /// Where the pruning begins: the way to its directory from the root.
    pub(crate) path: &'a [u8],
    pub(crate) tree: &'a mut dyn Pruned,
}

impl Pruning<'_> {
    /// Removes everything in a directory that is not this layer's.
    pub(crate) fn content(&mut self, directory: BorrowedFd<'_>) -> Result<()> {
        let own = sys::files::open_at(directory, ".", OFlags::RDONLY | OFlags::DIRECTORY)?;
        self.below(own, CString::default(), true).map(|_| ())
    }

    /// Removes `name` as far as it is not this layer's.
    pub(crate) fn name(&mut self, directory: BorrowedFd<'_>, inode: u64, name: &[u8]) -> Result<()> {
        let name = CString::new(name)?;
        let stat = match rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            Err(errno) => return Ok(Err(errno).asked(|| format!("stat {}", name.to_string_lossy()))?),
        };
        let ours = self.marks.has(inode, name.to_bytes())?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return if ours { Ok(()) } else { unlink(directory, &name, AtFlags::empty()) };
        }
        let inner = descend(directory, &name)?;
        let again = sys::files::open_at(&inner, ".", OFlags::RDONLY | OFlags::DIRECTORY)?;
        let stays = self.below(again, name.clone(), ours)?;
        self.tree.touched(directory, &|| self.path.to_vec())?;
        self.leave(directory, &name, inner.as_fd(), ours, stays).map(|_| ())
    }

    /// Empties a directory and what is below it, without recursion; true when something stays in it.
    fn below(&mut self, directory: OwnedFd, name: CString, ours: bool) -> Result<bool> {
        let mut open = vec![Level::new(directory, name, ours)?];
        loop {
            let depth = open.len();
            let level = open.last_mut().context("directory without a beginning")?;
            if let Some((name, kind)) = level.entries.next()? {
                let ours = self.marks.has(level.inode, name.to_bytes())?;
                if kind == FileType::Directory {
                    if depth > DEPTH {
                        bail!("directories are nested more than {DEPTH} deep");
                    }
                    let inner = Level::new(descend(level.entries.fd(), &name)?, name, ours)?;
                    open.push(inner);
                } else if ours {
                    level.stays = true;
                } else {
                    self.touch(&open)?;
                    let level = open.last().context("directory without a beginning")?;
                    unlink(level.entries.fd(), &name, AtFlags::empty())?;
                }
                continue;
            }
            let Some(done) = open.pop() else { continue };
            if !open.is_empty() {
                self.touch(&open)?;
            }
            let Some(above) = open.last_mut() else { return Ok(done.stays) };
            above.stays |= self.leave(above.entries.fd(), &done.name, done.entries.fd(), done.ours, done.stays)?;
        }
    }

    /// Tells that the innermost directory will lose an entry, if it is this layer's: another is told at its end.
    fn touch(&mut self, open: &[Level]) -> Result<()> {
        let Some(level) = open.last().filter(|level| level.ours) else { return Ok(()) };
        let names = || open.iter().map(|level| level.name.to_bytes()).filter(|name| !name.is_empty());
        let path = || joined([self.path].into_iter().filter(|path| !path.is_empty()).chain(names()));
        self.tree.touched(level.entries.fd(), &path)
    }

    /// The end of a directory that has been emptied; true when it stays.
    fn leave(
        &mut self,
        above: BorrowedFd<'_>,
        name: &CStr,
        directory: BorrowedFd<'_>,
        ours: bool,
        stays: bool,
    ) -> Result<bool> {
        if !ours {
            self.tree.hidden(directory, stays)?;
        }
        if stays || ours {
            return Ok(true);
        }
        unlink(above, name, AtFlags::REMOVEDIR).map(|()| false)
    }
}

/// An open directory on the way down.
struct Level {
    entries: Entries,
    inode: u64,
    name: CString,
    /// It is of this layer.
    ours: bool,
    /// Something in it is.
    stays: bool,
}

impl Level {
    fn new(directory: OwnedFd, name: CString, ours: bool) -> Result<Level> {
        let inode = rustix::fs::fstat(&directory).asked(|| "fstat".to_owned())?.st_ino;
        Ok(Level { entries: Entries::new(directory), inode, name, ours, stays: false })
    }
}

fn unlink(directory: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> Result<()> {
    Ok(rustix::fs::unlinkat(directory, name, flags).asked(|| format!("unlink {}", name.to_string_lossy()))?)
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
