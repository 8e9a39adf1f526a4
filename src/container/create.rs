//! `create`: from a bundle to a process that only waits to be started; and the way back from every point in between.

use super::exposed;
use super::record::{Amendment, Identity, Record, boot_id, pid_namespace};
use super::status::{self, Status};
use super::store::{self, Directory};
use super::undo::Undo;
use super::{ContainerId, Create, Progress, Runtime, poststop, sharing, streams, warnings};
use crate::cgroups;
use crate::config::Config;
use crate::process::handshake::Gone;
use crate::process::{self, console_socket, hooks, init, interrupt, pid_file, spawn};
use crate::spec;
use crate::sys::{clock, files, own_program, pidfd};
use anyhow::{Context, Result, bail};
use rustix::fs::OFlags;
use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Makes a container and leaves it waiting for `start`; answers with warnings: what of config.json could not be granted.
///
/// # Errors
/// What is wrong, and where; nothing is left behind.
pub fn create(runtime: &Runtime, request: &Create) -> Result<Vec<String>> {
    make(runtime, request, Mode::Wait).map(|made| made.warnings)
}

/// What happens once everything is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Wait for `start`.
    Wait,
    /// Run at once and be left alone.
    Detached,
    /// Run at once, looked after by this process.
    Foreground,
}

/// A container that was just made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) directory: Directory,
    pub(super) record: Record,
    pub(super) config: Config,
    pub(super) spawned: spawn::Spawned,
    /// Master of the terminal, when this process is to relay it.
    pub(super) terminal: Option<OwnedFd>,
    /// What could not be granted.
    pub(super) warnings: Vec<String>,
    /// OOM kills that its cgroup had counted before it.
    pub(super) oom_kills_before: u64,
}

/// A bundle that was read and checked, and what is to be done with it.
pub(super) struct Planned {
    pub(super) id: ContainerId,
    pub(super) bundle: PathBuf,
    pub(super) config: Config,
    /// config.json as it is.
    pub(super) raw: Vec<u8>,
    pub(super) plan: spec::plan::Plan,
}

/// Reads, checks and plans; changes nothing.
pub(super) fn planned(runtime: &Runtime, request: &Create, mode: Mode) -> Result<Planned> {
    planned_if(runtime, request, |config| {
        check_console(config, request, mode)?;
        request.pid_file.as_deref().map_or(Ok(()), pid_file::check)?;
        if exposed::to_tracers(config, &[]) {
            own_program::begin_again_read_only()?;
        }
        Ok(())
    })
}

/// The same, with something to do once the bundle was found to be right.
pub(super) fn planned_if(
    runtime: &Runtime,
    request: &Create,
    then: impl FnOnce(&Config) -> Result<()>,
) -> Result<Planned> {
    let id: ContainerId = request.id.parse()?;
    let bundle = files::absolute(&request.bundle).context("--bundle")?;
    let (config, raw) = spec::read::config(&bundle)?;
    spec::check::check(&config, &runtime.host)?;
    then(&config)?;
    let plan = spec::plan::plan(&spec::plan::Request {
        config: &config,
        host: &runtime.host,
        bundle: &bundle,
        id: id.as_str(),
        driver: runtime.driver(),
        no_pivot: request.no_pivot,
        no_new_keyring: request.no_new_keyring,
        preserve_fds: request.preserve_fds,
        notify: &process::notify::of_caller()?,
        variable: &|name| std::env::var(name).ok(),
    })?;
    Ok(Planned { id, bundle, config, raw, plan })
}

