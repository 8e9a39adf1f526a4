//! What a profile asks for, on this host: the program, the flags of seccomp(2), and the agent.

use super::{Listener, Program};
use crate::config;
use crate::host::Host;

/// Everything that loading the filter needs; nothing of it depends on the process that loads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The compiled filter.
    pub program: Program,
    /// Flags of seccomp(2), SECCOMP_FILTER_FLAG_NEW_LISTENER among them when a rule notifies.
    pub flags: u32,
    /// The agent, when a rule notifies.
    pub listener: Option<Listener>,
    /// What the profile asks for and nobody can grant: unknown system call names. Not an error (runc, crun).
    pub warnings: Vec<String>,
}

/// Compiles `profile`; an error names the place, as in `linux.seccomp.syscalls[3].args[0].op: ...`.
pub fn plan(profile: &config::Seccomp, host: &Host) -> anyhow::Result<Plan> {
    let _ = (profile, host);
    anyhow::bail!("linux.seccomp: not compiled yet")
}

impl Plan {
    /// The plan as bytes for the state directory, so that `exec` need not compile again.
    pub fn to_bytes(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Reads what [`Plan::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> anyhow::Result<Plan> {
        anyhow::bail!("seccomp.bpf: {} bytes are no filter", bytes.len())
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seccomp filter: {} instructions", self.program.0.len())
    }
}
