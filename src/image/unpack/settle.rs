//! A layer in a directory of its own meets the layers below it: whiteouts that hide something, directories that no
//! entry described, hard links to lower files. Afterwards overlayfs shows what unpacking into one tree would have made.

use super::Pending;
use super::attributes;
use super::directories::open_in_root;
use super::merged::{Found, Merged, Stack, by_descriptor, components, joined};
use crate::image::copy;
use crate::image::tar::{Time, shown};
use crate::sys::Asked;
use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, XattrFlags};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

/// Whether the layer is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is.
    Done,
    /// The archive went through a symbolic link of a lower layer: it must be unpacked again with the layers known.
    Again,
}

/// Completes the layer in `root` upon `lowers` (top first). Its directories have their times, and keep them.
pub fn settle(root: BorrowedFd<'_>, lowers: &[BorrowedFd<'_>], pending: Pending) -> Result<Settled> {
    let stack = Stack::new(std::iter::once(root).chain(lowers.iter().copied()).collect());
    let below = Stack::new(lowers.to_vec());
    let mut work = Settle { root, stack, below, pending, renewed: BTreeSet::new(), opaque: opaque_name() };
    // Links to what the layer hides later are links to what was there.
    work.links()?;
    if !lowers.is_empty() {
        // What is hidden before what is taken over: a hidden directory of the lower layers gives nothing to the one that this layer has there.
        work.hide()?;
        if work.implicit()? == Settled::Again {
            return Ok(Settled::Again);
        }
    }
    work.pending.times.apply(root)?;
    Ok(Settled::Done)
}

/// A directory of the merged tree: its parts without links, and the layers that have it.
type Place = (Vec<Vec<u8>>, Merged);

/// A file of a lower layer.
struct Original {
    /// Where it is in the merged tree.
    place: Vec<u8>,
    directory: Rc<OwnedFd>,
    name: Vec<u8>,
    stat: Stat,
}

/// Which files of the lower layers were copied up, and where: to their own place, or to the name of the first link. A place
/// can be far longer than the names that led to it, so only its keyed hash is kept.
#[derive(Default)]
struct Copies {
    hasher: RandomState,
    known: HashMap<u64, Option<Vec<u8>>>,
}

impl Copies {
    fn get(&self, place: &[u8]) -> Option<Vec<u8>> {
        let copy = self.known.get(&self.hasher.hash_one(place))?;
        Some(copy.clone().unwrap_or_else(|| place.to_vec()))
    }

    fn insert(&mut self, place: &[u8], copy: &[u8]) {
        self.known.insert(self.hasher.hash_one(place), (place != copy).then(|| copy.to_vec()));
    }
}

struct Settle<'a> {
    root: BorrowedFd<'a>,
    stack: Stack<'a>,
    /// The same without this layer.
    below: Stack<'a>,
    pending: Pending,
    /// Directories of this layer whose lower ones are whited out.
    renewed: BTreeSet<Vec<u8>>,
    /// The attribute of opaque directories.
    opaque: &'static str,
}

