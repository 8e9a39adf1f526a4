//! Why a process that was looked after ended with SIGKILL: the kernel tells nobody but its log and the cgroup's counter.

use super::request::Notice;
use crate::cgroups::Paths;
use crate::sys::pidfd::Ended;

/// The counter of a container's OOM kills as it was before a process was started in it.
pub(super) struct Watch<'a> {
    id: &'a str,
    paths: Option<&'a Paths>,
    before: u64,
}

impl<'a> Watch<'a> {
    /// A container with this count.
    pub(super) fn since(id: &'a str, paths: Option<&'a Paths>, before: u64) -> Watch<'a> {
        Watch { id, paths, before }
    }

    /// A container that runs, with the count of now.
    pub(super) fn now(id: &'a str, paths: Option<&'a Paths>) -> Watch<'a> {
        Watch { id, paths, before: paths.map_or(0, Paths::oom_kills) }
    }

    /// Tells when the process ended by the kernel's OOM killer, or a shell as its child did. Nothing is read after any other
    /// end. To be asked before the cgroup is removed.
    pub(super) fn tell(&self, ended: Ended, notice: &dyn Fn(Notice<'_>)) {
        const KILLED: i32 = 128 + libc::SIGKILL;
        let Some(paths) = self.paths.filter(|_| ended.code() == KILLED) else { return };
        if paths.oom_kills() > self.before {
            notice(Notice::End(&sentence(self.id, paths.memory_limit())));
        }
    }
}

fn sentence(id: &str, limit: Option<u64>) -> String {
    let killed = "the kernel killed its process (OOM)";
    match limit {
        Some(limit) => format!(
            "container {id}: the memory limit of {limit} bytes was reached, {killed}; hint: raise linux.resources.memory.limit"
        ),
        // Somebody else's memory, then: a cgroup's above it, or the machine's.
        None => format!("container {id}: memory ran out and it has no limit of its own, {killed}"),
    }
}
