//! A user namespace that exists only to carry an id mapping, for idmapped mounts of layers.

use crate::config::IdMapping;
use crate::sys::clone::{Cloned, clone3};
use crate::sys::{self, pidfd, proc};
use anyhow::{Context, Result};
use rustix::fs::OFlags;
use std::os::fd::OwnedFd;

/// Makes a user namespace with these mappings: a process enters it, waits, and is ended when we hold the descriptor.
pub(super) fn user_namespace(uids: &[IdMapping], gids: &[IdMapping]) -> Result<OwnedFd> {
    let (ours, theirs) = sys::channel::pair()?;
    let child = match clone3(libc::CLONE_NEWUSER as u64, None)? {
        Cloned::Child => {
            let _ = proc::die_with_parent();
            drop(ours);
            // Ends when the parent closes its side.
            let _ = sys::channel::receive(&theirs);
            proc::exit_now(0);
        }
        Cloned::Parent(child) => child,
    };
    drop(theirs);
    let namespace = describe(child.pid, uids, gids);
    drop(ours);
    let _ = pidfd::send_signal(&child.pidfd, libc::SIGKILL);
    pidfd::reap(&child.pidfd)?;
    namespace
}

fn describe(pid: i32, uids: &[IdMapping], gids: &[IdMapping]) -> Result<OwnedFd> {
    for (file, ranges) in [("uid_map", uids), ("gid_map", gids)] {
        let lines: Vec<String> =
            ranges.iter().map(|r| format!("{} {} {}", r.container_id, r.host_id, r.size)).collect();
        let path = format!("/proc/{pid}/{file}");
        sys::files::write_value_at(rustix::fs::CWD, &path, &lines.join("\n")).with_context(|| path.clone())?;
    }
    Ok(sys::files::open(format!("/proc/{pid}/ns/user"), OFlags::RDONLY)?)
}
