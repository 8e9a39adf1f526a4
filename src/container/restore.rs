//! `restore`: files of a checkpoint become a running container again, by CRIU.
//!
//! ```text
//!   read, check, plan (the bundle's config.json of now: what is confined, mounted and limited comes from there)
//!   claim ROOT/ID, write the record (write-ahead)
//!   cgroup directories, limits, device rules
//!   criu, born in that cgroup, and in a mount namespace where the root is a mount point
//!     "setup-namespaces"  ─▶ loopback, devices, prestart and createRuntime hooks
//!     "orphan-pts-master" ─▶ the terminal's master, for --console-socket or the relay
//!     "post-restore"      ─▶ the record names init; nothing of the container runs yet
//!   pid file, terminal
//! ```
//!
//! A runtime that is killed leaves what `delete --force` finds: every process of criu's is in the container's cgroup.

use super::checkpoint::{self, EXTERNAL_NAMESPACES};
use super::create::{self, Mode, Planned};
use super::criu::{self, Directories, Kind, Notification, Options, Request, Streams, Surroundings, Worker, field};
use super::record::{Amendment, Identity, Record};
use super::status::{self, Status};
use super::store::{self, Directory};
use super::undo::Undo;
use super::{ContainerId, Notice, Restore, Runtime, delete, find, oom, poststop, streams, warnings};
use crate::cgroups;
use crate::config::Config;
use crate::namespaces::{self, Kind as Namespace};
use crate::process::{console_socket, lsm, notify, pid_file, signals};
use crate::sys::{clone, files, mount, pidfd};
use anyhow::{Context, Result, bail};
use rustix::fs::OFlags;
use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Restores a container; answers with its exit code, or 0 when it is detached. `notice` hears the same as with `run`.
///
/// # Errors
/// What is wrong with the bundle or the images, or why criu cannot restore them; nothing is left behind.
pub fn restore(runtime: &Runtime, request: &Restore, notice: &dyn Fn(Notice<'_>)) -> Result<i32> {
    let supervisor = match request.detach {
        false => Some(signals::Supervisor::prepare(!request.no_subreaper)?),
        true => None,
    };
    let restored = make(runtime, request)?;
    warnings::tell(&restored.warnings, notice);
    let Some(supervisor) = supervisor else { return Ok(0) };
    restored.directory.unlock()?;
    let options = signals::Options { terminal: restored.terminal };
    let ended = supervisor.supervise(&restored.init, restored.pid, options);
    if let Ok(ended) = ended {
        let paths = restored.record.cgroups.as_ref();
        oom::Watch::since(&restored.record.id, paths, restored.oom_kills_before).tell(ended, notice);
    }
    warnings::tell(&delete::destroy_own(&restored.record, &restored.directory, &restored.config), notice);
    Ok(ended?.code())
}

/// A container that was just restored.
struct Restored {
    directory: Directory,
    record: Record,
    config: Config,
    pid: i32,
    init: OwnedFd,
    /// Master of the terminal, when this process is to relay it.
    terminal: Option<OwnedFd>,
    /// What could not be granted.
    warnings: Vec<String>,
    /// OOM kills that its cgroup had counted before it.
    oom_kills_before: u64,
}

fn make(runtime: &Runtime, request: &Restore) -> Result<Restored> {
    let program = criu::program()?;
    let mode = if request.detach { Mode::Detached } else { Mode::Foreground };
    let Planned { id, bundle, config, raw, mut plan } = create::planned(runtime, &request.create, mode)?;
    check_profile(request, &config)?;
    let images = Directories::open(&request.criu, false)?;
    images.refuse_links()?;
    let images_streams = images.streams()?;
    drop(images);
    let directory = claim(runtime, &id)?;
    let mut undo = Undo::new(|| drop(directory.remove()));
    plan.cgroups.survey().map_err(create::locate)?;
    let creator = Identity::own()?;
    plan.cgroups.set_mark(cgroups::mark(creator.start, id.as_str()));
    let first = create::first_record(&config, &id, bundle, (runtime.host.euid, creator), plan.cgroups.paths());
    let record = Record { streams: streams::restored(&images_streams, &first.streams), ..first };
    let attempt = Attempt {
        request,
        program: &program,
        config: &config,
        plan: &plan,
        directory: &directory,
        hooks_begun: Cell::new(false),
        oom_kills_before: Cell::new(0),
    };
    match attempt.bring_up(&record, &raw, &images_streams, &mut undo) {
        Ok(Up { record, init, terminal }) => {
            undo.keep();
            let pid = record.init.map_or(0, |init| init.pid);
            let (warnings, oom_kills_before) = (warnings::of_container(&plan, &config), attempt.oom_kills_before.get());
            Ok(Restored { directory, record, config, pid, init, terminal, warnings, oom_kills_before })
        }
        Err(error) => {
            let error = undo.because_of(create::locate(error));
            if attempt.hooks_begun.get() {
                poststop::run(&config, &status::state(&record, Status::Stopped));
            }
            Err(error)
        }
    }
}

/// Looks whether the profile of AppArmor is there that the processes will get: criu (4.1) waits for ever for processes that
/// could not have theirs. The one in the images is that of config.json, unless another is given.
fn check_profile(request: &Restore, config: &Config) -> Result<()> {
    let own = config.process.as_ref().and_then(|process| process.apparmor_profile.as_deref());
    let (place, profile) = match &request.lsm_profile {
        Some(given) => ("--lsm-profile", given.strip_prefix("apparmor:")),
        None => ("config.json: process.apparmorProfile", own),
    };
    profile.map_or(Ok(()), |profile| lsm::check_loaded(profile).context(place))
}

/// Claims the id. A container that ended by a checkpoint makes way: with runc it would be gone since then, so managers
/// need not have deleted it.
fn claim(runtime: &Runtime, id: &ContainerId) -> Result<Directory> {
    match store::claim(&runtime.root, id) {
        Err(error) => {
            let Ok(found) = find::take(runtime, id.as_str()) else { return Err(error) };
            if found.status != Status::Stopped || !found.record.checkpointed {
                return Err(error);
            }
            delete::destroy(&found)?;
            store::claim(&runtime.root, id)
        }
        claimed => claimed,
    }
}

/// Does something in a mount namespace of its own, which goes with the last process and descriptor that is in it: whatever
/// is mounted there needs nobody to take it back. Whoever is started meanwhile stays in it; this process returns.
fn in_own_mounts<T>(act: impl FnOnce() -> Result<T>) -> Result<T> {
    let outside = files::open("/proc/self/ns/mnt", OFlags::RDONLY)?;
    let here = files::open(".", OFlags::PATH | OFlags::DIRECTORY)?;
    clone::unshare(libc::CLONE_NEWNS as u64)?;
    let done = act();
    clone::setns(&outside, libc::CLONE_NEWNS as u64).context("return to the runtime's own mount namespace")?;
    mount::fchdir(&here)?;
    done
}

/// One attempt to restore a container.
struct Attempt<'a> {
    request: &'a Restore,
    program: &'a Path,
    config: &'a Config,
    plan: &'a crate::spec::plan::Plan,
    directory: &'a Directory,
    hooks_begun: Cell<bool>,
    oom_kills_before: Cell<u64>,
}

