//! What of a plain tree is as the layers have it.
//!
//! The content of a file is read only where the rest of it cannot prove that it is the same. Size and modification time do
//! not: a package has many files of one time, and one of them may have been moved over another of the same size. Nobody can
//! set the time of the last change (ctime), so a file is the one that was copied when its ctime is of the time of the copy,
//! and no directory that it lies in was moved since.

use crate::image::bundle::Made;
use crate::image::owners::{Owners, REMEMBERED};
use crate::image::unpack::{Found, Merged, Stack, all_xattrs, by_descriptor, is_overlays};
use crate::sys::Asked;
use anyhow::{Result, bail};
use rustix::fs::{FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// Names and values.
pub(super) type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// One name of the directory.
pub(super) struct Child<'n> {
    pub(super) name: &'n [u8],
    pub(super) stat: Stat,
}

impl Child<'_> {
    /// The same for all names of a file.
    pub(super) fn identity(&self) -> (u64, u64) {
        (self.stat.st_dev, self.stat.st_ino)
    }
}

/// What the layers have where a directory is.
pub(super) struct Lower {
    pub(super) merged: Merged,
    /// The directory, or one above it, may have been moved here after the copy was made.
    pub(super) is_moved: bool,
}

/// What the tree is held against, and how.
pub(super) struct Comparison<'a> {
    pub(super) owners: &'a Owners<'a>,
    /// The layers below.
    pub(super) stack: &'a Stack<'a>,
    /// When the tree was copied; nothing that is not known to be of then is taken for the same unread.
    pub(super) made: Option<&'a Made>,
}

impl Comparison<'_> {
    /// What the layers have where the directory `found` is.
    pub(super) fn below(&self, lower: &Lower, found: &Child<'_>) -> Result<Lower> {
        let merged = match self.stack.child(&lower.merged, found.name)? {
            Found::Directory(merged) => merged,
            _ => Merged::new(),
        };
        Ok(Lower { merged, is_moved: lower.is_moved || self.was_touched(&found.stat) })
    }

    fn was_touched(&self, stat: &Stat) -> bool {
        !self.made.is_some_and(|made| made.includes(stat))
    }

    /// True when the layers show the same: type, mode, owner, size, time, device, link, attributes and content.
    pub(super) fn is_unchanged(&self, own: &OwnedFd, found: &Child<'_>, lower: Option<&Lower>) -> Result<bool> {
        let Some(lower) = lower else { return Ok(false) };
        let Some((_, fd, old)) = self.stack.locate(&lower.merged, found.name)? else { return Ok(false) };
        let new = &found.stat;
        let kind = FileType::from_raw_mode(new.st_mode);
        let same = new.st_mode == old.st_mode
            && new.st_rdev == old.st_rdev
            && (kind == FileType::Directory || new.st_size == old.st_size)
            && (new.st_mtime, new.st_mtime_nsec) == (old.st_mtime, old.st_mtime_nsec);
        if !same {
            return Ok(false);
        }
        if kind == FileType::Symlink && target(own, found.name)? != target(&fd, found.name)? {
            return Ok(false);
        }
        if !self.has_same(new, &xattrs(own, found.name)?, &old, &xattrs(&fd, found.name)?)? {
            return Ok(false);
        }
        if kind != FileType::RegularFile || !(lower.is_moved || self.was_touched(new)) {
            return Ok(true);
        }
        has_same_content(own, &fd, found)
    }

    /// True when owner and attributes are those of the layer's.
    pub(super) fn has_same(
        &self,
        new: &Stat,
        xattrs: &Attributes,
        old: &Stat,
        old_xattrs: &Attributes,
    ) -> Result<bool> {
        Ok(self.owners.of(new, xattrs)? == self.owners.of_layer(old, old_xattrs)?
            && overlay_free(xattrs) == overlay_free(old_xattrs))
    }
}

/// Reads both files, which have one size, except where both have a hole.
fn has_same_content(own: &OwnedFd, lower: &OwnedFd, found: &Child<'_>) -> Result<bool> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |directory: &OwnedFd| rustix::fs::openat(directory, found.name, flags, Mode::empty());
    let (new, old) = match (open(own), open(lower)) {
        // What we may not read cannot go into a layer either.
        (Err(Errno::ACCESS), _) | (_, Err(Errno::ACCESS)) => return Ok(true),
        (new, old) => (new.asked(|| "open".to_owned())?, old.asked(|| "open in the layer".to_owned())?),
    };
    let size = u64::try_from(found.stat.st_size).unwrap_or(0);
    let mut buffers = [vec![0u8; 64 << 10], vec![0u8; 64 << 10]];
    let mut position = 0;
    loop {
        position = next_data(&new, position, size)?.min(next_data(&old, position, size)?);
        if position >= size {
            return Ok(true);
        }
        let want = (64 << 10).min(usize::try_from(size - position)?);
        for (file, buffer) in [&new, &old].into_iter().zip(&mut buffers) {
            buffer.resize(want, 0);
            read_exactly(file, buffer, position)?;
        }
        let [new, old] = &buffers;
        if new != old {
            return Ok(false);
        }
        position += want as u64;
    }
}

/// Where data begins at or after `position` (lseek(2), SEEK_DATA); `size` when there is none.
fn next_data(file: &OwnedFd, position: u64, size: u64) -> Result<u64> {
    match rustix::fs::seek(file, SeekFrom::Data(position)) {
        Ok(start) => Ok(start),
        // Only a hole is left.
        Err(Errno::NXIO) => Ok(size),
        // This file system does not tell.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(position),
        Err(errno) => Ok(Err(errno).asked(|| "lseek SEEK_DATA".to_owned())?),
    }
}

fn read_exactly(file: &OwnedFd, buffer: &mut [u8], mut offset: u64) -> Result<()> {
    let mut filled = 0;
    while let Some(space) = buffer.get_mut(filled..).filter(|space| !space.is_empty()) {
        let got = rustix::io::pread(file.as_fd(), space, offset).asked(|| "pread".to_owned())?;
        if got == 0 {
            bail!("the file became shorter while it was read");
        }
        filled += got;
        offset += got as u64;
    }
    Ok(())
}

pub(super) fn xattrs(directory: &OwnedFd, name: &[u8]) -> Result<Attributes> {
    let path = [by_descriptor(directory.as_fd()).as_bytes(), b"/", name].concat();
    all_xattrs(OsStr::from_bytes(&path))
}

pub(super) fn target(directory: &OwnedFd, name: &[u8]) -> Result<Vec<u8>> {
    Ok(rustix::fs::readlinkat(directory, name, Vec::new()).asked(|| "readlink".to_owned())?.into_bytes())
}

/// The attributes that belong to the file and not to overlayfs or to this machine.
pub(super) fn overlay_free(xattrs: &Attributes) -> Attributes {
    let own = |name: &[u8]| !is_overlays(name) && name != b"security.selinux" && name != REMEMBERED.as_bytes();
    xattrs.iter().filter(|(name, _)| own(name)).cloned().collect()
}
