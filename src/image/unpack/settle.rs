//! A layer in a directory of its own meets the layers below it: whiteouts that hide something, directories that no
//! entry described, hard links to lower files. Afterwards overlayfs shows what unpacking into one tree would have made.

use super::Pending;
use super::directories::open_in_root;
use super::merged::{Found, Merged, Stack, by_descriptor, components, joined};
use crate::image::copy;
use crate::image::tar::{Time, shown};
use crate::sys::Asked;
use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Whether the layer is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is.
    Done,
    /// The archive went through a symbolic link of a lower layer: it must be unpacked again with the layers known.
    Again,
}

/// Completes the layer in `root` upon `lowers` (top first).
pub fn settle(root: BorrowedFd<'_>, lowers: &[BorrowedFd<'_>], pending: Pending) -> Result<Settled> {
    let stack = Stack::new(std::iter::once(root).chain(lowers.iter().copied()).collect());
    let mut work = Settle { root, stack, pending, opaque: opaque_name() };
    if !lowers.is_empty() {
        work.opaque()?;
        if work.implicit()? == Settled::Again {
            return Ok(Settled::Again);
        }
        work.whiteouts()?;
    }
    work.links()?;
    work.pending.times.apply(root)?;
    Ok(Settled::Done)
}

/// A directory of the merged tree: its parts without links, and the layers that have it.
type Place = (Vec<Vec<u8>>, Merged);

struct Settle<'a> {
    root: BorrowedFd<'a>,
    stack: Stack<'a>,
    pending: Pending,
    /// The attribute of opaque directories.
    opaque: &'static str,
}

impl Settle<'_> {
    fn opaque(&mut self) -> Result<()> {
        for path in std::mem::take(&mut self.pending.opaque) {
            let real = self.stack.resolve(&path)?;
            if real.iter().all(|(_, merged)| merged.is_some()) {
                let parts: Vec<&[u8]> = real.iter().map(|(part, _)| part.as_slice()).collect();
                let directory = self.ensure(&parts)?;
                self.hide_lower(&directory)?;
            }
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

    /// Opens a directory in this layer (O_PATH); parts that only lower layers have are made like them.
    fn ensure(&mut self, parts: &[&[u8]]) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut current = open_in_root(self.root, b"", flags)?.context("the layer's directory is gone")?;
        for end in 1..=parts.len() {
            let Some(part) = parts.get(end - 1) else { break };
            let open = || rustix::fs::openat(&current, *part, flags, Mode::empty());
            let next = match open() {
                Err(Errno::NOENT) => {
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

    fn whiteouts(&mut self) -> Result<()> {
        let mut last: Option<(Vec<u8>, Option<Place>)> = None;
        for path in std::mem::take(&mut self.pending.whiteouts) {
            let parts: Vec<&[u8]> = components(&path).collect();
            let Some((name, parents)) = parts.split_last() else { continue };
            let parent = joined(parents.iter().copied());
            if last.as_ref().is_none_or(|(known, _)| *known != parent) {
                let found = self.existing(&parent)?;
                last = Some((parent, found));
            }
            let Some((_, Some((real, merged)))) = &last else { continue };
            let mut below = merged.clone();
            below.retain(|(layer, _)| *layer > 0);
            if matches!(self.stack.child(&below, name)?, Found::Absent) {
                continue;
            }
            let real: Vec<&[u8]> = real.iter().map(Vec::as_slice).collect();
            let made = merged.first().is_none_or(|(layer, _)| *layer > 0);
            self.white_out(&real, name).with_context(|| shown(&path))?;
            if made {
                last = None;
            }
        }
        Ok(())
    }

    /// Where a directory of the merged tree is, if it is one.
    fn existing(&self, path: &[u8]) -> Result<Option<Place>> {
        let real = self.stack.resolve(path)?;
        let merged = match real.last() {
            None => self.stack.root()?,
            Some((_, Some(merged))) => merged.clone(),
            Some((_, None)) => return Ok(None),
        };
        Ok(Some((real.into_iter().map(|(part, _)| part).collect(), merged)))
    }

    fn white_out(&mut self, parents: &[&[u8]], name: &[u8]) -> Result<()> {
        let directory = self.ensure(parents)?;
        match rustix::fs::mknodat(&directory, name, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) => Ok(()),
            // The layer has the name itself: its entry stays, and a directory shows only what is its own.
            Err(Errno::EXIST) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match rustix::fs::openat(&directory, name, flags, Mode::empty()) {
                    Ok(own) => self.hide_lower(&own),
                    Err(_) => Ok(()),
                }
            }
            Err(errno) => Ok(Err(errno).asked(|| "mknod c 0 0".to_owned())?),
        }
    }

    /// Links whose target is another such link come after it.
    fn links(&mut self) -> Result<()> {
        let mut waiting = std::mem::take(&mut self.pending.links);
        while !waiting.is_empty() {
            let before = waiting.len();
            let ready: Vec<_> = waiting
                .iter()
                .filter(|(_, target)| !waiting.contains_key(*target))
                .map(|(name, target)| (name.clone(), target.clone()))
                .collect();
            for (name, target) in ready {
                self.link(&name, &target)
                    .with_context(|| format!("{}: hard link to {}", shown(&name), shown(&target)))?;
                waiting.remove(&name);
            }
            if waiting.len() == before {
                let names: Vec<String> = waiting.keys().take(3).map(|name| shown(name)).collect();
                bail!("hard links to each other: {}", names.join(", "));
            }
        }
        Ok(())
    }

    fn link(&mut self, name: &[u8], target: &[u8]) -> Result<()> {
        let parts: Vec<&[u8]> = components(target).collect();
        let (last, parents) = parts.split_last().context("the target is the root")?;
        let missing = || Err::<(), _>(Errno::NOENT).asked(|| "link".to_owned());
        let Some((real, merged)) = self.existing(&joined(parents.iter().copied()))? else { return Ok(missing()?) };
        let Some((layer, from, stat)) = self.stack.locate(&merged, last)? else { return Ok(missing()?) };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            bail!("the target is a directory");
        }
        let real: Vec<&[u8]> = real.iter().map(Vec::as_slice).collect();
        let own = self.ensure(&real)?;
        if layer > 0 {
            copy::node(from.as_fd(), last, &stat, own.as_fd(), last, &copy::same_owner)?;
        }
        let parts: Vec<&[u8]> = components(name).collect();
        let (link, parents) = parts.split_last().context("the link is the root")?;
        let directory = self.ensure(parents)?;
        Ok(rustix::fs::linkat(&own, *last, &directory, *link, AtFlags::empty()).asked(|| "link".to_owned())?)
    }
}

/// The attribute that makes a directory opaque for overlay mounts that this process can make.
fn opaque_name() -> &'static str {
    let [trusted, user] = super::OPAQUE;
    if super::privileged() { trusted } else { user }
}
