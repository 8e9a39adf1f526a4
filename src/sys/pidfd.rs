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
    /// Reads a status as wait(2) gives it.
    fn from_status(status: i32) -> Ended {
        match libc::WIFSIGNALED(status) {
            true => Ended::Signaled(libc::WTERMSIG(status)),
            false => Ended::Exited(libc::WEXITSTATUS(status)),
        }
    }

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

/// How a process ended, told to whoever holds a pidfd that was opened before it was reaped (PIDFD_GET_INFO with
/// PIDFD_INFO_EXIT, ioctl_pidfd(2), Linux 6.15). `None` until its parent has reaped it, and on an older kernel.
pub fn exit_info(pidfd: impl AsFd) -> Option<Ended> {
    // SAFETY: an all-zero pidfd_info is a valid value.
    let mut info: libc::pidfd_info = unsafe { std::mem::zeroed() };
    info.mask = libc::PIDFD_INFO_EXIT.into();
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open for the whole call; the kernel writes at most the size of `info`, which is part of the
    // request's number.
    let returned = unsafe { libc::ioctl(fd, libc::PIDFD_GET_INFO, &raw mut info) };
    let told = returned == 0 && info.mask & u64::from(libc::PIDFD_INFO_EXIT) != 0;
    told.then(|| Ended::from_status(info.exit_code))
}

/// How a process ended that its parent has not reaped yet, and its start time (proc_pid_stat(5), fields 52 and 22). `None`
/// for any other process, and for one whose status we may not see: the kernel shows 0 instead.
pub fn unreaped(pid: i32) -> Option<(u64, Ended)> {
    // The same permission is needed for this link. A zombie has no working directory, so ENOENT is a yes.
    let allowed = rustix::fs::readlink(format!("/proc/{pid}/cwd"), Vec::new());
    if !matches!(allowed, Ok(_) | Err(rustix::io::Errno::NOENT)) {
        return None;
    }
    let fields = Fields::read(pid).ok()?;
    let status = fields.number(52)?;
    (fields.state()? == 'Z').then_some((fields.number(22)?, Ended::from_status(status as i32)))
}

/// State letter and start time (clock ticks since boot) of a process, from /proc/PID/stat (proc_pid_stat(5), 3 and 22).
pub fn stat(pid: i32) -> Result<(char, u64)> {
    let fields = Fields::read(pid)?;
    match (fields.state(), fields.number(22)) {
        (Some(state), Some(start)) => Ok((state, start)),
        _ => Err(Error { call: format!("read /proc/{pid}/stat"), errno: Errno(libc::EIO) }),
    }
}

/// The parent of a process (proc_pid_stat(5), field 4); `None` when it is gone.
pub fn parent(pid: i32) -> Option<i32> {
    Fields::read(pid).ok()?.number(4)?.try_into().ok()
}

/// True when a process has begun to end, which may take its time: init waits for all of its pid namespace (PF_EXITING of
/// include/linux/sched.h in proc_pid_stat(5), field 9), or when it has ended.
pub fn is_exiting(pid: i32) -> bool {
    const PF_EXITING: u64 = 0x4;
    Fields::read(pid).ok().and_then(|fields| fields.number(9)).is_none_or(|flags| flags & PF_EXITING != 0)
}

/// The fields of /proc/PID/stat behind the second one, which is the command in parentheses and may hold anything, also
/// blanks and parentheses.
struct Fields(String);

impl Fields {
    fn read(pid: i32) -> Result<Fields> {
        let text = files::read_text(format!("/proc/{pid}/stat"))?;
        Ok(Fields(text.rsplit_once(')').map_or("", |(_, rest)| rest).to_owned()))
    }

    fn state(&self) -> Option<char> {
        self.0.split_whitespace().next()?.chars().next()
    }

    /// A field by its number in the manual page, from 4 on.
    fn number(&self, number: usize) -> Option<u64> {
        self.0.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::forked;

    #[test]
    fn anybody_with_a_pidfd_learns_how_a_process_ended_before_and_after_it_is_reaped() {
        for (script, expected) in [("exit 7", Ended::Exited(7)), ("kill -9 $$", Ended::Signaled(9))] {
            let pid = forked::start(|| {
                use std::os::unix::process::CommandExt;
                std::process::Command::new("/bin/sh").args(["-c", script]).exec().to_string()
            });
            let pidfd = open(pid).unwrap();
            let start = stat(pid).unwrap().1;
            assert!(wait_end(&pidfd, -1).unwrap());
            assert!(is_exiting(pid) && !is_exiting(std::process::id() as i32), "{script}");
            assert_eq!(exit_info(&pidfd), None, "{script}");
            assert_eq!(unreaped(pid), Some((start, expected)), "{script}");
            assert_eq!(reap(&pidfd).unwrap(), expected, "{script}");
            assert_eq!(unreaped(pid), None, "{script}");
            let release = rustix::system::uname().release().to_string_lossy().into_owned();
            let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
            let known = (parts.next(), parts.next()) >= (Some(6), Some(15));
            assert_eq!(exit_info(&pidfd), known.then_some(expected), "{script}");
        }
        let own = open(std::process::id() as i32).unwrap();
        assert_eq!((exit_info(&own), unreaped(std::process::id() as i32)), (None, None));
    }
}
