//! Masked and read-only paths: what /proc and /sys tell and allow beyond the container.
//!
//! Each path is opened once, inside the root, and covered by descriptor. Files are covered by the container's
//! /dev/null, once it is proven to be that device (CVE-2025-31133); directories by one read-only tmpfs without room,
//! shared by all of them.

use super::resolve;
use crate::sys::mount::{self, Change, Context as Filesystem, attribute};
use crate::sys::{self, Asked, nodes};
use anyhow::{Context, Result, bail};
use rustix::fs::{FileType, OFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What is mounted on /proc and /sys, where that is the kernel's own filesystem.
///
/// Paths below them begin there and not at the container's root: somebody who shares the root could have renamed the
/// mountpoint meanwhile, and the mount goes along with it (CVE-2019-19921).
#[derive(Debug, Default)]
pub(super) struct Kernels(Vec<(PathBuf, OwnedFd)>);

impl Kernels {
    /// Something was mounted at `path`.
    pub(super) fn attached(&mut self, path: &Path, mount: &OwnedFd) -> Result<()> {
        const MAGIC: [u64; 2] = [0x9fa0, 0x6265_6572];
        if path == Path::new("proc") || path == Path::new("sys") {
            self.0.retain(|(there, _)| there != path);
            if MAGIC.contains(&mount::filesystem_magic(mount)?) {
                let kept = rustix::io::fcntl_dupfd_cloexec(mount, 3).asked(|| "fcntl F_DUPFD_CLOEXEC".to_owned())?;
                self.0.push((path.to_owned(), kept));
            }
        }
        Ok(())
    }
}

/// Where paths of the container begin.
pub(super) struct Places<'a> {
    pub(super) root: BorrowedFd<'a>,
    pub(super) kernels: &'a Kernels,
}

impl Places<'_> {
    fn existing(&self, path: &Path) -> Result<Option<OwnedFd>> {
        let below =
            self.kernels.0.iter().find_map(|(there, mount)| Some((mount.as_fd(), path.strip_prefix(there).ok()?)));
        let (from, below) = match below {
            Some((mount, below)) if !below.as_os_str().is_empty() => (mount, below),
            _ => (self.root, path),
        };
        match resolve::open(from, below, OFlags::PATH) {
            Ok(target) => Ok(Some(target)),
            Err(error) if matches!(error.errno.0, libc::ENOENT | libc::ENOTDIR) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("/{}", path.display())),
        }
    }
}

/// Covers every path that exists.
pub(super) fn mask(places: &Places<'_>, paths: &[PathBuf], label: Option<&(String, String)>) -> Result<()> {
    let mut covers = Covers { root: places.root, label, null: None, null_copy: None, directory: None };
    for path in paths {
        let covered = match places.existing(path)? {
            Some(target) => covers.cover(&target),
            None => Ok(()),
        };
        covered.with_context(|| format!("linux.maskedPaths (/{})", path.display()))?;
    }
    Ok(())
}

/// Makes every path that exists read-only, with what is mounted below it; other attributes stay.
pub(super) fn make_read_only(places: &Places<'_>, paths: &[PathBuf], with_attr: bool) -> Result<()> {
    for path in paths {
        let Some(target) = places.existing(path)? else { continue };
        let change = Change { set: attribute::READ_ONLY, recursive: true, ..Change::default() };
        let covered =
            copy(&target, &change, with_attr).and_then(|copy| mount::move_mount(&copy, &target, Path::new(""), false));
        covered.with_context(|| format!("linux.readonlyPaths (/{})", path.display()))?;
    }
    Ok(())
}

/// A changed copy of the tree at `target`.
fn copy(target: &OwnedFd, change: &Change<'_>, with_attr: bool) -> sys::Result<OwnedFd> {
    super::tree::copy(target, Path::new(""), (true, true), &[*change], with_attr)
}

/// What paths are covered with, made when the first one needs it.
struct Covers<'a> {
    root: BorrowedFd<'a>,
    label: Option<&'a (String, String)>,
    /// The container's /dev/null.
    null: Option<OwnedFd>,
    /// A copy of it that is mounted nowhere yet: the last path was a directory.
    null_copy: Option<OwnedFd>,
    /// The tmpfs, mounted over the first directory.
    directory: Option<OwnedFd>,
}

impl Covers<'_> {
    fn cover(&mut self, target: &OwnedFd) -> Result<()> {
        // A file cannot cover a directory: trying tells with no more calls than asking, and cannot be outrun.
        let null = match self.null_copy.take() {
            Some(copy) => copy,
            None => mount::open_tree(self.null()?, Path::new(""), false, true)?,
        };
        match mount::move_mount(&null, target, Path::new(""), false) {
            Err(error) if error.errno.0 == libc::EINVAL => {
                self.null_copy = Some(null);
                self.cover_directory(target)
            }
            other => Ok(other?),
        }
    }

    fn cover_directory(&mut self, target: &OwnedFd) -> Result<()> {
        if let Some(first) = &self.directory {
            let copy = mount::open_tree(first, Path::new(""), false, true)?;
            return Ok(mount::move_mount(&copy, target, Path::new(""), false)?);
        }
        let made = self.empty_directory()?;
        mount::move_mount(&made, target, Path::new(""), false)?;
        self.directory = Some(made);
        Ok(())
    }

    fn null(&mut self) -> Result<&OwnedFd> {
        if self.null.is_none() {
            let null = resolve::open(self.root, Path::new("dev/null"), OFlags::PATH | OFlags::NOFOLLOW)
                .context("container's /dev/null")?;
            let facts = nodes::fstat(&null)?;
            let device = rustix::fs::makedev(1, 3);
            if FileType::from_raw_mode(facts.st_mode) != FileType::CharacterDevice || facts.st_rdev != device {
                bail!("container's /dev/null is invalid: not the device 1:3, so nothing can be masked with it");
            }
            self.null = Some(null);
        }
        self.null.as_ref().context("container's /dev/null")
    }

    fn empty_directory(&self) -> sys::Result<OwnedFd> {
        let filesystem = Filesystem::open("tmpfs")?;
        for (key, value) in [("source", "tmpfs"), ("nr_blocks", "1"), ("nr_inodes", "1"), ("mode", "755")] {
            filesystem.set_string(key, value)?;
        }
        if let Some((key, label)) = self.label {
            filesystem.set_string(key, label)?;
        }
        filesystem.create()?;
        filesystem.mount(attribute::READ_ONLY | attribute::NO_SUID | attribute::NO_DEV | attribute::NO_EXEC)
    }
}
