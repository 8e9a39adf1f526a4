//! `linux.personality`: the execution domain (personality(2)).

use crate::config::Personality;
use crate::sys;
use anyhow::{Context, Result, bail};

/// The domain as the kernel numbers it (include/uapi/linux/personality.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// PER_LINUX or PER_LINUX32.
    pub domain: u32,
}

/// Checks the words. The spec reserves `flags` and names none yet.
pub fn plan(asked: &Personality) -> Result<Plan> {
    let domain = match asked.domain.as_str() {
        "LINUX" => 0,
        "LINUX32" => 8,
        other => bail!("linux.personality.domain: unknown domain {other:?}, the spec has LINUX and LINUX32"),
    };
    if let Some(flag) = asked.flags.first() {
        bail!("linux.personality.flags[0]: unknown flag {flag:?}, the spec has none");
    }
    Ok(Plan { domain })
}

/// Sets it for the calling process; execve keeps it.
pub fn apply(plan: &Plan) -> Result<()> {
    sys::scheduling::set_personality(plan.domain).context("linux.personality")
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "personality {}", if self.domain == 0 { "LINUX" } else { "LINUX32" })
    }
}