/// Makes a container.
pub(super) fn make(runtime: &Runtime, request: &Create, mode: Mode) -> Result<Made> {
    let Planned { id, bundle, config, raw, mut plan } = planned(runtime, request, mode)?;
    runtime.progress.done(|| format!("config.json of {} read, checked and planned", bundle.display()));
    if let Some(linux) = &config.linux {
        process::sysctl::check_joined(linux).map_err(locate)?;
    }
    let directory = store::claim(&runtime.root, &id)?;
    let mut undo = Undo::new(|| drop(directory.remove()));
    runtime.progress.done(|| format!("{} claimed", runtime.root.join(id.as_str()).display()));
    plan.cgroups.survey().map_err(locate)?;
    let creator = Identity::own()?;
    plan.cgroups.set_mark(cgroups::mark(creator.start, id.as_str()));
    let record = Record {
        no_new_keyring: request.no_new_keyring,
        ..first_record(&config, &id, bundle, (runtime.host.euid, creator), plan.cgroups.paths())
    };
    let (hooks_begun, oom_kills_before) = (Cell::new(false), Cell::new(0));
    let attempt = Attempt {
        request,
        progress: &runtime.progress,
        mode,
        config: &config,
        plan: &plan,
        directory: &directory,
        raw: &raw,
        hooks_begun: &hooks_begun,
        oom_kills_before: &oom_kills_before,
    };
    match bring_up(&attempt, &record, &mut undo) {
        Ok((record, spawned, terminal)) => {
            undo.keep();
            let warnings = warnings::of_container(&plan, &config);
            let oom_kills_before = oom_kills_before.get();
            Ok(Made { directory, record, config, spawned, terminal, warnings, oom_kills_before })
        }
        Err(error) => {
            let error = undo.because_of(locate(error));
            if hooks_begun.get() {
                poststop::run(&config, &status::state(&record, Status::Stopped));
            }
            Err(error)
        }
    }
}

/// Names the file where an error begins with one of its fields.
pub(super) fn locate(error: anyhow::Error) -> anyhow::Error {
    const FIELDS: &[&str] = &[
        "process.",
        "mounts[",
        "linux.",
        "root.",
        "root:",
        "root (",
        "hooks.",
        "hostname",
        "domainname",
        "annotations[",
    ];
    let text = error.to_string();
    if FIELDS.iter().any(|field| text.starts_with(field)) { error.context("config.json") } else { error }
}

/// A terminal needs somebody who holds its other end.
fn check_console(config: &Config, request: &Create, mode: Mode) -> Result<()> {
    let terminal = config.process.as_ref().is_some_and(|process| process.terminal);
    match (terminal, request.console_socket.is_some(), mode) {
        (true, false, Mode::Wait | Mode::Detached) => {
            bail!("config.json: process.terminal: nobody would hold the terminal; hint: give --console-socket")
        }
        (false, true, _) => bail!("--console-socket: config.json has no process.terminal, so there is nothing to send"),
        (true, true, Mode::Foreground) => bail!("--console-socket: a container in the foreground uses this terminal"),
        _ => Ok(()),
    }
}

pub(super) fn first_record(
    config: &Config,
    id: &ContainerId,
    bundle: PathBuf,
    (owner, creator): (u32, Identity),
    paths: &cgroups::Paths,
) -> Record {
    let rootfs = bundle.join(config.root.as_ref().map_or(Path::new(""), |root| root.path.as_path()));
    Record {
        version: 1,
        oci_version: config.oci_version.clone(),
        id: id.to_string(),
        bundle,
        rootfs,
        annotations: config.annotations.clone(),
        created: clock::now_rfc3339(),
        owner,
        boot_id: boot_id().to_owned(),
        pid_namespace: pid_namespace(),
        creator,
        init: None,
        cgroups: Some(paths.clone()),
        no_new_keyring: false,
        streams: streams::own(config),
        checkpointed: false,
        time_namespace: false,
        exit: None,
    }
}

/// One attempt to make a container.
struct Attempt<'a> {
    request: &'a Create,
    progress: &'a Progress,
    mode: Mode,
    config: &'a Config,
    plan: &'a spec::plan::Plan,
    directory: &'a Directory,
    raw: &'a [u8],
    hooks_begun: &'a Cell<bool>,
    oom_kills_before: &'a Cell<u64>,
}

type Up = (Record, spawn::Spawned, Option<OwnedFd>);