impl Settle<'_> {
    /// Whiteouts and opaque markers, those of a directory before those below it: they may find nothing any more.
    fn hide(&mut self) -> Result<()> {
        let whiteouts = std::mem::take(&mut self.pending.whiteouts);
        let mut opaque = std::mem::take(&mut self.pending.opaque).into_iter().peekable();
        let mut last = None;
        for path in whiteouts {
            while let Some(directory) = opaque.next_if(|directory| *directory < path) {
                self.hide_content(&directory)?;
                last = None;
            }
            self.whiteout(&path, &mut last).with_context(|| shown(&path))?;
        }
        opaque.try_for_each(|directory| self.hide_content(&directory))
    }

    fn hide_content(&mut self, path: &[u8]) -> Result<()> {
        let real = self.stack.resolve(path)?;
        if real.iter().all(|(_, merged)| merged.is_some()) {
            let parts: Vec<&[u8]> = real.iter().map(|(part, _)| part.as_slice()).collect();
            let directory = self.ensure(&parts)?;
            self.hide_lower(&directory)?;
        }
        Ok(())
    }

    /// overlayfs shows nothing of the lower layers in this directory.
    fn hide_lower(&self, directory: &OwnedFd) -> Result<()> {
        let path = by_descriptor(directory.as_fd());
        let name = self.opaque;
        Ok(rustix::fs::setxattr(path.as_str(), name, b"y", XattrFlags::empty()).asked(|| format!("setxattr {name}"))?)
    }

    fn implicit(&mut self) -> Result<Settled> {
        for path in std::mem::take(&mut self.pending.implicit) {
            if self.renewed.contains(&path) {
                continue;
            }
            let parts: Vec<&[u8]> = components(&path).collect();
            match self.lower(&parts)? {
                Found::Symlink(_) => return Ok(Settled::Again),
                Found::Directory(merged) => {
                    let Some((_, from)) = merged.first() else { continue };
                    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
                    let Some(to) = open_in_root(self.root, &path, flags)? else { continue };
                    self.describe(from.as_fd(), &to, &path)?;
                }
                Found::Absent | Found::Other => {}
            }
        }
        Ok(Settled::Done)
    }

    /// What the lower layers show at a place, as far as this layer does not hide it.
    fn lower(&self, parts: &[&[u8]]) -> Result<Found> {
        let mut current = self.stack.root()?;
        let Some((last, parents)) = parts.split_last() else {
            current.retain(|(layer, _)| *layer > 0);
            return Ok(Found::Directory(current));
        };
        for part in parents {
            match self.stack.child(&current, part)? {
                Found::Directory(merged) => current = merged,
                _ => return Ok(Found::Absent),
            }
        }
        current.retain(|(layer, _)| *layer > 0);
        self.stack.child(&current, last)
    }

    fn describe(&mut self, from: BorrowedFd<'_>, to: &OwnedFd, path: &[u8]) -> Result<()> {
        attributes::drop_all(to.as_fd())?;
        let stat = copy::directory_attributes(from, to.as_fd(), &copy::same_owner).with_context(|| shown(path))?;
        let inode = rustix::fs::fstat(to).asked(|| "fstat".to_owned())?.st_ino;
        let mtime = Time { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 };
        // Who is not root needs to write in it until the end.
        let mode = stat.st_mode & 0o7777;
        let closed = mode & 0o700 != 0o700 && !rustix::process::geteuid().is_root();
        if closed {
            rustix::fs::chmod(by_descriptor(to.as_fd()), Mode::from_raw_mode(mode | 0o700))
                .asked(|| "chmod".to_owned())?;
        }
        self.pending.times.set(inode, path, mtime, None, closed.then_some(mode));
        Ok(())
    }

    /// Something will be made in a directory of this layer: it keeps the time that it has, and is opened for us if we are
    /// not root.
    fn touch(&mut self, directory: &OwnedFd, parts: &[&[u8]]) -> Result<()> {
        self.pending.times.apply_if_full(self.root)?;
        self.pending.times.touch(directory.as_fd(), || joined(parts.iter().copied()))
    }

    /// Opens a directory in this layer (O_PATH); parts that only lower layers have are made like them.
    fn ensure(&mut self, parts: &[&[u8]]) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut current = open_in_root(self.root, b"", flags)?.context("the layer's directory is gone")?;
        for end in 1..=parts.len() {
            let Some(part) = parts.get(end - 1) else { break };
            let open = || rustix::fs::openat(&current, *part, flags, Mode::empty());
            let next = match open() {
                Err(Errno::NOENT) => {
                    self.touch(&current, parts.get(..end - 1).unwrap_or_default())?;
                    rustix::fs::mkdirat(&current, *part, Mode::from_raw_mode(0o755))
                        .asked(|| format!("mkdir {}", shown(part)))?;
                    let made = open().asked(|| format!("open {}", shown(part)))?;
                    let prefix = parts.get(..end).unwrap_or_default();
                    if let Found::Directory(merged) = self.lower(prefix)?
                        && let Some((_, from)) = merged.first()
                    {
                        self.describe(from.as_fd(), &made, &joined(prefix.iter().copied()))?;
                    }
                    made
                }
                other => other.asked(|| format!("open {}", shown(part)))?,
            };
            current = next;
        }
        Ok(current)
    }

    /// One whiteout; `last` is the directory of the one before.
    fn whiteout(&mut self, path: &[u8], last: &mut Option<(Vec<u8>, Option<Place>)>) -> Result<()> {
        let parts: Vec<&[u8]> = components(path).collect();
        let Some((name, parents)) = parts.split_last() else { return Ok(()) };
        let parent = joined(parents.iter().copied());
        if last.as_ref().is_none_or(|(known, _)| *known != parent) {
            let found = self.existing(&parent)?;
            *last = Some((parent, found));
        }
        let Some((_, Some((real, merged)))) = &*last else { return Ok(()) };
        let mut below = merged.clone();
        below.retain(|(layer, _)| *layer > 0);
        if matches!(self.stack.child(&below, name)?, Found::Absent) {
            return Ok(());
        }
        let real: Vec<&[u8]> = real.iter().map(Vec::as_slice).collect();
        let made = merged.first().is_none_or(|(layer, _)| *layer > 0);
        self.white_out(&real, name)?;
        if made {
            *last = None;
        }
        Ok(())
    }

    fn existing(&self, path: &[u8]) -> Result<Option<Place>> {
        existing(&self.stack, path)
    }

    fn white_out(&mut self, parents: &[&[u8]], name: &[u8]) -> Result<()> {
        let directory = self.ensure(parents)?;
        self.touch(&directory, parents)?;
        match rustix::fs::mknodat(&directory, name, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) => Ok(()),
            // The layer has the name itself: its entry stays, and a directory shows only what is its own.
            Err(Errno::EXIST) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match rustix::fs::openat(&directory, name, flags, Mode::empty()) {
                    Ok(own) => {
                        self.renewed.insert(joined(parents.iter().copied().chain([name])));
                        self.hide_lower(&own)
                    }
                    Err(_) => Ok(()),
                }
            }
            Err(errno) => Ok(Err(errno).asked(|| "mknod c 0 0".to_owned())?),
        }
    }

    /// Hard links to files of the lower layers. The file is copied up once: to its own place, or, when this layer hides it or
    /// has something else there, to the name of the first link.
    fn links(&mut self) -> Result<()> {
        let mut copies = Copies::default();
        for (name, target) in std::mem::take(&mut self.pending.links) {
            self.link(&name, &target, &mut copies)
                .with_context(|| format!("{}: hard link to {}", shown(&name), shown(&target)))?;
        }
        Ok(())
    }

    fn link(&mut self, name: &[u8], target: &[u8], copies: &mut Copies) -> Result<()> {
        let (link, parents) = split(name).context("the link is the root")?;
        let directory = self.ensure(&parents)?;
        self.touch(&directory, &parents)?;
        let Original { place, directory: from, name: from_name, stat } = self.original(target)?;
        let copy = match copies.get(&place) {
            Some(copy) => copy,
            None => {
                let copy = if self.is_free(&place)? { place.clone() } else { name.to_vec() };
                let (last, parents) = split(&copy).context("the target is the root")?;
                let own = self.ensure(&parents)?;
                self.touch(&own, &parents)?;
                copy::node(from.as_fd(), &from_name, &stat, own.as_fd(), last, &copy::same_owner)?;
                copies.insert(&place, &copy);
                copy
            }
        };
        if copy == name {
            return Ok(());
        }
        let (last, parents) = split(&copy).context("the target is the root")?;
        let own = self.ensure(&parents)?;
        Ok(rustix::fs::linkat(&own, last, &directory, link, AtFlags::empty()).asked(|| "link".to_owned())?)
    }

    /// The file of a lower layer that a name means.
    fn original(&self, target: &[u8]) -> Result<Original> {
        let (last, parents) = split(target).context("the target is the root")?;
        let parent = joined(parents);
        let found = match self.existing(&parent)? {
            Some((real, mut merged)) => {
                merged.retain(|(layer, _)| *layer > 0);
                self.stack.locate(&merged, last)?.map(|found| (real, found))
            }
            None => None,
        };
        let found = match found {
            Some(found) => Some(found),
            // What this layer has there now came after the link.
            None => match existing(&self.below, &parent)? {
                Some((real, merged)) => self.below.locate(&merged, last)?.map(|found| (real, found)),
                None => None,
            },
        };
        let Some((real, (_, from, stat))) = found else { return Ok(Err(Errno::NOENT).asked(|| "link".to_owned())?) };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            bail!("the target is a directory");
        }
        let place = joined(real.iter().map(Vec::as_slice).chain([last]));
        Ok(Original { place, directory: from, name: last.to_vec(), stat })
    }

    /// Whether a copy of the lower file can have its own place: this layer neither hides it nor has something there.
    fn is_free(&self, place: &[u8]) -> Result<bool> {
        let parts: Vec<&[u8]> = components(place).collect();
        if self.pending.hides(place) {
            return Ok(false);
        }
        let mut current = open_in_root(self.root, b"", OFlags::PATH | OFlags::DIRECTORY)?;
        for part in parts {
            let Some(directory) = current else { return Ok(true) };
            match rustix::fs::statat(&directory, part, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => return Ok(true),
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {}
                Ok(_) => return Ok(false),
                Err(errno) => return Ok(Err(errno).asked(|| format!("stat {}", shown(part)))?),
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            current = rustix::fs::openat(&directory, part, flags, Mode::empty()).ok();
        }
        Ok(false)
    }
}

/// The last part of a name, and the parts before it.
fn split(path: &[u8]) -> Option<(&[u8], Vec<&[u8]>)> {
    let mut parts: Vec<&[u8]> = components(path).collect();
    parts.pop().map(|last| (last, parts))
}

/// Where a directory of a merged tree is, if it is one.
fn existing(stack: &Stack<'_>, path: &[u8]) -> Result<Option<Place>> {
    let real = stack.resolve(path)?;
    let merged = match real.last() {
        None => stack.root()?,
        Some((_, Some(merged))) => merged.clone(),
        Some((_, None)) => return Ok(None),
    };
    Ok(Some((real.into_iter().map(|(part, _)| part).collect(), merged)))
}

/// The attribute that makes a directory opaque for overlay mounts that this process can make.
fn opaque_name() -> &'static str {
    let [trusted, user] = super::OPAQUE;
    if super::privileged() { trusted } else { user }
}
