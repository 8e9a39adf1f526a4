//! The status of a container, derived from facts and never stored: what is stored can be wrong after a kill.

use super::exit::Exit;
use super::record::Record;
use super::store::{self, Directory};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// runtime.md, "State"; `paused` is what runc and crun add.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the spec's words")]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        })
    }
}

/// The state document of runtime.md, with what runc adds to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the spec's fields")]
pub struct State {
    pub oci_version: String,
    pub id: String,
    /// 0 once the container has stopped, and for who is in another pid namespace than its runtime was.
    pub pid: i32,
    pub status: Status,
    pub bundle: PathBuf,
    pub rootfs: PathBuf,
    /// RFC 3339, UTC.
    pub created: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Name of the user who made the container, or the uid where it has no name.
    pub owner: String,
    /// How it ended, of a container that has stopped. The specification's document has no such field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
}

/// Looks at the facts.
pub fn of(record: &Record, directory: &Directory) -> Status {
    match record.current_init() {
        None if record.init.is_none() && record.creator().is_some_and(|creator| creator.is_alive()) => Status::Creating,
        Some(init) if init.is_alive() => alive(record, directory),
        // Its processes cannot be seen from here; its cgroups can.
        None if record.is_of_another_pid_namespace()
            && record.cgroups.as_ref().is_some_and(|paths| paths.is_populated()) =>
        {
            // A hook that runs in the container is here before init is recorded.
            if record.init.is_none() { Status::Creating } else { alive(record, directory) }
        }
        _ => Status::Stopped,
    }
}

/// The same where another call works on the container: one whose creator is out of sight, and that has no cgroups which
/// could tell, is being created as long as somebody has it and init is not recorded.
pub fn while_taken(record: &Record, directory: &Directory) -> Status {
    match of(record, directory) {
        Status::Stopped if may_be_hidden(record) => Status::Creating,
        other => other,
    }
}

/// Whether its creator may be at work where it cannot be seen.
pub fn may_be_hidden(record: &Record) -> bool {
    record.init.is_none() && record.is_of_another_pid_namespace()
}

fn alive(record: &Record, directory: &Directory) -> Status {
    if record.cgroups.as_ref().is_some_and(|paths| paths.is_frozen()) {
        Status::Paused
    } else if directory.has(store::START) {
        Status::Created
    } else {
        Status::Running
    }
}

/// The state document.
pub fn state(record: &Record, status: Status) -> State {
    let pid = record.current_init().filter(|_| status != Status::Stopped).map_or(0, |init| init.pid);
    State {
        oci_version: record.oci_version.clone(),
        id: record.id.clone(),
        pid,
        status,
        bundle: record.bundle.clone(),
        rootfs: record.rootfs.clone(),
        created: record.created.clone(),
        annotations: record.annotations.clone(),
        owner: owner_name(record.owner),
        exit: None,
    }
}

/// The name of a uid in the host's /etc/passwd; the number itself where there is none.
fn owner_name(uid: u32) -> String {
    if uid == 0 {
        return "root".to_owned();
    }
    let passwd = crate::sys::files::read("/etc/passwd", 1 << 20).unwrap_or_default();
    let passwd = String::from_utf8_lossy(&passwd);
    let number = uid.to_string();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_owned())
    });
    name.unwrap_or(number)
}
