//! Init: the child of the clone, from its birth to the execve of the container's program.
//!
//! Its work is a table of named steps; each note says what breaks if the line moves. A step that fails crosses to the
//! parent with its name, and this process ends: it never returns into the code of its parent.

use super::handshake::{self, Child, ChildEnd, Isolated, Rooted};
use super::plan::{self, Init as Plan};
use super::settle::{self, Settled};
use super::{hooks, scheduling, signals, sysctl, terminal};
use crate::namespaces::{self, Kind};
use crate::rootfs::{self, Root};
use crate::sys::procfs::Procfs;
use crate::sys::{self, Asked, clone, files, proc};
use anyhow::{Context, Result};
use std::os::fd::{AsFd, OwnedFd};

/// What the parent opened for init before the clone.
pub struct Given<'a> {
    /// The v1 files that init writes "0" into.
    pub cgroup_files: Vec<OwnedFd>,
    /// Namespaces that are joined.
    pub namespaces: namespaces::Opened,
    /// Sources of mounts.
    pub rootfs: rootfs::Prepared,
    /// The fifo that `start` writes to; `None` for `run`, which starts at once.
    pub start: Option<OwnedFd>,
    /// Where a failed execve is told; `None`: on the socket of the handshake.
    pub outcome: Option<OwnedFd>,
    /// The state document for hooks, given init's number and whether it has been started.
    pub state: &'a dyn Fn(i32) -> String,
}

/// Init at work.
struct Init<'a> {
    plan: &'a Plan,
    given: Given<'a>,
    root: Option<Root>,
    terminal: Option<terminal::Terminal>,
    number: i32,
    /// Where the output of startContainer hooks goes: the files are of the host.
    hook_files: hooks::Files,
}

struct Step {
    name: &'static str,
    act: fn(&mut Init<'_>) -> Result<()>,
}

const fn step(name: &'static str, act: fn(&mut Init<'_>) -> Result<()>) -> Step {
    Step { name, act }
}

/// Before the ids are mapped. The notes say what breaks if a line moves.
const BORN: &[Step] = &[
    // first: handlers and masks of the runtime would act on signals to the container
    step("signals", own_signals),
    // before anything is used: limits count from here; and a cgroup namespace begins where the process is
    step("cgroups", join_cgroups),
    // before the ids: a session of the runtime's terminal could be signalled from it
    step("session", |_| Ok(proc::new_session()?)),
];

/// In its namespaces, with the host's mounts still in sight.
const ISOLATED: &[Step] = &[
    // first: everything below belongs to these namespaces; the mount namespace last, with it the host's paths go
    step("namespaces", enter_namespaces),
    // after the ids: hidden files of /proc belong to the host's root, which could not map ids then
    step("hide", |_| Ok(proc::hide()?)),
    // needs only its own namespaces
    step("names", set_names),
    step("loopback", loopback),
    // after the cgroup namespace: cgroup mounts show its root
    step("mounts", mount),
    // after the mounts: it comes from the container's own devpts
    step("console", open_console),
    // after the network namespace; before masks and read-only paths lie over /proc/sys
    step("sysctl", write_sysctl),
];

/// After the hooks of the runtime's namespace.
const ROOTED: &[Step] = &[
    // before pivot_root: the hooks' paths are of the host
    step("createContainer hooks", create_container_hooks),
    // before pivot_root for the same reason
    step("output of startContainer hooks", open_hook_files),
    step("pivot", |init| init.root_mut()?.pivot()),
    // last of the mounts: nothing may be mounted over a mask or into a read-only root afterwards
    step("masks", |init| init.root_mut()?.finish()),
];

/// Runs init in a fresh clone; never returns.
pub fn main(plan: &Plan, given: Given<'_>, end: &ChildEnd) -> ! {
    let number = if plan.hooks.create_container.is_empty() && plan.hooks.start_container.is_empty() {
        0
    } else {
        proc::own_number_on_host().unwrap_or(0)
    };
    let mut init = Init { plan, given, root: None, terminal: None, number, hook_files: hooks::Files::default() };
    let mut at = "";
    let failed = match init.live(end, &mut at) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    end.failed(at, &failed);
    proc::exit_now(1)
}

enum Never {}

