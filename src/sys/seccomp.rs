//! seccomp(2): loads a filter program for the calling thread and asks what the kernel knows.

use super::{Asked, Result, checked};
use std::os::fd::{FromRawFd, OwnedFd};

/// One BPF instruction as the kernel wants it (linux/filter.h, `struct sock_filter`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when the comparison holds.
    pub jump_true: u8,
    /// Instructions to skip when it does not.
    pub jump_false: u8,
    /// Operand.
    pub operand: u32,
}

/// SECCOMP_FILTER_FLAG_TSYNC: all threads of the process.
pub const FLAG_TSYNC: u32 = 1;
/// SECCOMP_FILTER_FLAG_LOG: log every action except allow.
pub const FLAG_LOG: u32 = 1 << 1;
/// SECCOMP_FILTER_FLAG_SPEC_ALLOW: no Speculative Store Bypass mitigation.
pub const FLAG_SPEC_ALLOW: u32 = 1 << 2;
/// SECCOMP_FILTER_FLAG_NEW_LISTENER: the call returns a notification descriptor.
pub const FLAG_NEW_LISTENER: u32 = 1 << 3;
/// SECCOMP_FILTER_FLAG_TSYNC_ESRCH: with a listener, a failed TSYNC is ESRCH and not a thread id (Linux 5.7).
pub const FLAG_TSYNC_ESRCH: u32 = 1 << 4;
/// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: a received notification waits for its answer even when signals come (Linux 5.19).
pub const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// Loads `program` for this process; with [`FLAG_NEW_LISTENER`] the notification descriptor (close-on-exec) comes back.
pub fn set_mode_filter(program: &[Instruction], flags: u32) -> Result<Option<OwnedFd>> {
    let told = || format!("seccomp SET_MODE_FILTER, {} instructions, flags {flags:#x}", program.len());
    let wanted = libc::sock_fprog {
        // More than 65535 instructions: the kernel's limit is 4096, and a length of 0 is its EINVAL.
        len: u16::try_from(program.len()).unwrap_or(0),
        filter: program.as_ptr().cast_mut().cast::<libc::sock_filter>(),
    };
    // SAFETY: `wanted` and the `len` instructions it points to outlive the call, the kernel only reads them, and
    // `Instruction` has the layout of struct sock_filter.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::c_long::from(libc::SECCOMP_SET_MODE_FILTER),
            libc::c_long::from(flags),
            &raw const wanted,
        )
    };
    let fd = checked(returned).asked(told)?;
    if flags & FLAG_NEW_LISTENER == 0 {
        return Ok(None);
    }
    // SAFETY: with the listener flag the kernel returned a new descriptor that nobody else owns.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
}

/// True when the kernel knows all of these filter flags: with a null program a known flag gives EFAULT, an unknown one EINVAL.
pub fn knows_flags(flags: u32) -> bool {
    // SAFETY: the kernel reads nothing but the null pointer, which it answers with EFAULT.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::c_long::from(libc::SECCOMP_SET_MODE_FILTER),
            libc::c_long::from(flags),
            std::ptr::null::<libc::sock_fprog>(),
        )
    };
    returned < 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

/// True when the kernel knows this filter return value (SECCOMP_GET_ACTION_AVAIL, Linux 4.14).
pub fn knows_action(action: u32) -> bool {
    // SAFETY: the kernel reads one u32 that outlives the call.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::c_long::from(libc::SECCOMP_GET_ACTION_AVAIL),
            0 as libc::c_long,
            &raw const action,
        )
    };
    returned == 0
}
