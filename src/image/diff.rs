//! From what a container wrote to a layer tar: the writable directory of an overlay mount, or a plain tree held against the
//! layers it was copied from.
//!
//! overlayfs keeps its own notes in the writable directory (device 0:0 for what vanished, extended attributes); in a layer
//! they become whiteouts (image-spec layer.md), and nothing else of them goes in.

mod budget;
mod compare;
mod holes;

use crate::image::bundle::Made;
use crate::image::owners::Owners;
use crate::image::remove::for_each;
use crate::image::tar::{Entry, Kind, Time, Writer, shown};
use crate::image::unpack::{Found, Limits, OPAQUE, Stack, is_overlays, is_whiteout, joined};
use crate::sys::{self, Asked};
use anyhow::{Context, Result, bail};
use budget::Budget;
use compare::{Attributes, Child, Comparison, Lower};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

/// What the directory is held against.
pub(crate) enum Against<'a> {
    /// It is the upper directory of an overlay mount upon these layers, top first: everything in it is a change. Its own
    /// attributes are those of the root, held against the topmost layer's, if there is one.
    Overlay(&'a Stack<'a>),
    /// It is a tree that was copied from these layers, top first, at this time, if that is known.
    Layers(&'a Stack<'a>, Option<&'a Made>),
}

/// What was written.
#[derive(Debug)]
pub(crate) struct Written<W> {
    /// Entries of the layer.
    pub(crate) entries: u64,
    /// Where it was written to.
    pub(crate) to: W,
}

/// Directories within directories that are walked: what links lead to is deeper than the names of a layer may be.
const DEPTH: usize = 2048;

/// Writes the changes in `directory` as a layer that these limits let through.
pub(crate) fn layer<W: Write>(
    directory: &OwnedFd,
    against: &Against<'_>,
    owners: &Owners<'_>,
    limits: &Limits,
    to: W,
) -> Result<Written<W>> {
    let (stack, made) = match against {
        Against::Overlay(stack) => (*stack, None),
        Against::Layers(stack, made) => (*stack, *made),
    };
    let mut diff = Diff {
        writer: Writer::new(to).with_limit(limits.header),
        budget: Budget::new(limits),
        comparison: Comparison { owners, stack, made },
        links: HashMap::new(),
        linked: HashSet::new(),
        on_the_way: Vec::new(),
    };
    let lower = Lower { merged: stack.root()?, is_moved: false };
    diff.root(directory, lower.merged.first().map(|(_, top)| &**top))?;
    let lower = match against {
        Against::Overlay(_) => None,
        Against::Layers(..) => {
            diff.find_changed_links(directory, &lower, 0)?;
            Some(&lower)
        }
    };
    diff.directory(directory, lower, &mut Vec::new())?;
    Ok(Written { entries: diff.budget.entries(), to: diff.writer.finish()? })
}

struct Diff<'a, W> {
    writer: Writer<W>,
    budget: Budget,
    comparison: Comparison<'a>,
    /// Device and inode of files with several names: the name that has the data.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// Device and inode of files of which some name is new: the others go into the layer too, for a hard link to a file of
    /// a lower layer is not understood everywhere (docker's overlay2).
    linked: HashSet<(u64, u64)>,
    /// Directories down to here that are as the layers have them: written before the first thing in them, as an overlay's
    /// upper directory has them. Who unpacks the layer alone would make them up (docker: root's, 0600).
    on_the_way: Vec<Entry>,
}

/// A directory that is walked next.
struct Inner {
    own: OwnedFd,
    /// What the layers have there; `None` in an overlay's upper directory.
    lower: Option<Lower>,
    /// How many directories were `on_the_way` to it.
    above: usize,
}

