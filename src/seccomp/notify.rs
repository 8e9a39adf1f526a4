//! `SCMP_ACT_NOTIFY`: hands the notification descriptor to the profile's agent (config-linux.md, "The Container Process State").

use crate::sys;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Duration;

/// How long an agent may take to accept the connection and to make room for the state.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the agent listens, and what it is told besides the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// `linux.seccomp.listenerPath`: a stream socket.
    pub path: PathBuf,
    /// `linux.seccomp.listenerMetadata`, passed on as it is.
    pub metadata: Option<String>,
}

/// Sends one container process state (JSON, its `fds` being `["seccompFd"]`) with the notification descriptor in a
/// connection of its own, and closes the connection, as the spec demands.
pub fn send(listener: &Listener, fd: BorrowedFd<'_>, container_process_state: &str) -> sys::Result<()> {
    let agent = sys::stream::connect_to(&listener.path, PATIENCE)?;
    sys::stream::send_all(agent.as_fd(), container_process_state.as_bytes(), &[fd])
}
