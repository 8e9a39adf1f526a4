//! Paths inside the container's root: found and made without ever leaving it.
//!
//! What exists is found by one openat2(2) with RESOLVE_IN_ROOT. Where something is missing, or openat2 is not allowed,
//! the path is walked name by name from descriptor to descriptor, symbolic links read and resolved against the root:
//! no name is ever looked up through a link, so nothing that changes meanwhile can lead out (CVE-2021-30465,
//! CVE-2024-45310, CVE-2025-54867).

use crate::sys::nodes;
use crate::sys::{self, Errno};
use rustix::fs::{FileType, OFlags, ResolveFlags};
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

/// As many links as the kernel follows (path_resolution(7)), and as many lost races.
const MOST_LINKS: usize = 40;

/// openat2 with RESOLVE_IN_ROOT answers EAGAIN when something moved meanwhile.
const MOST_TRIES: usize = 16;

/// What to make where nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Nothing: it is an error.
    Error,
    /// Directories with mode 0755.
    Directory,
    /// Directories, and an empty file with mode 0644 as the last.
    File,
}

/// Opens `path` as if `root` were `/`: symbolic links and `..` stay inside, links of procfs are refused.
///
/// # Errors
///
/// As openat2(2).
pub fn open(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> sys::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut opened = nodes::openat2(root, path, flags, resolve);
    for _ in 1..MOST_TRIES {
        match &opened {
            Err(error) if error.errno.0 == libc::EAGAIN => opened = nodes::openat2(root, path, flags, resolve),
            _ => break,
        }
    }
    match opened {
        Err(error) if matches!(error.errno.0, libc::ENOSYS | libc::EAGAIN) => reopen(root, path, flags),
        other => other,
    }
}

/// Opens `path` below `root` for looking only (O_PATH); any symbolic link on the way or at its end is ELOOP.
///
/// # Errors
///
/// As openat2(2).
pub fn open_plain(root: BorrowedFd<'_>, path: &Path) -> sys::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    match nodes::openat2(root, path, OFlags::PATH, resolve) {
        Err(error) if matches!(error.errno.0, libc::ENOSYS | libc::EAGAIN) => {
            walk(root, path, Missing::Error, Links::Refuse)
        }
        other => other,
    }
}

/// Opens `path` inside `root` for looking only (O_PATH), making what is missing.
///
/// A symbolic link that leads nowhere is followed, and its end is made, inside.
///
/// # Errors
///
/// As openat2(2), mkdirat(2) and openat(2); ENOTDIR when something is in the way.
pub fn make(root: BorrowedFd<'_>, path: &Path, missing: Missing) -> sys::Result<OwnedFd> {
    match open(root, path, OFlags::PATH) {
        Err(error) if error.errno.0 == libc::ENOENT => walk(root, path, missing, Links::Follow),
        other => other,
    }
}

/// As [`make`], but any symbolic link is ELOOP.
///
/// # Errors
///
/// As [`make`].
pub fn make_plain(root: BorrowedFd<'_>, path: &Path, missing: Missing) -> sys::Result<OwnedFd> {
    walk(root, path, missing, Links::Refuse)
}

/// Opens the directory `path` inside `root` as O_PATH, making what is missing with mode 0755.
///
/// # Errors
///
/// As [`make`].
pub fn directory(root: BorrowedFd<'_>, path: &Path) -> sys::Result<OwnedFd> {
    match open(root, path, OFlags::PATH | OFlags::DIRECTORY) {
        Err(error) if error.errno.0 == libc::ENOENT => walk(root, path, Missing::Directory, Links::Follow),
        other => other,
    }
}

/// Opens the file `path` inside `root` as O_PATH, making it (empty) and its directories if they are missing.
///
/// # Errors
///
/// As [`make`].
pub fn file(root: BorrowedFd<'_>, path: &Path) -> sys::Result<OwnedFd> {
    make(root, path, Missing::File)
}