impl<W: Write> Diff<'_, W> {
    /// An error names the path once, however deep it is.
    fn directory(&mut self, own: &OwnedFd, lower: Option<&Lower>, path: &mut Vec<Vec<u8>>) -> Result<()> {
        if path.len() > DEPTH {
            bail!("{}: directories are nested more than {DEPTH} deep", shown(&dotted(path)));
        }
        let names = names([own.as_fd()]).with_context(|| shown(&dotted(path)))?;
        if let Some(lower) = lower {
            let of_layers = self::names(lower.merged.iter().map(|(_, fd)| fd.as_fd()));
            for name in of_layers.with_context(|| shown(&dotted(path)))?.difference(&names) {
                path.push(name.clone());
                self.vanished(lower, path).with_context(|| shown(&dotted(path)))?;
                path.pop();
            }
        }
        for name in &names {
            path.push(name.clone());
            let inner = self.entry(own, name, lower, path).with_context(|| shown(&dotted(path)))?;
            if let Some(inner) = inner {
                self.directory(&inner.own, inner.lower.as_ref(), path)?;
                self.on_the_way.truncate(inner.above);
            }
            path.pop();
        }
        Ok(())
    }

    /// A name of the layers that the tree does not have any more.
    fn vanished(&mut self, lower: &Lower, path: &[Vec<u8>]) -> Result<()> {
        match path.split_last() {
            Some((name, parent)) if self.comparison.stack.locate(&lower.merged, name)?.is_some() => {
                self.white_out(parent, name)
            }
            _ => Ok(()),
        }
    }

    fn white_out(&mut self, path: &[Vec<u8>], name: &[u8]) -> Result<()> {
        self.marker(path, &[b".wh.", name].concat(), &joined(parts(path).chain([name])))
    }

    /// A marker in the directory `path` that hides `hidden`.
    fn marker(&mut self, path: &[Vec<u8>], name: &[u8], hidden: &[u8]) -> Result<()> {
        self.budget.hidden(hidden)?;
        self.put(&Entry { path: joined(parts(path).chain([name])), mode: 0o600, ..Entry::default() })
    }

    fn put(&mut self, entry: &Entry) -> Result<()> {
        for directory in std::mem::take(&mut self.on_the_way) {
            self.write(&directory)?;
        }
        self.write(entry)
    }

    fn write(&mut self, entry: &Entry) -> Result<()> {
        self.budget.entry(entry)?;
        self.writer.entry(entry)?;
        self.budget.size(self.writer.size())
    }

    /// The root itself, if its mode, owner or attributes are not those of the layer below; its time changes with every name.
    fn root(&mut self, own: &OwnedFd, lower: Option<&OwnedFd>) -> Result<()> {
        let Some(lower) = lower else { return Ok(()) };
        let [new, old] = [own, lower].map(|directory| rustix::fs::fstat(directory).asked(|| "fstat".to_owned()));
        let (new, old) = (new?, old?);
        let xattrs = compare::xattrs(own, b".")?;
        if new.st_mode == old.st_mode
            && self.comparison.has_same(&new, &xattrs, &old, &compare::xattrs(lower, b".")?)?
        {
            return Ok(());
        }
        let entry = self.describe(&Child { name: b".", stat: new }, Kind::Directory, &[b".".to_vec()], &xattrs)?;
        self.put(&entry)
    }

    fn find_changed_links(&mut self, own: &OwnedFd, lower: &Lower, depth: usize) -> Result<()> {
        if depth > DEPTH {
            return Ok(());
        }
        for name in names([own.as_fd()])? {
            let stat = rustix::fs::statat(own, &*name, AtFlags::SYMLINK_NOFOLLOW).asked(|| "stat".to_owned())?;
            let found = Child { name: &name, stat };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let below = self.comparison.below(lower, &found)?;
                self.find_changed_links(&subdirectory(own, &name)?, &below, depth + 1)?;
            } else if stat.st_nlink > 1 && !self.comparison.is_unchanged(own, &found, Some(lower))? {
                self.linked.insert(found.identity());
            }
        }
        Ok(())
    }

    /// Writes what is at the end of `path`; answers a directory, whose content comes next.
    fn entry(&mut self, own: &OwnedFd, name: &[u8], lower: Option<&Lower>, path: &[Vec<u8>]) -> Result<Option<Inner>> {
        let stat = rustix::fs::statat(own, name, AtFlags::SYMLINK_NOFOLLOW).asked(|| "stat".to_owned())?;
        let parent = path.get(..path.len() - 1).unwrap_or_default();
        if is_whiteout(&stat) {
            self.white_out(parent, name)?;
            return Ok(None);
        }
        if name.starts_with(b".wh.") {
            bail!("names that begin with .wh. are whiteouts in a layer and cannot be kept");
        }
        let found = Child { name, stat };
        match FileType::from_raw_mode(found.stat.st_mode) {
            FileType::Directory => return self.subdirectory(own, &found, lower, path).map(Some),
            // A socket is nothing without the process that listens; but what it replaced is gone.
            FileType::Socket => {
                if self.has_below(lower, parent, name)? {
                    self.white_out(parent, name)?;
                }
            }
            _ if !self.linked.contains(&found.identity()) && self.comparison.is_unchanged(own, &found, lower)? => {}
            _ => self.file(own, &found, path)?,
        }
        Ok(None)
    }

    /// True when the layers show something under this name.
    fn has_below(&self, lower: Option<&Lower>, parent: &[Vec<u8>], name: &[u8]) -> Result<bool> {
        if let Some(lower) = lower {
            return Ok(self.comparison.stack.locate(&lower.merged, name)?.is_some());
        }
        let mut here = self.comparison.stack.root()?;
        for part in parent {
            match self.comparison.stack.child(&here, part)? {
                Found::Directory(merged) => here = merged,
                _ => return Ok(false),
            }
        }
        Ok(self.comparison.stack.locate(&here, name)?.is_some())
    }

    fn subdirectory(
        &mut self,
        own: &OwnedFd,
        found: &Child<'_>,
        lower: Option<&Lower>,
        path: &[Vec<u8>],
    ) -> Result<Inner> {
        let inner = subdirectory(own, found.name)?;
        let below = lower.map(|lower| self.comparison.below(lower, found)).transpose()?;
        let xattrs = compare::xattrs(own, found.name)?;
        let entry = self.describe(found, Kind::Directory, path, &xattrs)?;
        let above = self.on_the_way.len();
        if self.comparison.is_unchanged(own, found, lower)? {
            self.on_the_way.push(entry);
        } else {
            self.put(&entry)?;
            if let Some(note) = xattrs.iter().find(|(name, _)| is_redirect(name)) {
                bail!(
                    "{}: the overlay was mounted with redirect_dir or metacopy; its layer means nothing alone",
                    shown(&note.0)
                );
            }
            if xattrs.iter().any(|(name, value)| OPAQUE.iter().any(|o| o.as_bytes() == name) && value == b"y") {
                self.marker(path, b".wh..wh..opq", &joined(parts(path)))?;
            }
        }
        Ok(Inner { own: inner, lower: below, above })
    }

    fn describe(&self, found: &Child<'_>, kind: Kind, path: &[Vec<u8>], xattrs: &Attributes) -> Result<Entry> {
        let stat = &found.stat;
        let (uid, gid) = self.comparison.owners.of(stat, xattrs)?;
        Ok(Entry {
            path: joined(parts(path)),
            kind,
            mode: stat.st_mode & 0o7777,
            uid,
            gid,
            mtime: Time { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 },
            xattrs: compare::overlay_free(xattrs),
            ..Entry::default()
        })
    }

    fn file(&mut self, own: &OwnedFd, found: &Child<'_>, path: &[Vec<u8>]) -> Result<()> {
        let kind = match FileType::from_raw_mode(found.stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Symlink => Kind::Symlink,
            FileType::CharacterDevice => Kind::CharacterDevice,
            FileType::BlockDevice => Kind::BlockDevice,
            FileType::Fifo => Kind::Fifo,
            other => bail!("a {other:?} is nothing that a layer can have"),
        };
        let xattrs = compare::xattrs(own, found.name)?;
        if xattrs.iter().any(|(name, _)| is_redirect(name)) {
            bail!("the overlay was mounted with metacopy; its layer means nothing alone");
        }
        let mut entry = self.describe(found, kind, path, &xattrs)?;
        if found.stat.st_nlink > 1 {
            let key = found.identity();
            if let Some(first) = self.links.get(&key) {
                let link = first.clone();
                return self.put(&Entry { kind: Kind::HardLink, link, xattrs: Vec::new(), ..entry });
            }
            self.links.insert(key, entry.path.clone());
        }
        match kind {
            Kind::File => return self.data(own, found, entry),
            Kind::Symlink => entry.link = compare::target(own, found.name)?,
            Kind::CharacterDevice | Kind::BlockDevice => {
                entry.device = (rustix::fs::major(found.stat.st_rdev), rustix::fs::minor(found.stat.st_rdev));
            }
            _ => {}
        }
        self.put(&entry)
    }

    /// A regular file: holes stay holes where they save something.
    fn data(&mut self, own: &OwnedFd, found: &Child<'_>, mut entry: Entry) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(own, found.name, flags, Mode::empty()).asked(|| "open".to_owned())?;
        let size = u64::try_from(found.stat.st_size).unwrap_or(0);
        let segments = holes::pieces(&file, &found.stat)?;
        entry.size = segments.iter().map(|(_, length)| length).sum();
        if entry.size < size {
            entry.sparse = Some((size, segments.clone()));
        }
        self.put(&entry)?;
        let mut buffer = vec![0u8; 256 << 10];
        for (mut offset, mut left) in segments {
            while left > 0 {
                let want = buffer.len().min(usize::try_from(left)?);
                let space = buffer.get_mut(..want).unwrap_or_default();
                let got = rustix::io::pread(&file, space, offset).asked(|| "pread".to_owned())?;
                if got == 0 {
                    bail!("the file became shorter while it was read");
                }
                self.writer.data(buffer.get(..got).unwrap_or_default())?;
                offset += got as u64;
                left -= got as u64;
            }
        }
        Ok(())
    }
}

fn names<'f>(directories: impl IntoIterator<Item = std::os::fd::BorrowedFd<'f>>) -> Result<BTreeSet<Vec<u8>>> {
    let mut names = BTreeSet::new();
    for directory in directories {
        for_each(directory, |name, _| -> Result<(), sys::Error> {
            names.insert(name.to_bytes().to_vec());
            Ok(())
        })?;
    }
    Ok(names)
}

fn subdirectory(directory: &OwnedFd, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(directory, name, flags, Mode::empty()).asked(|| "open".to_owned())?)
}

fn parts(path: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> {
    path.iter().map(Vec::as_slice)
}

/// The path for messages.
fn dotted(path: &[Vec<u8>]) -> Vec<u8> {
    if path.is_empty() { b".".to_vec() } else { joined(parts(path)) }
}

fn is_redirect(name: &[u8]) -> bool {
    is_overlays(name) && (name.ends_with(b".redirect") || name.ends_with(b".metacopy"))
}
