//! What config.json asks of the cgroup, as directories to make and values to write.

use super::devices::Rules;
use super::make::{self, Made, NotMade, Owner};
use super::path::{self, Driver, Hierarchy, OwnCgroups, Paths};
use super::resctrl::{self, Rdt};
use super::resources;
use super::scope::Bus;
use super::sheet::{Sheet, Version};
use super::unit::Unit;
use crate::config::{Config, Linux, Resources};
use crate::host::{CgroupMode, Host};
use anyhow::Result;
use std::path::Path;

/// What a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The container's config.json.
    pub config: &'a Config,
    /// Facts of this machine.
    pub host: &'a Host,
    /// The container's id: the name of its cgroup when cgroupsPath does not say.
    pub id: &'a str,
    /// Who makes the cgroup.
    pub driver: Driver,
    /// What this host and /proc/self/cgroup say, read only when it is needed.
    pub own: &'a OwnCgroups,
}

/// The directories of a container and all that is written into them before its first process.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(super) paths: Paths,
    pub(super) sheet: Sheet,
    /// `None`: nobody in a user namespace may set device rules, and no device node can be made there either.
    pub(super) devices: Option<Rules>,
    /// Controllers that must be switched on in cgroup2 for the sheet; all others are switched on where it is possible.
    pub(super) needed: Vec<&'static str>,
    /// Host uid that the cgroup2 directory is handed to.
    pub(super) owner: Option<u32>,
    /// Nothing was asked for and the caller has no privileges: do without a cgroup if none can be made.
    pub(super) optional: bool,
    /// What systemd is asked for.
    pub(super) unit: Option<Unit>,
    pub(super) rdt: Option<Rdt>,
    warnings: Vec<String>,
}

/// Plans the cgroup of a container.
pub fn plan(request: &Request) -> Result<Plan> {
    let empty = Linux::default();
    let linux = request.config.linux.as_ref().unwrap_or(&empty);
    let nothing = Resources::default();
    let asked = linux.resources.as_ref().unwrap_or(&nothing);
    let limits = resources::asks_anything(asked);
    let mut paths = Paths { driver: request.driver, ..Paths::default() };
    let mut unit = None;
    match request.driver {
        Driver::None => {}
        Driver::Cgroupfs => {
            let asked = linux.cgroups_path.as_deref();
            paths.hierarchies = path::hierarchies(request.host, asked, request.id, request.own)?;
        }
        Driver::Systemd => {
            let rootless = request.host.rootless();
            let v2 = request.host.cgroup == CgroupMode::V2;
            let made = Unit::of(request.config, request.id, rootless, v2, &super::unit::device_groups(v2)?)?;
            paths.bus = if rootless { Bus::User } else { Bus::System };
            paths.hierarchies = path::unit_hierarchies(request.host, &made.path()?, paths.bus, request.own)?;
            paths.scope = Some(made.name.clone());
            unit = Some(made);
        }
    }
    let rdt = match &linux.intel_rdt {
        Some(rdt) => Some(resctrl::plan(rdt, request.id, Path::new("/sys/fs/resctrl"))?),
        None => None,
    };
    paths.resctrl = rdt.as_ref().map(|rdt| rdt.paths.clone());
    let sheet = match request.driver {
        Driver::None if limits => {
            anyhow::bail!(
                "linux.resources: there are limits but no cgroup to set them in; hint: use the cgroupfs or systemd driver"
            )
        }
        Driver::None => Sheet::default(),
        _ => resources::sheet(asked, &|name| available(name, &paths.hierarchies, request.own))?,
    };
    let rules = Rules::of(Some(asked))?;
    let privileged = !request.host.in_user_namespace && request.host.euid == 0;
    let unenforced = privileged && paths.is_empty() && !asked.devices.is_empty() && !rules.allow_everything();
    let mut needed: Vec<_> = sheet.writes.iter().filter(|w| w.version == Version::V2).map(|w| w.controller).collect();
    needed.dedup();
    Ok(Plan {
        sheet,
        devices: (privileged && !paths.is_empty()).then_some(rules),
        needed,
        owner: owner(request.config),
        optional: request.driver == Driver::Cgroupfs
            && request.host.may_lack_cgroup.unwrap_or_else(|| request.host.rootless())
            && linux.cgroups_path.is_none()
            && !limits,
        paths,
        unit,
        rdt,
        warnings: unenforced.then(|| unenforced_devices(request.driver)).into_iter().collect(),
    })
}

