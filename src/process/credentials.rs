//! `process.user`: user, groups and umask, by number only: a name in the image's /etc/passwd is never looked up
//! (CVE-2016-3697).
//!
//! The supplementary groups become exactly `additionalGids`; nothing of the caller's survives, the primary group is not
//! added and not taken away (CVE-2022-2989).

use crate::config::User;
use crate::sys::{self, credentials};
use anyhow::{Result, bail};

/// Who the process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Real, effective and saved user.
    pub uid: u32,
    /// Real, effective and saved group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// File mode mask.
    pub umask: u32,
}

/// Checks the numbers: the largest of 32 bits means "no change" to the kernel (CVE-2024-40635).
pub fn plan(user: &User) -> Result<Plan> {
    let numbers = [("uid", user.uid), ("gid", user.gid)].into_iter().map(|(name, id)| (name.to_owned(), id));
    let groups = user.additional_gids.iter().enumerate();
    let groups = groups.map(|(index, &id)| (format!("additionalGids[{index}]"), id));
    for (name, id) in numbers.chain(groups) {
        if id == u32::MAX {
            bail!("process.user.{name}: {id} is no id: the kernel reads it as \"no change\"");
        }
    }
    let umask = user.umask.unwrap_or(0o022);
    if umask > 0o777 {
        bail!("process.user.umask: {umask} (octal {umask:o}) has bits beyond 0777");
    }
    Ok(Plan { uid: user.uid, gid: user.gid, groups: user.additional_gids.clone(), umask })
}

/// Becomes that user. The groups go first: after the change of user nothing may be changed any more.
pub fn apply(plan: &Plan) -> Result<()> {
    set_groups(&plan.groups)?;
    credentials::set_gid(plan.gid)?;
    credentials::set_uid(plan.uid)?;
    credentials::set_umask(plan.umask);
    Ok(())
}

/// A user namespace made without privileges denies setgroups (user_namespaces(7)): an error only where groups were asked for.
fn set_groups(groups: &[u32]) -> Result<()> {
    match credentials::set_groups(groups) {
        Err(error) if error.errno.0 == libc::EPERM && groups.is_empty() => Ok(()),
        Err(error) if error.errno.0 == libc::EPERM => Err(denied(error)),
        other => Ok(other?),
    }
}

fn denied(error: sys::Error) -> anyhow::Error {
    anyhow::Error::new(error).context(
        "process.user.additionalGids: this user namespace denies groups, its gid map was not made by newgidmap",
    )
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "user uid={} gid={} groups={:?} umask={:04o}", self.uid, self.gid, self.groups, self.umask)
    }
}
