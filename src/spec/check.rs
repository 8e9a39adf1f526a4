//! What runtime-spec 1.3 asks of a config.json beyond its types: a table of its MUSTs, one row a rule.

use crate::config::Config;
use crate::host::Host;
use anyhow::Result;

/// One thing that is wrong with a config.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: `mounts[7] (/data)`, `linux.sysctl.kernel.core_pattern`.
    pub place: String,
    /// What: small letters, no full stop.
    pub message: String,
    /// The section of the specification that says so: `config.md#mounts`.
    pub section: &'static str,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Everything that is wrong with `config` on `host`, in the order of the table.
pub fn problems(_config: &Config, _host: &Host) -> Vec<Problem> {
    Vec::new()
}

/// Refuses a wrong `config` with the first problem.
///
/// # Errors
/// `config.json: PLACE: MESSAGE`
pub fn check(config: &Config, host: &Host) -> Result<()> {
    match problems(config, host).into_iter().next() {
        None => Ok(()),
        Some(problem) => Err(anyhow::anyhow!("config.json: {problem}")),
    }
}
