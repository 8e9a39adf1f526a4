//! The processes of a container: listed, signalled, killed.
//!
//! A number from `cgroup.procs` may belong to somebody else a moment later. So a process is opened first, looked up once
//! more in the cgroup, and signalled through the descriptor.

use super::path::Paths;
use super::{freeze, remove};
use crate::sys::{Errno, cgroupfs, files, pidfd};
use anyhow::{Context, Result};
use rustix::fs::OFlags;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long killed processes may take to be gone: one in an uninterruptible call may never be.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long killed processes are waited for before it is looked again at what may keep them, in milliseconds.
const AGAIN_MS: i32 = 50;

impl Paths {
    /// Every process in the cgroup and below it.
    pub fn processes(&self) -> Result<Vec<u32>> {
        match self.counting() {
            Some(directory) => processes_in(&directory),
            None => Ok(Vec::new()),
        }
    }

    /// Whether a process is in the cgroup or below it, of whatever pid namespace: lists show only those of the reader's.
    pub fn is_populated(&self) -> bool {
        if let Some(unified) = self.unified()
            && let Ok(events) = cgroupfs::read(&unified.directory.join("cgroup.events"))
        {
            return value_of(&events, "populated") == Some(1);
        }
        // Version 1: the controller that counts processes counts those below too.
        if let Some(pids) = self.v1("pids")
            && let Ok(current) = cgroupfs::read(&pids.directory.join("pids.current"))
        {
            return current.trim() != "0";
        }
        self.processes().is_ok_and(|processes| !processes.is_empty())
    }

    /// Sends `signal` to every process in the cgroup and below it. SIGKILL is better sent by `kill`.
    pub fn signal_all(&self, signal: i32) -> Result<()> {
        match self.counting() {
            Some(directory) => open_all(&directory)?.iter().try_for_each(|(_, process)| send(process, signal)),
            None => Ok(()),
        }
    }

    /// Kills every process in the cgroup and below it, frozen ones too, and waits until they are gone.
    ///
    /// cgroup2 does that in one step that no fork can outrun (cgroup.kill, Linux 5.14). In version 1 the cgroup is frozen
    /// while it is listed, so that nothing is born meanwhile, and thawed whatever happens: a frozen process does not die.
    pub fn kill(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        if let Some(unified) = self.unified() {
            match cgroupfs::write(&unified.directory.join("cgroup.kill"), "1") {
                // Somebody has removed it: before the file was opened, or after that (ENODEV).
                Err(e) if gone(&e) && !cgroupfs::exists(&unified.directory) => {}
                Err(e) if e.errno == Errno(libc::ENOENT) => kill_listed(&unified.directory, None, deadline)?,
                other => other?,
            }
        }
        let freezer = self.v1("freezer").map(|h| h.directory.as_path());
        freezer.iter().for_each(|directory| freeze::thaw_tree(directory));
        if let Some(unified) = self.unified() {
            remove::wait_empty(&unified.directory, deadline)?;
        }
        match self
            .hierarchies
            .iter()
            .find(|h| h.has("freezer"))
            .or_else(|| self.hierarchies.iter().find(|h| !h.is_unified()))
        {
            Some(v1) => kill_listed(&v1.directory, freezer, deadline),
            None => Ok(()),
        }
    }

    /// How many processes of this cgroup the kernel's OOM killer has ended; 0 when it cannot be told.
    pub fn oom_kills(&self) -> u64 {
        self.oom_killed().unwrap_or(0)
    }

    /// The same, `None` when it cannot be told (version 1: Linux 4.13).
    pub(super) fn oom_killed(&self) -> Option<u64> {
        let memory = self.memory()?;
        let file = if memory.is_unified() { "memory.events" } else { "memory.oom_control" };
        value_of(&files::read_text(memory.directory.join(file)).ok()?, "oom_kill")
    }

    /// The most memory that the cgroup may use, in bytes; `None` without a limit of its own.
    pub fn memory_limit(&self) -> Option<u64> {
        let memory = self.memory()?;
        let file = if memory.is_unified() { "memory.max" } else { "memory.limit_in_bytes" };
        let limit = files::read_text(memory.directory.join(file)).ok()?.trim().parse().ok()?;
        // Version 1 says that there is none by the largest number of pages.
        (limit < i64::MAX as u64 & !0xffff).then_some(limit)
    }

