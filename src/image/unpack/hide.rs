//! Whiteouts and opaque markers: done at once in a plain tree, kept for later in a directory of the layer's own.

use super::apply::{Applier, Below};
use super::attributes;
use super::merged::{components, joined};
use super::times::Times;
use crate::image::whiteout::{Pruned, Pruning};
use crate::sys::Asked;
use anyhow::Result;
use rustix::fs::{Gid, Mode, Timespec, Timestamps, UTIME_NOW, Uid};
use std::os::fd::{AsFd, BorrowedFd};

impl Applier<'_> {
    pub(super) fn whiteout(&mut self, parent: &[u8], hidden: &[u8]) -> Result<()> {
        match &self.below {
            Below::Nothing => Ok(()),
            Below::Tree => {
                let Some(directory) = self.directories.find(parent)? else { return Ok(()) };
                self.keep_times(parent, &directory)?;
                self.prune(parent, |pruning| pruning.name(directory.fd.as_fd(), directory.inode(), hidden))
            }
            Below::Unknown | Below::Stack(_) => {
                let path = joined(components(parent).chain([hidden]));
                self.account(&path)?;
                // Many are kept, and what grew has room for more: kept is a copy of the right size.
                self.pending.whiteouts.insert(path.as_slice().to_vec());
                Ok(())
            }
        }
    }

    pub(super) fn opaque(&mut self, path: &[u8]) -> Result<()> {
        match &self.below {
            Below::Nothing => Ok(()),
            Below::Tree => {
                let Some(directory) = self.directories.find(path)? else { return Ok(()) };
                self.keep_times(path, &directory)?;
                self.prune(path, |pruning| pruning.content(directory.fd.as_fd()))
            }
            Below::Unknown | Below::Stack(_) => {
                self.account(path)?;
                self.pending.opaque.insert(path.to_vec());
                Ok(())
            }
        }
    }

    /// Takes lower entries out of a plain tree. A lower directory that must stay for the sake of this layer's entries is
    /// what it would be without the lower layers: made because it was missing. So the tree is the same wherever in the
    /// archive the whiteout stands, and the same as the layer in a directory of its own shows.
    fn prune(&mut self, path: &[u8], act: impl FnOnce(&mut Pruning<'_>) -> Result<()>) -> Result<()> {
        self.directories.forget();
        let owner = self.attributes.owner(0, 0, true)?;
        let mut tree = Tree { root: self.root, times: &mut self.pending.times, owner };
        act(&mut Pruning { marks: &self.marks, path, tree: &mut tree })
    }
}

/// What becomes of the directories of a plain tree when lower entries are taken out of them.
struct Tree<'t> {
    root: BorrowedFd<'t>,
    times: &'t mut Times,
    owner: Option<(Uid, Gid)>,
}

impl Pruned for Tree<'_> {
    fn hidden(&mut self, directory: BorrowedFd<'_>, stays: bool) -> Result<()> {
        // Its inode may be another directory's soon.
        self.times.forget(rustix::fs::fstat(directory).asked(|| "fstat".to_owned())?.st_ino);
        if stays { renew(directory, self.owner) } else { Ok(()) }
    }

    fn touched(&mut self, directory: BorrowedFd<'_>, path: &dyn Fn() -> Vec<u8>) -> Result<()> {
        self.times.apply_if_full(self.root)?;
        self.times.touch(directory, path)
    }
}

/// Gives a directory what a missing parent gets: 755, root, no attributes, the present as its time.
fn renew(directory: BorrowedFd<'_>, owner: Option<(Uid, Gid)>) -> Result<()> {
    if let Some(owner) = owner {
        attributes::chown(directory, owner)?;
    }
    attributes::drop_all(directory)?;
    rustix::fs::fchmod(directory, Mode::from_raw_mode(0o755)).asked(|| "fchmod".to_owned())?;
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let now = Timestamps { last_access: now, last_modification: now };
    Ok(rustix::fs::futimens(directory, &now).asked(|| "futimens".to_owned())?)
}
