//! What the container's process needs, planned: everything of `process`, and what only init does around it.
#![allow(missing_docs, reason = "the fields are named for the modules that own their plans")]

use super::{
    capabilities, credentials, descriptors, execute, keyring, landlock, limits, lsm, memory_policy, personality,
    scheduling, sysctl, terminal,
};
use crate::config::{Config, Hook, Hooks, Process};
use crate::host::Host;
use crate::{namespaces, rootfs, seccomp};
use anyhow::Result;
pub use rootfs::Prepared;
use std::fmt;

/// What a plan of a process depends on.
pub struct Request<'a> {
    /// The whole config of the container.
    pub config: &'a Config,
    /// The process: the config's own, or the one that `exec` adds.
    pub process: &'a Process,
    /// Facts of this machine.
    pub host: &'a Host,
    /// The container's id.
    pub id: &'a str,
    /// Capabilities that `exec --cap` adds.
    pub added_capabilities: &'a [String],
    /// `--no-new-keyring`, and `exec`, which uses the container's.
    pub no_new_keyring: bool,
    /// What stays open.
    pub descriptors: descriptors::Plan,
    /// Added to the environment (NOTIFY_SOCKET).
    pub environment: Vec<String>,
    /// The filter, compiled.
    pub seccomp: Option<seccomp::Plan>,
}

/// What a process becomes between its birth and its execve; init and the process of `exec` share it.
#[derive(Debug)]
pub struct Plan {
    pub execute: execute::Plan,
    pub credentials: credentials::Plan,
    pub capabilities: capabilities::Plan,
    pub limits: limits::Plan,
    pub scheduling: scheduling::Plan,
    pub affinity: scheduling::Affinity,
    pub personality: Option<personality::Plan>,
    pub memory_policy: Option<memory_policy::Plan>,
    pub keyring: Option<keyring::Plan>,
    pub label: Option<lsm::Plan>,
    pub terminal: Option<terminal::Plan>,
    pub descriptors: descriptors::Plan,
    pub oom_score_adj: Option<i32>,
    pub no_new_privileges: bool,
    pub landlock: Option<landlock::Plan>,
    pub seccomp: Option<seccomp::Plan>,
}

/// Plans the process.
pub fn plan(request: Request<'_>) -> Result<Plan> {
    let process = request.process;
    let linux = request.config.linux.as_ref();
    let environment: Vec<String> =
        request.descriptors.environment.iter().chain(&request.environment).cloned().collect();
    limits::check_oom_score(process.oom_score_adj)?;
    let personality = linux.and_then(|linux| linux.personality.as_ref());
    let memory_policy = linux.and_then(|linux| linux.memory_policy.as_ref());
    Ok(Plan {
        execute: execute::plan(process, &environment)?,
        credentials: credentials::plan(&process.user)?,
        capabilities: capabilities::plan(process.capabilities.as_ref(), request.added_capabilities),
        limits: limits::plan(&process.rlimits)?,
        scheduling: scheduling::plan(process)?,
        affinity: scheduling::affinity(process)?,
        personality: personality.map(personality::plan).transpose()?,
        memory_policy: memory_policy.map(memory_policy::plan).transpose()?,
        keyring: keyring::plan(request.id, request.no_new_keyring, process.selinux_label.as_deref()),
        label: lsm::plan(process, request.host)?,
        terminal: terminal::plan(process)?,
        descriptors: request.descriptors,
        oom_score_adj: process.oom_score_adj,
        no_new_privileges: process.no_new_privileges,
        landlock: landlock::plan(&request.config.annotations, request.host)?,
        seccomp: request.seccomp,
    })
}

impl Plan {
    /// The filter and Landlock need CAP_SYS_ADMIN without no_new_privs, so the last capability change comes after them
    /// (seccomp(2), landlock_restrict_self(2)).
    pub fn filter_before_capabilities(&self) -> bool {
        (self.seccomp.is_some() || self.landlock.is_some()) && !self.no_new_privileges
    }

    /// An agent gets its listener from `create`, so such a filter is loaded while the runtime is still there to pass it on.
    pub fn filter_at_create(&self) -> bool {
        self.seccomp.as_ref().is_some_and(|seccomp| seccomp.listener.is_some())
    }
}

impl Plan {
    /// The lines of what is set before the program is waited for.
    fn show_setting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(adjustment) = self.oom_score_adj {
            writeln!(f, "oom_score_adj {adjustment}")?;
        }
        let optional: [Option<&dyn fmt::Display>; 4] = [
            self.keyring.as_ref().map(|p| p as _),
            self.personality.as_ref().map(|p| p as _),
            self.memory_policy.as_ref().map(|p| p as _),
            self.label.as_ref().map(|p| p as _),
        ];
        for part in optional.into_iter().flatten() {
            write!(f, "{part}")?;
        }
        write!(f, "{}{}{}", self.limits, self.scheduling, self.credentials)?;
        write!(f, "{}{}", self.capabilities, self.descriptors)?;
        if self.no_new_privileges {
            writeln!(f, "no_new_privs")?;
        }
        Ok(())
    }

    /// The lines of the last moments before the program.
    fn show_execute(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(landlock) = &self.landlock {
            write!(f, "{landlock}")?;
        }
        if let Some(seccomp) = &self.seccomp {
            writeln!(f, "seccomp filter, {} instructions", seccomp.program.0.len())?;
        }
        write!(f, "{}", self.execute)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.terminal.iter().try_for_each(|terminal| write!(f, "{terminal}"))?;
        self.show_setting(f)?;
        self.show_execute(f)
    }
}

