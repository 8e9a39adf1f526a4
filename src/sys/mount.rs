//! The mount calls, by descriptor: open_tree(2), move_mount(2), fsopen(2) and their kin; pivot_root(2), chroot(2).
//!
//! A filesystem context (fsopen) tells in words what it did not like; those words become part of the error.

use super::{Asked, Error, Result, checked};
use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The same number on every architecture but alpha; libc does not know it everywhere.
const SYS_OPEN_TREE_ATTR: libc::c_long = 467;

/// Attributes of mounts: bits of `struct mount_attr` (mount_setattr(2)).
pub mod attribute {
    /// No writing through this mount.
    pub const READ_ONLY: u64 = 0x01;
    /// Set-user-ID bits do nothing.
    pub const NO_SUID: u64 = 0x02;
    /// Device nodes cannot be opened.
    pub const NO_DEV: u64 = 0x04;
    /// Nothing can be executed.
    pub const NO_EXEC: u64 = 0x08;
    /// The two bits that choose how access times are kept.
    pub const TIME: u64 = 0x70;
    /// Access times as `relatime`, the kernel's default.
    pub const RELATIVE_TIME: u64 = 0x00;
    /// No access times.
    pub const NO_TIME: u64 = 0x10;
    /// Every access changes the access time.
    pub const STRICT_TIME: u64 = 0x20;
    /// No access times of directories.
    pub const NO_DIRECTORY_TIME: u64 = 0x80;
    /// Ids are mapped by a user namespace.
    pub const ID_MAP: u64 = 0x0010_0000;
    /// Symbolic links on this mount are not followed.
    pub const NO_SYMLINK_FOLLOW: u64 = 0x0020_0000;
}

/// How mounts below a mount travel to its copies (mount_namespaces(7), "Shared subtrees").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Both ways.
    Shared,
    /// From the master only.
    Slave,
    /// Not at all.
    Private,
    /// Not at all, and it cannot be bound elsewhere.
    Unbindable,
}

impl Propagation {
    fn flag(self) -> u64 {
        match self {
            Propagation::Shared => libc::MS_SHARED,
            Propagation::Slave => libc::MS_SLAVE,
            Propagation::Private => libc::MS_PRIVATE,
            Propagation::Unbindable => libc::MS_UNBINDABLE,
        }
    }

    /// The option word, without the `r` of the recursive one.
    pub fn word(self) -> &'static str {
        match self {
            Propagation::Shared => "shared",
            Propagation::Slave => "slave",
            Propagation::Private => "private",
            Propagation::Unbindable => "unbindable",
        }
    }
}

/// One change of a mount: what mount_setattr(2) takes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change<'a> {
    /// Attributes to set.
    pub set: u64,
    /// Attributes to clear; whoever sets a time clears [`attribute::TIME`] too.
    pub clear: u64,
    /// The new propagation.
    pub propagation: Option<Propagation>,
    /// Map ids by this user namespace.
    pub id_map: Option<BorrowedFd<'a>>,
    /// The mounts below too.
    pub recursive: bool,
}

impl Change<'_> {
    /// True when nothing would change.
    pub fn is_empty(&self) -> bool {
        self.set | self.clear == 0 && self.propagation.is_none() && self.id_map.is_none()
    }

    fn kernel(&self) -> libc::mount_attr {
        libc::mount_attr {
            attr_set: self.set | if self.id_map.is_some() { attribute::ID_MAP } else { 0 },
            attr_clr: self.clear,
            propagation: self.propagation.map_or(0, Propagation::flag),
            userns_fd: self.id_map.map_or(0, |fd| fd.as_raw_fd() as u64),
        }
    }

    fn recursion(&self) -> libc::c_uint {
        if self.recursive { libc::AT_RECURSIVE as libc::c_uint } else { 0 }
    }
}

/// Makes a detached copy of the mount that `path` is on, with `path` as its root; `recursive` copies what is mounted below.
pub fn open_tree(dir: impl AsFd, path: &Path, recursive: bool, follow: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    flags.set(OpenTreeFlags::AT_SYMLINK_NOFOLLOW, !follow);
    flags.set(OpenTreeFlags::AT_EMPTY_PATH, path.as_os_str().is_empty());
    rustix::mount::open_tree(dir, path, flags).asked(|| format!("open_tree {}", shown(path)))
}

