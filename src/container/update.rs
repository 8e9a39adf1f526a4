//! `update`: other limits for a container that lives, all of them or none.

use super::status::Status;
use super::{Runtime, Update, find};
use crate::cgroups::{self, OwnCgroups};
use crate::spec;
use anyhow::{Context, Result, bail};

/// Changes the limits; answers with what could only be done in part (a limit below the usage that was reclaimed first).
///
/// # Errors
/// Which write the kernel refused, after the former values were put back.
pub fn update(runtime: &Runtime, request: &Update) -> Result<Vec<String>> {
    let found = find::take(runtime, &request.id)?;
    if found.status == Status::Stopped || found.status == Status::Creating {
        bail!("container not running: {} is {}", request.id, found.status);
    }
    if request.l3_cache_schema.is_some() || request.mem_bw_schema.is_some() {
        bail!("--l3-cache-schema, --mem-bw-schema: the container was made without linux.intelRdt");
    }
    let wanted = match &request.resources_file {
        Some(file) => spec::read::resources(file)?,
        None => request.resources.clone(),
    };
    let paths = found.record.cgroups.as_ref().context("the container has no cgroup of its own")?;
    let own = OwnCgroups::new();
    let update = cgroups::update(paths, &wanted, &own)?;
    update.apply()?;
    Ok(update.notes().to_vec())
}