/// Everything that init does.
#[derive(Debug)]
pub struct Init {
    pub namespaces: namespaces::Plan,
    pub rootfs: rootfs::Plan,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    pub sysctl: sysctl::Plan,
    pub network: namespaces::net::Plan,
    /// Those of `createContainer` and `startContainer` are init's to run, the others are the runtime's.
    pub hooks: Hooks,
    pub hook_output: super::hooks::Output,
    /// The parent has hooks to run in the runtime's namespace, or devices to move in, or must know that init's hooks begin:
    /// from then on a failure runs the poststop hooks.
    pub parent_has_work: bool,
    /// `None`: `create` makes a container that `start` refuses (runtime.md, "Start").
    pub process: Option<Plan>,
}

/// Plans what init does around the process.
pub fn init(
    config: &Config,
    namespaces: namespaces::Plan,
    rootfs: rootfs::Plan,
    process: Option<Plan>,
) -> Result<Init> {
    let hooks = config.hooks.clone().unwrap_or_default();
    let linux = config.linux.as_ref();
    let network = match linux {
        Some(linux) => namespaces::net::plan(&linux.net_devices)?,
        None => namespaces::net::Plan::default(),
    };
    Ok(Init {
        hostname: config.hostname.clone().filter(|name| !name.is_empty()),
        domainname: config.domainname.clone().filter(|name| !name.is_empty()),
        sysctl: linux.map(sysctl::plan).transpose()?.unwrap_or_default(),
        parent_has_work: !network.devices.is_empty()
            || [&hooks.prestart, &hooks.create_runtime, &hooks.create_container].iter().any(|hooks| !hooks.is_empty()),
        network,
        hooks,
        hook_output: super::hooks::Output::of(&config.annotations),
        namespaces,
        rootfs,
        process,
    })
}

impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.namespaces)?;
        if let Some(name) = &self.hostname {
            writeln!(f, "hostname {name}")?;
        }
        if let Some(name) = &self.domainname {
            writeln!(f, "domainname {name}")?;
        }
        self.rootfs.show_build(f)?;
        // The container's own devpts has it.
        let terminal = self.process.as_ref().and_then(|process| process.terminal.as_ref());
        terminal.iter().try_for_each(|terminal| write!(f, "{terminal}"))?;
        write!(f, "{}{}", self.sysctl, self.network)?;
        let hooks = &self.hooks;
        show_hooks(f, "prestart", &hooks.prestart)?;
        show_hooks(f, "createRuntime", &hooks.create_runtime)?;
        show_hooks(f, "createContainer", &hooks.create_container)?;
        self.rootfs.show_finish(f)?;
        let Some(process) = &self.process else { return Ok(()) };
        process.show_setting(f)?;
        writeln!(f, "wait for start")?;
        show_hooks(f, "startContainer", &hooks.start_container)?;
        process.show_execute(f)?;
        show_hooks(f, "poststart", &hooks.poststart)
    }
}

fn show_hooks(f: &mut fmt::Formatter<'_>, kind: &str, hooks: &[Hook]) -> fmt::Result {
    hooks.iter().try_for_each(|hook| writeln!(f, "hook {kind} {}", hook.path.display()))
}

impl Init {
    /// Opens in the parent what only the parent may open.
    pub fn prepare_rootfs(&self, namespaces: &namespaces::Opened) -> Result<rootfs::Prepared> {
        self.rootfs.prepare(namespaces.user())
    }

    /// Brings `lo` up in the new network namespace of an init that does not do it itself.
    pub fn set_loopback_up(&self, pid: i32) -> Result<()> {
        let target = crate::sys::files::open(format!("/proc/{pid}/ns/net"), rustix::fs::OFlags::RDONLY)?;
        namespaces::net::loopback_up_in(std::os::fd::AsFd::as_fd(&target))
    }

    /// Moves the network devices into the network namespace of init.
    pub fn move_net_devices(&self, pid: i32) -> Result<()> {
        if self.network.devices.is_empty() {
            return Ok(());
        }
        let target = crate::sys::files::open(format!("/proc/{pid}/ns/net"), rustix::fs::OFlags::RDONLY)?;
        namespaces::net::move_devices(&self.network, std::os::fd::AsFd::as_fd(&target))
    }
}
