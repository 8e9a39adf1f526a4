//! Open directories of the tree that is being made, by the name that the archive uses for them.

use super::merged::by_descriptor;
use crate::sys::{self, Asked};
use anyhow::Result;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

/// The attribute of a directory with an access control list for new entries.
pub(super) const DEFAULT_ACL: &str = "system.posix_acl_default";
/// Directories kept open.
const OPEN: usize = 128;
/// Times that the kernel may answer "the tree changed while I looked".
const ATTEMPTS: usize = 32;

/// An open directory.
#[derive(Debug)]
pub(super) struct Directory {
    /// O_PATH.
    pub(super) fd: OwnedFd,
    pub(super) stat: Stat,
    /// It has an access control list for new entries.
    gives_acl: bool,
}

impl Directory {
    /// Takes an O_PATH descriptor.
    pub(super) fn new(fd: OwnedFd) -> Result<Directory> {
        let stat = rustix::fs::fstat(&fd).asked(|| "fstat".to_owned())?;
        let path = by_descriptor(fd.as_fd());
        let gives_acl = rustix::fs::getxattr(path.as_str(), DEFAULT_ACL, &mut [0u8; 0][..]).is_ok();
        Ok(Directory { fd, stat, gives_acl })
    }

    pub(super) fn inode(&self) -> u64 {
        self.stat.st_ino
    }

    /// New entries get the directory's group and directories its set-group-id bit (inode(7)).
    pub(super) fn gives_group(&self) -> bool {
        self.stat.st_mode & 0o2000 != 0
    }

    /// New entries get an access control list, and from it other permission bits than they were made with (acl(5)).
    pub(super) fn gives_acl(&self) -> bool {
        self.gives_acl
    }

    /// New directories get something from this one that no archive says.
    pub(super) fn is_inherited(&self) -> bool {
        self.gives_group() || self.gives_acl
    }

    /// Its permission bits (without the type).
    pub(super) fn mode(&self) -> u32 {
        self.stat.st_mode & 0o7777
    }

    /// Changes the permission bits, which an O_PATH descriptor itself does not allow.
    pub(super) fn change_mode(&self, mode: u32) -> sys::Result<()> {
        rustix::fs::chmod(by_descriptor(self.fd.as_fd()), Mode::from_raw_mode(mode)).asked(|| "chmod".to_owned())
    }
}

/// The cache.
pub(super) struct Directories<'a> {
    root: BorrowedFd<'a>,
    open: HashMap<Vec<u8>, Rc<Directory>>,
}

impl<'a> Directories<'a> {
    pub(super) fn new(root: BorrowedFd<'a>) -> Directories<'a> {
        Directories { root, open: HashMap::new() }
    }

    /// The directory at `path`, through symbolic links within the root; `None` when there is none.
    pub(super) fn find(&mut self, path: &[u8]) -> Result<Option<Rc<Directory>>> {
        if let Some(directory) = self.open.get(path) {
            return Ok(Some(directory.clone()));
        }
        let Some(fd) = open_in_root(self.root, path, OFlags::PATH | OFlags::DIRECTORY)? else { return Ok(None) };
        let directory = Rc::new(Directory::new(fd)?);
        self.keep(path, directory.clone());
        Ok(Some(directory))
    }

    /// Remembers an open directory.
    pub(super) fn keep(&mut self, path: &[u8], directory: Rc<Directory>) {
        if self.open.len() >= OPEN {
            self.open.clear();
        }
        self.open.insert(path.to_vec(), directory);
    }

    /// Something that may have been a directory or a link is gone: the names may mean something else now.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }
}

/// Opens `path` below `root`, where links and `..` end too; `None` when nothing of that kind is there.
pub(super) fn open_in_root(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<Option<OwnedFd>> {
    let path: &[u8] = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..ATTEMPTS {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Ok(fd) => return Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            // KERNEL(5.6): "a .. component could not be resolved without a race" (openat2(2)).
            Err(Errno::AGAIN) => {}
            Err(errno) => return Ok(Err(errno).asked(|| format!("openat2 {}", crate::image::tar::shown(path)))?),
        }
    }
    Ok(Err(Errno::AGAIN).asked(|| format!("openat2 {}", crate::image::tar::shown(path)))?)
}

/// True when `name` in `directory` is a directory itself.
pub(super) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}
