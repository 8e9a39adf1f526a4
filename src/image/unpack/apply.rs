//! Entries of an archive become files, by *at calls from descriptors of their parent directories.

use super::attributes::{self, Attributes};
use super::directories::{DEFAULT_ACL, Directories, Directory, is_directory};
use super::marks::Marks;
use super::memory::Room;
use super::merged::{Stack, joined};
use super::names::{Name, cleaned};
use super::{Ids, Pending};
use crate::image::progress::Progress;
use crate::image::tar::{Entry, Kind, Reader, shown};
use crate::image::{remove, whiteout};
use crate::sys::Asked;
use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

/// Where a layer goes.
pub struct Target<'a> {
    /// The directory that is the root of the archive.
    pub root: BorrowedFd<'a>,
    /// What is there or below.
    pub below: Below<'a>,
    /// Who owns the files.
    pub ids: &'a Ids,
}

/// What the layer is laid upon.
pub enum Below<'a> {
    /// Nothing: the lowest layer.
    Nothing,
    /// The root has the lower layers already: one plain tree.
    Tree,
    /// Other directories, which are not there yet.
    Unknown,
    /// Other directories, top first.
    Stack(Vec<BorrowedFd<'a>>),
}

/// One layer that is being applied.
pub(super) struct Applier<'a> {
    pub(super) root: BorrowedFd<'a>,
    pub(super) below: Below<'a>,
    pub(super) ids: &'a Ids,
    pub(super) room: &'a Room<'a>,
    pub(super) progress: &'a dyn Progress,
    pub(super) attributes: Attributes<'a>,
    pub(super) directories: Directories<'a>,
    pub(super) marks: Marks,
    pub(super) pending: Pending,
    pub(super) entries: u64,
    /// Directories that were made without an entry.
    implied: u64,
    pub(super) bytes: u64,
}

