//! What init and the process of `exec` share: from a process of the runtime to one that only lacks its program.

use super::plan::Plan;
use super::terminal::Terminal;
use super::{
    capabilities, credentials, descriptors, execute, keyring, landlock, limits, lsm, memory_policy, personality,
    scheduling, signals, terminal,
};
use crate::sys::launcher::{self, Label, Launcher};
use crate::sys::procfs::Procfs;
use crate::sys::{self, proc};
use anyhow::Result;
use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};

/// A process that only lacks its program.
#[derive(Debug)]
pub(super) struct Settled {
    launcher: Launcher,
    program: CString,
    /// Kept open for the launcher, which writes the label.
    _procfs: Option<Procfs>,
    landlock: Option<OwnedFd>,
    execute: execute::Plan,
    /// What it has before the last change of capabilities.
    capabilities: sys::credentials::Sets,
}

/// Takes the process through everything that `create` promises. `root` opens the container's root, `terminal` is its
/// console, and `outcome` is where a failed execve is told.
///
/// The order matters:
/// * what makes files of its own (launcher, keyring, home) comes before limits, which may forbid it;
/// * limits, scheduling and devices need the capabilities that go with the change of user;
/// * no_new_privs comes before the filter that relies on it;
/// * the directory is entered as the user where root may not (NFS), and the program is looked for as the user.
pub(super) fn settle(
    plan: &Plan,
    root: BorrowedFd<'_>,
    terminal: Option<&Terminal>,
    outcome: BorrowedFd<'_>,
) -> Result<Settled> {
    let mut procfs = plan.label.as_ref().map(|_| Procfs::open_processes()).transpose()?;
    if let Some(keyring) = &plan.keyring {
        keyring::apply(keyring, &mut procfs)?;
    }
    if let (Some(label), Some(procfs)) = (&plan.label, &procfs) {
        lsm::check(label, procfs)?;
    }
    let launcher = launcher(plan, procfs.as_ref(), outcome)?;
    signals::let_file_size_end()?;
    let landlock = plan.landlock.as_ref().map(landlock::prepare).transpose()?;
    match terminal {
        Some(terminal) => terminal::attach(&terminal.slave)?,
        None => {
            terminal::reopen_null(root)?;
            terminal::own_streams(plan.credentials.uid);
        }
    }
    let mut execute = plan.execute.clone();
    descriptors::name_receiver(&plan.descriptors, &mut execute.environment);
    execute::fill_home(&mut execute, root, plan.credentials.uid)?;
    execute::make_directory(&execute, root)?;
    scheduling::apply(&plan.scheduling)?;
    if let Some(personality) = &plan.personality {
        personality::apply(personality)?;
    }
    if let Some(policy) = &plan.memory_policy {
        memory_policy::apply(policy)?;
    }
    let entered = execute::try_enter_directory(&execute)?;
    limits::apply(&plan.limits)?;
    let capabilities = become_user(plan)?;
    if !entered {
        execute::enter_directory(&execute)?;
    }
    let program = execute::find(&execute)?;
    Ok(Settled { launcher, program, _procfs: procfs, landlock, execute, capabilities })
}

fn launcher(plan: &Plan, procfs: Option<&Procfs>, outcome: BorrowedFd<'_>) -> Result<Launcher> {
    let words = plan
        .label
        .as_ref()
        .map(|label| Ok::<_, anyhow::Error>((CString::new(label.file)?, CString::new(label.text.as_str())?)));
    let words = words.transpose()?;
    let label = match (procfs, &words) {
        (Some(procfs), Some((file, text))) => Some(Label { procfs, file, text }),
        _ => None,
    };
    Ok(Launcher::new(&launcher::Options { label, outcome: Some(outcome) })?)
}

fn become_user(plan: &Plan) -> Result<sys::credentials::Sets> {
    if plan.no_new_privileges {
        sys::credentials::set_no_new_privileges()?;
    }
    capabilities::drop_bounding(&plan.capabilities)?;
    capabilities::keep()?;
    credentials::apply(&plan.credentials)?;
    // The change of user made the kernel forget both.
    proc::die_with_parent()?;
    proc::hide()?;
    let raised = capabilities::raise()?;
    if !plan.filter_before_capabilities() {
        capabilities::apply_final(&plan.capabilities, raised)?;
        // A process without capabilities that it had may be traced again: commit_creds() resets this too.
        proc::hide()?;
    }
    Ok(raised)
}

impl Settled {
    /// Restricts what the process may reach, then loads the filter, which could forbid the former; a listener is for the
    /// agent.
    pub(super) fn confine(&self, plan: &Plan) -> Result<Option<OwnedFd>> {
        if let Some(ruleset) = &self.landlock {
            landlock::restrict(ruleset)?;
        }
        Ok(plan.seccomp.as_ref().map(|filter| filter.load()).transpose()?.flatten())
    }

    /// Becomes the program; returns only with the reason why not. Under the filter only capset(2), prctl(2),
    /// close_range(2) and execveat(2) are called from here on.
    pub(super) fn launch(&self, plan: &Plan) -> anyhow::Error {
        match self.last_calls(plan) {
            Ok(()) => self.launcher.execute(&self.program, &self.execute.arguments, &self.execute.environment).into(),
            Err(error) => error,
        }
    }

    fn last_calls(&self, plan: &Plan) -> Result<()> {
        descriptors::apply(&plan.descriptors)?;
        if !plan.filter_at_create() {
            self.confine(plan)?;
        }
        if plan.filter_before_capabilities() {
            capabilities::apply_final(&plan.capabilities, self.capabilities)?;
        }
        Ok(())
    }
}

/// The container's root as the process sees it now.
pub(super) fn own_root() -> Result<OwnedFd> {
    Ok(sys::files::open("/", rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY)?)
}
