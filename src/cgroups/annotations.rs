//! `org.systemd.property.NAME` annotations: properties for the container's unit, as podman and CRI-O pass them on.
//!
//! Whoever writes annotations is often less trusted than whoever runs the runtime (CVE-2024-3154: a pod ran a program
//! on the host by such a property), so only names that act on the container's own unit are taken.

use super::unit::Value;
use anyhow::Result;
use std::collections::BTreeMap;

const PREFIX: &str = "org.systemd.property.";

/// What may be set. No Exec*, nothing that starts, stops or changes other units (BindsTo, Requires, Wants and Upholds start
/// what they name), nothing that names files.
const ALLOWED: &[&str] = &[
    "After",
    "AllowedCPUs",
    "AllowedMemoryNodes",
    "Before",
    "CollectMode",
    "CPUQuotaPerSecUSec",
    "CPUQuotaPeriodUSec",
    "CPUWeight",
    "DefaultDependencies",
    "Description",
    "Documentation",
    "IOWeight",
    "KillMode",
    "KillSignal",
    "ManagedOOMMemoryPressure",
    "ManagedOOMMemoryPressureLimit",
    "ManagedOOMPreference",
    "ManagedOOMSwap",
    "MemoryHigh",
    "MemoryLow",
    "MemoryMax",
    "MemoryMin",
    "MemorySwapMax",
    "MemoryZSwapMax",
    "OOMPolicy",
    "PartOf",
    "RuntimeMaxUSec",
    "RuntimeRandomizedExtraUSec",
    "SendSIGHUP",
    "SendSIGKILL",
    "StartupCPUWeight",
    "StartupIOWeight",
    "TasksMax",
    "TimeoutStopUSec",
];

/// The properties that the annotations ask for; values are written as GVariant text (`uint64 5`, `'text'`, `true`).
pub(super) fn properties(annotations: &BTreeMap<String, String>) -> Result<Vec<(String, Value)>> {
    let mut found = Vec::new();
    for (key, written) in annotations {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        let wrong = |why: &str| anyhow::anyhow!("annotations[{key}] ({written}): {why}");
        let value = parse(written).ok_or_else(|| wrong("must be a number, true, false, 'text' or ['text', ...]"))?;
        // `TimeoutStopSec` is how unit files write it; on the bus it is microseconds.
        let (name, value) = match name.strip_suffix("Sec").filter(|stem| !stem.ends_with('U')) {
            Some(stem) => {
                let seconds = seconds(&value).ok_or_else(|| wrong("must be a number of seconds"))?;
                (format!("{stem}USec"), Value::U64(seconds))
            }
            None => (name.to_owned(), value),
        };
        if !ALLOWED.contains(&name.as_str()) {
            return Err(wrong("a container may not set this property of its unit"));
        }
        found.push((name, value));
    }
    Ok(found)
}

fn seconds(value: &Value) -> Option<u64> {
    let seconds = match value {
        Value::I32(n) => u64::try_from(*n).ok()?,
        Value::I64(n) => u64::try_from(*n).ok()?,
        Value::U32(n) => (*n).into(),
        Value::U64(n) => *n,
        _ => return None,
    };
    seconds.checked_mul(1_000_000)
}

fn parse(text: &str) -> Option<Value> {
    let text = text.trim();
    match text {
        "true" => return Some(Value::Bool(true)),
        "false" => return Some(Value::Bool(false)),
        _ => {}
    }
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let items = inner.split(',').map(str::trim).filter(|item| !item.is_empty());
        return items.map(quoted).collect::<Option<Vec<_>>>().map(Value::Texts);
    }
    if let Some(text) = quoted(text) {
        return Some(Value::Text(text));
    }
    match text.split_once(' ') {
        Some(("uint32", number)) => number.trim().parse().ok().map(Value::U32),
        Some(("uint64", number)) => number.trim().parse().ok().map(Value::U64),
        Some(("int32", number)) => number.trim().parse().ok().map(Value::I32),
        Some(("int64", number)) => number.trim().parse().ok().map(Value::I64),
        Some(("boolean", word)) => word.trim().parse().ok().map(Value::Bool),
        Some(("string", word)) => quoted(word.trim()).map(Value::Text),
        _ => text.parse().ok().map(Value::I32),
    }
}

fn quoted(text: &str) -> Option<String> {
    let inner = ['\'', '"'].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))?;
    (!inner.contains(['\'', '"', '\\', '\n', '\0'])).then(|| inner.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_properties_are_taken() {
        for (name, text, expected) in [
            ("TimeoutStopUSec", "uint64 123456", "TimeoutStopUSec U64(123456)"),
            ("TimeoutStopSec", "5", "TimeoutStopUSec U64(5000000)"),
            (
                "TimeoutStopSec",
                "'5'",
                "annotations[org.systemd.property.TimeoutStopSec] ('5'): must be a number of seconds",
            ),
            ("CollectMode", "'inactive-or-failed'", "CollectMode Text(\"inactive-or-failed\")"),
            ("SendSIGHUP", "true", "SendSIGHUP Bool(true)"),
            ("After", "['a.service', 'b.service']", "After Texts([\"a.service\", \"b.service\"])"),
            (
                "ExecStartPre",
                "'/bin/sh'",
                "annotations[org.systemd.property.ExecStartPre] ('/bin/sh'): a container may not set this property of its unit",
            ),
            (
                "Conflicts",
                "['sshd.service']",
                "annotations[org.systemd.property.Conflicts] (['sshd.service']): a container may not set this property of its unit",
            ),
            (
                "BindsTo",
                "['debug-shell.service']",
                "annotations[org.systemd.property.BindsTo] (['debug-shell.service']): a container may not set this property of its unit",
            ),
            (
                "Slice",
                "'x.slice'",
                "annotations[org.systemd.property.Slice] ('x.slice'): a container may not set this property of its unit",
            ),
            (
                "KillMode",
                "'a",
                "annotations[org.systemd.property.KillMode] ('a): must be a number, true, false, 'text' or ['text', ...]",
            ),
            (
                "Description",
                "'a\\' b'",
                "annotations[org.systemd.property.Description] ('a\\' b'): must be a number, true, false, 'text' or ['text', ...]",
            ),
        ] {
            let annotations =
                BTreeMap::from([(format!("{PREFIX}{name}"), text.to_owned()), ("other".to_owned(), "x".to_owned())]);
            let shown = match properties(&annotations) {
                Ok(list) => list.iter().map(|(name, value)| format!("{name} {value:?}")).collect::<Vec<_>>().join(", "),
                Err(error) => error.to_string(),
            };
            assert_eq!(shown, expected);
        }
    }
}
