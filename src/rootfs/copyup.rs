//! `tmpcopyup`: a new tmpfs begins with what was at its place. Copied by descriptor, so no link leads out of the root.

use crate::sys::{self, files, nodes};
use rustix::fs::{FileType, OFlags, Stat};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A file with several names, by device and inode, and the first name it got in the copy.
type Linked = BTreeMap<(u64, u64), PathBuf>;

/// Copies the content of the directory `from` into the empty directory `to`, and its mode and owner; the umask is zero.
///
/// # Errors
///
/// The first thing that could not be copied; a tmpfs that is too small is ENOSPC.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> sys::Result<()> {
    let facts = nodes::fstat(from)?;
    let mut copier = Copier { top: to, linked: Linked::new() };
    copier.directory(from, to, Path::new(""))?;
    let here = files::open_at(to, ".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    nodes::chown(to, Path::new("."), facts.st_uid, facts.st_gid)?;
    nodes::fchmod(&here, facts.st_mode)?;
    nodes::set_times(to, Path::new("."), &facts)
}

struct Copier<'a> {
    top: BorrowedFd<'a>,
    linked: Linked,
}

impl Copier<'_> {
    fn directory(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, path: &Path) -> sys::Result<()> {
        for name in nodes::names(from)? {
            let name = Path::new(&name);
            let facts = nodes::stat(from, name)?;
            self.node(from, to, name, &path.join(name), &facts)?;
            nodes::set_times(to, name, &facts)?;
        }
        Ok(())
    }

    fn node(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &Path,
        path: &Path,
        facts: &Stat,
    ) -> sys::Result<()> {
        let kind = FileType::from_raw_mode(facts.st_mode);
        if kind != FileType::Directory && facts.st_nlink > 1 {
            if let Some(first) = self.linked.get(&(facts.st_dev, facts.st_ino)) {
                return nodes::link(self.top, first, to, name);
            }
            self.linked.insert((facts.st_dev, facts.st_ino), path.to_owned());
        }
        match kind {
            FileType::Directory => {
                nodes::mkdir(to, name, 0o700)?;
                let from = files::open_at(from, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
                let made = files::open_at(to, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
                self.directory(from.as_fd(), made.as_fd(), path)?;
                owned(to, name, facts)?;
                nodes::fchmod(&made, facts.st_mode)
            }
            FileType::RegularFile => {
                let made = file(from, to, name)?;
                // The mode after the owner: chown(2) takes set-user-ID bits away.
                owned(to, name, facts)?;
                nodes::fchmod(&made, facts.st_mode)
            }
            FileType::Symlink => {
                nodes::symlink(Path::new(&nodes::readlink(from, name)?), to, name)?;
                owned(to, name, facts)
            }
            kind => {
                nodes::mknod(to, name, kind, facts.st_mode & 0o7777, facts.st_rdev)?;
                owned(to, name, facts)
            }
        }
    }
}

fn file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &Path) -> sys::Result<OwnedFd> {
    // O_NONBLOCK: if the name became a fifo meanwhile, opening it must not wait for a writer.
    let source = files::open_at(from, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK)?;
    let made = nodes::create_file(to, name, 0o600)?;
    nodes::copy_data(&source, &made)?;
    Ok(made)
}

fn owned(dir: BorrowedFd<'_>, name: &Path, facts: &Stat) -> sys::Result<()> {
    nodes::chown(dir, name, facts.st_uid, facts.st_gid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn a_copy_keeps_modes_links_and_times() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        for path in [&from, &to, &from.join("sub")] {
            std::fs::create_dir(path).unwrap();
        }
        let file = nodes::create_file(rustix::fs::CWD, &from.join("sub/file"), 0o600).unwrap();
        files::write_fd(&file, b"content").unwrap();
        std::fs::hard_link(from.join("sub/file"), from.join("again")).unwrap();
        symlink("/etc/passwd", from.join("link")).unwrap();
        std::fs::set_permissions(from.join("sub/file"), std::fs::Permissions::from_mode(0o4751)).unwrap();
        std::fs::set_permissions(from.join("sub"), std::fs::Permissions::from_mode(0o1777)).unwrap();
        let open = |path: &Path| files::open(path, OFlags::RDONLY | OFlags::DIRECTORY).unwrap();
        copy(open(&from).as_fd(), open(&to).as_fd()).unwrap();
        let mode = |path: &str| std::fs::symlink_metadata(to.join(path)).unwrap().mode() & 0o7777;
        assert_eq!((mode("sub"), mode("sub/file")), (0o1777, 0o4751));
        assert_eq!(std::fs::read_to_string(to.join("again")).unwrap(), "content");
        assert_eq!(to.join("again").metadata().unwrap().ino(), to.join("sub/file").metadata().unwrap().ino());
        assert_eq!(std::fs::read_link(to.join("link")).unwrap(), Path::new("/etc/passwd"));
        assert_eq!(
            to.join("sub/file").metadata().unwrap().mtime_nsec(),
            from.join("sub/file").metadata().unwrap().mtime_nsec()
        );
    }
}
