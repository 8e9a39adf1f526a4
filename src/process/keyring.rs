//! The session keyring `_ses.ID` of a container (session-keyring(7)): without one of its own the container could read the
//! keys of whoever started it. A process of `exec` joins the same one by its name.

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

/// Everything for the possessor; view, read, link, and beyond the kernel's default search for the user: without it a process of
/// `exec` would not find the keyring by its name and make another one.
const PERMISSIONS: u32 = 0x3f1b_0000;

/// Joins the keyring, or makes it. Where there are no keys (ENOSYS) or a filter around the runtime forbids them (EPERM,
/// EACCES), the container has none either and nothing is lost. A full quota is an error: the container would keep the
/// caller's keyring.
pub fn apply(plan: &Plan, procfs: &mut Option<Procfs>) -> Result<()> {
    const KEYCREATE: &str = "self/attr/keycreate";
    if let Some(label) = &plan.label {
        if procfs.is_none() {
            *procfs = Some(Procfs::open_processes()?);
        }
        if let Some(procfs) = procfs {
            procfs.write(KEYCREATE, label).context("process.selinuxLabel, for the session keyring")?;
        }
    }
    let joined = sys::keys::join_session(&plan.name);
    if let (Some(_), Some(procfs)) = (&plan.label, procfs) {
        procfs.write(KEYCREATE, "\0").context("process.selinuxLabel, for the session keyring")?;
    }
    match joined {
        // Zero: it is this process' session keyring already.
        Ok(0) => Ok(()),
        Ok(serial) => sys::keys::set_permissions(serial, PERMISSIONS).context("session keyring"),
        Err(error) if matches!(error.errno.0, libc::ENOSYS | libc::EPERM | libc::EACCES) => Ok(()),
        Err(error) if error.errno.0 == libc::EDQUOT => Err(error).context(
            "session keyring: this user has no room for keys (/proc/sys/kernel/keys/maxkeys), see --no-new-keyring",
        ),
        Err(error) => Err(error).context("session keyring"),
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "session keyring {}", self.name)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make their own trees, and nobody else is in them")]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_finds_the_same_keyring_by_its_name() {
        let said = sys::forked::in_child(|| {
            let plan = plan(&format!("test-{}", std::process::id()), false, None).unwrap();
            let join = || {
                sys::keys::join_session("somewhere else").map_err(|e| e.to_string())?;
                apply(&plan, &mut None).map_err(|e| format!("{e:#}"))?;
                sys::keys::join_session("somewhere else").map_err(|e| e.to_string())?;
                sys::keys::join_session(&plan.name).map_err(|e| e.to_string())
            };
            let (first, second) = (join()?, join()?);
            let described = sys::keys::describe(first).map_err(|e| e.to_string())?;
            Ok(format!("{} {}", first == second, described.split(';').nth(3).unwrap_or_default()))
        });
        assert_eq!(said.unwrap(), "true 3f1b0000");
    }

    #[test]
    fn the_keyring_of_a_labelled_process_is_made_with_the_label_and_later_keys_without() {
        let said = sys::forked::in_child(|| {
            let directory = tempfile::tempdir().map_err(|e| e.to_string())?;
            std::fs::create_dir_all(directory.path().join("self/attr")).map_err(|e| e.to_string())?;
            let file = directory.path().join("self/attr/keycreate");
            sys::files::create_new(&file, b"", 0o600).map_err(|e| e.to_string())?;
            let plan = plan(&format!("label-{}", std::process::id()), false, Some("u:r:t:s0")).unwrap();
            apply(&plan, &mut Some(Procfs::of_directory(directory.path()))).map_err(|e| format!("{e:#}"))?;
            sys::files::read_text(file).map_err(|e| e.to_string())
        });
        // A file of a directory keeps what procfs forgets: first the label, then the zero that ends it.
        assert_eq!(said.unwrap(), "\0:r:t:s0");
    }
}
