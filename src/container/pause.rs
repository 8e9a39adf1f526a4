//! `pause` and `resume`: the freezer of the container's cgroup.

use super::status::{self, Status};
use super::{Runtime, find};
use crate::cgroups::Paths;
use anyhow::{Context, Result, anyhow, bail};

/// Stops every process of a running container.
///
/// # Errors
/// The container does not run, or has no cgroup of its own.
pub fn pause(runtime: &Runtime, id: &str) -> Result<()> {
    let found = find::take(runtime, id)?;
    match found.status {
        Status::Running | Status::Created => own_cgroup(found.record.cgroups.as_ref())?.freeze().map_err(|error| {
            // A kill or a delete needs no lock.
            match status::of(&found.record, &found.directory) {
                Status::Stopped => anyhow!("container not running: {id} is stopped"),
                _ => error,
            }
        }),
        Status::Paused => bail!("container is already paused: {id}"),
        other => bail!("container not running: {id} is {other}"),
    }
}

/// Lets a paused container go on.
///
/// # Errors
/// The container is not paused.
pub fn resume(runtime: &Runtime, id: &str) -> Result<()> {
    let found = find::take(runtime, id)?;
    match found.status {
        Status::Paused => own_cgroup(found.record.cgroups.as_ref())?.thaw(),
        other => bail!("container not paused: {id} is {other}"),
    }
}

fn own_cgroup(paths: Option<&Paths>) -> Result<&Paths> {
    paths.filter(|paths| !paths.is_empty()).context("the container has no cgroup of its own that could be frozen")
}
