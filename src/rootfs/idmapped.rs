//! User namespaces for idmapped mounts: a mount with its own mapping needs a namespace that has it, and nobody in it.

use super::entry::IdMap;
use crate::config::IdMapping;
use crate::sys::clone::{self, Cloned};
use crate::sys::{files, pidfd};
use anyhow::{Context, Result};
use rustix::fs::{CWD, OFlags};
use std::os::fd::{BorrowedFd, OwnedFd};

/// The user namespace that maps as `map` says; `container` is the one that the container joins.
///
/// # Errors
///
/// The kernel refuses the mapping: ranges that overlap, or more than it takes.
pub(super) fn namespace(map: &IdMap, container: Option<BorrowedFd<'_>>) -> Result<OwnedFd> {
    match &map.mappings {
        Some((uids, gids)) => new(uids, gids),
        None => {
            let container = container.context("the container's user namespace is not known")?;
            Ok(rustix::io::fcntl_dupfd_cloexec(container, 3)?)
        }
    }
}

/// Makes a user namespace with these mappings by a child that lives only while they are written.
pub(super) fn new(uids: &[IdMapping], gids: &[IdMapping]) -> Result<OwnedFd> {
    let parent = rustix::process::getpid();
    let child = match clone::clone3(libc::CLONE_NEWUSER as u64, None)? {
        Cloned::Parent(child) => child,
        Cloned::Child => stay(parent),
    };
    let opened = map(child.pid, uids, gids);
    // It waits for nothing else; whether it could be mapped or not, it ends here.
    pidfd::send_signal(&child.pidfd, libc::SIGKILL)?;
    pidfd::reap(&child.pidfd)?;
    opened
}

fn map(pid: i32, uids: &[IdMapping], gids: &[IdMapping]) -> Result<OwnedFd> {
    for (file, mappings) in [("uid_map", uids), ("gid_map", gids)] {
        files::write_value_at(CWD, format!("/proc/{pid}/{file}"), &lines(mappings))?;
    }
    Ok(files::open(format!("/proc/{pid}/ns/user"), OFlags::RDONLY)?)
}

/// One line a range, as user_namespaces(7) wants them.
fn lines(mappings: &[IdMapping]) -> String {
    mappings.iter().map(|m| format!("{} {} {}\n", m.container_id, m.host_id, m.size)).collect()
}

/// The child: keeps the namespace alive until it is killed, or its parent ends.
fn stay(parent: rustix::process::Pid) -> ! {
    use rustix::process::{Signal, getpid, getppid, kill_process, set_parent_process_death_signal};
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    // The parent may have ended before the line above.
    if getppid() != Some(parent) {
        let _ = kill_process(getpid(), Signal::KILL);
    }
    loop {
        rustix::event::pause();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_made_for_a_mapping_and_a_wrong_mapping_is_an_error() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: not root");
            return;
        }
        let range = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        let made = new(&[range(0, 100_000, 1000)], &[range(0, 100_000, 1000), range(5000, 5, 1)]).unwrap();
        assert_eq!(clone::namespace_kind(&made).unwrap(), libc::CLONE_NEWUSER as u64);
        let error = new(&[range(0, 100_000, 1000), range(5, 7, 1)], &[]).unwrap_err();
        assert!(format!("{error:#}").contains("uid_map: invalid argument (EINVAL)"), "{error:#}");
    }
}
