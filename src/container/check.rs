//! `check`: everything that is wrong with a bundle, without making anything.

use super::{Runtime, warnings};
use crate::config::Config;
use crate::process::notify;
use crate::spec;
pub use crate::spec::check::Problem;
use crate::sys::files;
use anyhow::{Context, Result};
use std::path::Path;

/// What there is to say about a bundle.
#[derive(Debug, Default)]
pub struct Checked {
    /// What `create` refuses.
    pub problems: Vec<Problem>,
    /// What `create` leaves out without a word on standard error, or may be a slip.
    pub notes: Vec<String>,
}

/// Reads the config.json of a bundle and tells every rule of the specification that it breaks; when there is none, the
/// first thing that this host cannot do.
///
/// # Errors
/// The file cannot be read or is no config.json.
pub fn check(runtime: &Runtime, bundle: &Path) -> Result<Checked> {
    let bundle = files::absolute(bundle).context("--bundle")?;
    let (config, raw) = spec::read::config(&bundle)?;
    let problems = spec::check::problems(&config, &runtime.host);
    let mut checked = Checked { problems, notes: spec::notes::notes(&config, &raw) };
    if checked.problems.is_empty() {
        match planned(runtime, &config, &bundle) {
            Ok(plan) => checked.notes.extend(warnings::of_container(&plan, &config)),
            Err(problem) => checked.problems.push(problem),
        }
    }
    Ok(checked)
}

fn planned(runtime: &Runtime, config: &Config, bundle: &Path) -> Result<spec::plan::Plan, Problem> {
    // What the caller of `create` has is not known.
    let notify = notify::of_caller().unwrap_or(notify::Socket::None);
    let request = spec::plan::Request {
        config,
        host: &runtime.host,
        bundle,
        id: "check",
        driver: runtime.driver(),
        no_pivot: false,
        no_new_keyring: false,
        preserve_fds: 0,
        notify: &notify,
        variable: &|name| std::env::var(name).ok(),
    };
    spec::plan::plan(&request).map_err(|error| {
        let refusal = format!("{error:#}");
        let refusal = refusal.strip_prefix("config.json: ").unwrap_or(&refusal);
        let (place, message) = refusal.split_once(": ").unwrap_or(("config.json", refusal));
        Problem { place: place.to_owned(), message: message.to_owned(), section: "on this host" }
    })
}