impl<'a> Applier<'a> {
    pub(super) fn new(target: Target<'a>, room: &'a Room<'a>, progress: &'a dyn Progress) -> Result<Applier<'a>> {
        let mut pending = Pending::default();
        if matches!(target.below, Below::Unknown | Below::Stack(_)) {
            // Until the archive describes it, the root is what it was.
            pending.implicit.insert(Vec::new());
        }
        Ok(Applier {
            root: target.root,
            below: target.below,
            ids: target.ids,
            room,
            progress,
            attributes: Attributes::new(target.ids),
            directories: Directories::new(target.root),
            marks: Marks::default(),
            pending,
            entries: 0,
            implied: 0,
            bytes: 0,
        })
    }

    /// Applies every entry.
    pub(super) fn run<R: BufRead>(&mut self, reader: &mut Reader<'_, R>) -> Result<()> {
        let mut entry = Entry::default();
        while reader.next(&mut entry)? {
            self.entries += 1;
            self.check_count()?;
            self.bytes += entry.size;
            if self.bytes > self.room.limits.bytes {
                bail!("layer is larger than {} bytes unpacked (limits.bytes)", self.room.limits.bytes);
            }
            self.entry(&entry, reader).with_context(|| entry.shown())?;
        }
        Ok(())
    }

    /// Entries, bytes, and what must wait; a plain tree is complete now.
    pub(super) fn finish(mut self) -> Result<(u64, u64, Pending)> {
        self.pending.times.apply(self.root)?;
        Ok((self.entries, self.bytes, self.pending))
    }

    fn check_count(&self) -> Result<()> {
        let limit = self.room.limits.entries;
        if self.entries + self.implied > limit {
            bail!("layer has more than {limit} entries and directories without one (limits.entries)");
        }
        Ok(())
    }

    /// Counts a name that is kept until the lower layers are known.
    pub(super) fn account(&mut self, name: &[u8]) -> Result<()> {
        match self.pending.account(name, self.room.limits.deferred)? {
            0 => Ok(()),
            more => self.room.share.grow(more),
        }
    }

    pub(super) fn is_own_directory(&self) -> bool {
        matches!(self.below, Below::Unknown | Below::Stack(_))
    }

    fn entry<R: BufRead>(&mut self, entry: &Entry, reader: &mut Reader<'_, R>) -> Result<()> {
        if self.pending.times.apply_if_full(self.root)? {
            // What is known of open directories is old.
            self.directories.forget();
        }
        let Some(name) = self.name(&entry.path)? else { return Ok(()) };
        if name.is_root() {
            return self.root_entry(entry);
        }
        match whiteout::marker(name.last())? {
            whiteout::Marker::Name => {}
            whiteout::Marker::Bookkeeping => return Ok(()),
            whiteout::Marker::Opaque => return self.opaque(name.parent()),
            whiteout::Marker::Whiteout(hidden) => return self.whiteout(name.parent(), hidden),
        }
        if self.pending.links.remove(name.path()).is_some() && entry.kind == Kind::Directory {
            self.replaces_lower(name.path())?;
        }
        let parent = self.parent(name.parent())?;
        match entry.kind {
            Kind::Directory => self.directory(entry, &name, &parent)?,
            Kind::File => self.file(entry, &name, &parent, reader)?,
            Kind::Symlink => self.symlink(entry, &name, &parent)?,
            Kind::HardLink => self.hard_link(entry, &name, &parent)?,
            Kind::CharacterDevice | Kind::BlockDevice | Kind::Fifo => self.node(entry, &name, &parent)?,
        }
        if matches!(self.below, Below::Tree) {
            self.mark(&parent, name.last())?;
        }
        Ok(())
    }

    /// The name of an entry without dots; `None` for names that nothing is made for.
    pub(super) fn name(&self, path: &[u8]) -> Result<Option<Name>> {
        let Some(name) = cleaned(path, self.room.limits.depth)? else { return Ok(None) };
        if !name.has_dots() {
            return Ok(Some(name));
        }
        // `a/..` is the parent of where `a` leads, which only the tree knows.
        let real = self.stack().resolve(name.parent())?;
        let parts = real.iter().map(|(part, _)| part.as_slice()).chain([name.last()]);
        cleaned(&joined(parts), self.room.limits.depth)
    }

    /// This tree, and the layers below as far as they are known.
    fn stack(&self) -> Stack<'_> {
        let mut layers = vec![self.root];
        if let Below::Stack(lowers) = &self.below {
            layers.extend(lowers);
        }
        Stack::new(layers)
    }

    /// The open directory that a name lies in; a missing one is made with 755.
    fn parent(&mut self, path: &[u8]) -> Result<Rc<Directory>> {
        let directory = match self.directories.find(path)? {
            Some(directory) => directory,
            None => self.make_parents(path)?,
        };
        if self.has_times() {
            self.keep_times(path, &directory)?;
        }
        Ok(directory)
    }

    /// True when there are directories which have the times already that they are to have at the end.
    fn has_times(&self) -> bool {
        matches!(self.below, Below::Tree) || self.pending.times.was_applied()
    }

    fn mark(&mut self, directory: &Directory, name: &[u8]) -> Result<()> {
        self.marks.add(directory.inode(), name, self.room.store)
    }

    /// Directories that are complete keep the times they have, and are opened for us if we are not root.
    pub(super) fn keep_times(&mut self, path: &[u8], directory: &Directory) -> Result<()> {
        self.pending.times.touch_known(directory.fd.as_fd(), &directory.stat, || path.to_vec())
    }

    /// Makes what is missing of a path: where its links lead, with the attributes that the lower layers know.
    fn make_parents(&mut self, path: &[u8]) -> Result<Rc<Directory>> {
        let real = self.stack().resolve(path)?;
        let parts: Vec<Vec<u8>> = real.into_iter().map(|(part, _)| part).collect();
        let mut current = self.directories.find(b"")?.context("the root is gone")?;
        let mut above = Vec::new();
        for end in 1..=parts.len() {
            let prefix = joined(parts.iter().take(end).map(Vec::as_slice));
            if prefix.len() > 4095 {
                bail!("name is longer than 4095 bytes");
            }
            let Some(part) = parts.get(end - 1) else { break };
            current = match self.directories.find(&prefix)? {
                Some(directory) => directory,
                None => {
                    if self.has_times() {
                        self.keep_times(&above, &current)?;
                    }
                    self.imply(&current, part, &prefix)?
                }
            };
            above = prefix;
        }
        self.directories.keep(path, current.clone());
        Ok(current)
    }

    /// Makes one directory that no entry described (yet).
    fn imply(&mut self, parent: &Directory, name: &[u8], path: &[u8]) -> Result<Rc<Directory>> {
        self.implied += 1;
        self.check_count()?;
        // A file in the way becomes a directory: the later entry wins.
        let replaced = self.clear(parent, name, path)? | self.pending.links.remove(path).is_some();
        rustix::fs::mkdirat(&parent.fd, name, Mode::from_raw_mode(0o755)).asked(|| format!("mkdir {}", shown(path)))?;
        let directory = self.open_made(parent, name, path)?;
        if parent.is_inherited() {
            attributes::drop_all(directory.fd.as_fd())?;
            directory.change_mode(0o755)?;
        }
        if let Some(owner) = self.attributes.owner(0, 0, parent.gives_group())? {
            attributes::chown(directory.fd.as_fd(), owner)?;
        }
        match &self.below {
            Below::Tree => self.mark(parent, name)?,
            Below::Nothing => {}
            Below::Unknown | Below::Stack(_) if replaced => self.replaces_lower(path)?,
            Below::Unknown | Below::Stack(_) => {
                self.account(path)?;
                self.pending.implicit.insert(path.to_vec());
            }
        }
        Ok(directory)
    }

    fn open_made(&mut self, parent: &Directory, name: &[u8], path: &[u8]) -> Result<Rc<Directory>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            rustix::fs::openat(&parent.fd, name, flags, Mode::empty()).asked(|| format!("open {}", shown(path)))?;
        let directory = Rc::new(Directory::new(fd)?);
        self.directories.keep(path, directory.clone());
        Ok(directory)
    }

    /// Takes away what has a name, so that something else can have it; true when there was something.
    pub(super) fn clear(&mut self, parent: &Directory, name: &[u8], path: &[u8]) -> Result<bool> {
        let stat = match rustix::fs::statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(errno).asked(|| format!("stat {}", shown(path)))?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if matches!(kind, FileType::Directory | FileType::Symlink) {
            self.directories.forget();
        }
        if kind == FileType::Directory {
            self.pending.forget_below(path);
            remove::tree(parent.fd.as_fd(), &CString::new(name)?)?;
            return Ok(true);
        }
        rustix::fs::unlinkat(&parent.fd, name, AtFlags::empty()).asked(|| format!("unlink {}", shown(path)))?;
        Ok(true)
    }

    /// What this layer had there before had replaced a lower directory, whose entries and attributes must not come back.
    fn replaces_lower(&mut self, path: &[u8]) -> Result<()> {
        if self.is_own_directory() {
            self.account(path)?;
            self.pending.opaque.insert(path.to_vec());
        }
        Ok(())
    }

    /// The root's own entry: its attributes change, its type does not.
    fn root_entry(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != Kind::Directory {
            bail!("the root of an image is a directory");
        }
        self.pending.implicit.remove(&b""[..]);
        let root = self.directories.find(b"")?.context("the root is gone")?;
        self.describe(entry, b"", &root, false, true)
    }

    fn directory(&mut self, entry: &Entry, name: &Name, parent: &Directory) -> Result<()> {
        let closed = if *self.ids == Ids::Caller { 0o700 } else { 0 };
        let mode = Mode::from_raw_mode(entry.mode | closed);
        let mut existed = false;
        loop {
            match rustix::fs::mkdirat(&parent.fd, name.last(), mode) {
                Ok(()) => break,
                Err(Errno::EXIST) => {}
                Err(errno) => return Ok(Err(errno).asked(|| format!("mkdir {}", entry.shown()))?),
            }
            let stat = rustix::fs::statat(&parent.fd, name.last(), AtFlags::SYMLINK_NOFOLLOW)
                .asked(|| format!("stat {}", entry.shown()))?;
            if is_directory(&stat) {
                existed = true;
                break;
            }
            self.clear(parent, name.last(), name.path())?;
            self.replaces_lower(name.path())?;
        }
        self.pending.implicit.remove(name.path());
        let directory = self.open_made(parent, name.last(), name.path())?;
        self.describe(entry, name.path(), &directory, parent.is_inherited(), existed)
    }

    /// Gives a directory what its entry says.
    fn describe(
        &mut self,
        entry: &Entry,
        path: &[u8],
        directory: &Directory,
        inherits: bool,
        existed: bool,
    ) -> Result<()> {
        let owner = self.attributes.owner(entry.uid, entry.gid, inherits || existed)?;
        if let Some(owner) = owner {
            attributes::chown(directory.fd.as_fd(), owner)?;
        }
        let rootless = *self.ids == Ids::Caller;
        let mode = if rootless { entry.mode | 0o700 } else { entry.mode };
        // mkdir(2) knows no set-id bits, and inherits one.
        if existed || inherits {
            // Nothing of what a lower layer or the parent says stays.
            attributes::drop_all(directory.fd.as_fd())?;
        }
        if existed || inherits || mode & 0o6000 != 0 {
            directory.change_mode(mode)?;
        }
        let ids = (entry.uid, entry.gid);
        if !entry.xattrs.is_empty() || self.attributes.remembered(entry.uid, entry.gid).is_some() {
            self.attributes.set_path(&directory.fd, &entry.xattrs, ids, self.progress)?;
        }
        let gives_acl = entry.xattrs.iter().any(|(name, _)| name == DEFAULT_ACL.as_bytes());
        if mode & 0o2000 != directory.mode() & 0o2000 || gives_acl != directory.gives_acl() {
            // The cached facts about it are old.
            self.directories.forget();
        }
        let last = (rootless && mode != entry.mode).then_some(entry.mode);
        self.pending.times.set(directory.inode(), path, entry.mtime, entry.atime, last);
        Ok(())
    }
}
