//! Signals as messages (signalfd(2)): a program that waits for a child reads what it is sent, and passes it on.

use super::{Asked, Result, checked};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// Signals that ask a foreground program for something.
const PASSED_ON: &[i32] = &[
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
    libc::SIGCONT,
];

/// A signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Came {
    /// Its number.
    pub signal: i32,
    /// The kernel sent it (a key on the terminal): the whole foreground process group got it, children too.
    pub from_kernel: bool,
}

/// Blocks the signals that ask a foreground program for something; they arrive at the descriptor instead.
pub fn block() -> Result<OwnedFd> {
    // SAFETY: an all-zero sigset_t is a valid value, and the calls below fill it.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is a sigset_t of ours.
    unsafe { libc::sigemptyset(&mut set) };
    for signal in PASSED_ON {
        // SAFETY: `set` is initialised, the number is a signal's.
        unsafe { libc::sigaddset(&mut set, *signal) };
    }
    // SAFETY: `set` is initialised; a null old set means that it is not wanted.
    let blocked = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
    if blocked != 0 {
        return Err(std::io::Error::from_raw_os_error(blocked)).asked(|| "sigprocmask SIG_BLOCK".to_owned());
    }
    // SAFETY: -1 makes a new descriptor; `set` is initialised.
    let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    checked(fd.into()).asked(|| "signalfd".to_owned())?;
    // SAFETY: the kernel just made this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The next signal, if one waits.
pub fn next(descriptor: impl AsFd) -> Result<Option<Came>> {
    // SAFETY: an all-zero signalfd_siginfo is a valid value.
    let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
    let size = std::mem::size_of::<libc::signalfd_siginfo>();
    let fd = descriptor.as_fd().as_raw_fd();
    // SAFETY: `info` is a live buffer of exactly `size` bytes, and the kernel fills in whole records.
    let count = unsafe { libc::read(fd, (&raw mut info).cast(), size) };
    match checked(count as libc::c_long) {
        Ok(_) => Ok(Some(Came { signal: info.ssi_signo as i32, from_kernel: info.ssi_code == libc::SI_KERNEL })),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error).asked(|| "read signalfd".to_owned()),
    }
}