    /// The directory whose list of processes is the best.
    fn counting(&self) -> Option<PathBuf> {
        let v1 = |name| self.hierarchies.iter().find(move |h| h.has(name));
        let best = self.unified().or_else(|| v1("freezer")).or_else(|| v1("pids")).or_else(|| self.hierarchies.first());
        best.map(|h| h.directory.clone())
    }
}

/// What a file of a cgroup says that somebody has removed: ENODEV where it was open already.
fn gone(error: &crate::sys::Error) -> bool {
    [libc::ENOENT, libc::ENODEV].contains(&error.errno.0)
}

/// The number behind `key` in a file of `key value` lines.
pub(super) fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Every process in a cgroup directory and below it; none when it does not exist.
pub(super) fn processes_in(directory: &Path) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    cgroupfs::walk(directory, &mut |cgroup| collect(cgroup, &mut found), &mut |_, _| Ok(()))?;
    Ok(found)
}

/// The processes of one cgroup, without those below it.
fn collect(cgroup: &OwnedFd, found: &mut Vec<u32>) -> Result<()> {
    match files::open_at(cgroup, "cgroup.procs", OFlags::RDONLY).and_then(|file| files::read_fd(file, 4 << 20)) {
        Ok(bytes) => {
            // 0 stands for a process of a pid namespace that we do not see.
            let text = String::from_utf8_lossy(&bytes);
            found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid != 0));
            Ok(())
        }
        // A threaded cgroup: the one above it lists its processes.
        Err(e) if gone(&e) || e.errno == Errno(libc::EOPNOTSUPP) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Opens every process and keeps those that are in the cgroup still.
fn open_all(directory: &Path) -> Result<Vec<(u32, OwnedFd)>> {
    let mut opened = Vec::new();
    for pid in processes_in(directory)? {
        match pidfd::open(pid as i32) {
            // It ended, or it is a thread group leader that did.
            Err(e) if [libc::ESRCH, libc::EINVAL, libc::ENOENT].contains(&e.errno.0) => {}
            other => opened.push((pid, other?)),
        }
    }
    if !opened.is_empty() {
        let still = processes_in(directory)?;
        opened.retain(|(pid, _)| still.contains(pid));
    }
    Ok(opened)
}

fn send(process: &OwnedFd, signal: i32) -> Result<()> {
    match pidfd::send_signal(process, signal) {
        Err(e) if e.errno == Errno(libc::ESRCH) => Ok(()),
        other => other.map_err(Into::into),
    }
}

