//! The kernel, one function per system call, and the only place where `unsafe` may stand.
//!
//! A call fails with what was asked, as strace would print it, and the kernel's answer in lower case as Go prints it:
//! the docker CLI compares these words case-sensitively. The text is built only when something fails.
#![allow(unsafe_code)]

pub mod bpf;
pub mod cgroupfs;
pub mod channel;
pub mod children;
pub mod clock;
pub mod clone;
pub mod credentials;
pub mod descriptors;
pub mod errno;
pub mod eventfd;
#[cfg(feature = "image")]
mod file_memory;
pub mod files;
#[cfg(test)]
pub(crate) mod forked;
pub mod keys;
pub mod landlock;
pub mod launcher;
pub mod limits;
pub mod memory;
pub mod mount;
pub mod netlink;
pub mod nodes;
pub mod own_program;
pub mod pidfd;
pub mod proc;
pub mod procfs;
pub mod program;
pub mod reach;
pub mod resolver;
pub mod scheduling;
pub mod seccomp;
pub mod signalfd;
pub mod signals;
pub mod stand_in;
pub mod stream;
pub mod timed_stream;
pub mod umask;
#[cfg(feature = "image")]
pub(crate) mod zstd;

pub use errno::Errno;

/// A failed system call: what was asked, and what the kernel answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The call as strace would print it, without the result: `openat2 /etc/passwd`.
    pub call: String,
    /// The kernel's answer.
    pub errno: Errno,
}

/// Result of a system call.
pub type Result<T> = std::result::Result<T, Error>;

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.call, self.errno)
    }
}

impl std::error::Error for Error {}

/// Adds to a bare errno what was asked; the text is made only on failure.
pub trait Asked<T> {
    /// Names the call that failed.
    fn asked<F: FnOnce() -> String>(self, call: F) -> Result<T>;
}

impl<T> Asked<T> for std::result::Result<T, rustix::io::Errno> {
    fn asked<F: FnOnce() -> String>(self, call: F) -> Result<T> {
        self.map_err(|errno| Error { call: call(), errno: Errno(errno.raw_os_error()) })
    }
}

impl<T> Asked<T> for std::io::Result<T> {
    fn asked<F: FnOnce() -> String>(self, call: F) -> Result<T> {
        self.map_err(|error| Error { call: call(), errno: Errno(error.raw_os_error().unwrap_or(libc::EIO)) })
    }
}

/// A failed call with what can be done about it.
#[derive(Debug, Clone)]
pub struct Hinted {
    /// What failed.
    pub error: Error,
    /// What can be done, or what it may mean.
    pub hint: String,
}

impl std::fmt::Display for Hinted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; hint: {}", self.error, self.hint)
    }
}

impl std::error::Error for Hinted {}

/// The system call at the bottom of an error, if one failed.
pub fn failed_call<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    error.downcast_ref::<Error>().or_else(|| error.downcast_ref::<Hinted>().map(|hinted| &hinted.error))
}

/// Its errno.
pub fn errno_of(error: &anyhow::Error) -> Option<Errno> {
    error.chain().find_map(failed_call).map(|e| e.errno)
}

/// What helps against the errno of an error wherever it comes from.
pub fn general_hint(error: &anyhow::Error) -> Option<String> {
    if errno_of(error)? != Errno(libc::EMFILE) {
        return None;
    }
    let (files, _) = limits::get(libc::RLIMIT_NOFILE).ok()?;
    Some(format!("raise the limit of open files, which is {files} (ulimit -Hn, RLIMIT_NOFILE)"))
}

/// Turns the return value of a raw `libc::syscall` into a result.
pub(crate) fn checked(returned: libc::c_long) -> std::io::Result<libc::c_long> {
    if returned < 0 { Err(std::io::Error::last_os_error()) } else { Ok(returned) }
}
