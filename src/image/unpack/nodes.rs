//! Files, links and devices of a layer: everything that is no directory.

use super::apply::Applier;
use super::attributes;
use super::directories::Directory;
use super::merged::by_descriptor;
use super::names::Name;
use super::times::timestamps;
use crate::image::tar::{Entry, Kind, Reader, shown};
use crate::sys::{self, Asked};
use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io::BufRead;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// Files of this size ask first whether there is room (bytes).
const LARGE: u64 = 16 << 20;

impl Applier<'_> {
    pub(super) fn file<R: BufRead>(
        &mut self,
        entry: &Entry,
        name: &Name,
        parent: &Directory,
        reader: &mut Reader<'_, R>,
    ) -> Result<()> {
        if entry.size > LARGE {
            self.check_room(entry.size)?;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(entry.mode);
        let create = || rustix::fs::openat(&parent.fd, name.last(), flags, mode);
        let file = match create() {
            Err(Errno::EXIST) => {
                self.clear(parent, name.last(), name.path())?;
                create()
            }
            other => other,
        };
        let file = file.asked(|| format!("create {}", entry.shown()))?;
        super::data::write(&file, entry, reader)?;
        let owner = self.attributes.owner(entry.uid, entry.gid, parent.gives_group())?;
        if let Some((uid, gid)) = owner {
            rustix::fs::fchown(&file, Some(uid), Some(gid)).asked(|| "fchown".to_owned())?;
        }
        if parent.gives_acl() {
            let _ = rustix::fs::fremovexattr(&file, attributes::ACL);
        }
        // chown and write take the set-id bits away.
        if entry.mode & 0o6000 != 0 || parent.gives_acl() {
            rustix::fs::fchmod(&file, mode).asked(|| "fchmod".to_owned())?;
        }
        if !entry.xattrs.is_empty() || self.attributes.remembered(entry.uid, entry.gid).is_some() {
            self.attributes.set(&file, &entry.xattrs, (entry.uid, entry.gid), self.progress)?;
        }
        let times = timestamps(entry.mtime, entry.atime);
        Ok(rustix::fs::futimens(&file, &times).asked(|| "futimens".to_owned())?)
    }

    fn check_room(&self, size: u64) -> Result<()> {
        let room = rustix::fs::fstatvfs(self.root).asked(|| "fstatvfs".to_owned())?;
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        if size > free {
            bail!("file of {size} bytes does not fit: {free} bytes are free");
        }
        Ok(())
    }

    pub(super) fn symlink(&mut self, entry: &Entry, name: &Name, parent: &Directory) -> Result<()> {
        if entry.link.is_empty() || entry.link.contains(&0) {
            bail!("symbolic link to an empty name");
        }
        let make = || rustix::fs::symlinkat(entry.link.as_slice(), &parent.fd, name.last());
        match make() {
            Err(Errno::EXIST) => {
                self.clear(parent, name.last(), name.path())?;
                make()
            }
            other => other,
        }
        .asked(|| format!("symlink {}", entry.shown()))?;
        self.describe_at(entry, name, parent)
    }

    /// A device or fifo; one that we may not make becomes an empty file, as other rootless tools do.
    pub(super) fn node(&mut self, entry: &Entry, name: &Name, parent: &Directory) -> Result<()> {
        let (kind, device) = match entry.kind {
            Kind::CharacterDevice if entry.device == (0, 0) => {
                bail!("character device 0:0 is the whiteout of overlayfs and no image may have it")
            }
            Kind::CharacterDevice => (FileType::CharacterDevice, entry.device),
            Kind::BlockDevice => (FileType::BlockDevice, entry.device),
            _ => (FileType::Fifo, (0, 0)),
        };
        let device = rustix::fs::makedev(device.0, device.1);
        let make =
            |kind, device| rustix::fs::mknodat(&parent.fd, name.last(), kind, Mode::from_raw_mode(entry.mode), device);
        let made = match make(kind, device) {
            Err(Errno::EXIST) => {
                self.clear(parent, name.last(), name.path())?;
                make(kind, device)
            }
            other => other,
        };
        match made {
            Err(Errno::PERM) if kind != FileType::Fifo => {
                let text = format!("{}: an empty file stands for a device, which only root may make", entry.shown());
                self.attributes.say(self.progress, text);
                make(FileType::RegularFile, 0)
            }
            other => other,
        }
        .asked(|| format!("mknod {}", entry.shown()))?;
        self.describe_at(entry, name, parent)
    }

    /// Owner, mode, attributes and times of what cannot be opened.
    fn describe_at(&mut self, entry: &Entry, name: &Name, parent: &Directory) -> Result<()> {
        let owner = self.attributes.owner(entry.uid, entry.gid, parent.gives_group())?;
        if let Some((uid, gid)) = owner {
            chown_at(&parent.fd, name.last(), uid, gid)?;
        }
        if parent.gives_acl() {
            let path = [by_descriptor(parent.fd.as_fd()).as_bytes(), b"/", name.last()].concat();
            let _ = rustix::fs::lremovexattr(OsStr::from_bytes(&path), attributes::ACL);
        }
        if entry.kind != Kind::Symlink && (entry.mode & 0o6000 != 0 || parent.gives_acl()) {
            let mode = Mode::from_raw_mode(entry.mode);
            rustix::fs::chmodat(&parent.fd, name.last(), mode, AtFlags::empty()).asked(|| "chmod".to_owned())?;
        }
        if !entry.xattrs.is_empty() {
            self.attributes.set_at(parent.fd.as_fd(), name.last(), &entry.xattrs, self.progress)?;
        }
        let times = timestamps(entry.mtime, entry.atime);
        Ok(rustix::fs::utimensat(&parent.fd, name.last(), &times, AtFlags::SYMLINK_NOFOLLOW)
            .asked(|| format!("utimensat {}", entry.shown()))?)
    }

    pub(super) fn hard_link(&mut self, entry: &Entry, name: &Name, parent: &Directory) -> Result<()> {
        let target = self.name(&entry.link)?.filter(|target| !target.is_root());
        let Some(target) = target else { bail!("hard link to {}, which is no file", shown(&entry.link)) };
        if target.path() == name.path() {
            bail!("hard link to itself");
        }
        let missing = || format!("hard link to {}", shown(&entry.link));
        let Some(from) = self.directories.find(target.parent())? else {
            return self.link_below(name, parent, &target).with_context(missing);
        };
        let link = || rustix::fs::linkat(&from.fd, target.last(), &parent.fd, name.last(), AtFlags::empty());
        let linked = match link() {
            Err(Errno::EXIST) if same_file(&from, target.last(), parent, name.last()) => return Ok(()),
            Err(Errno::EXIST) => {
                self.clear(parent, name.last(), name.path())?;
                link()
            }
            other => other,
        };
        match linked {
            Ok(()) => Ok(()),
            Err(Errno::NOENT) => self.link_below(name, parent, &target).with_context(missing),
            Err(errno) => Ok(Err(errno).asked(missing)?),
        }
    }

    /// The target is not in this tree: it is in a lower layer's, or nowhere.
    fn link_below(&mut self, name: &Name, parent: &Directory, target: &Name) -> Result<()> {
        // The name of a link to a lower file is as good as that file's.
        let first = self.pending.links.get(target.path()).cloned();
        if !self.is_own_directory() || (first.is_none() && self.pending.hides(target.path())) {
            return Ok(Err(Errno::NOENT).asked(|| format!("link {}", shown(target.path())))?);
        }
        let target = first.unwrap_or_else(|| target.path().to_vec());
        self.clear(parent, name.last(), name.path())?;
        self.account(name.path())?;
        self.account(&target)?;
        self.pending.links.insert(name.path().to_vec(), target);
        Ok(())
    }
}

fn chown_at(directory: &OwnedFd, name: &[u8], uid: Uid, gid: Gid) -> sys::Result<()> {
    rustix::fs::chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .asked(|| format!("chown {}", shown(name)))
}

fn same_file(one: &Directory, name: &[u8], other: &Directory, other_name: &[u8]) -> bool {
    let stat = |directory: &Directory, name: &[u8]| {
        let stat = rustix::fs::statat(&directory.fd, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some((stat.st_dev, stat.st_ino))
    };
    let first = stat(one, name);
    first.is_some() && first == stat(other, other_name)
}
