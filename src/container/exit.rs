//! How a container ended: the record that keeps it, and how it is learned.
//!
//! The runtime that made the container is gone by then, and no daemon watches. The exit code is known to whoever was
//! there: a foreground `run`, which is the parent, and a `wait`, which holds a pidfd. Besides, it can be read as long as the parent
//! has not reaped the process, so `state` looks too. Whoever learns it first appends it to the container's record.

use super::find::Found;
use super::record::{Amendment, Record};
use super::status::Status;
use super::store::Directory;
use crate::sys::{clock, pidfd};
use serde::{Deserialize, Serialize};

/// The end of a container. What nobody knows is `null`, and never guessed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Exit {
    /// The exit code as shells give it: the program's, or 128 and the signal.
    pub exit_code: Option<i32>,
    /// The signal that ended it; absent when none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// When it was seen to end (RFC 3339, UTC); `null` when it was only found ended.
    pub ended: Option<String>,
    /// Processes of the container that the kernel's OOM killer has ended.
    pub oom_kills: Option<u64>,
    /// Processor time of all its processes, in nanoseconds.
    pub cpu_time: Option<u64>,
    /// The most memory that was in use at one time, in bytes.
    pub memory_peak: Option<u64>,
}

impl Exit {
    /// What is known now. Counters are read from the cgroup, which is there until the container is deleted.
    pub(super) fn of(record: &Record, ended: Option<pidfd::Ended>) -> Exit {
        // Another container may have the cgroup by now: what that one has spent is not this one's.
        let own = record.cgroups.as_ref().filter(|paths| !paths.are_of_another());
        let spent = own.map(|paths| paths.spent()).unwrap_or_default();
        Exit {
            exit_code: ended.map(pidfd::Ended::code),
            signal: match ended {
                Some(pidfd::Ended::Signaled(signal)) => Some(signal),
                _ => None,
            },
            ended: None,
            oom_kills: spent.oom_kills,
            cpu_time: spent.cpu_time,
            memory_peak: spent.memory_peak,
        }
    }

    /// The same, of a process that has ended before our eyes.
    pub(super) fn now(record: &Record, ended: Option<pidfd::Ended>) -> Exit {
        Exit { ended: Some(clock::now_rfc3339()), ..Exit::of(record, ended) }
    }

    /// Keeps it in the container's record. No lock is needed: an amendment is one write, and the first one counts. A
    /// container that is deleted meanwhile, or a full disk, loses it, which does not change what is true.
    pub(super) fn keep(&self, directory: &Directory) {
        let _ = directory.amend(&Amendment { exit: Some(self.clone()), ..Amendment::default() });
    }
}

/// The end of a stopped container: what was recorded, or what can be seen still. `None` for one that has not ended, or whose
/// process never was.
pub(super) fn look(found: &Found) -> Option<Exit> {
    if found.status != Status::Stopped || found.record.init.is_none() {
        return None;
    }
    if found.record.exit.is_some() {
        return found.record.exit.clone();
    }
    let init = found.record.current_init();
    let ended = init.and_then(|init| init.ended(&init.open_unreaped()?));
    let exit = Exit::of(&found.record, ended);
    if ended.is_some() {
        exit.keep(&found.directory);
    }
    Some(exit)
}
