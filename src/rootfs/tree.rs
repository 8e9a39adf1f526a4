//! The tree while it grows: its mounts are made detached, and attached by descriptor at places inside the root.

use super::cgroupfs;
use super::copyup;
use super::entry::{Bind, Entry, Filesystem, What};
use super::masked::Kernels;
use super::resolve::{self, Missing};
use crate::sys::mount::{self, Change, Context as Superblock, attribute};
use crate::sys::{self, nodes, reach};
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{CWD, FileType, OFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// The container's tree of mounts.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    root: &'a OwnedFd,
    /// The tree is attached nowhere: mounts in it cannot be changed once they are attached.
    pub(super) detached: bool,
    pub(super) with_attr: bool,
    /// Filesystems that later steps build upon.
    kept: Vec<Kept>,
    /// Mounts that become read-only at the end.
    pub(super) late: Vec<(String, OwnedFd)>,
    /// What is mounted on /proc and /sys, where it is procfs or sysfs.
    pub(super) kernels: Kernels,
}

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    fd: OwnedFd,
    /// Just made and empty: nothing is in it but what we made.
    fresh: bool,
}

/// What [`Tree::attach`] may meet at a mountpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Symbolic links lead to another place inside.
    Links,
    /// Symbolic links are refused.
    Plain,
    /// A symbolic link at the end is covered itself.
    NoFollow,
}

/// A changed, detached copy of what is mounted at `path`; `of` is (recursive, follow a last symbolic link).
pub(super) fn copy(
    dir: impl AsFd,
    path: &Path,
    of: (bool, bool),
    changes: &[Change<'_>],
    with_attr: bool,
) -> sys::Result<OwnedFd> {
    let (recursive, follow) = of;
    if let (true, true, [change]) = (with_attr, follow, changes)
        && change.recursive == recursive
    {
        match mount::open_tree_attr(dir.as_fd(), path, recursive, change) {
            Err(error) if error.errno.0 == libc::ENOSYS => {}
            other => return other,
        }
    }
    let copy = mount::open_tree(dir, path, recursive, follow)?;
    changes.iter().try_for_each(|change| mount::mount_setattr(&copy, change))?;
    Ok(copy)
}

/// Opens a bind's source and makes it what the entry says, before it is attached.
pub(super) fn source(entry: &Entry, bind: &Bind, first: &[Change<'_>], with_attr: bool) -> Result<OwnedFd> {
    let mut changes: Vec<Change<'_>> = first.to_vec();
    changes_of(entry).for_each(|change| changes.push(change));
    let opened = match (copy(CWD, &bind.source, (bind.recursive, bind.follow), &changes, with_attr), &bind.instead) {
        (Err(error), Some(instead)) if error.errno.0 == libc::ENOENT => {
            let read_only = Change { set: attribute::READ_ONLY, recursive: true, ..Change::default() };
            changes.push(read_only);
            copy(CWD, instead, (true, true), &changes, with_attr)
        }
        (opened, _) => opened,
    };
    let opened = opened.map_err(|error| reach::explain(&bind.source, error)).with_context(|| {
        match changes.iter().any(|change| change.id_map.is_some()) {
            true => format!("idmapped bind source {}", bind.source.display()),
            false => format!("bind source {}", bind.source.display()),
        }
    });
    // The kernel does not uncover what its owner has covered (mount_namespaces(7), "locked mounts").
    let opened = match opened {
        Err(error) if !bind.recursive && sys::errno_of(&error).is_some_and(|errno| errno.0 == libc::EINVAL) => {
            bail!("{error:#}; hint: in a user namespace a source with mounts below it needs rbind")
        }
        other => other?,
    };
    if bind.must_be_proc {
        ensure!(mount::filesystem_magic(&opened)? == PROC_SUPER_MAGIC, "only procfs may be mounted on /proc");
    }
    Ok(opened)
}

/// What the options change at a mount that exists: attributes, then those of the mounts below, then propagation.
fn changes_of(entry: &Entry) -> impl Iterator<Item = Change<'static>> {
    let (own, all) = (entry.attributes(), entry.options.recursive);
    let attributes = [(own, false), (all, true)].into_iter().filter(|(attributes, _)| !attributes.is_empty()).map(
        |(attributes, recursive)| Change {
            set: attributes.set,
            clear: attributes.clear,
            recursive,
            ..Change::default()
        },
    );
    attributes.chain(propagation_of(entry))
}

fn propagation_of(entry: &Entry) -> impl Iterator<Item = Change<'static>> {
    let words = entry.options.propagation.clone().into_iter();
    words.map(|(kind, recursive)| Change { propagation: Some(kind), recursive, ..Change::default() })
}

