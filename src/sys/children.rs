//! Children of any kind: waitid(2) by number. One child that is known is waited for by its pidfd (`sys::pidfd`).

use super::{Asked, Result, checked};

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
