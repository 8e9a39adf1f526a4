//! From what a container wrote to a layer tar: the writable directory of an overlay mount, or a plain tree held against the
//! layers it was copied from.
//!
//! overlayfs keeps its own notes in the writable directory (device 0:0 for what vanished, extended attributes); in a layer
//! they become whiteouts (image-spec layer.md), and nothing else of them goes in.

use crate::image::copy::for_each_segment;
use crate::image::owners::{Owners, REMEMBERED};
use crate::image::remove::for_each;
use crate::image::tar::{Entry, Kind, Time, Writer, shown};
use crate::image::unpack::{Found, Merged, OPAQUE, Stack, all_xattrs, by_descriptor, is_overlays, is_whiteout, joined};
use crate::sys::{self, Asked};
use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// Names and values.
type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// What the directory is held against.
pub(crate) enum Against<'a> {
    /// It is the upper directory of an overlay mount upon these layers, top first: everything in it is a change. Its own
    /// attributes are those of the root, held against the topmost layer's, if there is one.
    Overlay(&'a Stack<'a>),
    /// It is a tree that was copied from these layers, top first.
    Layers(&'a Stack<'a>),
}

/// What was written.
#[derive(Debug)]
pub(crate) struct Written<W> {
    /// Entries of the layer.
    pub(crate) entries: u64,
    /// Where it was written to.
    pub(crate) to: W,
}

/// Directories within directories that are walked.
const DEPTH: usize = 2048;

/// Writes the changes in `directory` as a layer.
pub(crate) fn layer<W: Write>(
    directory: &OwnedFd,
    against: &Against<'_>,
    owners: &Owners<'_>,
    to: W,
) -> Result<Written<W>> {
    let (Against::Overlay(stack) | Against::Layers(stack)) = against;
    let mut diff = Diff {
        writer: Writer::new(to),
        owners,
        stack,
        links: HashMap::new(),
        linked: HashSet::new(),
        on_the_way: Vec::new(),
        entries: 0,
    };
    let lower = stack.root()?;
    diff.root(directory, lower.first().map(|(_, top)| &**top))?;
    let lower = match against {
        Against::Overlay(_) => None,
        Against::Layers(_) => {
            diff.find_changed_links(directory, &lower, 0)?;
            Some(&lower)
        }
    };
    diff.directory(directory, lower, &mut Vec::new())?;
    Ok(Written { entries: diff.entries, to: diff.writer.finish()? })
}

struct Diff<'a, W> {
    writer: Writer<W>,
    owners: &'a Owners<'a>,
    /// The layers below.
    stack: &'a Stack<'a>,
    /// Device and inode of files with several names: the name that has the data.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// Device and inode of files of which some name is new: the others go into the layer too, for a hard link to a file of
    /// a lower layer is not understood everywhere (docker's overlay2).
    linked: HashSet<(u64, u64)>,
    /// Directories down to here that are as the layers have them: written before the first thing in them, as an overlay's
    /// upper directory has them. Who unpacks the layer alone would make them up (docker: root's, 0600).
    on_the_way: Vec<Entry>,
    entries: u64,
}

/// A directory that is walked next.
struct Inner {
    own: OwnedFd,
    /// What the layers have there; `None` in an overlay's upper directory.
    lower: Option<Merged>,
    /// How many directories were `on_the_way` to it.
    above: usize,
}

/// One name of the directory.
struct Child<'n> {
    name: &'n [u8],
    stat: Stat,
}

impl Child<'_> {
    /// The same for all names of a file.
    fn identity(&self) -> (u64, u64) {
        (self.stat.st_dev, self.stat.st_ino)
    }
}