impl<'a> Tree<'a> {
    pub(super) fn new(root: &'a OwnedFd, detached: bool, with_attr: bool) -> Tree<'a> {
        Tree { root, detached, with_attr, kept: Vec::new(), late: Vec::new(), kernels: Kernels::default() }
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The filesystem that was mounted at `path` and is still what is seen there.
    pub(super) fn kept(&self, path: &Path) -> Option<&OwnedFd> {
        self.kept.iter().find(|kept| kept.path == path).map(|kept| &kept.fd)
    }

    /// Makes and attaches one mount; `prepared` is a bind source that was opened before.
    pub(super) fn add(
        &mut self,
        entry: &Entry,
        prepared: Option<OwnedFd>,
        id_map: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        match &entry.what {
            What::Bind(bind) => self.bind(entry, bind, prepared),
            What::Filesystem(filesystem) => self.filesystem(entry, filesystem, id_map),
            What::Cgroups(tree) => cgroupfs::make(self, entry, tree),
            What::Remount { kind, settings } => self.remount(entry, kind, settings),
        }
    }

    fn bind(&mut self, entry: &Entry, bind: &Bind, prepared: Option<OwnedFd>) -> Result<()> {
        if bind.copy_symlink
            && let Ok(target) = nodes::readlink(CWD, &bind.source)
        {
            return self.symlink(entry, Path::new(&target));
        }
        let mount = match prepared {
            Some(mount) => mount,
            None => source(entry, bind, &[], self.with_attr)?,
        };
        let way = match () {
            () if entry.options.destination_nofollow => Way::NoFollow,
            () if bind.must_be_proc => Way::Plain,
            () => Way::Links,
        };
        self.attach(entry, &mount, None, way)
    }

    fn symlink(&self, entry: &Entry, target: &Path) -> Result<()> {
        let dir = resolve::parent(self.root(), &entry.target)?;
        let name = Path::new(entry.target.file_name().unwrap_or_default());
        match nodes::symlink(target, &dir, name) {
            Err(error) if error.errno.0 == libc::EEXIST => {
                let same = nodes::readlink(&dir, name).is_ok_and(|led| led == target.as_os_str());
                if same { Ok(()) } else { Err(error.into()) }
            }
            other => Ok(other?),
        }
    }

    fn filesystem(&mut self, entry: &Entry, filesystem: &Filesystem, id_map: Option<BorrowedFd<'_>>) -> Result<()> {
        let mode = if filesystem.takes_mode { self.mode_of(&entry.target) } else { None };
        let made = new_mount(entry, filesystem, mode);
        let mount = match (made, &filesystem.instead) {
            (Ok(mount), _) => mount,
            (Err(error), Some(instead)) if matches!(error.errno.0, libc::EPERM | libc::EBUSY | libc::EACCES) => {
                // The host's tree has mounts below; what is asked for holds for them too.
                let own = entry.attributes();
                let all = Change { set: own.set, clear: own.clear, recursive: true, ..Change::default() };
                let changes = if own.is_empty() { &[][..] } else { &[all] };
                copy(CWD, instead, (true, true), changes, self.with_attr).context(error)?
            }
            (Err(error), _) => return Err(error.into()),
        };
        if let Some(fd) = id_map {
            mount::mount_setattr(&mount, &Change { id_map: Some(fd), ..Change::default() }).with_context(|| {
                format!("idmap: {} may be a filesystem whose ids cannot be mapped", filesystem.kind)
            })?;
        }
        if entry.options.copy_up {
            self.copy_up(entry, &mount)?;
        }
        let all = entry.options.recursive;
        let all = (!all.is_empty()).then(|| Change { set: all.set, clear: all.clear, ..Change::default() });
        for change in all.into_iter().chain(propagation_of(entry)) {
            mount::mount_setattr(&mount, &change)?;
        }
        let way = if filesystem.strict { Way::Plain } else { Way::Links };
        self.attach(entry, &mount, Some(FileType::Directory), way)?;
        if filesystem.late_read_only {
            self.late.push((entry.place.clone(), rustix::io::fcntl_dupfd_cloexec(&mount, 3)?));
        }
        if entry.kept {
            let fresh = filesystem.kind == "tmpfs" && !entry.options.copy_up;
            self.kept.push(Kept { path: entry.target.clone(), fd: mount, fresh });
        }
        Ok(())
    }

    /// Mode of the directory that is about to be covered.
    fn mode_of(&self, target: &Path) -> Option<u32> {
        let covered = resolve::open(self.root(), target, OFlags::PATH).ok()?;
        nodes::fstat(&covered).ok().map(|facts| facts.st_mode & 0o7777)
    }

    fn copy_up(&self, entry: &Entry, mount: &OwnedFd) -> Result<()> {
        match resolve::open(self.root(), &entry.target, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(from) => copyup::copy(from.as_fd(), mount.as_fd()).context("tmpcopyup"),
            Err(error) if error.errno.0 == libc::ENOENT => Ok(()),
            Err(error) => Err(error).context("tmpcopyup"),
        }
    }

    fn remount(&mut self, entry: &Entry, kind: &str, settings: &[(String, Option<String>)]) -> Result<()> {
        let target = resolve::open(self.root(), &entry.target, OFlags::PATH)?;
        ensure!(mount::is_root(&target)?, "remount: nothing is mounted here");
        for change in changes_of(entry) {
            mount::mount_setattr(&target, &change)?;
        }
        if !settings.is_empty() {
            let context = Superblock::pick(&target, kind)?;
            set(&context, settings)?;
            context.reconfigure()?;
        }
        Ok(())
    }

    /// Attaches a detached mount at the entry's place, making the mountpoint; `kind` is what the mount's root is.
    pub(super) fn attach(&mut self, entry: &Entry, mount: &OwnedFd, kind: Option<FileType>, way: Way) -> Result<()> {
        let path = entry.target.as_path();
        let quick = kind == Some(FileType::Directory) && self.attach_by_name(path, mount)?;
        let plain = quick || self.attach_by_path(path, mount, kind, way)?;
        // What is covered now is not what is seen there any more; through a link, nobody knows what was covered.
        self.kept.retain(|kept| plain && !kept.path.starts_with(path));
        self.kernels.attached(path, mount)
    }

    /// Attaches a directory by its bare name in a directory that we hold: no path is looked up, no link can be followed.
    fn attach_by_name(&self, path: &Path, mount: &OwnedFd) -> Result<bool> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(false) };
        let (dir, fresh) = match self.kept.iter().find(|kept| kept.path == parent) {
            Some(kept) => (kept.fd.as_fd(), kept.fresh),
            None if parent.as_os_str().is_empty() => (self.root(), false),
            None => return Ok(false),
        };
        if fresh {
            match nodes::mkdir(dir, Path::new(name), 0o755) {
                Err(error) if error.errno.0 != libc::EEXIST => return Err(error.into()),
                _ => {}
            }
        }
        match mount::move_mount(mount, dir, Path::new(name), false) {
            Ok(()) => Ok(true),
            // Missing, or a link (a directory cannot cover one): by path then, which says what is wrong.
            Err(error) if matches!(error.errno.0, libc::ENOENT | libc::EINVAL) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Attaches at a path that is resolved inside the root; true when there was no symbolic link on the way.
    fn attach_by_path(&self, path: &Path, mount: &OwnedFd, kind: Option<FileType>, way: Way) -> Result<bool> {
        let (target, plain) = self.mountpoint(path, mount, kind, way)?;
        if !plain {
            self.check_where_links_led(path, &target)?;
        }
        mount::move_mount(mount, &target, Path::new(""), false).map_err(|error| of_two_kinds(error, mount, &target))?;
        Ok(plain)
    }

    fn mountpoint(&self, path: &Path, mount: &OwnedFd, kind: Option<FileType>, way: Way) -> Result<(OwnedFd, bool)> {
        let missing = || -> sys::Result<Missing> {
            let kind = match kind {
                Some(kind) => kind,
                None => FileType::from_raw_mode(nodes::fstat(mount)?.st_mode),
            };
            Ok(if kind == FileType::Directory { Missing::Directory } else { Missing::File })
        };
        if way == Way::NoFollow {
            let dir = resolve::parent(self.root(), path)?;
            let name = Path::new(path.file_name().unwrap_or_default());
            let last = match nodes::open_name(&dir, name) {
                Err(error) if error.errno.0 == libc::ENOENT => resolve::make_plain(dir.as_fd(), name, missing()?),
                other => other,
            };
            return Ok((last?, false));
        }
        match resolve::open_plain(self.root(), path) {
            Ok(target) => Ok((target, true)),
            // No link was met before the name that is missing.
            Err(error) if error.errno.0 == libc::ENOENT => {
                Ok((resolve::make_plain(self.root(), path, missing()?)?, true))
            }
            Err(error) if error.errno.0 == libc::ELOOP && way == Way::Plain => {
                Err(error).context("must be mounted on an ordinary directory, not through a symbolic link")
            }
            Err(error) if error.errno.0 == libc::ELOOP => Ok((resolve::make(self.root(), path, missing()?)?, false)),
            Err(error) => Err(error.into()),
        }
    }

    /// Through links of the image a mount could land in /proc, where it must not be, or cover the whole root.
    fn check_where_links_led(&self, path: &Path, target: &OwnedFd) -> Result<()> {
        let (there, root) = (nodes::fstat(target)?, nodes::fstat(self.root)?);
        if (there.st_dev, there.st_ino) == (root.st_dev, root.st_ino) {
            bail!("symbolic links lead from here to the root itself");
        }
        if !path.starts_with("proc") && mount::filesystem_magic(target)? == PROC_SUPER_MAGIC {
            bail!("symbolic links lead from here into /proc, where a mount is not allowed");
        }
        Ok(())
    }
}

/// Says why a mount cannot be attached where it and its mountpoint are not of one kind. move_mount(2) has EINVAL for that and
/// mount(2) had ENOTDIR, whose words docker looks for.
fn of_two_kinds(error: sys::Error, mount: &OwnedFd, target: &OwnedFd) -> anyhow::Error {
    let is_directory = |fd| nodes::fstat(fd).map(|facts| FileType::from_raw_mode(facts.st_mode) == FileType::Directory);
    let words = match (is_directory(mount), is_directory(target)) {
        (Ok(true), Ok(false)) => "a directory cannot be mounted on a file",
        (Ok(false), Ok(true)) => "a file cannot be mounted on a directory",
        _ => return error.into(),
    };
    anyhow::Error::from(sys::Error { errno: sys::Errno(libc::ENOTDIR), ..error }).context(words)
}

/// A new, detached mount of a filesystem.
fn new_mount(entry: &Entry, filesystem: &Filesystem, mode: Option<u32>) -> sys::Result<OwnedFd> {
    let mounted = mount_with(entry, filesystem, mode, &filesystem.settings);
    match mounted {
        // The group of ttys may have no id in this user namespace: the ptys get the mounter's group then.
        Err(error) if error.errno.0 == libc::EINVAL && filesystem.kind == "devpts" => {
            let without: Vec<_> = filesystem.settings.iter().filter(|(key, _)| key != "gid").cloned().collect();
            if without.len() == filesystem.settings.len() {
                return Err(error);
            }
            mount_with(entry, filesystem, mode, &without).map_err(|_| error)
        }
        other => other,
    }
}

fn mount_with(
    entry: &Entry,
    filesystem: &Filesystem,
    mode: Option<u32>,
    settings: &[(String, Option<String>)],
) -> sys::Result<OwnedFd> {
    let context = Superblock::open(&filesystem.kind)?;
    if let Some(source) = filesystem.source.as_ref().filter(|source| !source.is_empty()) {
        context.set_string("source", source)?;
    }
    if let Some(mode) = mode {
        context.set_string("mode", &format!("{mode:o}"))?;
    }
    set(&context, settings)?;
    context.create()?;
    let late = if filesystem.late_read_only { attribute::READ_ONLY } else { 0 };
    context.mount(entry.attributes().set & !late)
}

/// Tells a filesystem its options.
pub(super) fn set(context: &Superblock<'_>, settings: &[(String, Option<String>)]) -> sys::Result<()> {
    settings.iter().try_for_each(|(key, value)| match value {
        Some(value) => context.set_string(key, value),
        None => context.set_flag(key),
    })
}
