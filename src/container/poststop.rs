//! The hooks after the end: a failure is a warning and the rest goes on (runtime.md, "Lifecycle", 13).

use super::status::State;
use crate::config::Config;
use crate::process::hooks::{self, Output};

/// Whether there are any.
pub(super) fn has_any(config: &Config) -> bool {
    config.hooks.as_ref().is_some_and(|hooks| !hooks.poststop.is_empty())
}

/// Runs every poststop hook, each one even if the one before it failed; answers with the failures.
pub(super) fn run(config: &Config, state: &State) -> Vec<String> {
    let Some(hooks) = config.hooks.as_ref().filter(|hooks| !hooks.poststop.is_empty()) else { return Vec::new() };
    let state = serde_json::to_string(state).unwrap_or_default();
    let failures = hooks::run_all(&hooks.poststop, "hooks.poststop", &state, &Output::of(&config.annotations));
    failures.iter().map(|error| format!("{error:#}")).collect()
}
