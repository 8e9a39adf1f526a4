//! config.json and this host → everything that will be done, as values: the parts' own plans, put together.

use crate::config::Config;
use crate::host::{CgroupMode, Host};
use crate::{cgroups, namespaces, process, rootfs, seccomp};
use anyhow::{Context, Result};
use std::path::Path;

/// What a plan depends on besides config.json.
pub struct Request<'a> {
    /// The checked config.
    pub config: &'a Config,
    /// Facts of this machine.
    pub host: &'a Host,
    /// Absolute path of the bundle.
    pub bundle: &'a Path,
    /// The container's id.
    pub id: &'a str,
    /// Who makes the cgroup.
    pub driver: cgroups::Driver,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// `--preserve-fds`.
    pub preserve_fds: u32,
    /// The socket of a service manager.
    pub notify: &'a process::notify::Socket,
    /// A variable of the runtime's own environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

/// All that `create` will do.
#[derive(Debug)]
pub struct Plan {
    /// Directories and limits.
    pub cgroups: cgroups::Plan,
    /// The work of init.
    pub init: process::plan::Init,
    /// What of the caller's environment could not be granted.
    pub warnings: Vec<String>,
}

/// Puts the parts' plans together.
///
/// # Errors
/// The first thing that cannot be done, with its place in config.json or on the caller's side.
pub fn plan(request: &Request<'_>) -> Result<Plan> {
    let descriptors = match &request.config.process {
        Some(_) => process::descriptors::plan(request.preserve_fds, std::process::id(), request.variable)?,
        None => process::descriptors::Plan::default(),
    };
    parts(request, descriptors).context("config.json")
}

fn parts(request: &Request<'_>, descriptors: process::descriptors::Plan) -> Result<Plan> {
    let (config, host) = (request.config, request.host);
    let own = cgroups::OwnCgroups::new();
    let cgroups = cgroups::plan(&cgroups::Request { config, host, id: request.id, driver: request.driver, own: &own })?;
    let namespaces = namespaces::plan(config, host)?;
    let host_network = !namespaces.makes(namespaces::Kind::Network) && !namespaces.joins(namespaces::Kind::Network);
    let with_notify = request.notify.mount().map(|mount| {
        let mut config = config.clone();
        config.mounts.push(mount);
        config
    });
    let rootfs = rootfs::plan(&rootfs::Request {
        config: with_notify.as_ref().unwrap_or(config),
        host,
        bundle: request.bundle,
        cgroups: &cgroup_view(host.cgroup, cgroups.paths(), namespaces.makes(namespaces::Kind::Cgroup)),
        no_pivot: request.no_pivot,
        new_user_namespace: namespaces.makes(namespaces::Kind::User),
    })?;
    let seccomp = filter(config, host)?;
    let process = config.process.as_ref().map(|process| {
        process::plan::plan(process::plan::Request {
            config,
            process,
            host,
            id: request.id,
            added_capabilities: &[],
            no_new_keyring: request.no_new_keyring,
            descriptors,
            environment: request.notify.environment(host_network).into_iter().collect(),
            seccomp,
        })
    });
    let init = process::plan::init(config, namespaces, rootfs, process.transpose()?)?;
    Ok(Plan { cgroups, init, warnings: request.notify.warning().into_iter().collect() })
}

/// The compiled filter of the config, if it has one.
pub fn filter(config: &Config, host: &Host) -> Result<Option<seccomp::Plan>> {
    let profile = config.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
    profile.map(|profile| seccomp::plan(profile, host)).transpose()
}

/// The container's cgroup as its mounts of type `cgroup` show it.
fn cgroup_view(mode: CgroupMode, paths: &cgroups::Paths, private_namespace: bool) -> rootfs::CgroupView {
    let hierarchies = paths.hierarchies.iter().map(|hierarchy| rootfs::Hierarchy {
        name: match hierarchy.name.as_str() {
            "systemd" => "name=systemd".to_owned(),
            _ if hierarchy.is_unified() => String::new(),
            other => other.to_owned(),
        },
        mount: hierarchy.mount.clone(),
        directory: hierarchy.directory.clone(),
    });
    rootfs::CgroupView { mode, hierarchies: hierarchies.collect(), private_namespace }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.cgroups, self.init)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_of_the_default_bundle_reads_in_order() {
        let config = Config::starter(true).unwrap();
        let request = Request {
            config: &config,
            host: &Host::modern(),
            bundle: Path::new("/bundle"),
            id: "web",
            driver: cgroups::Driver::Cgroupfs,
            no_pivot: false,
            no_new_keyring: false,
            preserve_fds: 0,
            notify: &process::notify::Socket::None,
            variable: &|_| None,
        };
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/default.plan");
        assert_eq!(plan(&request).unwrap().to_string(), crate::sys::files::read_text(golden).unwrap());
    }
}
