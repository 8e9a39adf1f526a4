//! Layer directories read as overlayfs reads them, without a mount: what is where, whoever is root or not.

use crate::sys::{self, Asked};
use anyhow::{Result, bail};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

/// The extended attribute that makes a directory hide the ones below it: as root, and with the mount option `userxattr`.
pub(crate) const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];

/// Symbolic links that one name may lead through, as in the kernel.
const LINKS: usize = 40;

/// True for overlayfs's whiteout: a character device 0:0.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Directories of a stack, top first.
pub(crate) struct Stack<'a> {
    layers: Vec<BorrowedFd<'a>>,
}

/// A directory of the merged tree: in which layers it is, top first.
pub(crate) type Merged = Vec<(usize, Rc<OwnedFd>)>;

/// What a name is in the merged tree.
pub(crate) enum Found {
    /// Nothing, or hidden by a whiteout.
    Absent,
    /// A directory.
    Directory(Merged),
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// Anything else.
    Other,
}

/// Where a name leads: no links, no `..`, and the directories as far as they exist.
pub(crate) type Resolved = Vec<(Vec<u8>, Option<Merged>)>;

impl<'a> Stack<'a> {
    pub(crate) fn new(layers: Vec<BorrowedFd<'a>>) -> Stack<'a> {
        Stack { layers }
    }

    pub(crate) fn root(&self) -> Result<Merged> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let open = |(layer, fd): (usize, &BorrowedFd<'_>)| -> Result<_> {
            Ok((layer, Rc::new(sys::files::open_at(*fd, ".", flags)?)))
        };
        let all = self.layers.iter().enumerate().map(open).collect::<Result<Merged>>()?;
        let visible = all.iter().position(|(_, fd)| is_opaque(fd.as_fd())).map_or(all.len(), |last| last + 1);
        Ok(all.into_iter().take(visible).collect())
    }

    /// What `name` is in `directory`.
    pub(crate) fn child(&self, directory: &Merged, name: &[u8]) -> Result<Found> {
        let Some((layer, fd, stat)) = self.locate(directory, name)? else { return Ok(Found::Absent) };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.merge(directory, layer, name),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&fd, name, Vec::new())
                    .asked(|| format!("readlink {}", crate::image::tar::shown(name)))?;
                Ok(Found::Symlink(target.into_bytes()))
            }
            _ => Ok(Found::Other),
        }
    }

    /// The topmost layer that has `name`, its directory there and what it is; `None` when nothing shows.
    pub(crate) fn locate(&self, directory: &Merged, name: &[u8]) -> Result<Option<(usize, Rc<OwnedFd>, Stat)>> {
        for (layer, fd) in directory {
            match rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if is_whiteout(&stat) => return Ok(None),
                Ok(stat) => return Ok(Some((*layer, fd.clone(), stat))),
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => return Ok(Err(errno).asked(|| format!("stat {}", crate::image::tar::shown(name)))?),
            }
        }
        Ok(None)
    }

    /// The directories named `name` that show together, from `layer` down to the first that is opaque or hidden.
    fn merge(&self, directory: &Merged, layer: usize, name: &[u8]) -> Result<Found> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut merged = Merged::new();
        for (layer, fd) in directory.iter().filter(|(number, _)| *number >= layer) {
            match rustix::fs::openat(fd, name, flags, Mode::empty()) {
                Ok(open) => {
                    let hides = is_opaque(open.as_fd());
                    merged.push((*layer, Rc::new(open)));
                    if hides {
                        break;
                    }
                }
                Err(Errno::NOENT) => {}
                // A whiteout, a link or a file hides what is further down.
                Err(Errno::NOTDIR | Errno::LOOP) => break,
                Err(errno) => return Ok(Err(errno).asked(|| format!("open {}", crate::image::tar::shown(name)))?),
            }
        }
        Ok(Found::Directory(merged))
    }

    /// Follows `path` as a process with this root would, and on beyond what exists.
    pub(crate) fn resolve(&self, path: &[u8]) -> Result<Resolved> {
        let mut real = Resolved::new();
        let mut ahead: VecDeque<Vec<u8>> = components(path).map(<[u8]>::to_vec).collect();
        let root = self.root()?;
        let mut links = 0;
        while let Some(name) = ahead.pop_front() {
            if name == b".." {
                real.pop();
                continue;
            }
            let here = real.last().map_or(Some(&root), |(_, merged)| merged.as_ref());
            let found = here.map_or(Ok(Found::Absent), |here| self.child(here, &name))?;
            match found {
                Found::Symlink(target) => {
                    links += 1;
                    if links > LINKS {
                        bail!("too many levels of symbolic links");
                    }
                    if target.first() == Some(&b'/') {
                        real.clear();
                    }
                    for component in components(&target).map(<[u8]>::to_vec).rev() {
                        ahead.push_front(component);
                    }
                }
                Found::Directory(merged) => real.push((name, Some(merged))),
                Found::Absent | Found::Other => real.push((name, None)),
            }
        }
        Ok(real)
    }
}

/// The parts of a path that mean something.
pub(crate) fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// The parts joined again.
pub(crate) fn joined<'n>(parts: impl IntoIterator<Item = &'n [u8]>) -> Vec<u8> {
    parts.into_iter().fold(Vec::new(), |mut path, part| {
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(part);
        path
    })
}

/// The name under which procfs shows an open file: the way to calls that take no O_PATH descriptor.
pub(crate) fn by_descriptor(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn is_opaque(directory: BorrowedFd<'_>) -> bool {
    let path = by_descriptor(directory);
    let mut value = [0u8; 4];
    OPAQUE.iter().any(|name| {
        matches!(rustix::fs::getxattr(path.as_str(), *name, &mut value[..]), Ok(1)) && value.first() == Some(&b'y')
    })
}
