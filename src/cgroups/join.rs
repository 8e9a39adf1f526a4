//! Entering a cgroup that exists: version 1 by a file for each hierarchy, cgroup2 by a descriptor for clone3.

use super::path::{Hierarchy, OwnCgroups, Paths, UNIFIED, clean};
use crate::sys::{cgroupfs, files};
use anyhow::{Context, Result};
use rustix::fs::OFlags;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

impl Paths {
    /// Files into which the child of an `exec` writes "0" (version 1): the single-threaded writer of `tasks` enters without
    /// the lock that a write to `cgroup.procs` takes, which after an idle moment waits some milliseconds.
    ///
    /// `below` are the arguments of `exec --cgroup`: `PATH`, or `CONTROLLER[,CONTROLLER]:PATH`, below the container's own.
    pub fn join_files_below(&self, below: &[String]) -> Result<Vec<OwnedFd>> {
        let wanted = Below::parse(below)?;
        wanted.check(self)?;
        let mut opened = Vec::with_capacity(self.hierarchies.len());
        for hierarchy in self.hierarchies.iter().filter(|h| !h.is_unified()) {
            let file = hierarchy.directory.join(wanted.path_in(hierarchy)).join("tasks");
            let open = files::open(&file, OFlags::WRONLY).with_context(|| format!("cgroup {}", hierarchy.name));
            opened.push(open?);
        }
        for file in self.resctrl.iter().flat_map(|resctrl| &resctrl.join) {
            opened.push(files::open(file, OFlags::WRONLY).context("linux.intelRdt")?);
        }
        Ok(opened)
    }

    /// The cgroup2 directory of an `exec` for CLONE_INTO_CGROUP.
    pub fn clone_into_below(&self, below: &[String]) -> Result<Option<OwnedFd>> {
        let wanted = Below::parse(below)?;
        wanted.check(self)?;
        let Some(unified) = self.unified() else { return Ok(None) };
        if below.is_empty() {
            return files::open(&unified.directory, OFlags::PATH | OFlags::DIRECTORY)
                .context("cgroup unified")
                .map(Some);
        }
        let mut directory = unified.directory.join(wanted.path_in(unified));
        // On a hybrid host a sub-cgroup of version 1 controllers need not exist here.
        if self.hierarchies.len() > 1 && !cgroupfs::exists(&directory) {
            directory.clone_from(&unified.directory);
        }
        files::open(directory, OFlags::PATH | OFlags::DIRECTORY).context("cgroup unified").map(Some)
    }

    /// The file by which a process enters a cgroup2 directory that it is not born in: it writes "0".
    pub fn procs_of(directory: &OwnedFd) -> Result<OwnedFd> {
        files::open_at(directory, "cgroup.procs", OFlags::WRONLY).context("cgroup unified")
    }

    /// The cgroup2 directory that the process `init` is in, when that is below the container's own: an init that made
    /// sub-cgroups leaves no place in its first one (clone3 answers EBUSY).
    pub fn clone_into_beside(&self, init: u32) -> Result<Option<OwnedFd>> {
        let Some(unified) = self.unified() else { return Ok(None) };
        let text = files::read_text(format!("/proc/{init}/cgroup"))?;
        let own = OwnCgroups::given(&[], &text, "");
        let directory = unified.mount.join(clean(own.own(UNIFIED)?));
        if !directory.starts_with(&unified.directory) {
            return Ok(None);
        }
        files::open(directory, OFlags::PATH | OFlags::DIRECTORY).map(Some).map_err(Into::into)
    }
}

/// The checked arguments of `exec --cgroup`.
#[derive(Debug, Default)]
struct Below {
    everywhere: PathBuf,
    named: Vec<(String, PathBuf)>,
}

impl Below {
    fn parse(arguments: &[String]) -> Result<Below> {
        let mut below = Below::default();
        for argument in arguments {
            let path = argument.split_once(':').map_or(argument.as_str(), |(_, path)| path);
            if Path::new(path).components().any(|part| part == std::path::Component::ParentDir) {
                anyhow::bail!("--cgroup {argument}: the path leads out of the container's cgroup");
            }
            match argument.split_once(':') {
                Some((controllers, path)) => {
                    below.named.extend(controllers.split(',').map(|name| (name.to_owned(), clean(path))));
                }
                None if below.everywhere != Path::new("") => {
                    anyhow::bail!("--cgroup {argument}: a path without a controller can be given only once")
                }
                None => below.everywhere = clean(argument),
            }
        }
        Ok(below)
    }

    fn check(&self, paths: &Paths) -> Result<()> {
        let v2_only = paths.hierarchies.len() == 1 && paths.unified().is_some();
        match self.named.iter().find(|(name, _)| !paths.hierarchies.iter().any(|h| Below::is(name, h))) {
            Some((name, path)) if v2_only => {
                anyhow::bail!(
                    "--cgroup {name}:{}: cgroup v2 has one hierarchy; hint: give the path alone",
                    path.display()
                )
            }
            Some((name, path)) => {
                anyhow::bail!("--cgroup {name}:{}: the container has no cgroup controller {name}", path.display())
            }
            None => Ok(()),
        }
    }

    fn is(name: &str, hierarchy: &Hierarchy) -> bool {
        hierarchy.has(name) || (hierarchy.name == "systemd" && name == "name=systemd")
    }

    fn path_in(&self, hierarchy: &Hierarchy) -> &Path {
        let named = self.named.iter().find(|(name, _)| Below::is(name, hierarchy));
        named.map_or(&self.everywhere, |(_, path)| path)
    }
}
