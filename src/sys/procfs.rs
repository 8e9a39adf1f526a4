//! A private mount of procfs that nobody else can see: writes through it cannot be led astray by what a container put
//! over its /proc (CVE-2019-16884, CVE-2025-52881).

use super::{Asked, Errno, Error, Result, files};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// statfs(2) type of procfs (PROC_SUPER_MAGIC).
const PROC_MAGIC: u64 = 0x9fa0;

/// The root directory of a procfs, for the pid namespace of the process that opened it.
#[derive(Debug)]
pub struct Procfs {
    root: OwnedFd,
}

impl Procfs {
    /// Mounts procfs detached: fsopen(2) and fsmount(2). Where that is not allowed (a user namespace without a pid
    /// namespace of its own, Linux before 5.2) /proc itself serves, after a check that it is the root of a procfs.
    pub fn open() -> Result<Procfs> {
        Procfs::mounted(false)
    }

    /// The same with the option subset=pid (Linux 5.8): nothing but processes, for a descriptor that others may get hold of.
    pub fn open_processes() -> Result<Procfs> {
        Procfs::mounted(true)
    }

    fn mounted(only_processes: bool) -> Result<Procfs> {
        let root = match detached(only_processes) {
            Ok(root) => root,
            Err(_) => verified(files::open("/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW)?)?,
        };
        Ok(Procfs { root })
    }

    /// A directory that stands in for a procfs, with files that this machine's kernel does not have.
    #[cfg(test)]
    pub fn of_directory(path: &std::path::Path) -> Procfs {
        Procfs { root: files::open(path, OFlags::PATH | OFlags::DIRECTORY).unwrap() }
    }

    /// Opens a file of this procfs: never through a mount, a magic link or `..`.
    pub fn open_file(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
            .asked(|| format!("open /proc/{path}"))
    }

    /// Writes a value in one write, as files of procfs want it.
    pub fn write(&self, path: &str, value: &str) -> Result<()> {
        let file = self.open_file(path, OFlags::WRONLY)?;
        rustix::io::write(&file, value.as_bytes()).asked(|| format!("write {value:?} to /proc/{path}"))?;
        Ok(())
    }

    /// Reads a small file.
    pub fn read(&self, path: &str) -> Result<String> {
        let bytes = files::read_fd(self.open_file(path, OFlags::RDONLY)?, 65536)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl AsFd for Procfs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

fn detached(only_processes: bool) -> Result<OwnedFd> {
    let context = rustix::mount::fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC).asked(|| "fsopen proc".to_owned())?;
    if only_processes {
        // An older kernel does not know the option.
        let _ = rustix::mount::fsconfig_set_string(context.as_fd(), "subset", "pid");
    }
    rustix::mount::fsconfig_create(context.as_fd()).asked(|| "fsconfig proc".to_owned())?;
    let attributes =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .asked(|| "fsmount proc".to_owned())
}

/// A directory that is the root of a procfs: type by statfs, and inode 1 (PROC_ROOT_INO), so not a part bound over it.
fn verified(root: OwnedFd) -> Result<OwnedFd> {
    let kind = rustix::fs::fstatfs(&root).asked(|| "fstatfs /proc".to_owned())?;
    let status = rustix::fs::fstat(&root).asked(|| "fstat /proc".to_owned())?;
    if kind.f_type as u64 == PROC_MAGIC && status.st_ino == 1 {
        return Ok(root);
    }
    Err(Error { call: "statfs /proc: not the root of a procfs".to_owned(), errno: Errno(libc::EXDEV) })
}
