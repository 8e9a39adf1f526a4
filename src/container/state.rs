//! `state`, `list` and `ps`: what is, read from facts.

use super::status::{self, State};
use super::{Runtime, exit, find, store};
use anyhow::Result;

/// The state of one container.
///
/// # Errors
/// `container does not exist`.
pub fn state(runtime: &Runtime, id: &str) -> Result<State> {
    let found = find::look(runtime, id)?;
    Ok(State { exit: exit::look(&found), ..status::state(&found.record, found.status) })
}

/// The states of all containers, by id; one that vanishes meanwhile is left out.
///
/// # Errors
/// The root cannot be read.
pub fn list(runtime: &Runtime) -> Result<Vec<State>> {
    let ids = store::ids(&runtime.root)?;
    Ok(ids.iter().filter_map(|id| state(runtime, id.as_str()).ok()).collect())
}

/// The processes of a container, by number in the runtime's pid namespace.
///
/// # Errors
/// `container does not exist`, or its cgroup cannot be read.
pub fn processes(runtime: &Runtime, id: &str) -> Result<Vec<u32>> {
    let found = find::look(runtime, id)?;
    match found.own_cgroups() {
        Some(paths) => paths.processes(),
        None => Ok(found
            .record
            .current_init()
            .filter(|init| init.is_alive())
            .map(|init| init.pid as u32)
            .into_iter()
            .collect()),
    }
}
