//! What a mount of type `cgroup` shows: the container's own part of the host's cgroups, laid out as on the host.

use super::entry::Entry;
use super::plan::{CgroupView, Hierarchy};
use super::tree::{self, Way};
use crate::host::{CgroupMode, Host};
use crate::sys::mount::{self, Change, Context as Superblock, attribute};
use crate::sys::{self, nodes};
use anyhow::Result;
use rustix::fs::{CWD, FileType};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// How a mount of type `cgroup` is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CgroupMount {
    /// cgroup2 itself; where the kernel refuses that, a bind of this directory.
    Unified(PathBuf),
    /// A bind of this directory of cgroup2.
    Directory(PathBuf),
    /// A tmpfs with one directory for each hierarchy of version 1 (and `unified`).
    Tree(Tree),
}

/// The directories of the tmpfs and the links beside them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) parts: Vec<Part>,
    /// A directory that is not there is left out: without privileges the container may have got no cgroup.
    pub(super) optional: bool,
    /// Name and target: `cpu` to `cpu,cpuacct`.
    pub(super) links: Vec<(String, String)>,
}

/// One hierarchy in the tmpfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) content: Content,
}

/// What a hierarchy's directory shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// A bind of the container's directory on the host.
    Directory(PathBuf),
    /// The hierarchy itself, of this filesystem and with these options: in a cgroup namespace it begins at the
    /// container's cgroup.
    Hierarchy(&'static str, Vec<(String, Option<String>)>),
}

/// Decides how a mount of type `cgroup` is made.
pub(super) fn plan(view: &CgroupView, host: &Host) -> CgroupMount {
    let unified = view.hierarchies.iter().find(|hierarchy| hierarchy.name.is_empty());
    if view.mode == CgroupMode::V2 {
        // Without a cgroup of its own (driver "disabled") there is only the host's tree to show.
        let directory = unified.map_or_else(|| host.cgroup_root.clone(), |hierarchy| hierarchy.directory.clone());
        return match view.private_namespace {
            true => CgroupMount::Unified(directory),
            false => CgroupMount::Directory(directory),
        };
    }
    let mut tree = Tree { optional: host.rootless(), ..Tree::default() };
    for hierarchy in &view.hierarchies {
        let Some(name) = hierarchy.mount.file_name().map(|name| name.to_string_lossy().into_owned()) else { continue };
        let controllers = hierarchy.name.split(',').filter(|word| !word.is_empty() && !word.contains('='));
        let others = controllers.filter(|controller| *controller != name);
        tree.links.extend(others.map(|controller| (controller.to_owned(), name.clone())));
        tree.parts.push(Part { name, content: content(hierarchy, view.private_namespace) });
    }
    CgroupMount::Tree(tree)
}

fn content(hierarchy: &Hierarchy, private_namespace: bool) -> Content {
    if !private_namespace {
        return Content::Directory(hierarchy.directory.clone());
    }
    if hierarchy.name.is_empty() {
        return Content::Hierarchy("cgroup2", Vec::new());
    }
    let option = |word: &str| match word.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (word.to_owned(), None),
    };
    Content::Hierarchy("cgroup", hierarchy.name.split(',').map(option).collect())
}

/// Makes the tmpfs, its directories and links.
pub(super) fn make(tree: &mut tree::Tree<'_>, entry: &Entry, cgroups: &Tree) -> Result<()> {
    let safe = attribute::NO_SUID | attribute::NO_DEV | attribute::NO_EXEC;
    let read_only = entry.attributes().set & attribute::READ_ONLY;
    let context = Superblock::open("tmpfs")?;
    context.set_string("source", "cgroup")?;
    context.set_string("mode", "755")?;
    context.create()?;
    let top = context.mount(safe)?;
    if !tree.detached {
        tree.attach(entry, &top, Some(FileType::Directory), Way::Links)?;
    }
    for part in &cgroups.parts {
        let mount = match mount_part(&part.content, safe | read_only, tree.with_attr) {
            Err(error) if cgroups.optional && error.errno.0 == libc::ENOENT => continue,
            other => other?,
        };
        nodes::mkdir(&top, Path::new(&part.name), 0o755)?;
        mount::move_mount(&mount, &top, Path::new(&part.name), false)?;
    }
    for (name, target) in &cgroups.links {
        nodes::symlink(Path::new(target), &top, Path::new(name))?;
    }
    if read_only != 0 {
        mount::mount_setattr(&top, &Change { set: read_only, ..Change::default() })?;
    }
    if tree.detached { tree.attach(entry, &top, Some(FileType::Directory), Way::Links) } else { Ok(()) }
}

