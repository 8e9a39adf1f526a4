//! `process.terminal`: the pseudoterminal of the container, made from its own devpts, and standard streams.

use crate::config::{ConsoleSize, Process};
use anyhow::Result;
use std::os::fd::{BorrowedFd, OwnedFd};

/// What to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Rows and columns; the kernel's 0x0 when not given.
    pub size: Option<ConsoleSize>,
    /// Owner of the terminal inside of the container.
    pub uid: u32,
}

/// `None` for a process without a terminal. A size without a terminal is ignored (config.md, "consoleSize").
pub fn plan(process: &Process) -> Result<Option<Plan>> {
    Ok(process.terminal.then(|| Plan { size: process.console_size, uid: process.user.uid }))
}

/// Both ends of a pseudoterminal.
#[derive(Debug)]
pub struct Terminal {
    /// For the manager.
    pub master: OwnedFd,
    /// For the container.
    pub slave: OwnedFd,
}

/// Opens a pseudoterminal of the devpts that is mounted at dev/pts below `root` (an O_PATH or directory descriptor of
/// the container's root).
pub fn open(root: BorrowedFd<'_>, plan: &Plan) -> Result<Terminal> {
    let _ = (root, plan);
    anyhow::bail!("not yet")
}

/// Makes the slave the controlling terminal and the standard streams of the calling process, in a session of its own.
pub fn attach(slave: &OwnedFd) -> Result<()> {
    let _ = slave;
    Ok(())
}

/// Where a standard stream of the caller is the host's /dev/null, opens the container's instead, after a check that it is
/// the null device (CVE-2025-31133): no descriptor of the host's files stays inside.
pub fn reopen_null(root: BorrowedFd<'_>) -> Result<()> {
    let _ = root;
    Ok(())
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.size {
            Some(size) => writeln!(f, "terminal owner={} size={}x{}", self.uid, size.width, size.height),
            None => writeln!(f, "terminal owner={}", self.uid),
        }
    }
}
