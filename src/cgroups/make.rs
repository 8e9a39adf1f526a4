//! Carries out a plan: directories, limits, device rules; and takes it all back when a later step fails.

use super::attach;
use super::freeze::is_frozen_directory;
use super::path::{Hierarchy, Paths};
use super::plan::Plan;
use super::processes::{processes_in, value_of};
use super::scope;
use super::sheet::{Absent, Version, Write};
use super::unit::Unit;
use crate::sys::clone::Child;
use crate::sys::{self, Errno, cgroupfs, files, stand_in};
use anyhow::{Context, Result};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Who was given a directory that exists, and lives.
pub type Owner<'a> = dyn Fn(&Path) -> Option<String> + 'a;

/// A cgroup that was made. Dropping it does nothing: call `keep` or `undo`.
#[derive(Debug)]
#[must_use = "a cgroup that was made must be kept or undone"]
pub struct Made {
    paths: Paths,
    /// What did not exist before, outermost first.
    made: Vec<PathBuf>,
    /// With a limit of no process at all the kernel refuses to clone into the cgroup, but not to enter it.
    enter_by_file: bool,
    /// Keeps systemd's scope alive until the container's first process is in it.
    stand_in: Option<Child>,
    /// The scope is ours; one of that name that refused to be started is somebody else's.
    started: bool,
}

/// Why a cgroup could not be made.
#[derive(Debug)]
pub struct NotMade {
    /// The first thing that failed.
    pub error: anyhow::Error,
    /// What could not be taken back then, and why.
    pub left: Option<(Paths, anyhow::Error)>,
}

impl Made {
    pub(super) fn new(plan: &Plan, owner: &Owner<'_>) -> std::result::Result<Made, Box<NotMade>> {
        // The stand-in counts as one.
        let full = if plan.unit.is_some() { ["0", "1"] } else { ["0", "0"] };
        let enter_by_file = plan.sheet.writes.iter().any(|w| w.file == "pids.max" && full.contains(&w.value.as_str()));
        let mut made =
            Made { paths: plan.paths.clone(), made: Vec::new(), enter_by_file, stand_in: None, started: false };
        let Err(error) = made.carry_out(plan, owner) else { return Ok(made) };
        match made.take_back() {
            Ok(()) if plan.optional && refused(&error) => {
                made.paths.hierarchies.clear();
                Ok(made)
            }
            Ok(()) => Err(Box::new(NotMade { error, left: None })),
            Err(why) => Err(Box::new(NotMade { error, left: Some((made.left(), why)) })),
        }
    }

    /// The part of the paths that is there because of us.
    fn left(mut self) -> Paths {
        if !self.started {
            self.paths.scope = None;
            self.paths.hierarchies.retain(|hierarchy| self.made.contains(&hierarchy.directory));
        }
        self.paths.parents.retain(|parent| self.made.contains(parent));
        self.paths
    }

    fn carry_out(&mut self, plan: &Plan, owner: &Owner<'_>) -> Result<()> {
        if let Some(unit) = &plan.unit {
            self.start_unit(plan, unit)?;
        }
        // First where the mark stands: of two calls at once the other one makes nothing more.
        plan.paths.deadly().try_for_each(|hierarchy| self.make_hierarchy(plan, hierarchy, owner))?;
        if let Err(error) = plan.paths.put_mark() {
            // What is there is the other's.
            self.made.clear();
            return Err(error);
        }
        let others = plan.paths.hierarchies.iter().filter(|hierarchy| !hierarchy.is_deadly());
        others.into_iter().try_for_each(|hierarchy| self.make_hierarchy(plan, hierarchy, owner))?;
        for hierarchy in plan.paths.hierarchies.iter().filter(|h| h.is_unified()) {
            // What is delegated has its controllers from systemd, except those that it does not know.
            let all = plan.paths.hierarchies.len() == 1 && plan.unit.is_none();
            enable(hierarchy, &plan.needed, all)?;
        }
        for hierarchy in plan.paths.hierarchies.iter().filter(|h| h.has("cpuset")) {
            fill_cpuset(&hierarchy.mount, &hierarchy.directory)?;
        }
        write_all(&plan.paths, &plan.sheet.writes)?;
        if let Some(rules) = &plan.devices {
            attach::apply(&plan.paths, rules, &self.made)?;
        }
        if let Some(rdt) = &plan.rdt {
            rdt.make(&mut self.made)?;
        }
        if let (Some(uid), Some(unified)) = (plan.owner, plan.paths.unified()) {
            hand_over(&unified.directory, uid)?;
        }
        Ok(())
    }