/// Everything from the first record to the last; `undo` knows the way back.
fn bring_up(attempt: &Attempt<'_>, first: &Record, undo: &mut Undo<'_>) -> Result<Up> {
    let directory = attempt.directory;
    directory.write_first(first, attempt.raw)?;
    if let Some(filter) = attempt.plan.init.process.as_ref().and_then(|process| process.seccomp.as_ref()) {
        directory.write_new(store::SECCOMP, &filter.to_bytes())?;
    }
    let console = attempt.request.console_socket.as_deref().map(console_socket::connect).transpose()?;
    let cgroup = make_cgroups(&attempt.plan.cgroups, directory, undo)?;
    attempt.oom_kills_before.set(cgroup.oom_kills_before());
    attempt.progress.done(|| "record written, cgroups and limits made".to_owned());
    let base = status::state(first, Status::Created);
    let state = move |pid: i32| serde_json::to_string(&status::State { pid, ..base.clone() }).unwrap_or_default();
    let fifos = attempt.fifos()?;
    let namespaces = attempt.plan.init.namespaces.open()?;
    let given = init::Given {
        cgroup_files: cgroup.join_files()?,
        rootfs: attempt.plan.init.prepare_rootfs(&namespaces)?,
        namespaces,
        start: fifos.0,
        outcome: fifos.1,
        state: &state,
    };
    let spawned = spawn::spawn(&attempt.plan.init, given, cgroup.clone_into()?)?;
    attempt.progress.done(|| format!("mounts of the host opened, init cloned: {}", spawned.child.pid));
    let doomed = spawned.child.pidfd.try_clone()?;
    undo.push("init", move || {
        let _ = pidfd::send_signal(&doomed, libc::SIGKILL);
        let _ = pidfd::reap(&doomed);
        Ok(())
    });
    let ready = attempt.converse(&spawned, &state).map_err(|error| explain(error, &spawned, cgroup.paths()))?;
    let paths = Some(cgroup.keep()).filter(|paths| first.cgroups.as_ref() != Some(paths));
    let amendment = Amendment { init: Some(Identity::of(spawned.child.pid)?), cgroups: paths, ..Amendment::default() };
    let mut record = first.clone();
    record.amend(amendment.clone());
    let terminal = attempt.hand_out(&record, &spawned, ready, console.as_ref())?;
    directory.amend(&amendment)?;
    spawned.parent.done()?;
    attempt.progress.done(|| "recorded as created".to_owned());
    Ok((record, spawned, terminal))
}

/// Makes the cgroups; what of them could not be taken back stays in the record.
pub(super) fn make_cgroups(plan: &cgroups::Plan, directory: &Directory, undo: &mut Undo<'_>) -> Result<cgroups::Made> {
    match plan.make(&|path| sharing::owner_of(directory, path)) {
        Ok(made) => {
            // Not before: whoever is in a cgroup that was refused is somebody else's.
            let paths = made.paths().clone();
            undo.push("cgroups", move || paths.remove_by_force());
            Ok(made)
        }
        Err(not_made) => {
            let cgroups::NotMade { error, left } = *not_made;
            if let Some((paths, why)) = left {
                undo.push("cgroups", move || Err(why));
                directory.amend(&Amendment { cgroups: Some(paths), ..Amendment::default() })?;
            }
            Err(error)
        }
    }
}