impl<W: Write> Diff<'_, W> {
    /// An error names the path once, however deep it is.
    fn directory(&mut self, own: &OwnedFd, lower: Option<&Merged>, path: &mut Vec<Vec<u8>>) -> Result<()> {
        let names = self.names(own, lower, path).with_context(|| shown(&dotted(path)))?;
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

    /// What is in the directory; what is not any more is written.
    fn names(&mut self, own: &OwnedFd, lower: Option<&Merged>, path: &[Vec<u8>]) -> Result<BTreeSet<Vec<u8>>> {
        if path.len() > DEPTH {
            bail!("directories are nested more than {DEPTH} deep");
        }
        let names = names([own.as_fd()])?;
        if let Some(lower) = lower {
            self.vanished(&names, lower, path)?;
        }
        Ok(names)
    }

    /// Names of the layers that the tree does not have any more.
    fn vanished(&mut self, own: &BTreeSet<Vec<u8>>, lower: &Merged, path: &[Vec<u8>]) -> Result<()> {
        for name in names(lower.iter().map(|(_, fd)| fd.as_fd()))? {
            if !own.contains(&name) && self.stack.locate(lower, &name)?.is_some() {
                self.white_out(path, &name)?;
            }
        }
        Ok(())
    }

    fn white_out(&mut self, path: &[Vec<u8>], name: &[u8]) -> Result<()> {
        let marker = [b".wh.", name].concat();
        self.marker(path, &marker)
    }

    fn marker(&mut self, path: &[Vec<u8>], name: &[u8]) -> Result<()> {
        let path = joined(path.iter().map(Vec::as_slice).chain([name]));
        self.put(&Entry { path, mode: 0o600, ..Entry::default() })
    }

    fn put(&mut self, entry: &Entry) -> Result<()> {
        for directory in std::mem::take(&mut self.on_the_way) {
            self.entries += 1;
            self.writer.entry(&directory)?;
        }
        self.entries += 1;
        self.writer.entry(entry)
    }

    /// The root itself, if its mode, owner or attributes are not those of the layer below; its time changes with every name.
    fn root(&mut self, own: &OwnedFd, lower: Option<&OwnedFd>) -> Result<()> {
        let Some(lower) = lower else { return Ok(()) };
        let [new, old] = [own, lower].map(|directory| rustix::fs::fstat(directory).asked(|| "fstat".to_owned()));
        let (new, old) = (new?, old?);
        let xattrs = self.xattrs(own, b".")?;
        if new.st_mode == old.st_mode && self.has_same(&new, &xattrs, &old, &self.xattrs(lower, b".")?)? {
            return Ok(());
        }
        let entry = self.describe(&Child { name: b".", stat: new }, Kind::Directory, &[b".".to_vec()], &xattrs)?;
        self.put(&entry)
    }

    fn find_changed_links(&mut self, own: &OwnedFd, lower: &Merged, depth: usize) -> Result<()> {
        if depth > DEPTH {
            return Ok(());
        }
        for name in names([own.as_fd()])? {
            let stat = rustix::fs::statat(own, &*name, AtFlags::SYMLINK_NOFOLLOW).asked(|| "stat".to_owned())?;
            let found = Child { name: &name, stat };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let below = match self.stack.child(lower, &name)? {
                    Found::Directory(merged) => merged,
                    _ => Merged::new(),
                };
                self.find_changed_links(&subdirectory(own, &name)?, &below, depth + 1)?;
            } else if stat.st_nlink > 1 && !self.is_unchanged(own, &found, Some(lower))? {
                self.linked.insert(found.identity());
            }
        }
        Ok(())
    }

    /// Writes what is at the end of `path`; answers a directory, whose content comes next.
    fn entry(&mut self, own: &OwnedFd, name: &[u8], lower: Option<&Merged>, path: &[Vec<u8>]) -> Result<Option<Inner>> {
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
            _ if !self.linked.contains(&found.identity()) && self.is_unchanged(own, &found, lower)? => {}
            _ => self.file(own, &found, path)?,
        }
        Ok(None)
    }

    /// True when the layers show something under this name.
    fn has_below(&self, lower: Option<&Merged>, parent: &[Vec<u8>], name: &[u8]) -> Result<bool> {
        if let Some(lower) = lower {
            return Ok(self.stack.locate(lower, name)?.is_some());
        }
        let mut here = self.stack.root()?;
        for part in parent {
            match self.stack.child(&here, part)? {
                Found::Directory(merged) => here = merged,
                _ => return Ok(false),
            }
        }
        Ok(self.stack.locate(&here, name)?.is_some())
    }

    fn subdirectory(
        &mut self,
        own: &OwnedFd,
        found: &Child<'_>,
        lower: Option<&Merged>,
        path: &[Vec<u8>],
    ) -> Result<Inner> {
        let inner = subdirectory(own, found.name)?;
        let below = match lower.map(|lower| self.stack.child(lower, found.name)).transpose()? {
            Some(Found::Directory(merged)) => Some(merged),
            Some(_) => Some(Merged::new()),
            None => None,
        };
        let xattrs = self.xattrs(own, found.name)?;
        let entry = self.describe(found, Kind::Directory, path, &xattrs)?;
        let above = self.on_the_way.len();
        if self.is_unchanged(own, found, lower)? {
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
                self.marker(path, b".wh..wh..opq")?;
            }
        }
        Ok(Inner { own: inner, lower: below, above })
    }

    /// True when the layers show the same: type, mode, owner, size, time, device, link and attributes.
    fn is_unchanged(&self, own: &OwnedFd, found: &Child<'_>, lower: Option<&Merged>) -> Result<bool> {
        let Some(lower) = lower else { return Ok(false) };
        let Some((_, fd, old)) = self.stack.locate(lower, found.name)? else { return Ok(false) };
        let new = &found.stat;
        let is_directory = FileType::from_raw_mode(new.st_mode) == FileType::Directory;
        let same = new.st_mode == old.st_mode
            && new.st_rdev == old.st_rdev
            && (is_directory || new.st_size == old.st_size)
            && (new.st_mtime, new.st_mtime_nsec) == (old.st_mtime, old.st_mtime_nsec);
        if !same {
            return Ok(false);
        }
        let is_link = FileType::from_raw_mode(new.st_mode) == FileType::Symlink;
        if is_link && target(own, found.name)? != target(&fd, found.name)? {
            return Ok(false);
        }
        self.has_same(new, &self.xattrs(own, found.name)?, &old, &self.xattrs(&fd, found.name)?)
    }

    /// True when owner and attributes are those of the layer's.
    fn has_same(&self, new: &Stat, xattrs: &Attributes, old: &Stat, old_xattrs: &Attributes) -> Result<bool> {
        Ok(self.owners.of(new, xattrs)? == self.owners.of_layer(old, old_xattrs)?
            && overlay_free(xattrs) == overlay_free(old_xattrs))
    }

    fn xattrs(&self, directory: &OwnedFd, name: &[u8]) -> Result<Attributes> {
        let path = [by_descriptor(directory.as_fd()).as_bytes(), b"/", name].concat();
        all_xattrs(OsStr::from_bytes(&path))
    }

    fn describe(&self, found: &Child<'_>, kind: Kind, path: &[Vec<u8>], xattrs: &Attributes) -> Result<Entry> {
        let stat = &found.stat;
        let (uid, gid) = self.owners.of(stat, xattrs)?;
        Ok(Entry {
            path: joined(path.iter().map(Vec::as_slice)),
            kind,
            mode: stat.st_mode & 0o7777,
            uid,
            gid,
            mtime: Time { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 },
            xattrs: overlay_free(xattrs),
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
        let xattrs = self.xattrs(own, found.name)?;
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
            Kind::Symlink => entry.link = target(own, found.name)?,
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
        let mut segments = vec![(0, size)];
        if found.stat.st_blocks.saturating_mul(512) < found.stat.st_size {
            segments.clear();
            for_each_segment(&file, size, |offset, length| {
                segments.push((offset, length));
                Ok(())
            })?;
        }
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

fn target(directory: &OwnedFd, name: &[u8]) -> Result<Vec<u8>> {
    Ok(rustix::fs::readlinkat(directory, name, Vec::new()).asked(|| "readlink".to_owned())?.into_bytes())
}

/// The path for messages.
fn dotted(path: &[Vec<u8>]) -> Vec<u8> {
    if path.is_empty() { b".".to_vec() } else { joined(path.iter().map(Vec::as_slice)) }
}

/// The attributes that belong to the file and not to overlayfs or to this machine.
fn overlay_free(xattrs: &Attributes) -> Attributes {
    let own = |name: &[u8]| !is_overlays(name) && name != b"security.selinux" && name != REMEMBERED.as_bytes();
    xattrs.iter().filter(|(name, _)| own(name)).cloned().collect()
}

fn is_redirect(name: &[u8]) -> bool {
    is_overlays(name) && (name.ends_with(b".redirect") || name.ends_with(b".metacopy"))
}