/// Opens the directory that `path` is in, inside `root`, making it if it is missing; the last part is left alone.
///
/// # Errors
///
/// As [`make`].
pub fn parent(root: BorrowedFd<'_>, path: &Path) -> sys::Result<OwnedFd> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => directory(root, parent),
        _ => nodes::open_name(root, Path::new(".")),
    }
}

/// What to do with symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Links {
    Follow,
    Refuse,
}

/// Without openat2: found by walking, then opened again by its last name.
fn reopen(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> sys::Result<OwnedFd> {
    let found = walk(root, path, Missing::Error, Links::Follow)?;
    if flags.contains(OFlags::PATH) {
        let wants_directory = flags.contains(OFlags::DIRECTORY);
        return match wants_directory && kind(&found)? != FileType::Directory {
            true => Err(refused(path, libc::ENOTDIR)),
            false => Ok(found),
        };
    }
    sys::files::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&found)), flags)
}

fn walk(root: BorrowedFd<'_>, path: &Path, missing: Missing, links: Links) -> sys::Result<OwnedFd> {
    let mut names = names(path);
    let mut above: Vec<OwnedFd> = Vec::new();
    let mut turns = 0;
    while let Some(name) = names.pop() {
        if name == ".." {
            above.pop();
            continue;
        }
        let here = above.last().map_or(root, AsFd::as_fd);
        let opened = match nodes::open_name(here, Path::new(&name)) {
            Ok(opened) => opened,
            Err(error) if error.errno.0 == libc::ENOENT && missing != Missing::Error => {
                create(here, Path::new(&name), names.is_empty() && missing == Missing::File)?;
                turns = turn(turns, path)?;
                names.push(name);
                continue;
            }
            Err(error) => return Err(error),
        };
        match kind(&opened)? {
            FileType::Directory => above.push(opened),
            FileType::Symlink if links == Links::Refuse => return Err(refused(path, libc::ELOOP)),
            FileType::Symlink => {
                turns = turn(turns, path)?;
                let target = nodes::readlink(&opened, Path::new(""))?;
                if Path::new(&target).is_absolute() {
                    above.clear();
                }
                names.extend(self::names(Path::new(&target)));
            }
            _ if names.is_empty() && missing != Missing::Directory => return Ok(opened),
            _ => return Err(refused(path, libc::ENOTDIR)),
        }
    }
    match above.pop() {
        Some(found) => Ok(found),
        None => nodes::open_name(root, Path::new(".")),
    }
}

/// Makes one missing name; that somebody else was faster is seen at the next look.
fn create(here: BorrowedFd<'_>, name: &Path, file: bool) -> sys::Result<()> {
    let made = if file { nodes::create_file(here, name, 0o644).map(drop) } else { nodes::mkdir(here, name, 0o755) };
    match made {
        Err(error) if error.errno.0 == libc::EEXIST => Ok(()),
        other => other,
    }
}

fn turn(turns: usize, path: &Path) -> sys::Result<usize> {
    // Names are made one turn each too, so the bound is generous.
    if turns >= MOST_LINKS + path.components().count() { Err(refused(path, libc::ELOOP)) } else { Ok(turns + 1) }
}

fn kind(fd: impl AsFd) -> sys::Result<FileType> {
    Ok(FileType::from_raw_mode(nodes::fstat(fd)?.st_mode))
}

fn refused(path: &Path, errno: i32) -> sys::Error {
    sys::Error { call: format!("open {}", path.display()), errno: Errno(errno) }
}

