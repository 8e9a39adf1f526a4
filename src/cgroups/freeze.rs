//! Stopping a whole cgroup and letting it run again.

use super::path::{Hierarchy, Paths};
use super::processes::value_of;
use crate::sys::{self, Errno, cgroupfs, files};
use anyhow::{Context, Result};
use rustix::fs::OFlags;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the kernel may take to stop every process.
const PATIENCE: Duration = Duration::from_secs(5);

impl Paths {
    /// Stops every process in the cgroup and waits until the kernel says so. When it does not, everything runs again.
    pub fn freeze(&self) -> Result<()> {
        let outcome = match (self.unified(), self.v1("freezer")) {
            (Some(unified), _) => set_unified(unified, true),
            (None, Some(freezer)) => freeze_v1(&freezer.directory),
            (None, None) => anyhow::bail!("the container has no cgroup that can be frozen"),
        };
        if outcome.is_err() {
            let _ = self.thaw();
        }
        outcome
    }

    /// Lets a frozen cgroup run again, whoever froze it.
    pub fn thaw(&self) -> Result<()> {
        if let Some(freezer) = self.v1("freezer") {
            match cgroupfs::write(&freezer.directory.join("freezer.state"), "THAWED") {
                Err(e) if self.unified().is_some() && e.errno == Errno(libc::ENOENT) => {}
                other => other?,
            }
        }
        match self.unified() {
            Some(unified) => set_unified(unified, false),
            None => Ok(()),
        }
    }

    /// The directory whose freezer stops every process, for whoever freezes the container besides us (criu(8),
    /// `--freeze-cgroup`).
    pub fn freezer(&self) -> Option<&Path> {
        let v2 = self.unified().filter(|_| self.hierarchies.len() == 1);
        self.v1("freezer").or(v2).map(|hierarchy| hierarchy.directory.as_path())
    }

    /// True when the cgroup is frozen (a missing one is not).
    pub fn is_frozen(&self) -> bool {
        self.hierarchies.iter().filter(|h| h.is_unified() || h.has("freezer")).any(is_frozen_directory)
    }
}

/// True when this directory is frozen, or on its way there; false where nothing can be frozen.
pub(super) fn is_frozen_directory(hierarchy: &Hierarchy) -> bool {
    if hierarchy.is_unified() {
        return files::read_text(hierarchy.directory.join("cgroup.freeze")).is_ok_and(|text| text.starts_with('1'));
    }
    hierarchy.has("freezer")
        && files::read_text(hierarchy.directory.join("freezer.state")).is_ok_and(|text| text.starts_with("FR"))
}

fn set_unified(unified: &Hierarchy, frozen: bool) -> Result<()> {
    let directory = &unified.directory;
    let events = files::open(directory.join("cgroup.events"), OFlags::RDONLY)?;
    let (file, wanted) = (directory.join("cgroup.freeze"), if frozen { "1" } else { "0" });
    cgroupfs::write(&file, wanted)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = files::read_start(&events, 4096)?;
        if value_of(&text, "frozen") == Some(u64::from(frozen)) {
            return Ok(());
        }
        // Another call may thaw it for a SIGKILL, or remove it; the open file does not tell of either, so both are looked at.
        anyhow::ensure!(
            cgroupfs::read(&file)?.trim_end() == wanted,
            "cgroup {} was {} by another call meanwhile",
            directory.display(),
            if frozen { "thawed" } else { "frozen" }
        );
        cgroupfs::wait_change(&events, deadline.min(Instant::now() + Duration::from_millis(20)))?;
        anyhow::ensure!(
            Instant::now() < deadline,
            "cgroup {} is not {} after {} s; hint: a process may wait for a device or a network filesystem (state D)",
            directory.display(),
            if frozen { "frozen" } else { "thawed" },
            PATIENCE.as_secs()
        );
    }
}

/// Version 1 tells nobody when it is done, and it can hang half-way when a process is born at the wrong moment: a second
/// write of FROZEN takes that one too (Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst). But none is written where
/// another call has thawed it for a SIGKILL: the killed processes could not end.
fn freeze_v1(directory: &Path) -> Result<()> {
    let file = directory.join("freezer.state");
    let deadline = Instant::now() + PATIENCE;
    loop {
        cgroupfs::write(&file, "FROZEN")?;
        for _ in 0..20 {
            match files::read_text(&file).context("freezer")?.trim_end() {
                "FROZEN" => return Ok(()),
                "THAWED" => anyhow::bail!("cgroup {} was thawed by another call meanwhile", directory.display()),
                _ => cgroupfs::let_others_run(),
            }
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "cgroup {} is not frozen after {} s",
            directory.display(),
            PATIENCE.as_secs()
        );
    }
}

/// Thaws a version 1 cgroup and everything below it: a frozen sub-cgroup would keep its processes from dying.
pub(super) fn thaw_tree(directory: &Path) {
    let mut thaw = |cgroup: &OwnedFd| {
        let _ = files::write_value_at(cgroup, "freezer.state", "THAWED");
        Ok(())
    };
    // What cannot be visited is gone, or will be said by whoever waits for its processes.
    let _: sys::Result<()> = cgroupfs::walk(directory, &mut thaw, &mut |_, _| Ok(()));
}