fn mount_part(content: &Content, attributes: u64, with_attr: bool) -> sys::Result<OwnedFd> {
    match content {
        Content::Directory(path) => {
            let change = Change { set: attributes, recursive: true, ..Change::default() };
            tree::copy(CWD, path, (true, true), &[change], with_attr)
        }
        Content::Hierarchy(kind, settings) => {
            let context = Superblock::open(kind)?;
            context.set_string("source", "cgroup")?;
            tree::set(&context, settings)?;
            context.create()?;
            context.mount(attributes)
        }
    }
}

impl std::fmt::Display for CgroupMount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CgroupMount::Unified(directory) => write!(f, "cgroup2, or bind {}", directory.display()),
            CgroupMount::Directory(directory) => write!(f, "bind {}", directory.display()),
            CgroupMount::Tree(tree) => {
                write!(f, "tmpfs with")?;
                for part in &tree.parts {
                    match &part.content {
                        Content::Directory(path) => write!(f, " {}={}", part.name, path.display())?,
                        Content::Hierarchy(kind, _) => write!(f, " {}={kind}", part.name)?,
                    }
                }
                tree.links.iter().try_for_each(|(name, target)| write!(f, " {name}->{target}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(mode: CgroupMode, private_namespace: bool, names: &[(&str, &str)]) -> CgroupView {
        let hierarchy = |(name, mount): &(&str, &str)| Hierarchy {
            name: (*name).to_owned(),
            mount: PathBuf::from("/sys/fs/cgroup").join(mount),
            directory: PathBuf::from("/sys/fs/cgroup").join(mount).join("c1"),
        };
        CgroupView { mode, private_namespace, hierarchies: names.iter().map(hierarchy).collect() }
    }

    #[test]
    fn a_cgroup_mount_is_laid_out_as_the_host() {
        let v1 = [("cpu,cpuacct", "cpu,cpuacct"), ("memory", "memory"), ("name=systemd", "systemd")];
        let hybrid = [("memory", "memory"), ("", "unified")];
        let rows = [
            (CgroupMode::V2, true, &[("", "")][..], "cgroup2, or bind /sys/fs/cgroup/c1"),
            (CgroupMode::V2, false, &[("", "")], "bind /sys/fs/cgroup/c1"),
            (CgroupMode::V2, false, &[], "bind /sys/fs/cgroup"),
            (
                CgroupMode::V1,
                false,
                &v1,
                "tmpfs with cpu,cpuacct=/sys/fs/cgroup/cpu,cpuacct/c1 memory=/sys/fs/cgroup/memory/c1 \
                 systemd=/sys/fs/cgroup/systemd/c1 cpu->cpu,cpuacct cpuacct->cpu,cpuacct",
            ),
            (
                CgroupMode::V1,
                true,
                &v1,
                "tmpfs with cpu,cpuacct=cgroup memory=cgroup systemd=cgroup cpu->cpu,cpuacct cpuacct->cpu,cpuacct",
            ),
            (
                CgroupMode::Hybrid,
                false,
                &hybrid,
                "tmpfs with memory=/sys/fs/cgroup/memory/c1 unified=/sys/fs/cgroup/unified/c1",
            ),
            (CgroupMode::Hybrid, true, &hybrid, "tmpfs with memory=cgroup unified=cgroup2"),
        ];
        for (mode, private, names, expected) in rows {
            let made = plan(&view(mode, private, names), &Host::modern());
            assert_eq!(made.to_string(), expected, "{mode:?} private={private}");
        }
    }
}
