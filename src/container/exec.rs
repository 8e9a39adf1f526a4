//! `exec`: one more process in a container that runs.

use super::exposed;
use super::find::{self, Found};
use super::status::{self, State, Status};
use super::store;
use super::{Exec, Notice, Runtime, oom, warnings};
use crate::cgroups;
use crate::config::{Capabilities, Config, Process, User};
use crate::namespaces::Kind;
use crate::process::{console_socket, descriptors, failure, handshake, join, pid_file, plan, signals, spawn};
use crate::sys::{self, Errno, files, own_program, pidfd};
use crate::{seccomp, spec};
use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::OFlags;
use std::os::fd::{AsFd, OwnedFd};

/// Runs a process in a container; answers with its exit code, or 0 when it is detached. `notice` hears what could not be granted,
/// once the program runs, and why the kernel killed it.
///
/// # Errors
/// The container does not run, or the process cannot be made.
pub fn exec(runtime: &Runtime, request: &Exec, notice: &dyn Fn(Notice<'_>)) -> Result<i32> {
    let found = find::look(runtime, &request.id)?;
    match found.status {
        Status::Running | Status::Created => {}
        Status::Paused if request.ignore_paused => {}
        Status::Paused => {
            bail!("cannot exec in a paused container: {}; hint: resume it, or --ignore-paused", request.id)
        }
        other => {
            bail!("cannot exec in a container that is not running: container not running: {} is {other}", request.id)
        }
    }
    let config = found.config()?;
    if exposed::to_tracers(&config, &request.capabilities) {
        own_program::begin_again_read_only()?;
    }
    let process = process(&config, request)?;
    check_console(&process, request)?;
    request.pid_file.as_deref().map_or(Ok(()), pid_file::check)?;
    let mut plan = plan::plan(plan::Request {
        config: &config,
        process: &process,
        host: &runtime.host,
        id: &request.id,
        added_capabilities: &request.capabilities,
        no_new_keyring: found.record.no_new_keyring,
        descriptors: descriptors::plan(request.preserve_fds, std::process::id(), |name| std::env::var(name).ok())?,
        environment: Vec::new(),
        seccomp: filter(&found)?,
    })?;
    plan.execute.makes_directory = false;
    runtime.progress.done(|| "container found, process planned".to_owned());
    let paths = found.record.cgroups.as_ref().filter(|_| !request.detach);
    let watch = oom::Watch::now(&request.id, paths);
    let supervisor = if request.detach { None } else { Some(signals::Supervisor::prepare(false)?) };
    let console = request.console_socket.as_deref().map(console_socket::connect).transpose()?;
    let spawned = born(runtime, &found, &config, request, &plan).map_err(|error| explained(error, &found))?;
    runtime.progress.done(|| format!("process cloned: {}", spawned.child.pid));
    let terminal = talk(&spawned, &found, request, &plan, console.as_ref())
        .inspect_err(|_| end(&spawned.child.pidfd))
        .map_err(|error| explained(error, &found))?;
    runtime.progress.done(|| "process is ready: cgroups, namespaces, user, capabilities".to_owned());
    if let Some(error) = spawned.parent.executed()? {
        end(&spawned.child.pidfd);
        return Err(failure::translate(&process, error));
    }
    runtime.progress.done(|| "program executed".to_owned());
    warnings::tell(&warnings::of(&plan, &config), notice);
    let Some(supervisor) = supervisor else { return Ok(0) };
    let options = signals::Options { terminal };
    let ended = supervisor.supervise(&spawned.child.pidfd, spawned.child.pid, options)?;
    watch.tell(ended, notice);
    Ok(ended.code())
}

/// What to say of a container that ends meanwhile: nothing of what goes wrong then is the caller's fault. Whatever kills the
/// container takes its init last, which waits for every other process of its pid namespace; so it is given a moment.
fn explained(error: anyhow::Error, found: &Found) -> anyhow::Error {
    const MOMENT_MS: i32 = 200;
    let (pid, init) = match found.init() {
        Ok(alive) => alive,
        Err(gone) => return gone,
    };
    let cut_short = error.is::<handshake::Gone>() || sys::errno_of(&error) == Some(Errno(libc::EPIPE));
    // Where it lives on, the error is the answer, and nobody waits for it.
    if !cut_short && !pidfd::is_exiting(pid) {
        return error;
    }
    let _ = pidfd::wait_end(&init, MOMENT_MS);
    found.init().err().unwrap_or(error)
}

/// Kills and reaps: a dead process that nobody reaps keeps the container's pid namespace, and so its init, from ending.
fn end(process: &OwnedFd) {
    let _ = pidfd::send_signal(process, libc::SIGKILL);
    let _ = pidfd::reap(process);
}

fn check_console(process: &Process, request: &Exec) -> Result<()> {
    match (process.terminal, request.console_socket.is_some(), request.detach) {
        (true, false, true) => bail!("--tty: nobody would hold the terminal; hint: give --console-socket"),
        (false, true, _) => {
            bail!("--console-socket: the process has no terminal, so there is nothing to send; hint: --tty")
        }
        _ => Ok(()),
    }
}

/// The process: a file's, or the container's own with the options of the command line.
fn process(config: &Config, request: &Exec) -> Result<Process> {
    let mut process = match &request.process {
        Some(file) => spec::read::process(file)?,
        None => {
            let own = config.process.clone().unwrap_or_default();
            let args = request.args.clone();
            Process {
                args,
                terminal: false,
                console_size: None,
                exec_cpu_affinity: own.exec_cpu_affinity.clone(),
                ..own
            }
        }
    };
    if process.args.is_empty() {
        bail!("process.args: there is nothing to run");
    }
    process.terminal |= request.terminal;
    process.no_new_privileges |= request.no_new_privileges;
    process.env.extend(request.env.iter().cloned());
    process.user.additional_gids.extend(&request.additional_gids);
    if let Some(cwd) = &request.cwd {
        process.cwd.clone_from(cwd);
    }
    if process.cwd.is_empty() {
        "/".clone_into(&mut process.cwd);
    }
    if let Some(user) = &request.user {
        set_user(&mut process.user, user)?;
    }
    if request.process_label.is_some() {
        process.selinux_label.clone_from(&request.process_label);
    }
    if request.apparmor.is_some() {
        process.apparmor_profile.clone_from(&request.apparmor);
    }
    if !request.capabilities.is_empty() && process.capabilities.is_none() {
        process.capabilities = Some(Capabilities::default());
    }
    spec::check::check_process(&process)?;
    Ok(process)
}

/// `UID[:GID]`: numbers only, whole, never wrapped (CVE-2026-30892); a group that is not given is 0.
fn set_user(user: &mut User, text: &str) -> Result<()> {
    let (uid, gid) = text.split_once(':').unwrap_or((text, "0"));
    let number = |part: &str| {
        part.parse::<u32>().map_err(|_| anyhow!("--user {text}: {part:?} is no number from 0 to 4294967294"))
    };
    (user.uid, user.gid) = (number(uid)?, number(gid)?);
    Ok(())
}

/// The container's filter, as it was compiled at create.
fn filter(found: &Found) -> Result<Option<seccomp::Plan>> {
    match found.directory.read(store::SECCOMP) {
        Err(error) if error.errno == Errno(libc::ENOENT) => Ok(None),
        bytes => seccomp::Plan::from_bytes(&bytes?).map(Some),
    }
}

fn born(
    runtime: &Runtime,
    found: &Found,
    config: &Config,
    request: &Exec,
    plan: &plan::Plan,
) -> Result<spawn::Spawned> {
    let (pid, init) = found.init()?;
    let mut kinds = kinds(config);
    if found.record.time_namespace && !kinds.contains(&Kind::Time) {
        kinds.push(Kind::Time);
    }
    let helper =
        (runtime.host.rootless() && kinds.contains(&Kind::User)) || exposed::to_tracers(config, &request.capabilities);
    let shared_mounts = !kinds.contains(&Kind::Mount);
    let root_path = format!("/proc/{pid}/root");
    let root = shared_mounts.then(|| files::open(root_path, OFlags::PATH | OFlags::DIRECTORY)).transpose()?;
    let paths = found.record.cgroups.clone().unwrap_or_default();
    let spawn = |entering: bool, into: Option<OwnedFd>| {
        let mut cgroup_files = paths.join_files_below(&request.cgroup)?;
        let into = if entering {
            cgroup_files.extend(into.map(|directory| cgroups::Paths::procs_of(&directory)).transpose()?);
            None
        } else {
            into
        };
        let root = root.as_ref().map(OwnedFd::try_clone).transpose().context("the container's root")?;
        join::spawn(plan, join::Given { init: init.as_fd(), kinds: kinds.clone(), root, cgroup_files, helper }, into)
    };
    let first = spawn(false, paths.clone_into_below(&request.cgroup)?);
    match first.as_ref().err().and_then(sys::errno_of) {
        // An init that made sub-cgroups leaves no place in the first one (cgroup-v2, "No Internal Process").
        Some(Errno(libc::EBUSY)) if request.cgroup.is_empty() => spawn(false, paths.clone_into_beside(pid as u32)?),
        // No process is born in a cgroup that is at its limit of processes, but one can enter it: who looks why a
        // container is full must get in.
        Some(Errno(libc::EAGAIN)) => spawn(true, paths.clone_into_below(&request.cgroup)?),
        _ => first,
    }
}

/// Kinds of namespaces that the container does not share with the runtime.
fn kinds(config: &Config) -> Vec<Kind> {
    let listed = config.linux.as_ref().map(|linux| linux.namespaces.as_slice()).unwrap_or_default();
    listed.iter().filter_map(|namespace| Kind::from_word(&namespace.kind)).collect()
}

/// Answers the process until only its program is missing, and hands out what was asked for.
fn talk(
    spawned: &spawn::Spawned,
    found: &Found,
    request: &Exec,
    plan: &plan::Plan,
    console: Option<&OwnedFd>,
) -> Result<Option<OwnedFd>> {
    let ready: handshake::Ready = spawned.parent.ready()?;
    if let (Some(fd), Some(listener)) = (&ready.seccomp, plan.seccomp.as_ref().and_then(|s| s.listener.as_ref())) {
        notify_agent(listener, fd, &status::state(&found.record, found.status), spawned.child.pid)?;
    }
    let terminal = match (ready.terminal, console) {
        (Some(master), Some(socket)) => {
            console_socket::send(socket.as_fd(), master.as_fd(), "/dev/ptmx")?;
            None
        }
        (Some(master), None) => {
            console_socket::take_size_of_caller(&master, None);
            Some(master)
        }
        (None, _) => None,
    };
    if let Some(socket) = &request.pidfd_socket {
        console_socket::send_pidfd(socket, spawned.child.pidfd.as_fd())?;
    }
    if let Some(file) = &request.pid_file {
        pid_file::write(file, spawned.child.pid)?;
    }
    spawned.parent.done()?;
    Ok(terminal)
}

/// Gives the listener of a filter to its agent, with the container process state (runtime.md, "seccomp").
pub(super) fn notify_agent(listener: &seccomp::Listener, fd: &OwnedFd, state: &State, pid: i32) -> Result<()> {
    let document = serde_json::json!({
        "ociVersion": state.oci_version,
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": listener.metadata,
        "state": State { pid: if state.pid == 0 { pid } else { state.pid }, ..state.clone() },
    });
    let sent = seccomp::notify::send(listener, fd.as_fd(), &document.to_string());
    sent.with_context(|| "linux.seccomp.listenerPath".to_owned())
}
