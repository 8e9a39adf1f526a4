//! Foreground `run` and `exec`: passes signals on, relays the terminal, reaps, and answers with the exit code.

use anyhow::Result;
use std::os::fd::OwnedFd;

/// How the process is looked after.
#[derive(Debug, Default)]
pub struct Options {
    /// The master of the process' terminal: standard input and output are relayed.
    pub terminal: Option<OwnedFd>,
    /// A socket on which the container says that it is ready (NOTIFY_SOCKET).
    pub notify: Option<crate::process::notify::Relay>,
}

/// Signals that have arrived before [`Supervisor::supervise`] wait; made before the clone, so that none is lost.
#[derive(Debug)]
pub struct Supervisor {
    _signals: OwnedFd,
}

impl Supervisor {
    /// Blocks the signals that are to be passed on; as a subreaper also orphans of the container come to us.
    pub fn prepare(subreaper: bool) -> Result<Supervisor> {
        let _ = subreaper;
        anyhow::bail!("not yet")
    }

    /// Looks after `pid` until it ends: its exit code, or 128 and the signal that ended it.
    pub fn supervise(self, pidfd: &OwnedFd, pid: i32, options: Options) -> Result<i32> {
        let _ = (pidfd, pid, options);
        Ok(0)
    }
}

/// Default actions and an empty mask, for the container's process: it inherits both otherwise.
pub fn reset() -> Result<()> {
    Ok(())
}
