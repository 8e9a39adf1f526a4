//! The hooks after the end: a failure is a warning and the rest goes on (runtime.md, "Lifecycle", 13).

use super::status::State;
use crate::config::Config;
use crate::process::hooks::{self, Output};

/// Runs every poststop hook, each one even if the one before it failed; answers with the failures.
pub(super) fn run(config: &Config, state: &State) -> Vec<String> {
    let Some(hooks) = config.hooks.as_ref().filter(|hooks| !hooks.poststop.is_empty()) else { return Vec::new() };
    let state = serde_json::to_string(state).unwrap_or_default();
    let annotation = |name: &str| config.annotations.get(name).map(std::path::PathBuf::from);
    let output = Output { stdout: annotation("run.oci.hooks.stdout"), stderr: annotation("run.oci.hooks.stderr") };
    let failures = hooks::run_all(&hooks.poststop, "hooks.poststop", &state, &output);
    failures.iter().map(|error| format!("{error:#}")).collect()
}
