//! Copies a merged tree into a plain one: directories, hard links, holes, owners, times.

use super::copy::{self, Owner};
use crate::image::remove::Entries;
use crate::image::spill::Map;
use crate::image::store::Store;
use crate::image::unpack::{Found, Merged, Stack};
use crate::sys::{self, Asked};
use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// Directories within directories that are copied.
const DEPTH: usize = 2048;

/// Copies what `from` shows in `stack` into the directory `to`, which gets the attributes of `from`.
/// An interrupt that the store knows of ends it early.
pub(crate) fn tree(
    store: &Store,
    stack: &Stack<'_>,
    from: &Merged,
    to: BorrowedFd<'_>,
    owner: Owner<'_>,
) -> Result<()> {
    let mut copying = Copying { stack, root: to, owner, links: Links::new(store) };
    let own = sys::files::open_at(to, ".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    copying.directory(from, &own, &[], 0)
}

struct Copying<'a> {
    stack: &'a Stack<'a>,
    root: BorrowedFd<'a>,
    owner: Owner<'a>,
    links: Links<'a>,
}

/// The first names of the copies of files with several names, in a file: an image may have any number of them.
struct Links<'a> {
    store: &'a Store,
    hasher: RandomState,
    /// From device and inode to the place in `names`.
    places: Map,
    names: Option<File>,
}

impl Links<'_> {
    fn new(store: &Store) -> Links<'_> {
        Links { store, hasher: RandomState::new(), places: Map::default(), names: None }
    }

    /// The name of the first copy; the first time there is none, and the copy will have `path`.
    fn first(&mut self, file: (u64, u64), path: &[u8]) -> Result<Option<Vec<u8>>> {
        let key = self.hasher.hash_one(file);
        let names = match &mut self.names {
            Some(names) => names,
            empty => empty.insert(File::from(self.store.scratch()?)),
        };
        let Some(place) = self.places.get(key)? else {
            let place = names.seek(SeekFrom::End(0))?;
            names.write_all(&[&u64::to_ne_bytes(path.len() as u64), path].concat())?;
            self.places.insert(key, place, self.store)?;
            return Ok(None);
        };
        let mut length = [0; 8];
        names.read_exact_at(&mut length, place)?;
        let mut name = vec![0; usize::try_from(u64::from_ne_bytes(length))?];
        names.read_exact_at(&mut name, place + 8)?;
        Ok(Some(name))
    }
}

impl Copying<'_> {
    fn directory(&mut self, from: &Merged, to: &OwnedFd, path: &[u8], depth: usize) -> Result<()> {
        if depth > DEPTH {
            bail!("directories are nested more than {DEPTH} deep");
        }
        for (number, layer) in from {
            let mut entries = Entries::new(sys::files::open_at(layer, ".", OFlags::RDONLY | OFlags::DIRECTORY)?);
            while let Some((name, _)) = entries.next()? {
                let name = name.to_bytes();
                let below = if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() };
                self.entry((from, *number), name, to, &below, depth).with_context(|| crate::image::tar::shown(name))?;
            }
        }
        let (_, top) = from.first().context("a directory of no layer")?;
        let stat = copy::directory_attributes(top.as_fd(), to.as_fd(), self.owner)?;
        Ok(rustix::fs::futimens(to, &copy::times_of(&stat)).asked(|| "futimens".to_owned())?)
    }

    /// Copies what a layer of a directory has, if it is the topmost that has it.
    fn entry(
        &mut self,
        (from, number): (&Merged, usize),
        name: &[u8],
        to: &OwnedFd,
        path: &[u8],
        depth: usize,
    ) -> Result<()> {
        self.links.store.go_on()?;
        let Some((_, layer, stat)) = self.stack.locate(from, name)?.filter(|(top, ..)| *top == number) else {
            return Ok(());
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let Found::Directory(merged) = self.stack.child(from, name)? else { return Ok(()) };
            rustix::fs::mkdirat(to, name, Mode::RWXU).asked(|| "mkdir".to_owned())?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = rustix::fs::openat(to, name, flags, Mode::empty()).asked(|| "open".to_owned())?;
            return self.directory(&merged, &made, path, depth + 1);
        }
        if stat.st_nlink > 1
            && let Some(first) = self.links.first((stat.st_dev, stat.st_ino), path).context("names of hard links")?
        {
            let linked = rustix::fs::linkat(self.root, first.as_slice(), to, name, AtFlags::empty());
            return Ok(linked.asked(|| "link".to_owned())?);
        }
        copy::node(layer.as_fd(), name, &stat, to.as_fd(), name, self.owner)
    }
}
