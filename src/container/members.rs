//! The processes of a container that has no cgroup of its own: those of its pid namespace, and of namespaces below that.

use super::record;
use crate::sys::{files, pidfd};
use anyhow::Result;
use rustix::fs::OFlags;
use std::collections::{BTreeMap, BTreeSet};

/// The processes of the pid namespace of `init`, sorted; `None` when it has none of its own, or we may not look.
pub(super) fn of_its_pid_namespace(init: i32) -> Result<Option<Vec<i32>>> {
    let namespace = |pid: i32| rustix::fs::stat(format!("/proc/{pid}/ns/pid")).ok().map(|status| status.st_ino);
    let Some(own) = namespace(init).filter(|inode| *inode != record::pid_namespace()) else { return Ok(None) };
    let names = files::names(files::open("/proc", OFlags::RDONLY | OFlags::DIRECTORY)?)?;
    let pids: Vec<i32> = names.iter().filter_map(|name| name.to_str().ok()?.parse().ok()).collect();
    let parents = pids.iter().filter_map(|pid| Some((*pid, pidfd::parent(*pid)?))).collect();
    let inside = pids.iter().copied().filter(|pid| namespace(*pid) == Some(own)).collect();
    Ok(Some(with_descendants(inside, &parents).into_iter().collect()))
}

/// Adds whoever descends from one of them: a process of a namespace below has its parent there or in the one above, also when its
/// first parent has ended.
fn with_descendants(mut inside: BTreeSet<i32>, parents: &BTreeMap<i32, i32>) -> BTreeSet<i32> {
    loop {
        let is_new = |(pid, parent): (&i32, &i32)| (inside.contains(parent) && !inside.contains(pid)).then_some(*pid);
        let new: Vec<i32> = parents.iter().filter_map(is_new).collect();
        if new.is_empty() {
            return inside;
        }
        inside.extend(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_belong_to_them_and_strangers_do_not() {
        let parents = BTreeMap::from([(2, 1), (7, 2), (8, 9), (9, 7), (5, 1), (20, 5)]);
        assert_eq!(with_descendants(BTreeSet::from([7]), &parents), BTreeSet::from([7, 8, 9]));
    }

    #[test]
    fn a_process_without_a_pid_namespace_of_its_own_has_no_such_list() {
        assert_eq!(of_its_pid_namespace(std::process::id() as i32).unwrap(), None);
        assert_eq!(of_its_pid_namespace(i32::MAX).unwrap(), None);
    }
}
