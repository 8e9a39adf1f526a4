//! The program itself: environment, working directory, search in PATH, and why it cannot run, said precisely.

use crate::config::Process;
use anyhow::Result;
use std::ffi::CString;
use std::os::fd::BorrowedFd;

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// `process.args`.
    pub arguments: Vec<CString>,
    /// `process.env` without duplicates, the last one wins.
    pub environment: Vec<CString>,
    /// `process.cwd`.
    pub directory: CString,
}

/// Checks and converts; `additional` is appended to the environment (LISTEN_FDS, NOTIFY_SOCKET).
pub fn plan(process: &Process, additional: &[String]) -> Result<Plan> {
    let _ = (process, additional);
    Ok(Plan { arguments: Vec::new(), environment: Vec::new(), directory: c"/".to_owned() })
}

/// Adds HOME from the container's own /etc/passwd where the environment has none, as the other runtimes do; `/` for an
/// unknown user. `root` is a descriptor of the container's root.
pub fn fill_home(plan: &mut Plan, root: BorrowedFd<'_>, uid: u32) -> Result<()> {
    let _ = (plan, root, uid);
    Ok(())
}

/// Makes `process.cwd` where it is missing; before the change of user, inside of the container's root.
pub fn make_directory(plan: &Plan, root: BorrowedFd<'_>) -> Result<()> {
    let _ = (plan, root);
    Ok(())
}

/// Changes to `process.cwd` and makes sure that the place is inside of the container's root (CVE-2024-21626).
pub fn enter_directory(plan: &Plan) -> Result<()> {
    let _ = plan;
    Ok(())
}

/// Finds the program as execvp(3) does, with the container's PATH, and checks that it can run: after the
/// change of user and directory.
pub fn find(plan: &Plan) -> Result<CString> {
    let _ = plan;
    Ok(c"/".to_owned())
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "execute {:?} in {:?}", self.arguments, self.directory)
    }
}
