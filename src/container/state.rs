//! `state`, `list` and `ps`: what is, read from facts.

use super::status::{self, State};
use super::{Runtime, exit, find, members, store};
use anyhow::Result;

/// The state of one container.
///
/// # Errors
/// `container does not exist`.
pub fn state(runtime: &Runtime, id: &str) -> Result<State> {
    let found = find::look(runtime, id)?;
    Ok(State { exit: exit::look(&found), ..status::state(&found.record, found.status) })
}

/// The states of all containers, by id, and what to say of those that have none: a damaged record, a runtime that was killed before
/// there was one, or in the last hooks. One that has only begun, or vanishes meanwhile, is left out.
///
/// # Errors
/// The root cannot be read.
pub fn list(runtime: &Runtime) -> Result<(Vec<State>, Vec<String>)> {
    const PASSING: [&str; 2] = ["container does not exist", "container is being created"];
    let (mut states, mut unknown) = (Vec::new(), Vec::new());
    for id in store::ids(&runtime.root)? {
        match state(runtime, id.as_str()).map_err(|error| format!("{error:#}")) {
            Ok(state) => states.push(state),
            Err(error) if PASSING.iter().any(|words| error.starts_with(words)) => {}
            Err(error) => unknown.push(error),
        }
    }
    let deleted = store::unfinished(&runtime.root, None)?;
    unknown.extend(deleted.iter().map(|directory| {
        let id = directory.id();
        format!("container {id} is deleted, but its runtime was killed in its poststop hooks; hint: delete it again")
    }));
    Ok((states, unknown))
}

/// The processes of a container, by number in the runtime's pid namespace.
///
/// # Errors
/// `container does not exist`, it is in another pid namespace, or its cgroup cannot be read.
pub fn processes(runtime: &Runtime, id: &str) -> Result<Vec<u32>> {
    let found = find::look(runtime, id)?;
    found.in_sight()?;
    if let Some(paths) = found.own_cgroups() {
        return paths.processes();
    }
    let Some(init) = found.record.current_init().filter(|init| init.is_alive()) else { return Ok(Vec::new()) };
    let members = members::of_its_pid_namespace(init.pid)?.unwrap_or_else(|| vec![init.pid]);
    Ok(members.into_iter().map(|pid| pid as u32).collect())
}
