//! `process` of config.json and process.json: config.md, "Process".

use super::document::environment;
use super::{Report, Seen, no_nul};
use crate::config::{IdMapping, Process};
use crate::process::{limits, scheduling};
use std::path::Path;

/// Every rule that needs nothing but the process itself.
pub(super) fn all(process: &Process, report: &mut Report) {
    strings(process, report);
    user(process, report);
    report.refused(limits::plan(&process.rlimits));
    report.refused(limits::check_oom_score(process.oom_score_adj));
    report.refused(scheduling::plan(process));
    report.refused(scheduling::affinity(process));
}

fn strings(process: &Process, report: &mut Report) {
    if process.cwd.is_empty() {
        report.add("process.cwd", "a path is required");
    } else if !Path::new(&process.cwd).is_absolute() {
        report.add("process.cwd", format!("{} is not an absolute path", process.cwd));
    } else {
        no_nul(|| "process.cwd".to_owned(), &process.cwd, report);
    }
    if process.args.is_empty() {
        report.add("process.args", "at least one entry is required");
    }
    for (index, arg) in process.args.iter().enumerate() {
        no_nul(|| format!("process.args[{index}]"), arg, report);
    }
    environment(&|| "process.env".to_owned(), &process.env, report);
    for (field, label) in [("apparmorProfile", &process.apparmor_profile), ("selinuxLabel", &process.selinux_label)] {
        no_nul(|| format!("process.{field}"), label.as_deref().unwrap_or_default(), report);
    }
}

/// NGROUPS_MAX, setgroups(2).
const MOST_GROUPS: usize = 65536;

/// The highest id means "do not change" to setuid(2) and its like, and is no id.
fn user(process: &Process, report: &mut Report) {
    let user = &process.user;
    for (field, id) in [("uid", user.uid), ("gid", user.gid)] {
        if id == u32::MAX {
            report.add(format!("process.user.{field}"), format!("{id} is not an id"));
        }
    }
    for (index, id) in user.additional_gids.iter().enumerate() {
        if *id == u32::MAX {
            report.add(format!("process.user.additionalGids[{index}]"), format!("{id} is not an id"));
        }
    }
    let count = user.additional_gids.len();
    if count > MOST_GROUPS {
        report.add(
            "process.user.additionalGids",
            format!("{count} groups are more than the {MOST_GROUPS} that a process can have"),
        );
    }
    if let Some(umask) = user.umask.filter(|umask| *umask > 0o777) {
        report.add("process.user.umask", format!("{umask} ({umask:o} in octal) is more than 511 (777 in octal)"));
    }
}

/// In a new user namespace an id that is not mapped does not exist.
pub(super) fn mapped_ids(seen: &Seen<'_>, report: &mut Report) {
    let Some(process) = seen.config.process.as_ref().filter(|_| seen.makes("user")) else { return };
    let (uids, gids) = (&seen.linux.uid_mappings, &seen.linux.gid_mappings);
    let mut look = |place: String, id: u32, map: &[IdMapping], name: &str| {
        let inside = |m: &IdMapping| id >= m.container_id && id - m.container_id < m.size;
        if !map.is_empty() && !map.iter().any(inside) {
            report.add(place, format!("{id} is not in linux.{name}"));
        }
    };
    look("process.user.uid".to_owned(), process.user.uid, uids, "uidMappings");
    look("process.user.gid".to_owned(), process.user.gid, gids, "gidMappings");
    for (index, gid) in process.user.additional_gids.iter().enumerate() {
        look(format!("process.user.additionalGids[{index}]"), *gid, gids, "gidMappings");
    }
}