/// As [`open_tree`] with a [`mount_setattr`] of the copy, in one call.
///
/// KERNEL(6.15): callers fall back to the two calls on ENOSYS.
pub fn open_tree_attr(dir: impl AsFd, path: &Path, recursive: bool, change: &Change<'_>) -> Result<OwnedFd> {
    let empty = if path.as_os_str().is_empty() { libc::AT_EMPTY_PATH } else { 0 };
    let copied = if recursive { libc::AT_RECURSIVE } else { 0 };
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | (empty | copied) as libc::c_uint | change.recursion();
    let attributes = change.kernel();
    let text = text(path)?;
    // SAFETY: the path ends in NUL and the attributes are a whole struct of the size given; both live over the call.
    let returned = unsafe {
        libc::syscall(
            SYS_OPEN_TREE_ATTR,
            dir.as_fd().as_raw_fd(),
            text.as_ptr(),
            flags,
            &raw const attributes,
            std::mem::size_of::<libc::mount_attr>(),
        )
    };
    let fd = checked(returned).asked(|| format!("open_tree_attr {}", shown(path)))?;
    // SAFETY: the kernel just made this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Changes the mount that `fd` opens.
pub fn mount_setattr(fd: impl AsFd, change: &Change<'_>) -> Result<()> {
    let attributes = change.kernel();
    let flags = libc::AT_EMPTY_PATH as libc::c_uint | change.recursion();
    // SAFETY: the path is an empty string that ends in NUL, and the attributes are a whole struct of the size given.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            std::mem::size_of::<libc::mount_attr>(),
        )
    };
    checked(returned).asked(|| format!("mount_setattr +{:#x} -{:#x}", change.set, change.clear)).map(drop)
}

/// Attaches a detached mount at `path` below `dir`; an empty path means at `dir` itself.
///
/// A symbolic link as the last part is followed only with `follow`; those before it are followed as the kernel does.
pub fn move_mount(mount: impl AsFd, dir: impl AsFd, path: &Path, follow: bool) -> Result<()> {
    let mut flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    flags.set(MoveMountFlags::MOVE_MOUNT_T_SYMLINKS, follow);
    flags.set(MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH, path.as_os_str().is_empty());
    rustix::mount::move_mount(mount, c"", dir, path, flags).asked(|| format!("move_mount to {}", shown(path)))
}

/// A filesystem that is being configured (fsopen(2)).
#[derive(Debug)]
pub struct Context<'a> {
    fd: OwnedFd,
    kind: &'a str,
}

impl<'a> Context<'a> {
    /// Begins a new filesystem of this kind (fsopen(2)).
    pub fn open(kind: &'a str) -> Result<Context<'a>> {
        let fd = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)
            .asked(|| format!("fsopen {}", kind.escape_debug()))?;
        Ok(Context { fd, kind })
    }

