//! A stack of layer directories as one tree: the overlay mount.
//!
//! KERNEL(6.13): layers are given as descriptors, one fsconfig(2) each. Before that they are given to mount(2) as
//! /proc/self/fd/N, which keeps 128 layers well below the one page that its options may have.

use crate::image::remove::for_each;
use crate::image::unpack::{by_descriptor, privileged};
use crate::sys::{self, Asked};
use anyhow::{Result, bail};
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags};
use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Layers that one mount can have (fs/overlayfs/params.c, OVL_MAX_STACK).
const STACK: usize = 500;
/// No mount namespace has a longer list (bytes): sysctl fs.mount-max is 100,000.
const MOUNTS_LIMIT: usize = 64 << 20;

/// What is laid upon each other.
#[derive(Debug)]
pub struct Layers<'a> {
    /// Read-only directories, top first.
    pub lowers: Vec<BorrowedFd<'a>>,
    /// The writable directory.
    pub upper: BorrowedFd<'a>,
    /// An empty directory on the same file system.
    pub work: BorrowedFd<'a>,
    /// Nothing is synced: unmounting would otherwise wait for everything that its file system has not written yet.
    pub volatile: bool,
}

/// Mounts the layers at `target`.
pub fn mount(layers: &Layers<'_>, target: &Path) -> Result<()> {
    let count = layers.lowers.len();
    if count > STACK {
        bail!("{count} layers: overlayfs stacks at most {STACK}; hint: --copy makes a plain tree");
    }
    match by_descriptors(layers) {
        Ok(Some(mount)) => {
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            Ok(rustix::mount::move_mount(&mount, "", CWD, target, flags)
                .asked(|| format!("move_mount to {}", target.display()))?)
        }
        Ok(None) => by_names(layers, target),
        Err(error) => Err(error.into()),
    }
}

/// Options besides the layers. Renamed directories are copied and not redirected: a layer must mean the same without the
/// layers it was made upon.
fn options() -> &'static [(&'static str, &'static str)] {
    if privileged() { &[("redirect_dir", "off"), ("metacopy", "off"), ("index", "off")] } else { &[("userxattr", "")] }
}

/// A detached mount, or `None` when this kernel wants names.
fn by_descriptors(layers: &Layers<'_>) -> sys::Result<Option<OwnedFd>> {
    let context = match rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) {
        Err(Errno::NOSYS) => return Ok(None),
        other => other.asked(|| "fsopen overlay".to_owned())?,
    };
    let explain = |errno: Errno, asked: &str| -> sys::Error {
        let mut text = [0u8; 512];
        let said = rustix::io::read(&context, &mut text[..]).unwrap_or(0);
        let said = String::from_utf8_lossy(text.get(..said).unwrap_or_default()).trim().to_owned();
        let call = if said.is_empty() { asked.to_owned() } else { format!("{asked} ({said})") };
        sys::Error { call, errno: sys::Errno(errno.raw_os_error()) }
    };
    for (key, value) in options() {
        let set = if value.is_empty() {
            rustix::mount::fsconfig_set_flag(&context, *key)
        } else {
            rustix::mount::fsconfig_set_string(&context, *key, *value)
        };
        set.map_err(|errno| explain(errno, &format!("fsconfig overlay {key}={value}")))?;
    }
    if layers.volatile {
        // KERNEL(5.10): an older one syncs.
        let _ = rustix::mount::fsconfig_set_flag(&context, "volatile");
    }
    for (number, fd) in layers.lowers.iter().enumerate() {
        match rustix::mount::fsconfig_set_fd(&context, "lowerdir+", fd) {
            Ok(()) => {}
            Err(Errno::INVAL) if number == 0 => return Ok(None),
            Err(errno) => return Err(explain(errno, &format!("fsconfig overlay lowerdir+ (layer {})", number + 1))),
        }
    }
    for (key, fd) in [("upperdir", &layers.upper), ("workdir", &layers.work)] {
        rustix::mount::fsconfig_set_fd(&context, key, fd)
            .map_err(|errno| explain(errno, &format!("fsconfig overlay {key}")))?;
    }
    rustix::mount::fsconfig_create(&context).map_err(|errno| explain(errno, "fsconfig overlay create"))?;
    let mount = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty());
    mount.map(Some).map_err(|errno| explain(errno, "fsmount overlay"))
}

fn by_names(layers: &Layers<'_>, target: &Path) -> Result<()> {
    let lowers: Vec<String> = layers.lowers.iter().map(|fd| by_descriptor(*fd)).collect();
    let mut data = format!(
        "lowerdir={},upperdir={},workdir={}",
        lowers.join(":"),
        by_descriptor(layers.upper),
        by_descriptor(layers.work)
    );
    // Old kernels do not know all of these words; their defaults are the same.
    if !privileged() {
        data.push_str(",userxattr");
    }
    if data.len() >= rustix::param::page_size() {
        let count = layers.lowers.len();
        bail!("{count} layers are more than mount(2) can be given before Linux 6.13; hint: --copy makes a plain tree");
    }
    let data = CString::new(data).unwrap_or_default();
    let mounted = rustix::mount::mount("overlay", target, "overlay", MountFlags::empty(), Some(data.as_c_str()));
    Ok(mounted.asked(|| format!("mount overlay {}", target.display()))?)
}

/// Unmounts what is at `target`; what is no mount point is no error.
pub fn unmount(target: &Path) -> sys::Result<()> {
    match rustix::mount::unmount(target, UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        // Who may not unmount anything is told so before the kernel looks at what is there (fs/namespace.c, can_umount).
        Err(Errno::PERM) if !is_mounted(target) => Ok(()),
        Err(errno) => Err(errno).asked(|| format!("umount {}", target.display())),
    }
}

/// True when `target` is on another mount than its parent.
pub fn is_mounted(target: &Path) -> bool {
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    let mount = |path: &Path| rustix::fs::statx(CWD, path, flags, rustix::fs::StatxFlags::MNT_ID).ok();
    let (Some(own), Some(above)) = (mount(target), target.parent().and_then(mount)) else { return false };
    own.stx_mnt_id != above.stx_mnt_id
}

/// True when an overlay of this device number is mounted in the mount namespace of any process that we may look at, wherever
/// that is.
pub fn is_mounted_anywhere(device: u64) -> sys::Result<bool> {
    let wanted = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    // proc_pid_mountinfo(5): 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw
    let is_wanted = |line: &str| line.split(' ').nth(2) == Some(&*wanted) && line.contains(" - overlay ");
    let (mut seen, mut found) = (HashSet::new(), false);
    let processes = sys::files::open("/proc", OFlags::RDONLY | OFlags::DIRECTORY)?;
    for_each(processes.as_fd(), |name, _| -> sys::Result<()> {
        // A thread may have a mount namespace of its own: this one's is asked too.
        let is_process = |name: &&str| name.parse::<u32>().is_ok() || *name == "thread-self";
        let Some(pid) = name.to_str().ok().filter(is_process) else { return Ok(()) };
        let Ok(namespace) = rustix::fs::readlinkat(&processes, format!("{pid}/ns/mnt"), Vec::new()) else {
            return Ok(());
        };
        if !found && seen.insert(namespace) {
            let read = sys::files::read(format!("/proc/{pid}/mountinfo"), MOUNTS_LIMIT).unwrap_or_default();
            found = String::from_utf8_lossy(&read).lines().any(is_wanted);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Keeps a borrowed list of descriptors readable at the call.
pub fn borrowed(fds: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    fds.iter().map(AsFd::as_fd).collect()
}
