//! The parts of config.json that are the same on every platform: config.md without `process`.

use super::{Report, Seen, absolute_path, linux, no_nul};
use crate::config::{Hook, Mount};

/// Any 1.x is accepted: newer minors only add, and what we do not know we ignore (config.md, "Extensibility").
pub(super) fn version(seen: &Seen<'_>, report: &mut Report) {
    let version = &seen.config.oci_version;
    if version.is_empty() {
        report.add("ociVersion", "a version is required");
    } else if !is_version_1(version) {
        report.add("ociVersion", format!("{version:?} is not a version 1.x.y of the specification"));
    }
}

fn is_version_1(version: &str) -> bool {
    let numbers = version.split(['-', '+']).next().unwrap_or_default();
    let mut parts = numbers.split('.');
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    parts.next() == Some("1") && parts.clone().count() == 2 && parts.all(number)
}

pub(super) fn root(seen: &Seen<'_>, report: &mut Report) {
    match &seen.config.root {
        None => report.add("root", "a root filesystem is required"),
        Some(root) if root.path.as_os_str().is_empty() => report.add("root.path", "a path is required"),
        Some(root) => no_nul(|| "root.path".to_owned(), &root.path.to_string_lossy(), report),
    }
}

pub(super) fn mounts(seen: &Seen<'_>, report: &mut Report) {
    for (index, mount) in seen.config.mounts.iter().enumerate() {
        let place = || format!("mounts[{index}] ({})", mount.destination.display());
        if mount.destination.as_os_str().is_empty() {
            report.add(format!("mounts[{index}].destination"), "a path is required");
            continue;
        }
        let source = mount.source.as_deref().unwrap_or(std::path::Path::new("")).to_string_lossy();
        let kind = mount.kind.as_deref().unwrap_or_default();
        let words = [mount.destination.to_string_lossy().into_owned(), source.into_owned(), kind.to_owned()];
        for text in words.iter().chain(&mount.options) {
            no_nul(place, text, report);
        }
        kind_and_source(seen, mount, place, report);
        linux::mapping_pair(&place(), &mount.uid_mappings, &mount.gid_mappings, report);
    }
}

fn kind_and_source(seen: &Seen<'_>, mount: &Mount, place: impl Fn() -> String, report: &mut Report) {
    let has = |word: &str| mount.options.iter().any(|option| option == word);
    let bind = has("bind") || has("rbind");
    let kind = mount.kind.as_deref().unwrap_or_default();
    if bind && mount.source.as_ref().is_none_or(|source| source.as_os_str().is_empty()) {
        report.add(place(), "a bind mount needs a source");
    }
    if !bind && kind.is_empty() {
        report.add(place(), "neither a type nor bind or rbind among the options");
    }
    if mount.uid_mappings.is_empty() != mount.gid_mappings.is_empty() {
        report.add(place(), "uidMappings and gidMappings need each other");
    }
    let idmapped = has("idmap") || has("ridmap");
    if idmapped && mount.uid_mappings.is_empty() && !seen.has("user") {
        report.add(place(), "idmap without uidMappings and gidMappings needs a user namespace");
    }
}

pub(super) fn hostname(seen: &Seen<'_>, report: &mut Report) {
    name("hostname", seen.config.hostname.as_deref(), seen, report);
}

pub(super) fn domainname(seen: &Seen<'_>, report: &mut Report) {
    name("domainname", seen.config.domainname.as_deref(), seen, report);
}

/// sethostname(2) takes 64 bytes, and sets the host's own name when there is no uts namespace.
fn name(field: &str, value: Option<&str>, seen: &Seen<'_>, report: &mut Report) {
    let Some(value) = value.filter(|v| !v.is_empty()) else { return };
    if value.len() > 64 {
        report.add(field, format!("{} bytes are more than 64", value.len()));
    }
    if !seen.has("uts") {
        report.add(field, "needs a uts namespace; hint: add {\"type\": \"uts\"} to linux.namespaces");
    }
    no_nul(|| field.to_owned(), value, report);
}

pub(super) fn hooks(seen: &Seen<'_>, report: &mut Report) {
    let Some(hooks) = &seen.config.hooks else { return };
    let kinds: [(&str, &[Hook]); 6] = [
        ("prestart", &hooks.prestart),
        ("createRuntime", &hooks.create_runtime),
        ("createContainer", &hooks.create_container),
        ("startContainer", &hooks.start_container),
        ("poststart", &hooks.poststart),
        ("poststop", &hooks.poststop),
    ];
    for (kind, hooks) in kinds {
        for (index, hook) in hooks.iter().enumerate() {
            one_hook(&|| format!("hooks.{kind}[{index}]"), hook, report);
        }
    }
}

fn one_hook(place: &dyn Fn() -> String, hook: &Hook, report: &mut Report) {
    absolute_path(|| place() + ".path", &hook.path, report);
    if let Some(timeout) = hook.timeout.filter(|t| *t <= 0) {
        report.add(place() + ".timeout", format!("{timeout} is not greater than 0"));
    }
    for (index, arg) in hook.args.iter().enumerate() {
        no_nul(|| format!("{}.args[{index}]", place()), arg, report);
    }
    environment(&|| place() + ".env", hook.env.as_deref().unwrap_or_default(), report);
}

/// IEEE Std 1003.1, `environ`: NAME=VALUE.
pub(super) fn environment(place: &dyn Fn() -> String, entries: &[String], report: &mut Report) {
    for (index, entry) in entries.iter().enumerate() {
        match entry.find('=') {
            None => report.add(format!("{}[{index}]", place()), format!("{entry:?} has no =")),
            Some(0) => report.add(format!("{}[{index}]", place()), format!("{entry:?} has no name before the =")),
            Some(_) => no_nul(|| format!("{}[{index}]", place()), entry, report),
        }
    }
}

pub(super) fn annotations(seen: &Seen<'_>, report: &mut Report) {
    if seen.config.annotations.contains_key("") {
        report.add("annotations", "a key must not be empty");
    }
}
