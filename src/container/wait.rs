//! `wait`: until a container ends, and how it did.

use super::exit::{self, Exit};
use super::find::{self, Found};
use super::status::{self, Status};
use super::{Runtime, Wait};
use crate::sys::pidfd;
use anyhow::{Result, bail};

/// Waits for the end of a container's first process, whoever its parent is. Any number of calls may wait at the same time, and
/// a `delete` meanwhile neither waits for them nor makes them wait.
///
/// The exit code is `None` when the container had ended before and nobody was there; on a kernel before 6.15 also when the
/// parent reaps it faster than we look.
///
/// # Errors
/// The container does not exist, is being created, or has not ended within the time given.
pub fn wait(runtime: &Runtime, request: &Wait) -> Result<Exit> {
    let found = find::look(runtime, &request.id)?;
    match found.status {
        Status::Creating => bail!("container is being created: {}", request.id),
        Status::Stopped => return Ok(already(&found)),
        Status::Created | Status::Running | Status::Paused => {}
    }
    let Some(init) = found.record.current_init() else {
        return found.init().map(|_| already(&found));
    };
    // It may have ended since its status was read, and even then its parent has not reaped it as a rule.
    let Some(process) = init.open_unreaped() else { return Ok(already(&again(found)?)) };
    let limit = request.timeout.map_or(-1, |limit| i32::try_from(limit.as_millis()).unwrap_or(i32::MAX));
    if !pidfd::wait_end(&process, limit)? {
        bail!("container {} has not ended within {:?}", request.id, request.timeout.unwrap_or_default());
    }
    let exit = Exit::now(&found.record, init.ended(&process));
    // What somebody else has learned meanwhile is as true, and may be more: our look at the cgroup can come too late.
    if let Some(known) = recorded(&found) {
        return Ok(known);
    }
    exit.keep(&found.directory);
    Ok(exit)
}

/// A container that had ended before: what was recorded, or what can be seen still.
fn already(found: &Found) -> Exit {
    exit::look(found).unwrap_or_default()
}

fn recorded(found: &Found) -> Option<Exit> {
    found.directory.record().ok().flatten()?.0.exit
}

/// The container as it is now.
fn again(found: Found) -> Result<Found> {
    // It may be deleted by now; what was read of it is all that there is to know then.
    let Some((record, config)) = found.directory.record()? else {
        return Ok(Found { status: Status::Stopped, ..found });
    };
    let status = status::of(&record, &found.directory);
    Ok(Found { record, config, status, ..found })
}
