//! The record of a container: what it takes to find and to take back everything that exists because of it.
//! How it is stored is the business of `store`.

use super::exit::Exit;
use crate::cgroups;
use crate::sys::{clock, files, pidfd};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::OnceLock;

/// What is known of a container, besides facts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Version of this format.
    pub version: u32,
    /// `ociVersion` of the config.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Absolute path of the root filesystem.
    pub rootfs: PathBuf,
    /// Annotations of the config.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// When the container was made (RFC 3339, UTC).
    pub created: String,
    /// The uid that called the runtime.
    pub owner: u32,
    /// The boot in which the processes below lived.
    pub boot_id: String,
    /// Inode number of the pid namespace in which the numbers below name processes; 0 where procfs does not tell.
    #[serde(default)]
    pub pid_namespace: u64,
    /// The runtime process that makes the container.
    pub creator: Identity,
    /// Init; `None` until the container is created.
    pub init: Option<Identity>,
    /// Where its cgroups are.
    pub cgroups: Option<cgroups::Paths>,
    /// The container keeps its caller's keyring, and so does `exec`.
    #[serde(default)]
    pub no_new_keyring: bool,
    /// What the standard streams were when the container was made: `pipe:[7]`, `/dev/null`. Empty with a terminal.
    #[serde(default)]
    pub streams: Vec<String>,
    /// Its processes ended by a checkpoint: a restore may take its place.
    #[serde(default)]
    pub checkpointed: bool,
    /// criu has put it into a time namespace that config.json does not name; `exec` enters that too.
    #[serde(default)]
    pub time_namespace: bool,
    /// How it ended, once somebody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
}

/// A process for good: its number alone may come to name another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Number in the runtime's pid namespace.
    pub pid: i32,
    /// Start time in clock ticks since boot (proc_pid_stat(5), field 22).
    pub start: u64,
    /// By how much the clock of who read it was ahead of the machine's, in nanoseconds (time_namespaces(7)).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub clock_ahead: i64,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl Identity {
    /// The identity of a process that exists.
    pub fn of(pid: i32) -> Result<Identity> {
        Ok(Identity { pid, start: pidfd::stat(pid)?.1, clock_ahead: clock::boot_time_ahead() })
    }

    /// This process.
    pub fn own() -> Result<Identity> {
        Identity::of(std::process::id() as i32)
    }

    /// True while the process exists and is no zombie.
    pub fn is_alive(&self) -> bool {
        pidfd::stat(self.pid).is_ok_and(|(state, start)| self.began(start) && !matches!(state, 'Z' | 'X'))
    }

    /// Opens the process, if it is still the same one: the descriptor is taken first and the start time read after it.
    pub fn open(&self) -> Option<OwnedFd> {
        let fd = pidfd::open(self.pid).ok()?;
        self.is_alive().then_some(fd)
    }

    /// Opens the process also when it has ended and its parent has not reaped it yet.
    pub fn open_unreaped(&self) -> Option<OwnedFd> {
        let fd = pidfd::open(self.pid).ok()?;
        pidfd::stat(self.pid).is_ok_and(|(_, start)| self.began(start)).then_some(fd)
    }

    /// Whether a start time that this process has read is that of the identity. The kernel tells every reader by its own clock.
    fn began(&self, start: u64) -> bool {
        start == self.start || {
            let ahead = clock::boot_time_ahead().wrapping_sub(self.clock_ahead);
            ahead != 0 && seen_with(self.start, ahead).contains(&start)
        }
    }

    /// How the process ended, of which `process` is the pidfd. Its parent may reap it at any moment: before that /proc
    /// tells, and after it the pidfd does (Linux 6.15).
    pub fn ended(&self, process: &OwnedFd) -> Option<pidfd::Ended> {
        let unreaped = || pidfd::unreaped(self.pid).filter(|(start, _)| self.began(*start)).map(|(_, ended)| ended);
        pidfd::exit_info(process).or_else(unreaped).or_else(|| pidfd::exit_info(process))
    }
}

/// The start times, in ticks, that a process of the start time `start` may have for whose clock is `ahead` by so many nanoseconds:
/// one, or two where that is no whole number of ticks. The kernel's sum wraps around (do_task_stat() in fs/proc/array.c).
fn seen_with(start: u64, ahead: i64) -> [u64; 2] {
    // A hundredth of a second, as user space is told it (USER_HZ).
    const TICK: u64 = 10_000_000;
    let first = start.wrapping_mul(TICK).wrapping_add(ahead as u64);
    [first / TICK, first.wrapping_add(TICK - 1) / TICK]
}