impl Init<'_> {
    fn live(&mut self, end: &ChildEnd, at: &mut &'static str) -> Result<Never> {
        self.run(BORN, at)?;
        *at = "map ids";
        let isolated = end.born().isolated(self.plan.namespaces.mappings.is_some())?;
        *at = "user namespace";
        self.become_root_of_user_namespace()?;
        self.run(ISOLATED, at)?;
        *at = "hooks";
        let rooted = self.let_hooks_run(isolated)?;
        self.run(ROOTED, at)?;
        *at = "descriptors";
        self.close_what_is_the_hosts(end)?;
        *at = "process";
        match &self.plan.process {
            Some(process) => self.become_process(process, rooted, end, at),
            None => self.wait_without_process(rooted),
        }
    }

    fn run(&mut self, steps: &[Step], at: &mut &'static str) -> Result<()> {
        for step in steps {
            *at = step.name;
            (step.act)(self)?;
        }
        Ok(())
    }

    fn root_mut(&mut self) -> Result<&mut Root> {
        self.root.as_mut().context("the root filesystem is not made yet")
    }

    /// Becomes user 0 of a new or joined user namespace: files that init makes belong to it.
    fn become_root_of_user_namespace(&self) -> Result<()> {
        let namespaces = &self.plan.namespaces;
        if !namespaces.makes(Kind::User) && !namespaces.helper {
            return Ok(());
        }
        if !namespaces.helper {
            make_time_namespace(namespaces)?;
        }
        become_root()
    }

    /// What init inherited from its parent, the lock on the container's state among it, goes before the container can
    /// see this process, and not only with the execve (CVE-2024-21626).
    fn close_what_is_the_hosts(&mut self, end: &ChildEnd) -> Result<()> {
        self.root = None;
        self.given.namespaces = namespaces::Opened::default();
        let preserved = self.plan.process.as_ref().map_or(0, |process| process.descriptors.preserved);
        let mut keep = vec![end.as_fd()];
        keep.extend([&self.given.start, &self.given.outcome].into_iter().flatten().map(|fd| fd.as_fd()));
        keep.extend(self.hook_files.descriptors());
        keep.extend(self.terminal.iter().flat_map(|terminal| [terminal.master.as_fd(), terminal.slave.as_fd()]));
        Ok(files::close_all_but(3 + preserved, &keep)?)
    }

    fn let_hooks_run<'e>(&self, isolated: Child<'e, Isolated>) -> Result<Child<'e, Rooted>> {
        isolated.rooted(self.plan.parent_has_work)
    }

    fn become_process(
        &mut self,
        process: &plan::Plan,
        rooted: Child<'_, Rooted>,
        end: &ChildEnd,
        at: &mut &'static str,
    ) -> Result<Never> {
        let root = settle::own_root()?;
        let outcome = self.given.outcome.as_ref().map_or(end.as_fd(), |fd| fd.as_fd());
        let settled = settle::settle(process, root.as_fd(), self.terminal.as_ref(), outcome)?;
        // Before the last answer: after it the parent may be gone at once, and its death must not be ours. If it dies
        // before the answer, the end of the socket says so.
        proc::outlive_parent()?;
        *at = "seccomp";
        let listener = if process.filter_at_create() { settled.confine(process)? } else { None };
        *at = "ready";
        let master = self.terminal.as_ref().map(|terminal| terminal.master.as_fd());
        rooted.waiting(master, listener.as_ref().map(|fd| fd.as_fd()))?;
        drop((self.terminal.take(), listener, root));
        *at = "start";
        self.started(process, &settled)
    }

    /// From here on the parent may be gone: a failure is told to `start`, by the outcome's descriptor.
    fn started(&mut self, process: &plan::Plan, settled: &Settled) -> Result<Never> {
        self.wait_for_start()?;
        let hooks = self.start_container_hooks();
        let error = hooks.err().unwrap_or_else(|| settled.launch(process));
        if let Some(outcome) = &self.given.outcome {
            let _ = files::write_fd(outcome, &handshake::frame("start", &error));
        }
        Err(error)
    }

    fn wait_for_start(&self) -> Result<()> {
        let Some(fifo) = &self.given.start else { return Ok(()) };
        let mut byte = [0_u8];
        loop {
            match rustix::io::read(fifo, &mut byte) {
                Err(rustix::io::Errno::INTR) => {}
                read => return read.asked(|| "read the start fifo".to_owned()).map(drop).map_err(Into::into),
            }
        }
    }

    fn start_container_hooks(&self) -> Result<()> {
        if self.plan.hooks.start_container.is_empty() {
            return Ok(());
        }
        let state = (self.given.state)(self.number);
        hooks::run_into(&self.plan.hooks.start_container, "hooks.startContainer", &state, &self.hook_files)
    }

    /// A container without `process` only lives until it is deleted.
    fn wait_without_process(&mut self, rooted: Child<'_, Rooted>) -> Result<Never> {
        proc::outlive_parent()?;
        rooted.waiting(None, None)?;
        loop {
            self.wait_for_start()?;
        }
    }
}

