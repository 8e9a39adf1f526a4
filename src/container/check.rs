//! `check`: everything that is wrong with a bundle, without making anything.

use super::Runtime;
use crate::config::Config;
use crate::spec;
pub use crate::spec::check::Problem;
use anyhow::{Context, Result};
use std::path::Path;

/// Reads the config.json of a bundle and tells every rule of the specification that it breaks; when there is none, the
/// first thing that this host cannot do.
///
/// # Errors
/// The file cannot be read or is no config.json.
pub fn check(runtime: &Runtime, bundle: &Path) -> Result<Vec<Problem>> {
    let bundle = std::path::absolute(bundle).context("bundle")?;
    let (config, _) = spec::read::config(&bundle)?;
    let mut problems = spec::check::problems(&config, &runtime.host);
    if problems.is_empty() {
        problems.extend(planned(runtime, &config, &bundle));
    }
    Ok(problems)
}

fn planned(runtime: &Runtime, config: &Config, bundle: &Path) -> Option<Problem> {
    let request = spec::plan::Request {
        config,
        host: &runtime.host,
        bundle,
        id: "check",
        driver: runtime.driver(),
        no_pivot: false,
        no_new_keyring: false,
        preserve_fds: 0,
        variable: &|name| std::env::var(name).ok(),
    };
    let refusal = format!("{:#}", spec::plan::plan(&request).err()?);
    let refusal = refusal.strip_prefix("config.json: ").unwrap_or(&refusal);
    let (place, message) = refusal.split_once(": ").unwrap_or(("config.json", refusal));
    Some(Problem { place: place.to_owned(), message: message.to_owned(), section: "on this host" })
}
