//! `plan`: what `create` would do on this host, without making anything.

use super::create::planned_if;
use super::{Create, Runtime};
use anyhow::Result;

/// The steps in their order, one line each.
///
/// # Errors
/// config.json cannot be read or breaks a rule, or this host cannot do what it asks for.
pub fn plan(runtime: &Runtime, request: &Create) -> Result<Vec<String>> {
    let plan = planned_if(runtime, request, |_| Ok(()))?.plan;
    Ok(plan.to_string().lines().map(str::to_owned).collect())
}
