//! The clone: what the parent does around it, who clones whom, and how everything is taken back.

use super::handshake::{self, ChildEnd, Parent};
use super::init::{self, Given};
use super::plan::Init as Plan;
use crate::sys::{self, clone, files, pidfd, proc, program};
use anyhow::{Context, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Init as the parent has it.
#[derive(Debug)]
pub struct Spawned {
    /// Its number and its descriptor.
    pub child: clone::Child,
    /// The parent's end of the handshake.
    pub parent: Parent,
}

/// Clones init. `cgroup` is the cgroup2 directory that it is born in.
pub fn spawn(plan: &Plan, given: Given<'_>, cgroup: Option<OwnedFd>) -> Result<Spawned> {
    let (parent, end) = handshake::pair()?;
    let borrowed = given.namespaces.borrow(&plan.namespaces)?;
    let flags = if plan.namespaces.helper { 0 } else { plan.namespaces.clone_flags() };
    // In a pid namespace that others share, the clone is seen at once.
    let hidden = program::hide_command_line();
    let cloned = clone::clone3(flags, cgroup.as_ref().map(|fd| fd.as_fd()));
    if !matches!(cloned, Ok(clone::Cloned::Child)) {
        hidden.give_back();
    }
    let child = match cloned {
        Ok(clone::Cloned::Child) => {
            drop((parent, cgroup));
            born(plan, given, &end)
        }
        Ok(clone::Cloned::Parent(child)) => child,
        Err(error) => {
            borrowed.give_back()?;
            return Err(refused(error, cgroup.is_some()));
        }
    };
    drop((end, given, cgroup));
    borrowed.give_back()?;
    if !plan.namespaces.helper {
        return Ok(Spawned { child, parent });
    }
    let init = parent.cloned();
    let ended = pidfd::reap(&child.pidfd)?;
    let silent = |error: anyhow::Error| match error.is::<handshake::Gone>() {
        true => error.context(format!("the helper that joins the user namespace ended with {}", ended.code())),
        false => error,
    };
    Ok(Spawned { child: init.map_err(silent)?, parent })
}

/// Whose fault a refused clone is. EACCES is of the cgroup alone (clone(2), CLONE_INTO_CGROUP): the caller may not write
/// cgroup.procs of the nearest cgroup above both its own and the container's.
fn refused(error: sys::Error, into_cgroup: bool) -> anyhow::Error {
    if into_cgroup && error.errno == sys::Errno(libc::EACCES) {
        let place = "config.json: linux.cgroupsPath: the caller's own cgroup is not of this user, and no process goes from it into the container's";
        let hint = "this needs a session of the user: log in, or systemd-run --user --scope";
        return anyhow::anyhow!("{place}: {error}; hint: {hint}");
    }
    anyhow::Error::new(error).context("config.json: linux.namespaces")
}

/// The first moments of the clone.
fn born(plan: &Plan, given: Given<'_>, end: &ChildEnd) -> ! {
    program::forget_words();
    if let Err(error) = survive_only_with_parent(end.as_fd()) {
        end.failed("birth", &error);
        proc::exit_now(1);
    }
    if plan.namespaces.helper {
        help(plan, given, end);
    }
    init::main(plan, given, end)
}

/// Dies with the parent from here on; a parent that died before the kernel was told has closed its end already.
pub(super) fn survive_only_with_parent(end: BorrowedFd<'_>) -> Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    proc::die_with_parent()?;
    let mut ends = [PollFd::new(&end, PollFlags::empty())];
    let _ = poll(&mut ends, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    match ends.first().is_some_and(|end| end.revents().contains(PollFlags::HUP)) {
        true => proc::exit_now(1),
        false => Ok(()),
    }
}

/// Joins the user namespace and makes init in it, as a child of the parent; never returns in the helper.
fn help(plan: &Plan, mut given: Given<'_>, end: &ChildEnd) -> ! {
    let made = (|| {
        init::write_zero(std::mem::take(&mut given.cgroup_files))?;
        given.namespaces.join()?;
        init::make_time_namespace(&plan.namespaces)?;
        init::become_root()?;
        Ok(clone::clone3(plan.namespaces.clone_flags() | libc::CLONE_PARENT as u64, None)?)
    })();
    match made {
        Ok(clone::Cloned::Child) => {
            if let Err(error) = survive_only_with_parent(end.as_fd()) {
                end.failed("birth", &error);
                proc::exit_now(1);
            }
            init::main(plan, given, end)
        }
        Ok(clone::Cloned::Parent(child)) => match end.born().cloned(&child) {
            Ok(()) => proc::exit_now(0),
            Err(_) => proc::exit_now(1),
        },
        Err(error) => {
            end.failed("join the user namespace", &error);
            proc::exit_now(1)
        }
    }
}

/// Sets the OOM score of a process of the runtime's procfs. For init the parent does it: a hidden process cannot open its
/// own file any more.
pub fn set_oom_score(pid: impl std::fmt::Display, adjustment: Option<i32>) -> Result<()> {
    let Some(adjustment) = adjustment else { return Ok(()) };
    files::write_value_at(rustix::fs::CWD, format!("/proc/{pid}/oom_score_adj"), &adjustment.to_string())
        .context("process.oomScoreAdj")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_clone_tells_whether_the_cgroup_or_the_namespaces_are_to_blame() {
        let rows = [
            (libc::EACCES, true, "linux.cgroupsPath: the caller's own cgroup is not of this user"),
            (libc::EACCES, false, "linux.namespaces: clone3"),
            (libc::EPERM, true, "linux.namespaces: clone3: operation not permitted (EPERM)"),
        ];
        for (errno, into_cgroup, expected) in rows {
            let error = sys::Error { call: "clone3".to_owned(), errno: sys::Errno(errno) };
            let text = format!("{:#}", refused(error, into_cgroup));
            assert!(text.starts_with(&format!("config.json: {expected}")), "{text}");
        }
    }
}
