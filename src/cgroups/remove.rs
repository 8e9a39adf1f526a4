//! Taking a cgroup away, with the sub-cgroups that the container made.

use super::path::Paths;
use super::processes::{processes_in, value_of};
use super::scope;
use crate::sys::{self, Errno, cgroupfs, files, pidfd};
use anyhow::Result;
use rustix::fs::OFlags;
use std::ffi::{CStr, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long processes that are on their way out may take: the init of a pid namespace is there until somebody has reaped
/// every process of it, also those whose parents are outside (zap_pid_ns_processes() in the kernel).
const PATIENCE: Duration = Duration::from_secs(10);

impl Paths {
    /// Removes the cgroup with its sub-cgroups, and the parents that were made for it unless others use them by now.
    /// Processes that are on their way out are waited for; others are an error. What is gone already is no error.
    pub fn remove(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        // What systemd made it takes away itself; what it cannot (it may be gone) we do.
        let mut outcome = match &self.scope {
            Some(unit) => scope::stop(self.bus, unit),
            None => Ok(()),
        };
        for hierarchy in &self.hierarchies {
            // One that cannot be removed does not keep the others.
            outcome = outcome.and(remove_until(&hierarchy.directory, deadline));
        }
        if let Some(resctrl) = &self.resctrl {
            outcome = outcome.and(resctrl.take_away());
        }
        self.parents.iter().rev().for_each(|parent| drop(cgroupfs::remove(parent)));
        outcome
    }

    /// Kills what is inside, then removes.
    pub fn remove_by_force(&self) -> Result<()> {
        self.kill()?;
        self.remove()
    }
}

/// Removes a cgroup and all below it.
fn remove_until(directory: &Path, deadline: Instant) -> Result<()> {
    loop {
        match cgroupfs::remove(directory) {
            Err(e) if e.errno == Errno(libc::ENOENT) => return Ok(()),
            Err(e) if is_in_use(&e) && Instant::now() < deadline => {}
            other => return other.map_err(Into::into),
        }
        let mut leave = |above: &OwnedFd, name: &CStr| -> Result<()> {
            match cgroupfs::remove_at(above, name) {
                Err(e) if e.errno == Errno(libc::ENOENT) => Ok(()),
                Err(e) if is_in_use(&e) => {
                    wait_empty_at(above, Path::new(OsStr::from_bytes(name.to_bytes())), directory, deadline)?;
                    // One that is in use again, or still, is met again above.
                    cgroupfs::remove_at(above, name).or_else(|e| if is_in_use(&e) { Ok(()) } else { Err(e.into()) })
                }
                other => other.map_err(Into::into),
            }
        };
        cgroupfs::walk(directory, &mut |_| Ok(()), &mut leave)?;
        match cgroupfs::remove(directory) {
            Err(e) if is_in_use(&e) => wait_empty(directory, deadline)?,
            Err(e) if e.errno == Errno(libc::ENOENT) => return Ok(()),
            other => return other.map_err(Into::into),
        }
    }
}

fn is_in_use(error: &sys::Error) -> bool {
    [libc::EBUSY, libc::ENOTEMPTY].contains(&error.errno.0)
}

/// Waits until no process is in the cgroup or below it.
pub(super) fn wait_empty(directory: &Path, deadline: Instant) -> Result<()> {
    match files::open(directory, OFlags::PATH | OFlags::DIRECTORY) {
        Err(e) if e.errno == Errno(libc::ENOENT) => Ok(()),
        opened => wait_empty_at(&opened?, Path::new("."), directory, deadline),
    }
}

/// The same for `cgroup`, which is `shown` or below it, from a descriptor of the directory above it.
fn wait_empty_at(above: &OwnedFd, cgroup: &Path, shown: &Path, deadline: Instant) -> Result<()> {
    let events = match files::open_at(above, cgroup.join("cgroup.events"), OFlags::RDONLY) {
        Err(e) if e.errno == Errno(libc::ENOENT) => return wait_empty_v1(shown, deadline),
        other => other?,
    };
    // Ends of processes are told at once; the file tells of a second change only after 10 ms, and never when somebody
    // removes the cgroup in between (cgroup_file_notify in the kernel), so it is looked at now and then besides.
    wait_for_processes(shown, deadline)?;
    loop {
        match files::read_start(&events, 4096) {
            // The directory was removed under us.
            Err(e) if e.errno == Errno(libc::ENODEV) => return Ok(()),
            text => {
                if value_of(&text?, "populated") == Some(0) {
                    return Ok(());
                }
            }
        }
        anyhow::ensure!(Instant::now() < deadline, "{}", occupied(shown));
        cgroupfs::wait_change(&events, deadline.min(Instant::now() + Duration::from_millis(20)))?;
    }
}

/// Waits for every process that is listed to end.
fn wait_for_processes(directory: &Path, deadline: Instant) -> Result<()> {
    for pid in processes_in(directory)? {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis() as i32;
        if let Ok(process) = pidfd::open(pid as i32) {
            anyhow::ensure!(pidfd::wait_end(&process, left)?, "{}", occupied(directory));
        }
    }
    Ok(())
}

/// Version 1 does not tell when a cgroup is empty, so its processes are waited for one by one.
fn wait_empty_v1(directory: &Path, deadline: Instant) -> Result<()> {
    if !cgroupfs::exists(directory) {
        return Ok(());
    }
    wait_for_processes(directory, deadline)?;
    // The last one has ended but may not have left yet.
    cgroupfs::let_others_run();
    anyhow::ensure!(Instant::now() < deadline, "{}", occupied(directory));
    Ok(())
}

fn occupied(directory: &Path) -> String {
    let pids: Vec<String> = processes_in(directory).unwrap_or_default().iter().map(u32::to_string).collect();
    format!("cgroup {} still has processes ({}); hint: delete --force kills them", directory.display(), pids.join(", "))
}