    fn make_hierarchy(&mut self, plan: &Plan, hierarchy: &Hierarchy, owner: &Owner<'_>) -> Result<()> {
        if plan.unit.is_none() || !cgroupfs::exists(&hierarchy.directory) {
            make_directory(hierarchy, &mut self.made, owner).with_context(|| hint_for(hierarchy))?;
        }
        refuse_frozen_parent(hierarchy)
    }

    /// Has systemd start the scope, around a process that only stands in it until the container's own is there.
    fn start_unit(&mut self, plan: &Plan, unit: &Unit) -> Result<()> {
        let child = self.stand_in.insert(stand_in::start()?);
        scope::start(plan.paths.bus, unit, child.pid as u32)?;
        self.started = true;
        // The hierarchy that systemd itself lives in.
        let home = plan.paths.hierarchies.iter().find(|h| h.name == "systemd").or(plan.paths.unified());
        if let Some(home) = home.filter(|home| !cgroupfs::exists(&home.directory)) {
            let there = scope::control_group(plan.paths.bus, &unit.name)?;
            anyhow::bail!("systemd has put {} at {there} and not at {}", unit.name, home.directory.display());
        }
        Ok(())
    }

    /// OOM kills that the cgroup has counted before the container is in it: only one that was there already can have any.
    pub fn oom_kills_before(&self) -> u64 {
        let new = |hierarchy: &Hierarchy| self.started || self.made.contains(&hierarchy.directory);
        if self.paths.memory().is_none_or(new) { 0 } else { self.paths.oom_kills() }
    }

    /// The directories that really exist: none where an unprivileged caller may not make any and nothing was asked for.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Files into which the single-threaded child writes "0" to join the hierarchies that it is not cloned into.
    pub fn join_files(&self) -> Result<Vec<OwnedFd>> {
        let mut all = self.paths.join_files_below(&[])?;
        if let (true, Some(unified)) = (self.enter_by_file, self.paths.unified()) {
            all.push(files::open(unified.directory.join("cgroup.procs"), rustix::fs::OFlags::WRONLY)?);
        }
        Ok(all)
    }

    /// The cgroup2 directory for CLONE_INTO_CGROUP.
    pub fn clone_into(&self) -> Result<Option<OwnedFd>> {
        if self.enter_by_file { Ok(None) } else { self.paths.clone_into_below(&[]) }
    }

    /// Removes what was made here, and nothing that was there before.
    pub fn undo(mut self) -> Result<()> {
        self.take_back()
    }

    /// The container lives: nothing is taken back any more.
    pub fn keep(mut self) -> Paths {
        self.dismiss();
        self.paths
    }

    fn dismiss(&mut self) {
        self.stand_in.take().iter().for_each(stand_in::end);
    }

    fn take_back(&mut self) -> Result<()> {
        self.dismiss();
        let mut outcome = match self.paths.scope.as_ref().filter(|_| self.started) {
            Some(unit) => scope::stop(self.paths.bus, unit),
            None => Ok(()),
        };
        let leaf = |path: &PathBuf| self.paths.hierarchies.iter().any(|h| h.directory == *path);
        for path in self.made.iter().rev() {
            // A parent may have got another child meanwhile.
            match cgroupfs::remove(path) {
                // Nobody of ours is in any of them yet: it is in use by who has it now.
                Err(error) if [libc::ENOENT, libc::EBUSY, libc::ENOTEMPTY].contains(&error.errno.0) => {}
                // One that cannot be removed does not keep the others.
                Err(error) if leaf(path) => outcome = outcome.and(Err(error.into())),
                _ => {}
            }
        }
        outcome
    }
}

