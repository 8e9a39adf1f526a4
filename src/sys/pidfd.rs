//! Processes by descriptor: what a pidfd names cannot become another process, a number can.

use super::{Asked, Errno, Error, Result, checked, files};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// Opens a process by its number (pidfd_open(2)).
pub fn open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: pidfd_open(2) takes two numbers.
    let fd = checked(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }).asked(|| format!("pidfd_open {pid}"))?;
    // SAFETY: the kernel just made this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Sends a signal to the process (pidfd_send_signal(2)); a process that has ended is ESRCH.
pub fn send_signal(pidfd: impl AsFd, signal: i32) -> Result<()> {
    let fd = pidfd.as_fd().as_raw_fd();
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open for the whole call; a null siginfo means "as kill(2) would".
    let returned = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, none, 0) };
    checked(returned).asked(|| format!("pidfd_send_signal {signal}")).map(drop)
}

/// Waits until the process has ended; false when `timeout_ms` went by first (-1: no limit).
pub fn wait_end(pidfd: impl AsFd, timeout_ms: i32) -> Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let limit =
        (timeout_ms >= 0).then(|| std::time::Instant::now() + std::time::Duration::from_millis(timeout_ms as u64));
    loop {
        let left = limit.map(|l| l.saturating_duration_since(std::time::Instant::now()));
        let spec = left.map(|l| Timespec { tv_sec: l.as_secs() as i64, tv_nsec: l.subsec_nanos() as i64 });
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        match poll(&mut fds, spec.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).asked(|| "poll pidfd".to_owned()),
        }
    }
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// exit(2) with this status.
    Exited(i32),
    /// This signal.
    Signaled(i32),
}

impl Ended {
    /// The exit code as shells give it: the status, or 128 and the signal.
    pub fn code(self) -> i32 {
        match self {
            Ended::Exited(status) => status,
            Ended::Signaled(signal) => 128 + signal,
        }
    }
}

/// Reaps a child of ours (waitid(2), P_PIDFD); blocks until it has ended.
pub fn reap(pidfd: impl AsFd) -> Result<Ended> {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    loop {
        match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(status)) => {
                let signal = status.terminating_signal();
                return Ok(signal.map_or(Ended::Exited(status.exit_status().unwrap_or(255)), Ended::Signaled));
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).asked(|| "waitid".to_owned()),
        }
    }
}

/// State letter and start time (clock ticks since boot) of a process, from /proc/PID/stat (proc_pid_stat(5), 3 and 22).
pub fn stat(pid: i32) -> Result<(char, u64)> {
    let text = files::read_text(format!("/proc/{pid}/stat"))?;
    // The second field is the command in parentheses and may hold anything, also blanks and parentheses.
    let mut fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let state = fields.next().and_then(|f| f.chars().next());
    let start = fields.nth(18).and_then(|f| f.parse().ok());
    match (state, start) {
        (Some(state), Some(start)) => Ok((state, start)),
        _ => Err(Error { call: format!("read /proc/{pid}/stat"), errno: Errno(libc::EIO) }),
    }
}