    /// Takes an existing filesystem, by the mount that `mount` opens (fspick(2)).
    pub fn pick(mount: impl AsFd, kind: &'a str) -> Result<Context<'a>> {
        let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
        let fd = rustix::mount::fspick(mount, c"", flags).asked(|| "fspick".to_owned())?;
        Ok(Context { fd, kind })
    }

    /// Sets an option that has no value.
    pub fn set_flag(&self, key: &str) -> Result<()> {
        self.explained(rustix::mount::fsconfig_set_flag(&self.fd, key), key)
    }

    /// Sets an option to a value.
    pub fn set_string(&self, key: &str, value: &str) -> Result<()> {
        self.explained(rustix::mount::fsconfig_set_string(&self.fd, key, value), key)
    }

    /// Makes (or finds) the superblock.
    pub fn create(&self) -> Result<()> {
        self.explained(rustix::mount::fsconfig_create(&self.fd), "create")
    }

    /// Applies the options to the existing superblock.
    pub fn reconfigure(&self) -> Result<()> {
        self.explained(rustix::mount::fsconfig_reconfigure(&self.fd), "reconfigure")
    }

    /// A detached mount of it with these attributes (fsmount(2)).
    pub fn mount(&self, attributes: u64) -> Result<OwnedFd> {
        let flags = MountAttrFlags::from_bits_retain(attributes as u32);
        let mounted = rustix::mount::fsmount(&self.fd, FsMountFlags::FSMOUNT_CLOEXEC, flags);
        mounted.asked(|| format!("fsmount {}", self.kind))
    }

    /// Adds the kernel's own words to an error.
    fn explained(&self, result: rustix::io::Result<()>, what: &str) -> Result<()> {
        result.asked(|| match self.complaints() {
            words if words.is_empty() => format!("fsconfig {} {what}", self.kind),
            words => format!("fsconfig {} {what} ({words})", self.kind),
        })
    }

    /// What the kernel wrote about this context: lines such as `e tmpfs: Unknown parameter 'x'`.
    fn complaints(&self) -> String {
        let mut words = String::new();
        let mut line = [0u8; 512];
        while let Ok(length @ 1..) = rustix::io::read(&self.fd, &mut line) {
            let text = String::from_utf8_lossy(line.get(..length).unwrap_or_default()).into_owned();
            if !words.is_empty() {
                words.push_str("; ");
            }
            words.push_str(text.trim().trim_start_matches("e "));
        }
        words
    }
}

/// Changes the propagation of the mount at `path` and, recursively, of those below it.
pub fn change_propagation(path: &str, propagation: Propagation) -> Result<()> {
    let flags = MountPropagationFlags::from_bits_retain((propagation.flag() | libc::MS_REC) as u32);
    rustix::mount::mount_change(path, flags).asked(|| format!("mount --make-r{} {path}", propagation.word()))
}

/// Makes the current directory's mount the root and puts the old root on top of it (pivot_root(2), "." twice).
pub fn pivot_root_here() -> Result<()> {
    rustix::process::pivot_root(c".", c".").asked(|| "pivot_root . .".to_owned())
}

/// Takes away the mount at `path`, and those below it, as soon as nobody uses them.
pub fn detach(path: &str) -> Result<()> {
    rustix::mount::unmount(path, UnmountFlags::DETACH).asked(|| format!("umount2 {path} MNT_DETACH"))
}

/// Makes the current directory the root (chroot(2)).
pub fn chroot_here() -> Result<()> {
    rustix::process::chroot(c".").asked(|| "chroot .".to_owned())
}

/// Changes the current directory to what `fd` opens.
pub fn fchdir(fd: impl AsFd) -> Result<()> {
    rustix::process::fchdir(fd).asked(|| "fchdir".to_owned())
}

/// Changes the current directory to the root.
pub fn chdir_root() -> Result<()> {
    rustix::process::chdir(c"/").asked(|| "chdir /".to_owned())
}

/// Moves a mount over the root of this mount namespace.
pub fn move_over_root(mount: impl AsFd) -> Result<()> {
    move_mount(mount, CWD, Path::new("/"), false)
}

/// The number of the mount that `fd` was found on, as /proc/PID/mountinfo has it (statx(2), STATX_MNT_ID, Linux 5.8).
pub fn id(fd: impl AsFd) -> Result<u64> {
    let facts = rustix::fs::statx(fd, c"", rustix::fs::AtFlags::EMPTY_PATH, rustix::fs::StatxFlags::MNT_ID)
        .asked(|| "statx STATX_MNT_ID".to_owned())?;
    Ok(facts.stx_mnt_id)
}

/// True when `fd` opens the root of a mount, and where the kernel does not tell (statx(2), STATX_ATTR_MOUNT_ROOT, Linux 5.8).
pub fn is_root(fd: impl AsFd) -> Result<bool> {
    let facts = rustix::fs::statx(fd, c"", rustix::fs::AtFlags::EMPTY_PATH, rustix::fs::StatxFlags::empty())
        .asked(|| "statx STATX_ATTR_MOUNT_ROOT".to_owned())?;
    let root = rustix::fs::StatxAttributes::MOUNT_ROOT;
    Ok(facts.stx_attributes.contains(root) || !facts.stx_attributes_mask.contains(root))
}

/// Kind of the filesystem that `fd` is on: `PROC_SUPER_MAGIC` and the like (statfs(2)).
pub fn filesystem_magic(fd: impl AsFd) -> Result<u64> {
    rustix::fs::fstatfs(fd).asked(|| "fstatfs".to_owned()).map(|facts| facts.f_type as u64)
}

fn shown(path: &Path) -> std::borrow::Cow<'_, str> {
    if path.as_os_str().is_empty() { "a descriptor".into() } else { path.to_string_lossy() }
}

fn text(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error { call: format!("open_tree_attr {}", path.display()), errno: super::Errno(libc::EINVAL) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_option_is_named_in_the_kernels_words() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: not root");
            return;
        }
        let context = Context::open("tmpfs").unwrap();
        let error = context.set_string("bogus", "1").unwrap_err();
        assert_eq!(
            error.to_string(),
            "fsconfig tmpfs bogus (tmpfs: Unknown parameter 'bogus'): invalid argument (EINVAL)"
        );
        assert_eq!(Context::open("nosuchfs").unwrap_err().to_string(), "fsopen nosuchfs: no such device (ENODEV)");
    }
}
