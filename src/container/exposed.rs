//! Whether somebody inside may look at processes of the runtime while they join, or become, the container.
//!
//! A process that is not dumpable is out of reach for who lacks capabilities that it has, and for a whole user namespace
//! (ptrace(2), "Ptrace access mode checking"). CAP_SYS_PTRACE in the host's own user namespace reaches it all the same:
//! then its executable must be one that cannot be written (CVE-2019-5736), and it must have the container's root and none of
//! the host's descriptors before it can be seen (CVE-2016-9962).

use crate::config::Config;
use crate::process::capabilities;

const CAP_SYS_PTRACE: u32 = 19;

/// True when a process of the container, or of one that shares its pid namespace, may trace ours. `added` are the
/// capabilities of `exec --cap`.
pub(super) fn to_tracers(config: &Config, added: &[String]) -> bool {
    let namespaces = config.linux.as_ref().map(|linux| linux.namespaces.as_slice()).unwrap_or_default();
    let user = namespaces.iter().any(|namespace| namespace.kind == "user");
    let shared_pids = namespaces.iter().any(|namespace| namespace.kind == "pid" && namespace.path.is_some());
    let sets = config.process.as_ref().and_then(|process| process.capabilities.as_ref());
    let sets = capabilities::plan(sets, added);
    let held = sets.bounding | sets.permitted | sets.effective;
    !user && (shared_pids || held >> CAP_SYS_PTRACE & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_namespace_protects_and_tracing_or_shared_pids_expose() {
        let bounding = |name: &str, namespaces: &str| {
            format!(
                r#"{{"process": {{"capabilities": {{"bounding": ["{name}"]}}}}, "linux": {{"namespaces": [{namespaces}]}}}}"#
            )
        };
        let rows = [
            (bounding("CAP_KILL", r#"{"type": "pid"}"#), "", false),
            (bounding("CAP_SYS_PTRACE", r#"{"type": "pid"}"#), "", true),
            (bounding("CAP_SYS_PTRACE", r#"{"type": "pid"}, {"type": "user"}"#), "", false),
            (bounding("CAP_KILL", r#"{"type": "pid"}"#), "sys_ptrace", true),
            (bounding("CAP_KILL", r#"{"type": "pid", "path": "/proc/7/ns/pid"}"#), "", true),
            ("{}".to_owned(), "", false),
        ];
        for (json, added, expected) in rows {
            let config: Config = serde_json::from_str(&json).unwrap();
            assert_eq!(to_tracers(&config, &[added.to_owned()]), expected, "{json} {added}");
        }
    }
}
