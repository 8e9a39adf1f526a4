//! `plan`: what `create` would do on this host, without making anything.

use super::create::planned_if;
use super::{Create, Runtime, warnings};
use anyhow::Result;

/// What would be done.
#[derive(Debug)]
pub struct Steps {
    /// In their order, one line each.
    pub steps: Vec<String>,
    /// What config.json asks for and would not get.
    pub notes: Vec<String>,
}

/// The steps of `create` and `start`.
///
/// # Errors
/// config.json cannot be read or breaks a rule, or this host cannot do what it asks for.
pub fn plan(runtime: &Runtime, request: &Create) -> Result<Steps> {
    let planned = planned_if(runtime, request, |_| Ok(()))?;
    let notes = warnings::of_container(&planned.plan, &planned.config);
    Ok(Steps { steps: planned.plan.to_string().lines().map(str::to_owned).collect(), notes })
}