/// Before the change of user: /proc/self/timens_offsets belongs to the host's root afterwards.
pub(super) fn make_time_namespace(namespaces: &namespaces::Plan) -> Result<()> {
    if namespaces.time_at_execve { namespaces::time::make(&namespaces.offsets) } else { Ok(()) }
}

/// User and group 0 of the user namespace this process is in, with none of the caller's groups.
pub(super) fn become_root() -> Result<()> {
    use crate::sys::credentials;
    // Denied in a user namespace that was made without privileges; it keeps groups that map to nobody then.
    let _ = credentials::set_groups(&[]);
    credentials::set_gid(0)?;
    credentials::set_uid(0)?;
    // The change of user made the kernel forget it.
    Ok(proc::die_with_parent()?)
}

/// Writes "0" into the v1 files: the single thread of this process joins (bench: a tenth of what writing its pid costs).
pub(super) fn write_zero(files: Vec<OwnedFd>) -> Result<()> {
    for file in files {
        rustix::io::write(&file, b"0").asked(|| "write \"0\" to the tasks of a cgroup".to_owned())?;
    }
    Ok(())
}

fn join_cgroups(init: &mut Init<'_>) -> Result<()> {
    write_zero(std::mem::take(&mut init.given.cgroup_files))?;
    if init.plan.process.is_some() {
        scheduling::reset_affinity();
    }
    Ok(())
}

/// Who ends a container before it is started shall not have to wait until the grace period is over: the first process of a pid
/// namespace gets no signal that it has no handler for (pid_namespaces(7)).
fn own_signals(init: &mut Init<'_>) -> Result<()> {
    signals::reset_at_birth()?;
    if init.given.start.is_some() && rustix::process::getpid().is_init() {
        const ENDING: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];
        ENDING.into_iter().try_for_each(sys::signals::end_by)?;
    }
    Ok(())
}

fn enter_namespaces(init: &mut Init<'_>) -> Result<()> {
    let namespaces = &init.plan.namespaces;
    if !namespaces.helper {
        init.given.namespaces.join()?;
    }
    if namespaces.makes(Kind::Cgroup) {
        clone::unshare(Kind::Cgroup.flag())?;
    }
    init.given.namespaces.join_mount()
}

fn set_names(init: &mut Init<'_>) -> Result<()> {
    if let Some(name) = &init.plan.hostname {
        rustix::system::sethostname(name.as_bytes()).asked(|| format!("sethostname {name}")).context("hostname")?;
    }
    if let Some(name) = &init.plan.domainname {
        rustix::system::setdomainname(name.as_bytes())
            .asked(|| format!("setdomainname {name}"))
            .context("domainname")?;
    }
    Ok(())
}

fn loopback(init: &mut Init<'_>) -> Result<()> {
    if init.plan.namespaces.makes(Kind::Network) { namespaces::net::loopback_up() } else { Ok(()) }
}

fn mount(init: &mut Init<'_>) -> Result<()> {
    let prepared = std::mem::take(&mut init.given.rootfs);
    init.root = Some(init.plan.rootfs.build(prepared)?);
    Ok(())
}

fn open_console(init: &mut Init<'_>) -> Result<()> {
    let Some(plan) = init.plan.process.as_ref().and_then(|process| process.terminal.as_ref()) else { return Ok(()) };
    let root = init.root.as_ref().context("the root filesystem is not made yet")?;
    let terminal = terminal::open(root.as_fd(), plan)?;
    rootfs::devices::bind_console(root.as_fd(), terminal.slave.as_fd())?;
    init.terminal = Some(terminal);
    Ok(())
}

fn write_sysctl(init: &mut Init<'_>) -> Result<()> {
    if init.plan.sysctl.writes.is_empty() {
        return Ok(());
    }
    sysctl::apply(&init.plan.sysctl, &Procfs::open()?)
}

fn open_hook_files(init: &mut Init<'_>) -> Result<()> {
    if !init.plan.hooks.start_container.is_empty() {
        init.hook_files = init.plan.hook_output.open()?;
    }
    Ok(())
}

fn create_container_hooks(init: &mut Init<'_>) -> Result<()> {
    if init.plan.hooks.create_container.is_empty() {
        return Ok(());
    }
    let state = (init.given.state)(init.number);
    hooks::run(&init.plan.hooks.create_container, "hooks.createContainer", &state, &init.plan.hook_output)
}