/// The names of a path, last first.
fn names(path: &Path) -> Vec<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    };
    path.components().rev().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Tree {
        _dir: tempfile::TempDir,
        outside: std::path::PathBuf,
        root: OwnedFd,
        path: std::path::PathBuf,
    }

    /// A root with links that try to lead out of it.
    fn tree() -> Tree {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root");
        let outside = dir.path().join("outside");
        std::fs::create_dir(&path).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::create_dir(path.join("etc")).unwrap();
        symlink(&outside, path.join("absolute")).unwrap();
        symlink("../../outside", path.join("etc/relative")).unwrap();
        symlink("../run/dns", path.join("etc/resolv.conf")).unwrap();
        symlink("loop", path.join("loop")).unwrap();
        let root = sys::files::open_path(&path).unwrap();
        Tree { _dir: dir, outside, root, path }
    }

    #[test]
    fn links_that_lead_out_of_the_root_end_inside() {
        let tree = tree();
        let inside = tree.path.join(tree.outside.strip_prefix("/").unwrap());
        for (path, made) in [
            ("absolute/new", inside.join("new")),
            ("etc/relative/new", tree.path.join("outside/new")),
            ("etc/resolv.conf", tree.path.join("run/dns")),
            ("../../../up/a", tree.path.join("up/a")),
            ("/var/lib/x", tree.path.join("var/lib/x")),
        ] {
            file(tree.root.as_fd(), Path::new(path)).unwrap();
            assert!(made.is_file(), "{path} should have made {}", made.display());
        }
        assert_eq!(std::fs::read_dir(&tree.outside).unwrap().count(), 0, "something was made outside");
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let tree = tree();
        std::fs::File::options().create_new(true).write(true).open(tree.path.join("etc/file")).unwrap();
        let error = |result: sys::Result<OwnedFd>| result.unwrap_err().to_string();
        let root = tree.root.as_fd();
        let rows = [
            (error(directory(root, Path::new("loop"))), "openat2 loop: too many levels of symbolic links (ELOOP)"),
            (error(directory(root, Path::new("etc/file/x"))), "openat2 etc/file/x: not a directory (ENOTDIR)"),
            (error(directory(root, Path::new("etc/file"))), "openat2 etc/file: not a directory (ENOTDIR)"),
            (
                error(open_plain(root, Path::new("etc/relative"))),
                "openat2 etc/relative: too many levels of symbolic links (ELOOP)",
            ),
            (
                error(make_plain(root, Path::new("absolute/x"), Missing::Directory)),
                "open absolute/x: too many levels of symbolic links (ELOOP)",
            ),
            (error(open(root, Path::new("none"), OFlags::PATH)), "openat2 none: no such file or directory (ENOENT)"),
        ];
        for (said, expected) in rows {
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn without_openat2_the_walk_finds_the_same() {
        let tree = tree();
        std::fs::create_dir(tree.path.join("run")).unwrap();
        file(tree.root.as_fd(), Path::new("run/dns")).unwrap();
        let walked =
            walk(tree.root.as_fd(), Path::new("etc/../etc/resolv.conf"), Missing::Error, Links::Follow).unwrap();
        let opened = open(tree.root.as_fd(), Path::new("etc/resolv.conf"), OFlags::PATH).unwrap();
        assert_eq!(nodes::fstat(&walked).unwrap().st_ino, nodes::fstat(&opened).unwrap().st_ino);
        let error = walk(tree.root.as_fd(), Path::new("loop"), Missing::Error, Links::Follow).unwrap_err();
        assert_eq!(error.errno.0, libc::ELOOP);
    }

    #[test]
    fn a_directory_swapped_with_a_link_never_leads_out() {
        let tree = tree();
        std::fs::create_dir(tree.path.join("swap")).unwrap();
        symlink(&tree.outside, tree.path.join("swap.link")).unwrap();
        let swapper = super::super::tests::Swapper::start(&tree.path, c"swap", c"swap.link");
        for round in 0..5000 {
            // It may fail when the name is away; it must not make anything outside.
            let _ = file(tree.root.as_fd(), Path::new(&format!("swap/{}", round % 7)));
        }
        drop(swapper);
        assert_eq!(std::fs::read_dir(&tree.outside).unwrap().count(), 0, "something was made outside");
    }
}