fn refused(error: &anyhow::Error) -> bool {
    crate::sys::errno_of(error).is_some_and(|Errno(number)| [libc::EACCES, libc::EPERM, libc::EROFS].contains(&number))
}

fn hint_for(hierarchy: &Hierarchy) -> String {
    format!("cgroup {}", hierarchy.directory.display())
}

/// With what a user can do who may not make the directory: on a version 1 host some hierarchies may be delegated and others not.
fn explained(error: sys::Error) -> anyhow::Error {
    let denied = [libc::EACCES, libc::EPERM, libc::EROFS].contains(&error.errno.0);
    let error = anyhow::Error::new(error);
    if !denied {
        return error;
    }
    error.context(
        "this user may not make a cgroup here; hint: delegate one to it (systemd-run --user --scope -p Delegate=yes), \
         or leave linux.cgroupsPath and linux.resources out",
    )
}

/// Makes the directory and the missing ones above it; one that is there already must be nobody's, empty and not frozen.
fn make_directory(hierarchy: &Hierarchy, made: &mut Vec<PathBuf>, owner: &Owner<'_>) -> Result<()> {
    let path = &hierarchy.directory;
    let mut done = cgroupfs::make(path);
    if done.as_ref().is_err_and(|e| e.errno == Errno(libc::ENOENT)) {
        make_parents(hierarchy, made)?;
        done = cgroupfs::make(path);
    }
    match done {
        Err(e) if e.errno == Errno(libc::EEXIST) => {
            // Two calls at once: who has made it may not be inside yet.
            if let Some(owner) = owner(path) {
                let path = path.display();
                anyhow::bail!(
                    "cgroup {path} is that of container {owner}; hint: give the container a linux.cgroupsPath of its own"
                );
            }
            refuse_occupied_directory(hierarchy)
        }
        other => {
            other.map_err(explained)?;
            made.push(path.clone());
            Ok(())
        }
    }
}

fn make_parents(hierarchy: &Hierarchy, made: &mut Vec<PathBuf>) -> Result<()> {
    for parent in missing_above(hierarchy) {
        match cgroupfs::make(&parent) {
            // Made by another container at the same moment.
            Err(e) if e.errno == Errno(libc::EEXIST) => {}
            other => {
                other.map_err(explained)?;
                made.push(parent);
            }
        }
    }
    Ok(())
}

/// The directories between the mount point and the container's own that do not exist, outermost first.
fn missing_above(hierarchy: &Hierarchy) -> Vec<PathBuf> {
    let above = hierarchy.directory.ancestors().skip(1).take_while(|path| **path != *hierarchy.mount);
    let mut missing: Vec<_> = above.take_while(|path| !cgroupfs::exists(path)).map(Path::to_path_buf).collect();
    missing.reverse();
    missing
}

/// All missing parents of all hierarchies.
pub(super) fn missing_parents(paths: &Paths) -> Vec<PathBuf> {
    paths.hierarchies.iter().flat_map(missing_above).collect()
}

/// Refuses a cgroup that somebody lives in: its processes would be limited, frozen and killed with the container.
pub(super) fn refuse_occupied(paths: &Paths) -> Result<()> {
    // `make` looks at all of them.
    paths.deadly().filter(|h| cgroupfs::exists(&h.directory)).try_for_each(refuse_occupied_directory)
}

