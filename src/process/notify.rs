//! NOTIFY_SOCKET (sd_notify(3)): a service manager's socket reaches into the container.

use anyhow::Result;
use std::path::PathBuf;

/// What the container gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The host's socket.
    pub source: PathBuf,
    /// Where it is bound in the container.
    pub destination: PathBuf,
}

/// Messages of the container on their way to the service manager.
#[derive(Debug)]
pub struct Relay {}

/// From the runtime's own environment; `None` without NOTIFY_SOCKET.
pub fn plan(notify_socket: Option<&str>) -> Result<Option<Plan>> {
    let _ = notify_socket;
    Ok(None)
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "notify socket {} at {}", self.source.display(), self.destination.display())
    }
}
