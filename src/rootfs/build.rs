//! Carries the plan out: in the parent before the child is born, in the child, and after the hooks.

use super::entry::{Bind, Entry, Opened, What};
use super::plan::{Plan, Switch};
use super::tree::{self, Tree};
use super::{idmapped, masked};
use crate::sys::mount::{self, Change, Propagation, attribute};
use crate::sys::{self, nodes, reach};
use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{CWD, FileType};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// What the parent opened for the child before it was born; the child inherits the descriptors.
#[derive(Debug, Default)]
pub struct Prepared {
    root: Option<OwnedFd>,
    /// By index of the mount.
    sources: Vec<Option<OwnedFd>>,
    /// User namespaces for new filesystems with mapped ids, by index of the mount.
    id_maps: Vec<Option<OwnedFd>>,
}

/// The container's root while it is made.
#[derive(Debug)]
pub struct Root {
    tree: OwnedFd,
    switch: Switch,
    last: Last,
    filled: Filled,
}

/// What is left to do, and to look at, of the mounts that were made.
#[derive(Debug)]
struct Filled {
    /// Mounts that become read-only when nothing is made in them any more.
    late: Vec<(String, OwnedFd)>,
    kernels: masked::Kernels,
}

/// What is done when everything else is in its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Last {
    pub(super) masked: Vec<PathBuf>,
    pub(super) read_only_paths: Vec<PathBuf>,
    /// What the container's root becomes; `true` is recursive.
    pub(super) propagation: Option<(Propagation, bool)>,
    pub(super) read_only: bool,
    /// KERNEL(6.15): open_tree_attr(2) is there.
    pub(super) open_tree_attr: bool,
    /// SELinux option and label of the tmpfs that covers masked directories.
    pub(super) label: Option<(String, String)>,
}

impl Plan {
    /// Opens in the parent what only the parent may open; no system call in the plain case.
    ///
    /// `user_namespace` is the container's user namespace if it exists already (joined by path).
    ///
    /// # Errors
    ///
    /// A bind source that cannot be opened, or an id mapping that the kernel refuses.
    pub fn prepare(&self, user_namespace: Option<BorrowedFd<'_>>) -> Result<Prepared> {
        let mut prepared = Prepared::default();
        if self.parent_opens {
            prepared.root = Some(self.open_root()?);
        }
        if self.mounts.iter().any(|entry| entry.id_map.is_some() || by_parent(entry).is_some()) {
            for entry in &self.mounts {
                let (source, id_map) =
                    self.prepare_entry(entry, user_namespace).with_context(|| entry.place.clone())?;
                prepared.sources.push(source);
                prepared.id_maps.push(id_map);
            }
        }
        Ok(prepared)
    }

    fn prepare_entry(
        &self,
        entry: &Entry,
        container: Option<BorrowedFd<'_>>,
    ) -> Result<(Option<OwnedFd>, Option<OwnedFd>)> {
        let namespace = match &entry.id_map {
            Some(map) => Some(idmapped::namespace(map, container).context("user namespace for idmap")?),
            None => None,
        };
        let Some(bind) = by_parent(entry) else { return Ok((None, namespace)) };
        if bind.copy_symlink && nodes::readlink(CWD, &bind.source).is_ok() {
            return Ok((None, None));
        }
        // Here the source still shares its mounts with the host; in the child it would not.
        let follows = Change { propagation: Some(self.host_propagation), recursive: true, ..Change::default() };
        let first = match (&namespace, &entry.id_map) {
            (Some(fd), Some(map)) => Change { id_map: Some(fd.as_fd()), recursive: map.recursive, ..Change::default() },
            _ => Change::default(),
        };
        let changes = [Some(follows).filter(|_| !bind.shares), Some(first).filter(|change| !change.is_empty())];
        let changes: Vec<Change<'_>> = changes.into_iter().flatten().collect();
        Ok((Some(tree::source(entry, bind, &changes, self.last.open_tree_attr)?), None))
    }

    /// Makes the root, its mounts and its devices; runs in the child, in the container's mount namespace.
    ///
    /// # Errors
    ///
    /// The step that failed, named by its place in config.json.
    pub fn build(&self, prepared: Prepared) -> Result<Root> {
        let Prepared { root, mut sources, id_maps } = prepared;
        sources.resize_with(self.mounts.len(), || None);
        for (entry, source) in self.mounts.iter().zip(&mut sources) {
            if let What::Bind(bind @ Bind { opened: Opened::First, .. }) = &entry.what {
                let opened = tree::source(entry, bind, &[], self.last.open_tree_attr);
                *source = Some(opened.with_context(|| entry.place.clone())?);
            }
        }
        let root = self.attach_root(root)?;
        // Modes are exactly those that config.json gives.
        let mask = nodes::umask(0);
        let filled = self.fill(&root, sources, &id_maps);
        nodes::umask(mask);
        Ok(Root { filled: filled?, tree: root, switch: self.switch, last: self.last.clone() })
    }

