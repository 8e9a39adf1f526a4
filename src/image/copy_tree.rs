//! Copies a merged tree into a plain one: directories, hard links, holes, owners, times.

use super::copy::{self, Owner};
use crate::image::remove::for_each;
use crate::image::unpack::{Found, Merged, Stack};
use crate::sys::{self, Asked};
use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Directories within directories that are copied.
const DEPTH: usize = 2048;

/// Copies what `from` shows in `stack` into the directory `to`, which gets the attributes of `from`.
/// `go_on` ends it early with its error.
pub(crate) fn tree(
    stack: &Stack<'_>,
    from: &Merged,
    to: BorrowedFd<'_>,
    owner: Owner<'_>,
    go_on: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let mut copying = Copying { stack, root: to, owner, go_on, links: HashMap::new() };
    let own = sys::files::open_at(to, ".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    copying.directory(from, &own, &[], 0)
}

struct Copying<'a> {
    stack: &'a Stack<'a>,
    root: BorrowedFd<'a>,
    owner: Owner<'a>,
    go_on: &'a dyn Fn() -> Result<()>,
    /// Device and inode of files with several names: the copy's first name.
    links: HashMap<(u64, u64), Vec<u8>>,
}

impl Copying<'_> {
    fn directory(&mut self, from: &Merged, to: &OwnedFd, path: &[u8], depth: usize) -> Result<()> {
        if depth > DEPTH {
            bail!("directories are nested more than {DEPTH} deep");
        }
        let mut names = BTreeSet::new();
        for (_, layer) in from {
            for_each(layer.as_fd(), |name, _| -> Result<(), sys::Error> {
                names.insert(name.to_bytes().to_vec());
                Ok(())
            })?;
        }
        for name in names {
            let below = if path.is_empty() { name.clone() } else { [path, b"/", &name].concat() };
            self.entry(from, &name, to, &below, depth).with_context(|| crate::image::tar::shown(&name))?;
        }
        let (_, top) = from.first().context("a directory of no layer")?;
        let stat = copy::directory_attributes(top.as_fd(), to.as_fd(), self.owner)?;
        Ok(rustix::fs::futimens(to, &copy::times_of(&stat)).asked(|| "futimens".to_owned())?)
    }

    fn entry(&mut self, from: &Merged, name: &[u8], to: &OwnedFd, path: &[u8], depth: usize) -> Result<()> {
        (self.go_on)()?;
        let Some((_, layer, stat)) = self.stack.locate(from, name)? else { return Ok(()) };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let Found::Directory(merged) = self.stack.child(from, name)? else { return Ok(()) };
            rustix::fs::mkdirat(to, name, Mode::RWXU).asked(|| "mkdir".to_owned())?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = rustix::fs::openat(to, name, flags, Mode::empty()).asked(|| "open".to_owned())?;
            return self.directory(&merged, &made, path, depth + 1);
        }
        if stat.st_nlink > 1 {
            let key = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&key) {
                let linked = rustix::fs::linkat(self.root, first.as_slice(), to, name, AtFlags::empty());
                return Ok(linked.asked(|| "link".to_owned())?);
            }
            self.links.insert(key, path.to_vec());
        }
        copy::node(layer.as_fd(), name, &stat, to.as_fd(), name, self.owner)
    }
}
