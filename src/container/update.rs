//! `update`: other limits for a container that lives, all of them or none.

use super::status::Status;
use super::{Runtime, Update, find};
use crate::cgroups::{self, OwnCgroups};
use crate::config::IntelRdt;
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
    let wanted = match &request.resources_file {
        Some(file) => spec::read::resources(file)?,
        None => request.resources.clone(),
    };
    let paths = found.record.cgroups.as_ref().context("the container has no cgroup of its own")?;
    let own = OwnCgroups::new();
    let update = cgroups::update(paths, &wanted, &own)?;
    let former = change_resctrl(paths, request)?;
    if let Err(error) = update.apply() {
        return Err(match former.map(|(resctrl, former)| resctrl.put_back(&former)) {
            Some(Err(stuck)) => error.context(format!("the schemata could not be put back ({stuck:#})")),
            _ => error,
        });
    }
    Ok(update.notes().to_vec())
}

/// The schemata of Intel RDT; the container keeps its class of service. Answers with what they were before.
fn change_resctrl<'a>(
    paths: &'a cgroups::Paths,
    request: &Update,
) -> Result<Option<(&'a cgroups::Resctrl, cgroups::FormerSchemata)>> {
    if request.l3_cache_schema.is_none() && request.mem_bw_schema.is_none() {
        return Ok(None);
    }
    let resctrl = paths.resctrl.as_ref().context(
        "--l3-cache-schema, --mem-bw-schema: the container was made without linux.intelRdt and shares its class of service",
    )?;
    let asked = IntelRdt {
        l3_cache_schema: request.l3_cache_schema.clone(),
        mem_bw_schema: request.mem_bw_schema.clone(),
        ..IntelRdt::default()
    };
    Ok(Some((resctrl, resctrl.change(&asked)?)))
}
