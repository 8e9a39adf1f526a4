//! `exec`: a second process in the namespaces of a container that runs.
//!
//! The namespaces are entered through the pidfd of init, in one call and without a path that somebody could exchange
//! (setns(2)). The pid namespace takes only children: the parent enters it for the clone and goes back.

use super::handshake::{self, ChildEnd, Parent};
use super::plan::Plan;
use super::settle;
use super::spawn::{Spawned, set_oom_score, survive_only_with_parent};
use super::terminal::{self, Terminal};
use super::{init, scheduling, signals};
use crate::namespaces::Kind;
use crate::sys::{clone, files, proc, program};
use anyhow::{Context, Result};
use rustix::fs::OFlags;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What the parent opened before the clone.
pub struct Given<'a> {
    /// Init of the container.
    pub init: BorrowedFd<'a>,
    /// Kinds of namespaces that the container has of its own.
    pub kinds: Vec<Kind>,
    /// The container's root, entered by chroot where it shares the mount namespace.
    pub root: Option<OwnedFd>,
    /// The v1 files that the process writes "0" into.
    pub cgroup_files: Vec<OwnedFd>,
    /// The user namespace must be joined before anything else may be: the runtime has no privileges of its own.
    pub helper: bool,
}

/// Clones the process. `cgroup` is the cgroup2 directory that it is born in.
pub fn spawn(plan: &Plan, given: Given<'_>, cgroup: Option<OwnedFd>) -> Result<Spawned> {
    let (parent, end) = handshake::pair()?;
    let borrow = given.kinds.contains(&Kind::Pid) && !given.helper;
    let own = if borrow { Some(files::open("/proc/self/ns/pid", OFlags::RDONLY)?) } else { None };
    if borrow {
        clone::setns(given.init, Kind::Pid.flag()).context("enter the container's pid namespace")?;
    }
    if let Some(initial) = &plan.affinity.initial {
        scheduling::set_affinity(initial)?;
    }
    // Everybody inside sees the clone at once, and may read its command line.
    let hidden = program::hide_command_line();
    let cloned = clone::clone3(0, cgroup.as_ref().map(|fd| fd.as_fd()));
    let parent_goes_on = !matches!(cloned, Ok(clone::Cloned::Child));
    if parent_goes_on {
        hidden.give_back();
    }
    if let Some(own) = own.filter(|_| parent_goes_on) {
        clone::setns(own, Kind::Pid.flag()).context("return to the runtime's own pid namespace")?;
    }
    let child = match cloned? {
        clone::Cloned::Child => {
            drop((parent, cgroup));
            main(plan, given, &end)
        }
        clone::Cloned::Parent(child) => child,
    };
    drop((end, cgroup));
    let child = if given.helper { handed_over(&parent, &child)? } else { child };
    Ok(Spawned { child, parent })
}

fn handed_over(parent: &Parent, helper: &clone::Child) -> Result<clone::Child> {
    let made = parent.cloned();
    crate::sys::pidfd::reap(&helper.pidfd)?;
    made
}

fn main(plan: &Plan, given: Given<'_>, end: &ChildEnd) -> ! {
    program::forget_words();
    let mut at = "birth";
    // Lives until the failure is told: the end of its master would hang up on this very process.
    let mut terminal = None;
    let error = match live(plan, given, end, &mut at, &mut terminal) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    end.failed(at, &error);
    proc::exit_now(1)
}

enum Never {}

fn live(
    plan: &Plan,
    mut given: Given<'_>,
    end: &ChildEnd,
    at: &mut &'static str,
    terminal: &mut Option<Terminal>,
) -> Result<Never> {
    survive_only_with_parent(end.as_fd())?;
    signals::reset_at_birth()?;
    *at = "oom score";
    // Before it is hidden: its own files belong to the host's root then.
    set_oom_score("self", plan.oom_score_adj)?;
    // Hidden before it can be seen from inside: the container must not trace a process that has the runtime's
    // descriptors (CVE-2016-9962).
    proc::hide()?;
    *at = "cgroups";
    init::write_zero(std::mem::take(&mut given.cgroup_files))?;
    match &plan.affinity.after {
        Some(mask) => scheduling::set_affinity(mask)?,
        None if plan.affinity.initial.is_none() => scheduling::reset_affinity(),
        None => {}
    }
    *at = "descriptors";
    let mut keep = vec![end.as_fd(), given.init];
    keep.extend(given.root.as_ref().map(|root| root.as_fd()));
    files::close_all_but(3 + plan.descriptors.preserved, &keep)?;
    *at = "namespaces";
    enter(&given)?;
    if given.helper {
        clone_inside(end)?;
    }
    *at = "session";
    proc::new_session()?;
    *at = "process";
    become_process(plan, end, at, terminal)
}

fn enter(given: &Given<'_>) -> Result<()> {
    let wanted = |kind: &&Kind| given.helper || **kind != Kind::Pid;
    let flags = given.kinds.iter().filter(wanted).fold(0, |flags, kind| flags | kind.flag());
    if flags != 0 {
        clone::setns(given.init, flags).context("enter the container's namespaces")?;
    }
    if let Some(root) = &given.root {
        rustix::process::fchdir(root).context("enter the container's root")?;
        rustix::process::chroot(".").context("enter the container's root")?;
    }
    if given.kinds.contains(&Kind::User) {
        init::become_root()?;
        proc::hide()?;
    }
    Ok(())
}

/// The helper is in the pid namespace only by its children: it makes one as its sibling and ends.
fn clone_inside(end: &ChildEnd) -> Result<()> {
    match clone::clone3(libc::CLONE_PARENT as u64, None)? {
        clone::Cloned::Child => survive_only_with_parent(end.as_fd()),
        clone::Cloned::Parent(child) => {
            end.born().cloned(&child)?;
            proc::exit_now(0)
        }
    }
}

fn become_process(
    plan: &Plan,
    end: &ChildEnd,
    at: &mut &'static str,
    terminal: &mut Option<Terminal>,
) -> Result<Never> {
    let rooted = end.born().isolated(false)?.rooted(false)?;
    let root = settle::own_root()?;
    *terminal = plan.terminal.as_ref().map(|plan| terminal::open(root.as_fd(), plan)).transpose()?;
    let settled = settle::settle(plan, root.as_fd(), terminal.as_ref(), end.as_fd())?;
    // Before the last answer: after it the parent may be gone at once, and its death must not be ours. If it dies
    // before the answer, the end of the socket says so.
    proc::outlive_parent()?;
    *at = "seccomp";
    let listener = if plan.filter_at_create() { settled.confine(plan)? } else { None };
    *at = "ready";
    let master = terminal.as_ref().map(|terminal| terminal.master.as_fd());
    rooted.waiting(master, listener.as_ref().map(|fd| fd.as_fd()))?;
    drop((terminal.take(), listener, root));
    *at = "execve";
    Err(settled.launch(plan))
}