impl Attempt<'_> {
    /// The fifos of `start`. Opened for both directions: neither open may block.
    fn fifos(&self) -> Result<(Option<OwnedFd>, Option<OwnedFd>)> {
        if self.mode != Mode::Wait {
            return Ok((None, None));
        }
        self.directory.make_fifo(store::START)?;
        self.directory.make_fifo(store::OUTCOME)?;
        let open = |name| self.directory.open_file(name, OFlags::RDWR);
        Ok((Some(open(store::START)?), Some(open(store::OUTCOME)?)))
    }

    /// Answers init's questions until only the program is missing.
    fn converse(&self, spawned: &spawn::Spawned, state: &dyn Fn(i32) -> String) -> Result<process::handshake::Ready> {
        let (init, pid, parent) = (&self.plan.init, spawned.child.pid, &spawned.parent);
        spawn::set_oom_score(pid, init.process.as_ref().and_then(|process| process.oom_score_adj))?;
        if let Some(mappings) = &init.namespaces.mappings {
            parent.map_ids()?;
            mappings.write(pid)?;
            parent.done()?;
            self.progress.done(|| "ids mapped".to_owned());
        }
        if init.parent_has_work {
            parent.run_hooks()?;
            init.move_net_devices(pid)?;
            self.hooks_begun.set(true);
            run_hooks(self.config, init, &state(pid))?;
            parent.done()?;
            self.progress.done(|| "network devices moved, prestart and createRuntime hooks ended".to_owned());
        }
        if !init.hooks.create_container.is_empty() {
            interrupt::wait_for(parent.as_fd()).context("hooks.createContainer")?;
        }
        let ready = parent.ready()?;
        self.progress.done(|| "init is ready: namespaces, mounts, devices, user, capabilities".to_owned());
        Ok(ready)
    }

    /// Gives the descriptors and the pid to whoever asked for them; keeps the terminal in the foreground.
    fn hand_out(
        &self,
        record: &Record,
        spawned: &spawn::Spawned,
        ready: process::handshake::Ready,
        console: Option<&OwnedFd>,
    ) -> Result<Option<OwnedFd>> {
        if let Some(listener) = &ready.seccomp {
            self.notify_agent(record, spawned.child.pid, listener)?;
        }
        let terminal = match (ready.terminal, console) {
            (Some(master), Some(socket)) => {
                console_socket::send(socket.as_fd(), master.as_fd(), "/dev/ptmx")?;
                None
            }
            (Some(master), None) => {
                console_socket::take_size_of_caller(&master, self.config.process.as_ref());
                Some(master)
            }
            (None, _) => None,
        };
        if let Some(socket) = &self.request.pidfd_socket {
            console_socket::send_pidfd(socket, spawned.child.pidfd.as_fd())?;
        }
        if let Some(file) = &self.request.pid_file {
            pid_file::write(file, spawned.child.pid)?;
        }
        Ok(terminal)
    }

    fn notify_agent(&self, record: &Record, pid: i32, fd: &OwnedFd) -> Result<()> {
        let filter = self.plan.init.process.as_ref().and_then(|process| process.seccomp.as_ref());
        let state = status::state(record, Status::Creating);
        match filter.and_then(|filter| filter.listener.as_ref()) {
            Some(listener) => super::exec::notify_agent(listener, fd, &state, pid),
            None => Ok(()),
        }
    }
}

/// The hooks of the runtime's namespace.
pub(super) fn run_hooks(config: &Config, init: &process::plan::Init, state: &str) -> Result<()> {
    let Some(hooks) = &config.hooks else { return Ok(()) };
    hooks::run(&hooks.prestart, "hooks.prestart", state, &init.hook_output)?;
    hooks::run(&hooks.create_runtime, "hooks.createRuntime", state, &init.hook_output)
}

/// Says how init ended when it ended without a word.
fn explain(error: anyhow::Error, spawned: &spawn::Spawned, paths: &cgroups::Paths) -> anyhow::Error {
    if !error.is::<Gone>() {
        return error;
    }
    let how = match pidfd::reap(&spawned.child.pidfd) {
        Ok(pidfd::Ended::Signaled(signal)) => format!("was killed by signal {signal}"),
        Ok(pidfd::Ended::Exited(code)) => format!("exited with {code}"),
        Err(_) => "ended".to_owned(),
    };
    match paths.oom_kills() {
        0 => anyhow::anyhow!("the container's init {how} before the program could start"),
        _ => anyhow::anyhow!(
            "the container's init {how}: its cgroup is out of memory; hint: raise linux.resources.memory.limit"
        ),
    }
}
