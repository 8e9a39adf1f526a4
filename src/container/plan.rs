//! `plan`: what `create` would do on this host, without making anything.

use super::{ContainerId, Plan, Runtime};
use crate::spec;
use anyhow::{Context, Result};

/// The steps in their order, one line each.
///
/// # Errors
/// config.json cannot be read or breaks a rule, or this host cannot do what it asks for.
pub fn plan(runtime: &Runtime, request: &Plan) -> Result<Vec<String>> {
    let id: ContainerId = request.id.parse()?;
    let bundle = std::path::absolute(&request.bundle).context("bundle")?;
    let (config, _) = spec::read::config(&bundle)?;
    spec::check::check(&config, &runtime.host)?;
    let plan = spec::plan::plan(&spec::plan::Request {
        config: &config,
        host: &runtime.host,
        bundle: &bundle,
        id: id.as_str(),
        driver: runtime.driver(),
        no_pivot: request.no_pivot,
        no_new_keyring: request.no_new_keyring,
        preserve_fds: request.preserve_fds,
        variable: &|name| std::env::var(name).ok(),
    })?;
    Ok(plan.to_string().lines().map(str::to_owned).collect())
}
