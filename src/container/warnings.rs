//! What config.json asks for and nobody can grant: no error, but said (config.md, "Capabilities"; the other runtimes' way with
//! unknown system calls).

use super::Notice;
use crate::config::Config;
use crate::process::{capabilities, plan};
use crate::spec;

/// Tells them one by one.
pub(super) fn tell(warnings: &[String], notice: &dyn Fn(Notice<'_>)) {
    warnings.iter().for_each(|warning| notice(Notice::Warning(warning)));
}

/// Warnings about a container.
pub(super) fn of_container(plan: &spec::plan::Plan, config: &Config) -> Vec<String> {
    let process = plan.init.process.iter().flat_map(|process| of(process, config));
    plan.cgroups.warnings().iter().chain(&plan.warnings).cloned().chain(process).collect()
}

/// Warnings about one process.
pub(super) fn of(process: &plan::Plan, config: &Config) -> Vec<String> {
    let namespaces = config.linux.as_ref().map(|linux| linux.namespaces.as_slice()).unwrap_or_default();
    let user_namespace = namespaces.iter().any(|namespace| namespace.kind == "user");
    let mut warnings = process.capabilities.warnings.clone();
    warnings.extend(capabilities::beyond_reach(&process.capabilities, user_namespace));
    warnings.extend(process.seccomp.iter().flat_map(|filter| filter.warnings.iter().cloned()));
    warnings
}