/// The id of this boot; empty where procfs does not tell. It is asked for several times in a call, and read once.
pub fn boot_id() -> &'static str {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    let read = || files::read_text("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
    BOOT_ID.get_or_init(read)
}

/// The inode number of this process's pid namespace; 0 where procfs does not tell.
pub fn pid_namespace() -> u64 {
    static NAMESPACE: OnceLock<u64> = OnceLock::new();
    *NAMESPACE.get_or_init(|| rustix::fs::stat("/proc/self/ns/pid").map_or(0, |stat| stat.st_ino))
}

/// What has come to be since the record was first written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Amendment {
    /// Init, once the container is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<Identity>,
    /// Where its cgroups are, when that has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroups: Option<cgroups::Paths>,
    /// A checkpoint has ended it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub checkpointed: bool,
    /// A restore has put it into a time namespace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub time_namespace: bool,
    /// How it ended. Several may find out at the same time: the first one is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
}

impl Record {
    /// Takes an amendment in.
    pub fn amend(&mut self, amendment: Amendment) {
        self.init = amendment.init.or(self.init);
        self.cgroups = amendment.cgroups.or(self.cgroups.take());
        self.checkpointed |= amendment.checkpointed;
        self.time_namespace |= amendment.time_namespace;
        // A restored container has another first process, which has not ended.
        let former = self.exit.take().filter(|_| amendment.init.is_none());
        self.exit = former.or(amendment.exit);
    }

    #[cfg(test)]
    pub(super) fn new(id: &str, creator: Identity) -> Record {
        Record {
            version: 1,
            oci_version: "1.3.0".to_owned(),
            id: id.to_owned(),
            bundle: PathBuf::from("/b"),
            rootfs: PathBuf::from("/b/rootfs"),
            annotations: BTreeMap::new(),
            created: String::new(),
            owner: 0,
            boot_id: String::new(),
            pid_namespace: 0,
            creator,
            init: None,
            cgroups: None,
            no_new_keyring: false,
            streams: Vec::new(),
            checkpointed: false,
            time_namespace: false,
            exit: None,
        }
    }

    /// Init's identity, if it belongs to this boot.
    pub fn current_init(&self) -> Option<Identity> {
        self.init.filter(|_| self.has_numbers_of_ours())
    }

    /// The creator, if its number means the same process here.
    pub fn creator(&self) -> Option<Identity> {
        self.has_numbers_of_ours().then_some(self.creator)
    }

    /// True where the numbers of the record are another pid namespace's: one of a container around the caller, or below.
    pub fn is_of_another_pid_namespace(&self) -> bool {
        let own = pid_namespace();
        self.is_of_this_boot() && self.pid_namespace != 0 && own != 0 && self.pid_namespace != own
    }

    fn has_numbers_of_ours(&self) -> bool {
        self.is_of_this_boot() && !self.is_of_another_pid_namespace()
    }

    /// True when the machine was started anew since: nothing of the container can be there any more. False where procfs does
    /// not tell.
    pub fn is_of_another_boot(&self) -> bool {
        !self.boot_id.is_empty() && !boot_id().is_empty() && !self.is_of_this_boot()
    }

    fn is_of_this_boot(&self) -> bool {
        self.boot_id == boot_id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_time_is_known_again_by_whose_clock_is_ahead_or_behind() {
        const SECOND: i64 = 1_000_000_000;
        let before_zero = u64::MAX / 10_000_000;
        for (start, ahead, expected) in [
            (700, 1000 * SECOND, [100_700, 100_700]),
            (700, -5 * SECOND, [200, 200]),
            (700, 10_000_001, [701, 702]),
            (700, -1, [699, 700]),
            // Older than the clock of its reader.
            (100, -2 * SECOND, [before_zero - 100, before_zero - 99]),
        ] {
            assert_eq!(seen_with(start, ahead), expected, "{start} {ahead}");
        }
        let own = Identity::own().unwrap();
        assert!(own.is_alive() && own.began(own.start) && !own.began(own.start + 100_000));
        // As a runtime in another time namespace has recorded it.
        let elsewhere = Identity { start: own.start + 100_000, clock_ahead: own.clock_ahead + 1000 * SECOND, ..own };
        assert!(elsewhere.is_alive() && !elsewhere.began(own.start + 1));
    }
}