/// Nearly every config.json has device rules, so a host that cannot keep them is no error.
fn unenforced_devices(driver: Driver) -> String {
    let remedy = match driver {
        Driver::None => "use the cgroupfs or systemd driver",
        Driver::Cgroupfs | Driver::Systemd => "mount cgroup2 on /sys/fs/cgroup",
    };
    format!("linux.resources.devices: nothing enforces the rules, there is no cgroup; hint: {remedy}")
}

/// In which kind of hierarchy a controller is. The list of cgroup2's controllers is read only for one that version 1 lacks.
pub(super) fn available(name: &str, hierarchies: &[Hierarchy], own: &OwnCgroups) -> Result<Option<Version>> {
    if hierarchies.iter().any(|h| !h.is_unified() && h.has(name)) {
        return Ok(Some(Version::V1));
    }
    let Some(unified) = hierarchies.iter().find(|h| h.is_unified()) else { return Ok(None) };
    let known = own.controllers(&unified.mount)?.iter().any(|controller| controller == name);
    Ok((known || name == "cgroup").then_some(Version::V2))
}

/// The uid to hand the cgroup to: the container's user, when it has a cgroup namespace of its own and a writable
/// cgroup mount, so that a service manager inside may divide its share (config-linux.md, "Cgroup ownership").
fn owner(config: &Config) -> Option<u32> {
    let linux = config.linux.as_ref()?;
    let new_namespace = |kind: &str| linux.namespaces.iter().any(|n| n.kind == kind && n.path.is_none());
    let writable = |mount: &crate::config::Mount| {
        mount.kind.as_deref() == Some("cgroup") && !mount.options.iter().any(|option| option == "ro")
    };
    if !new_namespace("cgroup") || !config.mounts.iter().any(writable) {
        return None;
    }
    let uid = config.process.as_ref().map_or(0, |process| process.user.uid);
    let inside = |map: &&crate::config::IdMapping| {
        map.container_id <= uid && u64::from(uid) < u64::from(map.container_id) + u64::from(map.size)
    };
    let host = match linux.uid_mappings.iter().find(inside) {
        Some(map) => map.host_id + (uid - map.container_id),
        None if new_namespace("user") => return None,
        None => uid,
    };
    Some(host).filter(|host| *host != 0)
}

impl Plan {
    /// The directories: to be recorded before `make`.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Remarks on fields that have no effect on this host, and why.
    pub fn notes(&self) -> &[String] {
        &self.sheet.notes
    }

    /// What nobody enforces.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Looks before anything is recorded or made: refuses a cgroup that has processes or is frozen, and notes in
    /// `paths` which parent directories are missing. Call it before the record is written: what is recorded may be
    /// killed and removed by `delete --force`.
    pub fn survey(&mut self) -> Result<()> {
        make::refuse_occupied(&self.paths)?;
        self.paths.parents = make::missing_parents(&self.paths);
        Ok(())
    }

    /// Whose the directories will be: see [`super::mark`].
    pub fn set_mark(&mut self, mark: String) {
        self.paths.mark = Some(mark).filter(|_| !self.paths.is_empty());
    }

    /// Makes the directories, writes the limits and the device rules. No process is inside yet. `owner` names the container
    /// that was given a directory and lives: it may be about to enter it.
    ///
    /// # Errors
    /// What was made is taken back, and nothing else.
    pub fn make(&self, owner: &Owner<'_>) -> std::result::Result<Made, Box<NotMade>> {
        Made::new(self, owner)
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.unit.iter().try_for_each(|unit| write!(f, "{unit}"))?;
        for hierarchy in &self.paths.hierarchies {
            writeln!(f, "mkdir {}", hierarchy.directory.display())?;
        }
        if !self.needed.is_empty() {
            writeln!(f, "enable {}", self.needed.join(" "))?;
        }
        for line in self.sheet.to_string().lines() {
            writeln!(f, "write {line}")?;
        }
        if let Some(rules) = &self.devices {
            writeln!(f, "devices {rules}")?;
        }
        for file in self.rdt.iter().flat_map(|rdt| &rdt.paths.join) {
            writeln!(f, "join {}", file.display())?;
        }
        self.owner.iter().try_for_each(|uid| writeln!(f, "chown {uid}"))
    }
}
