//! What runtime-spec 1.3 asks of a config.json beyond its types: a table, one row a rule.
//!
//! `create` refuses a container with the first problem; `ocicat check` tells them all. What depends on more than the
//! document and a few facts of the host (whether a path exists, what the kernel can do) is found by the part that needs it.

mod document;
mod linux;
mod process;

use crate::config::{Config, Linux, Process};
use crate::host::Host;
use anyhow::{Result, anyhow};
use std::path::Path;

/// One thing that is wrong with a config.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: `mounts[7] (/data)`, `linux.sysctl (kernel.core_pattern)`.
    pub place: String,
    /// What: small letters, no full stop.
    pub message: String,
    /// The section of the specification that says so: `config.md#mounts`.
    pub section: &'static str,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// What a rule looks at.
struct Seen<'a> {
    config: &'a Config,
    /// Empty when there is none.
    linux: &'a Linux,
}

impl Seen<'_> {
    /// The container has a namespace of this kind that is not simply the runtime's.
    fn has(&self, kind: &str) -> bool {
        self.linux.namespaces.iter().any(|n| n.kind == kind)
    }

    /// The container gets a new namespace of this kind.
    fn makes(&self, kind: &str) -> bool {
        self.linux.namespaces.iter().any(|n| n.kind == kind && n.path.as_ref().is_none_or(|p| p.as_os_str().is_empty()))
    }
}

/// Collects what the rules find.
#[derive(Default)]
struct Report {
    section: &'static str,
    problems: Vec<Problem>,
}

impl Report {
    fn add(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { place: place.into(), message: message.into(), section: self.section });
    }

    /// Takes over the refusal of a plan, whose text is `place: message`.
    fn refused<T>(&mut self, planned: Result<T>) {
        let Err(error) = planned else { return };
        let text = format!("{error:#}");
        let (place, message) = text.split_once(": ").unwrap_or(("config.json", &text));
        self.add(place, message);
    }
}

/// A rule of the specification.
type Rule = (&'static str, fn(&Seen<'_>, &mut Report));

/// Every rule, in the order of the document: section of the specification, and what looks for violations.
const RULES: &[Rule] = &[
    ("config.md#specification-version", document::version),
    ("config.md#root", document::root),
    ("config.md#mounts", document::mounts),
    ("config.md#hostname", document::hostname),
    ("config.md#domainname", document::domainname),
    ("config.md#posix-platform-hooks", document::hooks),
    ("config.md#annotations", document::annotations),
    ("config.md#process", |seen, report| {
        if let Some(given) = &seen.config.process {
            process::all(given, report);
        }
    }),
    ("config.md#user", process::mapped_ids),
    ("config-linux.md#namespaces", linux::namespaces),
    ("config-linux.md#namespaces", linux::without_mount_namespace),
    ("config-linux.md#user-namespace-mappings", linux::id_mappings),
    ("config-linux.md#offset-for-time-namespace", linux::time_offsets),
    ("config-linux.md#devices", linux::devices),
    ("config-linux.md#network-devices", linux::net_devices),
    ("config-linux.md#allowed-device-list", linux::device_rules),
    ("config-linux.md#control-groups", linux::resources),
    ("config-linux.md#intelrdt", linux::intel_rdt),
    ("config-linux.md#sysctl", linux::sysctl),
    ("config-linux.md#rootfs-mount-propagation", linux::propagation),
    ("config-linux.md#masked-paths", |seen, report| linux::absolute("maskedPaths", &seen.linux.masked_paths, report)),
    ("config-linux.md#readonly-paths", |seen, report| {
        linux::absolute("readonlyPaths", &seen.linux.readonly_paths, report);
    }),
    ("config-linux.md#personality", linux::personality),
    ("config-linux.md#memory-policy", linux::memory_policy),
];

/// Everything that is wrong with `config`, in the order of the document.
pub fn problems(config: &Config, _host: &Host) -> Vec<Problem> {
    let no_linux = Linux::default();
    let seen = Seen { config, linux: config.linux.as_ref().unwrap_or(&no_linux) };
    let mut report = Report::default();
    for (section, look) in RULES {
        report.section = section;
        look(&seen, &mut report);
    }
    report.problems
}

/// Refuses a wrong `config` with the first problem.
///
/// # Errors
/// `config.json: PLACE: MESSAGE`
pub fn check(config: &Config, host: &Host) -> Result<()> {
    match problems(config, host).first() {
        None => Ok(()),
        Some(problem) => Err(anyhow!("config.json: {problem}")),
    }
}

/// Refuses a wrong process of `exec` with the first problem.
///
/// # Errors
/// `PLACE: MESSAGE`, with the place as in a process.json: `process.env[2]`
pub fn check_process(process: &Process) -> Result<()> {
    let mut report = Report { section: "config.md#process", ..Report::default() };
    process::all(process, &mut report);
    match report.problems.first() {
        None => Ok(()),
        Some(problem) => Err(anyhow!("{problem}")),
    }
}

/// A NUL ends a string for the kernel: what is behind it would silently be lost.
fn no_nul(place: impl FnOnce() -> String, text: &str, report: &mut Report) {
    if text.contains('\0') {
        report.add(place(), format!("{text:?} has a NUL character in it"));
    }
}

/// A path must be there, absolute, and free of NUL.
fn absolute_path(place: impl Fn() -> String, path: &Path, report: &mut Report) {
    if path.as_os_str().is_empty() {
        report.add(place(), "a path is required");
    } else if !path.is_absolute() {
        report.add(place(), format!("{} is not an absolute path", path.display()));
    } else {
        no_nul(place, &path.to_string_lossy(), report);
    }
}

#[cfg(test)]
mod tests;
