//! The root filesystem of a container that is written to files and made again by CRIU: which mounts come from outside, and
//! what must be there before the others are mounted.

use super::cgroupfs::Content;
use super::entry::{Entry, What};
use super::idmapped;
use super::plan::Plan;
use super::resolve::{self, Missing};
use crate::config::IdMapping;
use crate::sys::{files, mount, nodes};
use anyhow::{Context, Result};
use rustix::fs::{CWD, FileType, OFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A mount of something of the host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// Where config.json puts it: an absolute path of the container, which names it in the images.
    pub target: PathBuf,
    /// What the host has there.
    pub source: PathBuf,
}

impl Plan {
    /// The root filesystem on the host.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The mounts of the host's files and directories, in the order in which they are made.
    pub fn external(&self) -> Vec<External> {
        let mut all = Vec::new();
        let mut add = |target: PathBuf, source: &Path| {
            all.push(External { target: Path::new("/").join(target), source: source.to_owned() });
        };
        for entry in &self.mounts {
            match &entry.what {
                What::Bind(bind) if !bind.copy_symlink || nodes::readlink(CWD, &bind.source).is_err() => {
                    add(entry.target.clone(), &bind.source);
                }
                What::Cgroups(tree) => {
                    for part in &tree.parts {
                        if let Content::Directory(directory) = &part.content {
                            add(entry.target.join(&part.name), directory);
                        }
                    }
                }
                _ => {}
            }
        }
        for (node, of_host) in self.devices.iter().flat_map(|devices| devices.bound()) {
            add(node.to_owned(), &of_host);
        }
        all
    }

    /// A directory of root's as root of the container sees it with these mappings of its users and groups: its own. The
    /// processes that criu makes in a user namespace read their images by themselves.
    ///
    /// # Errors
    /// The filesystem of the directory knows no idmapped mounts (mount_setattr(2): since Linux 5.12, each at its time).
    pub fn mapped(&self, directory: BorrowedFd<'_>, ids: (&[IdMapping], &[IdMapping])) -> Result<OwnedFd> {
        let namespace = idmapped::new(ids.0, ids.1)?;
        let seen = mount::open_tree(directory, Path::new(""), false, false)?;
        let change = mount::Change { id_map: Some(namespace.as_fd()), ..mount::Change::default() };
        mount::mount_setattr(&seen, &change)
            .context("the processes of a user namespace can read images only through an idmapped mount")?;
        Ok(seen)
    }

    /// Makes the root filesystem ready to be filled again: bound to itself, because criu wants a mount point, and with the
    /// mountpoints that a root filesystem from an image may lack. What is on a filesystem of the container's own is not
    /// made: its content is restored with it.
    ///
    /// Called in a mount namespace that is made for this and goes with criu, so there is nothing to take back.
    ///
    /// # Errors
    /// The root filesystem or a bind source is not there, or a mountpoint cannot be made.
    pub fn prepare_restore(&self) -> Result<()> {
        mount::change_propagation("/", self.host_propagation)?;
        let root = self.open_root()?;
        mount::move_mount(&root, CWD, &self.root, true)
            .with_context(|| format!("root.path ({})", self.root.display()))?;
        let mask = nodes::umask(0);
        for (index, entry) in self.mounts.iter().enumerate() {
            let before = self.mounts.get(..index).unwrap_or_default();
            make_mountpoint(root.as_fd(), entry, before).with_context(|| entry.place.clone())?;
        }
        nodes::umask(mask);
        Ok(())
    }
}

/// Makes the mountpoint of an entry, in the root or in the source of the bind that covers it.
fn make_mountpoint(root: BorrowedFd<'_>, entry: &Entry, before: &[Entry]) -> Result<()> {
    let missing = match &entry.what {
        What::Remount { .. } => return Ok(()),
        // A link is made or covered there, and not followed.
        What::Bind(bind) if bind.copy_symlink || entry.options.destination_nofollow => return Ok(()),
        What::Bind(bind) => {
            let source =
                files::open_path(&bind.source).with_context(|| format!("bind source {}", bind.source.display()))?;
            match FileType::from_raw_mode(nodes::fstat(source)?.st_mode) {
                FileType::Directory => Missing::Directory,
                _ => Missing::File,
            }
        }
        What::Filesystem(_) | What::Cgroups(_) => Missing::Directory,
    };
    let covers =
        |other: &&Entry| !matches!(other.what, What::Remount { .. }) && entry.target.starts_with(&other.target);
    match before.iter().rev().find(covers) {
        None => drop(resolve::make(root, &entry.target, missing)?),
        Some(Entry { what: What::Bind(bind), target, .. }) => {
            let below = entry.target.strip_prefix(target).unwrap_or(&entry.target);
            if !below.as_os_str().is_empty() {
                let source = files::open(&bind.source, OFlags::PATH | OFlags::DIRECTORY)?;
                drop(resolve::make(source.as_fd(), below, missing)?);
            }
        }
        Some(_) => {}
    }
    Ok(())
}

impl External {
    /// Where the mount is in a container that runs, links of the image resolved: its root and /proc/PID/mountinfo are given.
    /// `None` when it is not there any more.
    pub fn mount_point(&self, root: BorrowedFd<'_>, mountinfo: &str) -> Result<Option<PathBuf>> {
        let Ok(found) = resolve::open(root, &self.target, OFlags::PATH) else { return Ok(None) };
        Ok(point_of(mountinfo, mount::id(&found)?))
    }
}

/// Where the mount of this number is, as /proc/PID/mountinfo tells it; `None` for the root itself, where what is seen
/// belongs to no mount of its own.
pub fn point_of(mountinfo: &str, id: u64) -> Option<PathBuf> {
    let id = id.to_string();
    let mut mounts = mountinfo.lines().map(|line| line.split(' '));
    let point = mounts.find_map(|mut fields| {
        let own = fields.next()? == id;
        fields.nth(3).filter(|_| own).map(unescaped)
    });
    point.filter(|point| point != Path::new("/"))
}

/// A path as mountinfo writes it: blanks, line breaks and backslashes are three octal digits (proc_pid_mountinfo(5)).
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let octal = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *first == b'\\');
        bytes.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_found_by_its_number() {
        // proc_pid_mountinfo(5): the number, its parent, the device, the root of the mount, the mount point, ...
        let text =
            "21 1 0:19 / / rw - tmpfs none rw\n22 21 0:5 /a\\040b /data\\040x ro shared:3 - ext4 /dev/a rw\n23 21 0:5";
        let rows = [(22, Some("/data x")), (21, None), (2, None), (23, None), (24, None)];
        for (id, expected) in rows {
            assert_eq!(point_of(text, id), expected.map(PathBuf::from), "{id}");
        }
    }

    #[test]
    fn paths_of_mountinfo_are_read() {
        for (text, expected) in
            [("/a", "/a"), (r"/a\040b", "/a b"), (r"/a\134b\011", "/a\\b\t"), (r"/a\04", r"/a\04"), (r"\", r"\")]
        {
            assert_eq!(unescaped(text), PathBuf::from(expected), "{text}");
        }
    }
}