/// Refuses a place below a frozen cgroup: init would stand still with it, and `create` wait for ever.
fn refuse_frozen_parent(hierarchy: &Hierarchy) -> Result<()> {
    let Some(parent) = hierarchy.directory.parent().filter(|parent| **parent != *hierarchy.mount) else {
        return Ok(());
    };
    let frozen = if hierarchy.is_unified() {
        let events = files::read_text(parent.join("cgroup.events")).unwrap_or_default();
        value_of(&events, "frozen") == Some(1)
    } else {
        is_frozen_directory(hierarchy)
    };
    anyhow::ensure!(!frozen, "cgroup {} is frozen; hint: thaw it first", parent.display());
    Ok(())
}

pub(super) fn refuse_occupied_directory(hierarchy: &Hierarchy) -> Result<()> {
    let path = &hierarchy.directory;
    let pids = processes_in(path)?;
    if let Some(first) = pids.first() {
        anyhow::bail!(
            "cgroup {} has {} process(es) already, the first is {first}; hint: give the container a linux.cgroupsPath of its own",
            path.display(),
            pids.len()
        );
    }
    anyhow::ensure!(
        !is_frozen_directory(hierarchy),
        "cgroup {} exists and is frozen; hint: thaw it, or give the container a linux.cgroupsPath of its own",
        path.display()
    );
    Ok(())
}