/// Kills what a directory lists until it lists nothing more.
fn kill_listed(directory: &Path, freezer: Option<&Path>, deadline: Instant) -> Result<()> {
    loop {
        if processes_in(directory)?.is_empty() {
            return Ok(());
        }
        freezer.iter().for_each(|directory| drop(cgroupfs::write(&directory.join("freezer.state"), "FROZEN")));
        let killed = open_all(directory).and_then(|all| {
            all.iter().try_for_each(|(_, process)| send(process, libc::SIGKILL))?;
            Ok(all)
        });
        freezer.iter().for_each(|directory| freeze::thaw_tree(directory));
        for (pid, process) in killed.with_context(|| format!("cgroup {}", directory.display()))? {
            while !pidfd::wait_end(&process, AGAIN_MS)? {
                anyhow::ensure!(
                    Instant::now() < deadline,
                    "process {pid} of cgroup {} does not die; hint: it may wait for a device or a network filesystem (state D)",
                    directory.display()
                );
                // A call that wants to pause the container may have frozen it again before the process had taken its signal.
                freezer.iter().for_each(|directory| freeze::thaw_tree(directory));
            }
        }
        anyhow::ensure!(Instant::now() < deadline, "cgroup {} cannot be emptied", directory.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroups::Hierarchy;
    use crate::sys::credentials;
    use crate::sys::forked::in_child;
    use std::process::{Command, Stdio};

    /// A directory with the files of a version 1 freezer, as a user without privileges meets them.
    fn freezer(name: &str, procs: &str, mode: u32) -> (tempfile::TempDir, Paths) {
        let directory = tempfile::Builder::new().prefix(name).tempdir().unwrap();
        rustix::fs::chmod(directory.path(), rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
        let file = |name: &str, text: &str, mode: u32| {
            files::create_new(directory.path().join(name), text.as_bytes(), 0o666).unwrap();
            rustix::fs::chmod(directory.path().join(name), rustix::fs::Mode::from_raw_mode(mode)).unwrap();
        };
        file("freezer.state", "THAWED", mode);
        file("cgroup.procs", procs, 0o644);
        let path = directory.path().to_owned();
        let hierarchy = Hierarchy { name: "freezer".to_owned(), mount: path.clone(), directory: path };
        (directory, Paths { hierarchies: vec![hierarchy], ..Paths::default() })
    }

    fn as_nobody(act: impl FnOnce() -> Result<()>) -> String {
        let outcome = in_child(|| {
            let drop = || credentials::set_groups(&[]).and_then(|()| credentials::set_gid(65534));
            drop().and_then(|()| credentials::set_uid(65534)).map_err(|error| error.to_string())?;
            match act() {
                Ok(()) => Ok("done".to_owned()),
                Err(error) => Ok(format!("{error:#}")),
            }
        });
        outcome.unwrap()
    }

    #[test]
    fn a_version_1_cgroup_is_thawed_whatever_goes_wrong_while_it_is_frozen() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root, to become somebody who may not");
            return;
        }
        // Somebody else's process: it may not be signalled. A decoy, which nothing else is done to.
        let mut decoy = Command::new("/bin/sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let (directory, paths) = freezer("kill", &format!("{}\n", decoy.id()), 0o666);
        let said = as_nobody(|| paths.kill());
        let state = files::read_text(directory.path().join("freezer.state")).unwrap();
        decoy.kill().unwrap();
        decoy.wait().unwrap();
        assert!(said.contains("pidfd_send_signal 9: operation not permitted"), "{said}");
        assert_eq!(state, "THAWED", "after a signal that was refused");
        // The state cannot be read back.
        let (directory, paths) = freezer("freeze", "", 0o222);
        let said = as_nobody(|| paths.freeze());
        assert!(said.contains("freezer.state: permission denied"), "{said}");
        let state = files::read_text(directory.path().join("freezer.state")).unwrap();
        assert_eq!(state, "THAWED", "after a freeze that failed");
    }

    /// As `pause` would do it at the wrong moment, again and again.
    #[test]
    fn killed_processes_of_a_version_1_cgroup_end_although_another_call_freezes_it_meanwhile() {
        let mount = Path::new("/sys/fs/cgroup/freezer");
        let directory = mount.join(format!("ocicat-unit-kill-{}", std::process::id()));
        if !cgroupfs::exists(&mount.join("cgroup.procs")) || cgroupfs::make(&directory).is_err() {
            eprintln!("skipped: needs root and a version 1 freezer");
            return;
        }
        let state = directory.join("freezer.state");
        let hierarchy = Hierarchy { name: "freezer".to_owned(), mount: mount.to_owned(), directory: directory.clone() };
        let paths = Paths { hierarchies: vec![hierarchy], ..Paths::default() };
        let mut outcomes = Vec::new();
        for _ in 0..5 {
            let mut sleeper = Command::new("/bin/sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
            cgroupfs::write(&directory.join("cgroup.procs"), &sleeper.id().to_string()).unwrap();
            let until = Instant::now() + Duration::from_millis(200);
            let outcome = std::thread::scope(|scope| {
                scope.spawn(|| {
                    while Instant::now() < until {
                        cgroupfs::write(&state, "FROZEN").unwrap();
                    }
                });
                paths.kill()
            });
            cgroupfs::write(&state, "THAWED").unwrap();
            sleeper.kill().unwrap();
            sleeper.wait().unwrap();
            outcomes.push(outcome.map_or_else(|error| format!("{error:#}"), |()| "done".to_owned()));
        }
        cgroupfs::remove(&directory).unwrap();
        assert_eq!(outcomes, ["done"; 5]);
    }
}