    fn fill(&self, root: &OwnedFd, sources: Vec<Option<OwnedFd>>, id_maps: &[Option<OwnedFd>]) -> Result<Filled> {
        let detached = self.switch == Switch::Chroot;
        let mut tree = Tree::new(root, detached, self.last.open_tree_attr);
        for (index, (entry, source)) in self.mounts.iter().zip(sources).enumerate() {
            let id_map = id_maps.get(index).and_then(Option::as_ref).map(AsFd::as_fd);
            tree.add(entry, source, id_map)
                .map_err(|error| if detached { explain_old_kernel(error) } else { error })
                .with_context(|| entry.place.clone())?;
        }
        if let Some(devices) = &self.devices {
            devices.make(&tree)?;
        }
        Ok(Filled { late: tree.late, kernels: tree.kernels })
    }

    /// Puts the root in its place: bound to itself, and cut off from the host's mounts.
    fn attach_root(&self, prepared: Option<OwnedFd>) -> Result<OwnedFd> {
        if self.switch == Switch::Chroot {
            return prepared.map_or_else(|| self.open_root(), Ok);
        }
        mount::change_propagation("/", self.host_propagation)?;
        let root = prepared.map_or_else(|| self.open_root(), Ok)?;
        match mount::move_mount(&root, CWD, &self.root, true) {
            // The container's user cannot reach it by path: over the root then, where it is about to go anyway.
            Err(error) if error.errno.0 == libc::EACCES => mount::move_over_root(&root),
            other => other,
        }
        .with_context(|| format!("root.path ({})", self.root.display()))?;
        Ok(root)
    }

    pub(super) fn open_root(&self) -> Result<OwnedFd> {
        let private = Change { propagation: Some(Propagation::Private), recursive: true, ..Change::default() };
        let place = || format!("root.path ({})", self.root.display());
        let root = tree::copy(CWD, &self.root, (true, true), &[private], self.last.open_tree_attr)
            .map_err(|error| reach::explain(&self.root, error))
            .with_context(place)?;
        match FileType::from_raw_mode(nodes::fstat(&root).with_context(place)?.st_mode) {
            FileType::Directory => Ok(root),
            _ => Err(sys::Error { call: place(), errno: sys::Errno(libc::ENOTDIR) }.into()),
        }
    }
}

/// KERNEL(6.15): before it, nothing can be mounted in a tree that is attached nowhere.
fn explain_old_kernel(error: anyhow::Error) -> anyhow::Error {
    match sys::errno_of(&error) {
        Some(errno) if errno.0 == libc::EINVAL => {
            anyhow!("{error:#}; hint: before Linux 6.15 mounts need a mount namespace in linux.namespaces")
        }
        _ => error,
    }
}

fn by_parent(entry: &Entry) -> Option<&Bind> {
    match &entry.what {
        What::Bind(bind) if bind.opened == Opened::ByParent => Some(bind),
        _ => None,
    }
}

impl Root {
    /// The root as a descriptor: where paths of the container begin.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.tree.as_fd()
    }

    /// Makes the tree the root of this process; after the createContainer hooks.
    ///
    /// # Errors
    ///
    /// pivot_root(2), or what stands in for it, failed.
    pub fn pivot(&mut self) -> Result<()> {
        let switched = match self.switch {
            Switch::Pivot => self.pivot_root(),
            Switch::Move => self.move_root(),
            Switch::Chroot => self.chroot(),
        };
        match switched {
            Err(error) if error.errno.0 == libc::EINVAL && self.switch == Switch::Pivot => {
                bail!("{error}; hint: a root on an initial ramdisk needs --no-pivot")
            }
            other => other.context("the switch to the container's root"),
        }
    }

    fn pivot_root(&self) -> sys::Result<()> {
        mount::fchdir(&self.tree)?;
        mount::pivot_root_here()?;
        // The old root lies on top of the new one now; "." is the topmost.
        mount::detach(".")?;
        mount::chdir_root()
    }

    fn move_root(&self) -> sys::Result<()> {
        // The host's procfs and sysfs stay below; without them a new user namespace inside cannot mount its own.
        for path in ["/proc", "/sys"] {
            match mount::detach(path) {
                Err(error) if error.errno.0 != libc::EINVAL => return Err(error),
                _ => {}
            }
        }
        mount::move_over_root(&self.tree)?;
        self.chroot()
    }

    fn chroot(&self) -> sys::Result<()> {
        mount::fchdir(&self.tree)?;
        mount::chroot_here()?;
        mount::chdir_root()
    }

    /// The last word: masked and read-only paths, a read-only root, its propagation.
    ///
    /// # Errors
    ///
    /// A path that exists and cannot be masked or made read-only.
    pub fn finish(&mut self) -> Result<()> {
        let last = &self.last;
        let places = masked::Places { root: self.tree.as_fd(), kernels: &self.filled.kernels };
        masked::make_read_only(&places, &last.read_only_paths, last.open_tree_attr)?;
        masked::mask(&places, &last.masked, last.label.as_ref())?;
        for (place, mount) in self.filled.late.drain(..) {
            let read_only = Change { set: attribute::READ_ONLY, ..Change::default() };
            mount::mount_setattr(&mount, &read_only).context(place)?;
        }
        if let Some((kind, recursive)) = last.propagation {
            let change = Change { propagation: Some(kind), recursive, ..Change::default() };
            mount::mount_setattr(&self.tree, &change).context("linux.rootfsPropagation")?;
        }
        if last.read_only {
            let read_only = Change { set: attribute::READ_ONLY, ..Change::default() };
            mount::mount_setattr(&self.tree, &read_only).context("root.readonly")?;
        }
        Ok(())
    }
}