/// Switches controllers on for the children of every cgroup from the mount point down to the container's parent.
/// On a pure v2 host all that there are, as managers expect to read them; on a hybrid one those that are needed.
fn enable(unified: &Hierarchy, needed: &[&str], all: bool) -> Result<()> {
    let Some(parent) = unified.directory.parent() else { return Ok(()) };
    if !all && needed.is_empty() {
        return Ok(());
    }
    let offered = cgroupfs::read(&unified.mount.join("cgroup.controllers"))?;
    let wanted: Vec<&str> = offered.split_whitespace().filter(|c| all || needed.contains(c)).collect();
    let lacking = |directory: &Path| -> Result<Vec<&str>> {
        let on = cgroupfs::read(&directory.join("cgroup.subtree_control"))?;
        let on: Vec<&str> = on.split_whitespace().collect();
        Ok(wanted.iter().filter(|c| !on.contains(c)).copied().collect())
    };
    if lacking(parent)?.is_empty() {
        return Ok(());
    }
    let mut chain: Vec<&Path> = parent.ancestors().take_while(|path| path.starts_with(&unified.mount)).collect();
    chain.reverse();
    for directory in chain {
        let lacking = lacking(directory)?;
        let inhabited = !lacking.is_empty() && is_inhabited(directory)?;
        for controller in lacking {
            let file = directory.join("cgroup.subtree_control");
            let switched = match inhabited {
                true => Err(crate::sys::Error {
                    call: format!("write \"+{controller}\" to {}", file.display()),
                    errno: BUSY,
                }),
                false => cgroupfs::write(&file, &format!("+{controller}")),
            };
            match switched {
                Err(error) if needed.contains(&controller) => {
                    return Err(error).with_context(|| {
                        format!(
                            "controller {controller} cannot be switched on below {}; hint: a cgroup with processes cannot \
                             have limited children, and an unprivileged user needs it delegated",
                            directory.display()
                        )
                    });
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// What the kernel answers for the controllers that processes and children cannot share (cgroups(7), "no internal processes").
const BUSY: Errno = Errno(libc::EBUSY);

/// Whether a cgroup that is not the root of them all has processes of its own. The kernel would switch on those controllers
/// there that know threads (cpu, cpuset, pids), and make its children a domain that no process can enter (cgroups(7),
/// "domain invalid").
fn is_inhabited(directory: &Path) -> Result<bool> {
    let is_root = !cgroupfs::exists(&directory.join("cgroup.type"));
    Ok(!is_root && !cgroupfs::read(&directory.join("cgroup.procs"))?.trim().is_empty())
}

/// A version 1 cpuset is born without processors and memory nodes, and nobody can enter it: copies the parent's.
fn fill_cpuset(mount: &Path, directory: &Path) -> Result<()> {
    let Some(parent) = directory.parent().filter(|parent| parent.starts_with(mount)) else { return Ok(()) };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let mut value = cgroupfs::read(&parent.join(file))?;
        if value.trim().is_empty() && parent != mount {
            fill_cpuset(mount, parent)?;
            value = cgroupfs::read(&parent.join(file))?;
        }
        cgroupfs::write(&directory.join(file), value.trim_end())?;
    }
    Ok(())
}

/// Writes the sheet. A value that the kernel refuses because of another one that is still to come (memory and swap, quota
/// and burst) gets a second try after the rest.
fn write_all(paths: &Paths, writes: &[Write]) -> Result<()> {
    let mut again = Vec::new();
    for write in writes {
        match put(paths, write) {
            Err(e) if refers_to_others(&e) && writes.len() > 1 => again.push(write),
            other => other.map_err(|error| write.refused(error))?,
        }
    }
    again.into_iter().try_for_each(|write| put(paths, write).map_err(|error| write.refused(error)))
}

/// Values that the kernel refuses because of another one, which a later write may change.
pub(super) fn refers_to_others(error: &crate::sys::Error) -> bool {
    error.errno == Errno(libc::EINVAL) || error.errno == Errno(libc::EBUSY)
}

/// The directory that has the files of a write's controller.
pub(super) fn directory_of<'a>(paths: &'a Paths, write: &Write) -> Option<&'a Path> {
    let hierarchy = match write.version {
        Version::V1 => paths.v1(write.controller),
        Version::V2 => paths.unified(),
    };
    hierarchy.map(|h| h.directory.as_path())
}

/// Writes one line of the sheet.
pub(super) fn put(paths: &Paths, write: &Write) -> crate::sys::Result<()> {
    let Some(directory) = directory_of(paths, write) else { return Ok(()) };
    let result = cgroupfs::write(&directory.join(&write.file), &write.value);
    match (&result, &write.absent) {
        (Err(e), Absent::Ignore) if e.errno == Errno(libc::ENOENT) => Ok(()),
        (Err(e), Absent::Instead(file, value)) if e.errno == Errno(libc::ENOENT) => {
            cgroupfs::write(&directory.join(file), value)
        }
        _ => result,
    }
}

/// Gives the directory and those files that may be delegated to `uid` (cgroups(7), "Cgroup delegation").
fn hand_over(directory: &Path, uid: u32) -> Result<()> {
    cgroupfs::give_to(directory, uid)?;
    let listed = files::read_text("/sys/kernel/cgroup/delegate")
        .unwrap_or_else(|_| "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".to_owned());
    for file in listed.split_whitespace() {
        match cgroupfs::give_to(&directory.join(file), uid) {
            Err(e) if e.errno == Errno(libc::ENOENT) => {}
            other => other?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{credentials, forked};

    #[test]
    fn who_may_not_make_a_cgroup_is_told_what_helps_at_every_depth() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root, to become somebody who may not");
            return;
        }
        let mount = tempfile::tempdir().unwrap();
        rustix::fs::chmod(mount.path(), rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
        for below in ["a", "a/b", "a/b/c"] {
            let path = mount.path().to_owned();
            let hierarchy = Hierarchy { name: "memory".to_owned(), directory: path.join(below), mount: path };
            let said = forked::in_child(|| {
                credentials::set_uid(65534).map_err(|error| error.to_string())?;
                make_directory(&hierarchy, &mut Vec::new(), &|_| None)
                    .map(|()| "made".to_owned())
                    .map_err(|error| format!("{error:#}"))
            });
            let expected = "this user may not make a cgroup here; hint: delegate one to it (systemd-run";
            assert!(said.as_ref().is_err_and(|text| text.starts_with(expected)), "{below}: {said:?}");
        }
    }
}
