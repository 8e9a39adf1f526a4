//! New processes and namespaces: clone3(2), unshare(2), setns(2).

use super::{Asked, Result, checked};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

// linux/sched.h; libc's constants of these two do not fit their type (rust-lang/libc#3584).
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A process that we made.
#[derive(Debug)]
pub struct Child {
    /// Its number in our pid namespace.
    pub pid: i32,
    /// What names it for good.
    pub pidfd: OwnedFd,
}

/// Who returns from [`clone3`].
#[derive(Debug)]
pub enum Cloned {
    /// The caller.
    Parent(Child),
    /// The new process.
    Child,
}

/// Clones this process like fork(2), with CLONE_PIDFD, into the namespaces of `flags` (CLONE_NEW*) and, on cgroup v2,
/// into the cgroup that `cgroup` opens. `CLONE_PARENT` in `flags` makes a sibling.
///
/// The child runs with a copy of everything: the caller must be single-threaded, which this program is.
pub fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let signal = if flags & libc::CLONE_PARENT as u64 != 0 { 0 } else { libc::SIGCHLD as u64 };
    // CLONE_CLEAR_SIGHAND: handlers that the caller installed must not run in the container's process.
    let mut all = flags | libc::CLONE_PIDFD as u64 | CLONE_CLEAR_SIGHAND;
    if cgroup.is_some() {
        all |= CLONE_INTO_CGROUP;
    }
    let arguments = libc::clone_args {
        flags: all,
        pidfd: &raw mut pidfd as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: signal,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    // SAFETY: without CLONE_VM and with no new stack this is fork(2): the child gets a copy of the address space and
    // of this stack, and the process has one thread, so no lock can be held by a thread that the child lacks.
    let pid = checked(unsafe {
        libc::syscall(libc::SYS_clone3, &raw const arguments, std::mem::size_of::<libc::clone_args>())
    })
    .asked(|| format!("clone3 {}", flag_names(flags)))?;
    if pid == 0 {
        return Ok(Cloned::Child);
    }
    // SAFETY: CLONE_PIDFD succeeded, so the kernel stored a new descriptor here that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Cloned::Parent(Child { pid: pid as i32, pidfd }))
}

/// Leaves the namespaces named by `flags` for new ones.
pub fn unshare(flags: u64) -> Result<()> {
    // SAFETY: unshare(2) takes a number; this process is single-threaded, and memory is not affected by CLONE_NEW* flags.
    let returned = unsafe { libc::syscall(libc::SYS_unshare, flags as libc::c_ulong) };
    checked(returned).asked(|| format!("unshare {}", flag_names(flags))).map(drop)
}

/// Enters the namespace that `fd` opens; `flags` is its kind (CLONE_NEW*), or with a pidfd the kinds to enter at once.
pub fn setns(fd: impl AsFd, flags: u64) -> Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: setns(2) takes a descriptor that is open for the whole call, and a number.
    let returned = unsafe { libc::syscall(libc::SYS_setns, fd, flags as libc::c_int) };
    checked(returned).asked(|| format!("setns {}", flag_names(flags))).map(drop)
}

/// The kind (CLONE_NEW*) of the namespace that `fd` opens (ioctl_ns(2), NS_GET_NSTYPE).
pub fn namespace_kind(fd: impl AsFd) -> Result<u64> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: NS_GET_NSTYPE takes no argument; on a descriptor that is no namespace it is ENOTTY.
    let returned = unsafe { libc::syscall(libc::SYS_ioctl, fd, NS_GET_NSTYPE) };
    checked(returned).asked(|| "ioctl NS_GET_NSTYPE".to_owned()).map(|kind| kind as u64)
}

/// `CLONE_NEWNS|CLONE_NEWPID`, as strace prints it.
fn flag_names(flags: u64) -> String {
    const NAMES: &[(i32, &str)] = &[
        (libc::CLONE_NEWTIME, "CLONE_NEWTIME"),
        (libc::CLONE_NEWNS, "CLONE_NEWNS"),
        (libc::CLONE_NEWCGROUP, "CLONE_NEWCGROUP"),
        (libc::CLONE_NEWUTS, "CLONE_NEWUTS"),
        (libc::CLONE_NEWIPC, "CLONE_NEWIPC"),
        (libc::CLONE_NEWUSER, "CLONE_NEWUSER"),
        (libc::CLONE_NEWPID, "CLONE_NEWPID"),
        (libc::CLONE_NEWNET, "CLONE_NEWNET"),
        (libc::CLONE_PARENT, "CLONE_PARENT"),
    ];
    let names: Vec<&str> = NAMES.iter().filter(|(flag, _)| flags & *flag as u64 != 0).map(|(_, name)| *name).collect();
    if names.is_empty() { "0".to_owned() } else { names.join("|") }
}
