//! `process.user`: user, groups and umask, by number only: a name in the image's /etc/passwd is never looked up
//! (CVE-2016-3697).
//!
//! The supplementary groups become exactly `additionalGids`; nothing of the caller's survives, the primary group is not
//! added and not taken away (CVE-2022-2989).

use crate::config::User;
use crate::sys::{self, credentials, umask};
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
    umask::set(plan.umask);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::forked::in_child;

    fn user(json: &str) -> User {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn numbers_that_are_no_ids_are_refused() {
        let rows = [
            ("{}", "user uid=0 gid=0 groups=[] umask=0022"),
            (
                r#"{"uid": 1, "gid": 2, "additionalGids": [3, 4], "umask": 63}"#,
                "user uid=1 gid=2 groups=[3, 4] umask=0077",
            ),
            (r#"{"uid": 4294967295}"#, "process.user.uid: 4294967295 is no id: the kernel reads it as \"no change\""),
            (
                r#"{"additionalGids": [1, 4294967295]}"#,
                "process.user.additionalGids[1]: 4294967295 is no id: the kernel reads it as \"no change\"",
            ),
            (r#"{"umask": 512}"#, "process.user.umask: 512 (octal 1000) has bits beyond 0777"),
        ];
        for (json, expected) in rows {
            let shown = plan(&user(json)).map_or_else(|e| e.to_string(), |plan| plan.to_string().trim_end().to_owned());
            assert_eq!(shown, expected);
        }
    }

    #[test]
    fn ids_groups_and_umask_are_exactly_those() {
        let said = in_child(|| {
            let json = r#"{"uid": 1234, "gid": 77, "additionalGids": [5, 6], "umask": 7}"#;
            apply(&plan(&user(json)).unwrap()).map_err(|error| format!("{error:#}"))?;
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let lines = status.lines().filter(|l| ["Uid", "Gid", "Groups", "Umask"].iter().any(|n| l.starts_with(n)));
            Ok(lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("; "))
        });
        assert_eq!(said.unwrap(), "Umask: 0007; Uid: 1234 1234 1234 1234; Gid: 77 77 77 77; Groups: 5 6");
    }

    #[test]
    fn denied_groups_matter_only_where_groups_were_asked_for() {
        for (groups, expected) in
            [("[]", "ok"), ("[5]", "process.user.additionalGids: this user namespace denies groups")]
        {
            let said = in_child(|| {
                crate::sys::clone::unshare(libc::CLONE_NEWUSER as u64).map_err(|e| e.to_string())?;
                let plan = plan(&user(&format!("{{\"additionalGids\": {groups}}}"))).unwrap();
                let done = set_groups(&plan.groups);
                Ok(done.map_or_else(|error| format!("{error:#}"), |()| "ok".to_owned()))
            });
            let said = said.unwrap();
            assert!(said.starts_with(expected), "{said}");
        }
    }
}
