//! Whose a cgroup is: config.json says where it shall be (linux.cgroupsPath), and two containers may say the same.
//!
//! Two that live never have the same one. But one that has stopped leaves its cgroup behind, another may be made in it, and
//! after a restart of the machine anybody may be there: what is done to the first must not reach the second. Those of the same state
//! root are asked; for others there is a mark on the directory (`cgroups::mark`).

use super::record::Record;
use super::status::{self, Status};
use super::store::{self, Directory};
use super::{ContainerId, find::Found};
use crate::cgroups::Paths;
use std::path::Path;

/// Another container of the same root that was given one of `wanted` and has not stopped.
fn owner(own: &Directory, wanted: &dyn Fn(&Path) -> bool) -> Option<ContainerId> {
    let has = |id: &ContainerId| {
        let other = store::find(own.root(), id).ok()?;
        let (record, _) = other.record().ok()??;
        let given = record.cgroups.as_ref()?.hierarchies.iter().any(|hierarchy| wanted(&hierarchy.directory));
        Some(given && status::of(&record, &other) != Status::Stopped)
    };
    store::ids(own.root()).ok()?.into_iter().filter(|id| id != own.id()).find(|id| has(id) == Some(true))
}

/// The name of the container that was given the cgroup at `path` and lives, other than the one that is made in `own`.
pub(super) fn owner_of(own: &Directory, path: &Path) -> Option<String> {
    owner(own, &|given| given == path).map(|id| id.to_string())
}

/// The cgroups of a container, unless others have them by now.
pub(super) fn own_cgroups<'a>(record: &'a Record, directory: &Directory) -> Option<&'a Paths> {
    let paths = record.cgroups.as_ref().filter(|_| !record.is_of_another_boot())?;
    let is_ours = |given: &Path| paths.hierarchies.iter().any(|hierarchy| hierarchy.directory == given);
    let lives = record.current_init().is_some_and(|init| init.is_alive());
    // An empty one is the quick answer, and the usual one.
    let is_ours_still = || !paths.is_populated() || owner(directory, &is_ours).is_none();
    (lives || !paths.are_of_another() && is_ours_still()).then_some(paths)
}

impl Found {
    /// See [`own_cgroups`].
    pub(super) fn own_cgroups(&self) -> Option<&Paths> {
        own_cgroups(&self.record, &self.directory).filter(|paths| !paths.is_empty())
    }
}