struct Up {
    record: Record,
    init: OwnedFd,
    terminal: Option<OwnedFd>,
}

/// What has happened so far.
#[derive(Default)]
struct Happened {
    record: Option<Record>,
    terminal: Option<OwnedFd>,
}

impl Attempt<'_> {
    /// Everything from the first record to the last; `undo` knows the way back.
    fn bring_up(&self, first: &Record, raw: &[u8], streams: &[String], undo: &mut Undo<'_>) -> Result<Up> {
        self.directory.write_first(first, raw)?;
        if let Some(filter) = self.plan.init.process.as_ref().and_then(|process| process.seccomp.as_ref()) {
            self.directory.write_new(store::SECCOMP, &filter.to_bytes())?;
        }
        let console = self.request.create.console_socket.as_deref().map(console_socket::connect).transpose()?;
        let cgroup = create::make_cgroups(&self.plan.cgroups, self.directory, undo)?;
        self.oom_kills_before.set(cgroup.oom_kills_before());
        let happened = self.ask_criu(first, streams, &cgroup)?;
        let (record, terminal) = (happened.record, happened.terminal);
        let record = record.context("criu has restored the container and not said which process it is")?;
        let pid = record.init.map_or(0, |init| init.pid);
        let init = pidfd::open(pid).context("the restored container has ended already")?;
        let doomed = init.try_clone()?;
        undo.push("init", move || {
            let _ = pidfd::send_signal(&doomed, libc::SIGKILL);
            let _ = pidfd::reap(&doomed);
            Ok(())
        });
        drop(cgroup.keep());
        let terminal = self.hand_out(pid, terminal, console.as_ref())?;
        Ok(Up { record, init, terminal })
    }

    fn ask_criu(&self, first: &Record, streams: &[String], cgroup: &cgroups::Made) -> Result<Happened> {
        let namespaces = self.plan.init.namespaces.open()?;
        let mut surroundings = Surroundings {
            streams: Streams::Own,
            given: Vec::new(),
            cgroup: cgroup.clone_into()?,
            cgroup_files: cgroup.join_files()?,
        };
        let (worker, directories, request) = in_own_mounts(|| {
            self.plan.init.rootfs.prepare_restore()?;
            // criu works in the directory of its log and mounts there: it must be of this mount namespace.
            let mut directories = Directories::open(&self.request.criu, false)?;
            if let Some(mappings) = &self.plan.init.namespaces.mappings {
                let ids = (mappings.uids.as_slice(), mappings.gids.as_slice());
                let mapped = self.plan.init.rootfs.mapped(directories.images().as_fd(), ids);
                directories.read_images_through(mapped.context("--image-path")?);
            }
            let mut options = self.options(&directories, streams, cgroup.paths())?;
            self.join_namespaces(&mut options, &namespaces, &mut surroundings)?;
            let worker = Worker::start(self.program, surroundings)?;
            Ok((worker, directories, Request::Do(Kind::Restore, options)))
        })?;
        let mut happened = Happened::default();
        let response = worker.ask(&request, &mut |notification, descriptors| {
            self.act(notification, descriptors, (first, cgroup.paths()), &mut happened)
        })?;
        if response.success { Ok(happened) } else { Err(directories.failure(Kind::Restore, &response)) }
    }

    /// What criu is told.
    fn options(&self, directories: &Directories, streams: &[String], paths: &cgroups::Paths) -> Result<Options> {
        let request = self.request;
        let mut options = directories.options(&request.criu, self.config)?;
        options
            .set(field::ROOT, self.plan.init.rootfs.root())
            // A child of ours, and so of whoever adopts our children.
            .set(field::RST_SIBLING, true)
            .set(field::EVASIVE_DEVICES, true)
            .switch(field::TCP_CLOSE, request.tcp_close)
            .given(field::LSM_PROFILE, request.lsm_profile.as_deref())
            .given(field::LSM_MOUNT_CONTEXT, request.lsm_mount_context.as_deref());
        for (stream, name) in streams::pipes(streams) {
            options.inherit(name, stream);
        }
        for (controller, path) in paths.by_controller() {
            options.cgroup_root(&controller, &path);
        }
        let external = self.plan.init.rootfs.external();
        for mount in &external {
            options.set(field::EXTERNAL, checkpoint::external(&mount.target, &mount.source).as_path());
        }
        let notify = Path::new(notify::DESTINATION);
        if !external.iter().any(|mount| mount.target == notify) {
            // A service manager had the container when it was written and none has now: who reports is refused, as by a
            // manager that has gone. criu asks for it only when the images have such a mount.
            options.set(field::EXTERNAL, checkpoint::external(notify, Path::new("/dev/null")).as_path());
        }
        if self.plan.init.namespaces.makes(Namespace::Network) {
            checkpoint::empty_network(&mut options);
        }
        Ok(options)
    }

    /// Namespaces that config.json names by path: network and pid were left out of the images, the others are entered.
    fn join_namespaces<'n>(
        &self,
        options: &mut Options,
        opened: &'n namespaces::Opened,
        surroundings: &mut Surroundings<'n>,
    ) -> Result<()> {
        for (kind, fd) in opened.all() {
            match EXTERNAL_NAMESPACES.iter().find(|row| row.0 == kind) {
                Some((_, _, key)) => {
                    options.inherit(key, surroundings.number_of_next());
                    surroundings.given.push(fd);
                }
                None if matches!(kind, Namespace::Cgroup | Namespace::Mount) => {
                    bail!("linux.namespaces: criu cannot restore into a {} namespace that exists", kind.word())
                }
                None => {
                    let path = format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
                    options.join(kind.word(), &PathBuf::from(path));
                }
            }
        }
        Ok(())
    }

    /// What criu waits for.
    fn act(
        &self,
        notification: &Notification,
        descriptors: Vec<OwnedFd>,
        (first, paths): (&Record, &cgroups::Paths),
        happened: &mut Happened,
    ) -> Result<()> {
        match notification.script.as_str() {
            "setup-namespaces" => self.set_up_namespaces(notification.pid, first),
            "orphan-pts-master" => {
                happened.terminal = descriptors.into_iter().next();
                Ok(())
            }
            "post-restore" => {
                let amendment = self.amendment(notification.pid, first, paths)?;
                let mut record = first.clone();
                record.amend(amendment.clone());
                happened.record = Some(record);
                self.directory.amend(&amendment)
            }
            _ => Ok(()),
        }
    }

    fn set_up_namespaces(&self, pid: i32, first: &Record) -> Result<()> {
        let init = &self.plan.init;
        if init.namespaces.makes(Namespace::Network) {
            init.set_loopback_up(pid)?;
        }
        if init.parent_has_work {
            init.move_net_devices(pid)?;
            self.hooks_begun.set(true);
            let state = status::State { pid, ..status::state(first, Status::Creating) };
            create::run_hooks(self.config, init, &serde_json::to_string(&state)?)?;
        }
        Ok(())
    }

    fn amendment(&self, pid: i32, first: &Record, paths: &cgroups::Paths) -> Result<Amendment> {
        let named = &self.plan.init.namespaces;
        let moved = match checkpoint::namespace_of(pid, "time") {
            Ok(link) => Some(link) != checkpoint::namespace_of(std::process::id() as i32, "time").ok(),
            // KERNEL(5.6): no time namespaces.
            Err(_) => false,
        };
        Ok(Amendment {
            init: Some(Identity::of(pid)?),
            cgroups: Some(paths.clone()).filter(|paths| first.cgroups.as_ref() != Some(paths)),
            checkpointed: false,
            time_namespace: moved && !named.makes(Namespace::Time) && !named.joins(Namespace::Time),
            exit: None,
        })
    }

    /// Gives the terminal and the pid to whoever asked for them; keeps the terminal in the foreground.
    fn hand_out(&self, pid: i32, master: Option<OwnedFd>, console: Option<&OwnedFd>) -> Result<Option<OwnedFd>> {
        let terminal = match (master, console) {
            (Some(master), Some(socket)) => {
                console_socket::send(socket.as_fd(), master.as_fd(), "/dev/ptmx")?;
                None
            }
            (Some(master), None) => {
                console_socket::take_size_of_caller(&master, self.config.process.as_ref());
                Some(master)
            }
            (None, Some(_)) => bail!("--console-socket: the images have no terminal, so there is nothing to send"),
            (None, None) => None,
        };
        if let Some(file) = &self.request.create.pid_file {
            pid_file::write(file, pid)?;
        }
        Ok(terminal)
    }
}
