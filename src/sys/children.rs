//! Children of any kind: waitid(2) by number. One child that is known is waited for by its pidfd (`sys::pidfd`).

use super::{Asked, Errno, Error, Result, checked, limits, umask};
use std::ffi::{CStr, CString};

/// The number of a child that has ended and not been reaped; it stays to be reaped. `None` while all of them live.
pub fn ended() -> Result<Option<i32>> {
    // SAFETY: all zeros is a valid siginfo_t: plain numbers.
    let mut status: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the pointer is to a live siginfo_t.
    let returned = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut status, options) };
    checked(returned.into()).asked(|| "waitid P_ALL".to_owned())?;
    // SAFETY: waitid fills the fields of SIGCHLD, and with WNOHANG and no ended child leaves the zeros.
    let pid = unsafe { status.si_pid() };
    Ok((pid != 0).then_some(pid))
}

/// Reaps an ended child and forgets how it ended.
pub fn reap(pid: i32) -> Result<()> {
    let mut status = 0;
    // SAFETY: the pointer is to a live number.
    let returned = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) };
    checked(returned.into()).asked(|| format!("waitpid {pid}")).map(drop)
}

/// Kills every process of a process group; one that is gone already is no error.
pub fn kill_group(leader: i32) {
    // SAFETY: kill(2) takes two numbers; a leader of 2 or more never means "everybody".
    unsafe { libc::kill(-leader.max(2), libc::SIGKILL) };
}

/// execve(2) with the caller's own limit of files and umask; comes back only with the reason why not.
pub fn execute(path: &CStr, arguments: &[CString], environment: &[CString]) -> Error {
    umask::give_back();
    if let Err(error) = limits::give_back_files() {
        return error;
    }
    let arguments: Vec<_> = pointers(arguments).collect();
    let environment: Vec<_> = pointers(environment).collect();
    // SAFETY: both lists end in a null pointer and point to strings that live until the call is over.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL);
    Error { call: format!("execve {}", path.to_string_lossy()), errno: Errno(errno) }
}

/// A list as execve(2) takes it, with the null pointer at its end.
pub(super) fn pointers(strings: &[CString]) -> impl Iterator<Item = *const libc::c_char> + '_ {
    strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()])
}
