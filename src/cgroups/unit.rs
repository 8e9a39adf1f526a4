//! A container as a unit of systemd: its name, its place, and the properties that say of its limits what the files say.
//!
//! The files are what limits the container; we write them ourselves, as the unit is delegated to us. systemd must know
//! the same, because it writes what it knows again at every `daemon-reload`.

use super::devices::{Kind, Rules, group_name};
use super::resources::{given, text};
use super::sheet::wrong;
use super::{annotations, v2};
use crate::config::{Config, Cpu, Memory, Resources};
use crate::sys::files;
use anyhow::Result;
use std::path::PathBuf;

/// The value of a property, by its D-Bus type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Bool(bool),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    Text(String),
    Bytes(Vec<u8>),
    Texts(Vec<String>),
    Pairs(Vec<(String, String)>),
}

/// A transient unit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unit {
    /// `ocicat-ID.scope`
    pub(super) name: String,
    /// The slice that it is in.
    pub(super) slice: String,
    /// Everything but the process that it begins with.
    pub(super) properties: Vec<(String, Value)>,
    /// The names of those that an annotation asks for.
    pub(super) annotated: Vec<String>,
}

impl Unit {
    /// The unit for a container: cgroupsPath is `SLICE:PREFIX:NAME`, and without it `SLICE:ocicat:ID` in the usual slice.
    /// `groups` is what /proc/devices says; it is only looked at in version 1.
    pub(super) fn of(config: &Config, id: &str, rootless: bool, v2: bool, groups: &str) -> Result<Unit> {
        let linux = config.linux.as_ref();
        let asked = linux.and_then(|linux| text(&linux.cgroups_path)).unwrap_or("::");
        let mut parts = asked.split(':');
        let (Some(slice), Some(prefix), Some(name), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            anyhow::bail!(
                "linux.cgroupsPath ({asked}): the systemd driver wants SLICE:PREFIX:NAME; hint: leave --systemd-cgroup out for a path"
            );
        };
        let (prefix, name) = if asked == "::" { ("ocicat", id) } else { (prefix, name) };
        let usual = if rootless { "user.slice" } else { "system.slice" };
        let slice = if slice.is_empty() { usual } else { slice };
        slice_path(slice)?;
        let whole = if prefix.is_empty() { format!("{name}.scope") } else { format!("{prefix}-{name}.scope") };
        let is_name = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        if name.is_empty() || whole.len() > 255 || !whole.chars().all(is_name) {
            return Err(anyhow::anyhow!("linux.cgroupsPath ({asked}): {whole} is no name for a systemd unit"));
        }
        let nothing = Resources::default();
        let resources = linux.and_then(|linux| linux.resources.as_ref()).unwrap_or(&nothing);
        let mut properties = vec![
            ("Description".to_owned(), Value::Text(format!("container {id}"))),
            ("Slice".to_owned(), Value::Text(slice.to_owned())),
            ("Delegate".to_owned(), Value::Bool(true)),
            ("DefaultDependencies".to_owned(), Value::Bool(false)),
        ];
        for accounting in ["MemoryAccounting", "CPUAccounting", "IOAccounting", "TasksAccounting"] {
            properties.push((accounting.to_owned(), Value::Bool(true)));
        }
        let limits = limits(resources, v2)?;
        properties.extend(limits.iter().cloned());
        properties.extend(devices(&Rules::of(Some(resources))?, v2, groups));
        let mut annotated = Vec::new();
        for (name, value) in annotations::properties(&config.annotations)? {
            // The annotation would be in force from the next daemon-reload on, whatever limit it lifts.
            anyhow::ensure!(
                !limits.iter().any(|(known, _)| *known == name),
                "annotations[org.systemd.property.{name}]: linux.resources sets this limit already"
            );
            properties.retain(|(known, _)| *known != name);
            annotated.push(name.clone());
            properties.push((name, value));
        }
        Ok(Unit { name: whole, slice: slice.to_owned(), properties, annotated })
    }

    /// Where systemd puts the unit's cgroup, below the manager's own.
    pub(super) fn path(&self) -> Result<PathBuf> {
        Ok(slice_path(&self.slice)?.join(&self.name))
    }
}

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "start {} in {}", self.name, self.slice)?;
        self.properties.iter().try_for_each(|(name, value)| writeln!(f, "property {name} {value:?}"))
    }
}

/// `a-b.slice` lies in `a.slice` (systemd.slice(5)).
fn slice_path(slice: &str) -> Result<PathBuf> {
    let refused = || {
        anyhow::anyhow!("linux.cgroupsPath ({slice}): is no name for a systemd slice; hint: as in machine-web.slice")
    };
    let stem = slice.strip_suffix(".slice").ok_or_else(refused)?;
    let mut path = PathBuf::new();
    if stem == "-" {
        return Ok(path);
    }
    let mut name = String::new();
    for part in stem.split('-') {
        anyhow::ensure!(!part.is_empty() && !part.contains(['/', '\0']), refused());
        if !name.is_empty() {
            name.push('-');
        }
        name.push_str(part);
        path.push(format!("{name}.slice"));
    }
    Ok(path)
}

/// The limits as properties (systemd.resource-control(5)).
pub(super) fn limits(resources: &Resources, v2: bool) -> Result<Vec<(String, Value)>> {
    let mut list = Vec::new();
    let mut put = |name: &str, value: Value| list.push((name.to_owned(), value));
    if let Some(memory) = &resources.memory {
        memory_limits(memory, v2, &mut put);
    }
    if let Some(cpu) = &resources.cpu {
        cpu_limits(cpu, v2, &mut put)?;
    }
    if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        put("TasksMax", Value::U64(unlimited(limit)));
    }
    if let Some(weight) = resources.block_io.as_ref().and_then(|io| given(&io.weight).copied()) {
        if v2 {
            put("IOWeight", Value::U64(v2::io_weight(weight)));
        } else {
            put("BlockIOWeight", Value::U64(weight.into()));
        }
    }
    for (file, value) in resources.unified.iter().filter(|_| v2) {
        unified(file, value.trim(), &mut put)?;
    }
    Ok(list)
}

/// systemd writes "no limit" as the greatest number.
fn unlimited(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

fn memory_limits(memory: &Memory, v2: bool, put: &mut impl FnMut(&str, Value)) {
    if let Some(limit) = given(&memory.limit) {
        put(if v2 { "MemoryMax" } else { "MemoryLimit" }, Value::U64(unlimited(*limit)));
    }
    if !v2 {
        return;
    }
    if let Some(reservation) = given(&memory.reservation) {
        put("MemoryLow", Value::U64(unlimited(*reservation)));
    }
    if let Ok(Some(swap)) = v2::swap(memory) {
        put("MemorySwapMax", Value::U64(unlimited(swap)));
    }
}

fn cpu_limits(cpu: &Cpu, v2: bool, put: &mut impl FnMut(&str, Value)) -> Result<()> {
    match (given(&cpu.shares), cpu.idle) {
        (_, Some(1)) if v2 => put("CPUWeight", Value::U64(0)),
        (Some(shares), _) if v2 => put("CPUWeight", Value::U64(v2::weight_of_shares(*shares))),
        (Some(shares), _) => put("CPUShares", Value::U64(*shares)),
        (None, _) => {}
    }
    quota(cpu.quota.unwrap_or(0), cpu.period.unwrap_or(0), put);
    if v2 {
        for (name, list, place) in
            [("AllowedCPUs", &cpu.cpus, "cpu.cpus"), ("AllowedMemoryNodes", &cpu.mems, "cpu.mems")]
        {
            if let Some(list) = text(list) {
                put(name, Value::Bytes(bits(list, place)?));
            }
        }
    }
    Ok(())
}

/// Microseconds a second, rounded up to a whole percent: systemd rounds to that itself, and were the result below what
/// the container or one below it asks for, the kernel would refuse that one's quota (kubernetes #61192).
fn quota(quota: i64, period: u64, put: &mut impl FnMut(&str, Value)) {
    if period != 0 {
        put("CPUQuotaPeriodUSec", Value::U64(period));
    }
    match u64::try_from(quota) {
        Ok(0) => {}
        Ok(quota) => {
            let period = if period == 0 { 100_000 } else { period };
            let a_second = quota.saturating_mul(1_000_000) / period;
            put("CPUQuotaPerSecUSec", Value::U64(a_second.div_ceil(10_000).saturating_mul(10_000)));
        }
        Err(_) => put("CPUQuotaPerSecUSec", Value::U64(u64::MAX)),
    }
}

/// `0-2,7` as a bit for each number, the lowest in the first byte.
fn bits(list: &str, place: &str) -> Result<Vec<u8>> {
    let mut bytes: Vec<u8> = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) else {
            return wrong(place, list, "must be a list as in 0-2,7");
        };
        if first > last || last > 8191 {
            return wrong(place, list, "must be a list as in 0-2,7");
        }
        if bytes.len() <= last / 8 {
            bytes.resize(last / 8 + 1, 0);
        }
        for number in first..=last {
            if let Some(byte) = bytes.get_mut(number / 8) {
                *byte |= 1 << (number % 8);
            }
        }
    }
    Ok(bytes)
}

fn unified(file: &str, value: &str, put: &mut impl FnMut(&str, Value)) -> Result<()> {
    let number = if value == "max" { Ok(u64::MAX) } else { value.parse::<u64>() };
    let name = match file {
        "memory.max" => "MemoryMax",
        "memory.high" => "MemoryHigh",
        "memory.low" => "MemoryLow",
        "memory.min" => "MemoryMin",
        "memory.swap.max" => "MemorySwapMax",
        "cpu.weight" => "CPUWeight",
        "pids.max" => "TasksMax",
        "cpu.max" => {
            let mut words = value.split_whitespace();
            let limit = words.next().map_or(-1, |word| word.parse().unwrap_or(-1));
            quota(limit, words.next().and_then(|word| word.parse().ok()).unwrap_or(0), put);
            return Ok(());
        }
        "cpuset.cpus" | "cpuset.mems" => {
            let name = if file == "cpuset.cpus" { "AllowedCPUs" } else { "AllowedMemoryNodes" };
            put(name, Value::Bytes(bits(value, &format!("unified[{file}]"))?));
            return Ok(());
        }
        // systemd does not know the others and so does not touch them.
        _ => return Ok(()),
    };
    match number {
        Ok(number) => put(name, Value::U64(number)),
        Err(_) => return wrong(&format!("unified[{file}]"), value, "must be a number or max"),
    }
    Ok(())
}

/// The device policy that keeps the rules in force when systemd loads its units again.
///
/// On cgroup2 that is "none of systemd's business": a program that it attached would be made anew from what it knows at
/// `daemon-reload`, and take away devices that were allowed since (GPUs, by other runtimes' users); ours is not its to
/// touch. In version 1 there is one list that it writes at that moment, so there it must know the rules.
pub(super) fn devices(rules: &Rules, v2: bool, groups: &str) -> Vec<(String, Value)> {
    let policy = |word: &str| ("DevicePolicy".to_owned(), Value::Text(word.to_owned()));
    if v2 || rules.allowed {
        return vec![policy("auto"), ("DeviceAllow".to_owned(), Value::Pairs(Vec::new()))];
    }
    let mut allowed = Vec::new();
    for rule in rules.rules.iter().filter(|rule| rule.allow) {
        let kinds: &[&str] = match rule.kind {
            Kind::Any => &["block", "char"],
            Kind::Block => &["block"],
            Kind::Char => &["char"],
        };
        for kind in kinds {
            let node = match (rule.major, rule.minor) {
                (None, _) => format!("{kind}-*"),
                (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
                (Some(136), None) => "char-pts".to_owned(),
                // A whole major is known to systemd by its name in /proc/devices only; without a driver there is none.
                (Some(major), None) => match group_name(groups, kind, major) {
                    Some(name) => format!("{kind}-{name}"),
                    None => continue,
                },
            };
            allowed.push((node, rule.letters()));
        }
    }
    vec![policy("strict"), ("DeviceAllow".to_owned(), Value::Pairs(allowed))]
}

/// What /proc/devices says, where [`devices`] needs it.
pub(super) fn device_groups(v2: bool) -> Result<String> {
    if v2 { Ok(String::new()) } else { Ok(files::read_text("/proc/devices")?) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(cgroups_path: &str, resources: &str, v2: bool) -> String {
        let json = format!(r#"{{"linux":{{"cgroupsPath":"{cgroups_path}","resources":{resources}}}}}"#);
        let config: Config = serde_json::from_str(&json).unwrap();
        match Unit::of(&config, "box", false, v2, "") {
            Ok(unit) => {
                let shown = |(name, value): &(String, Value)| format!(" {name}={value:?}");
                let rest: String = unit.properties.iter().skip(8).map(shown).collect();
                format!("{}{}", unit.path().unwrap().display(), rest)
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn cgroups_path_names_slice_and_scope() {
        let open = " DevicePolicy=Text(\"auto\") DeviceAllow=Pairs([])";
        for (path, expected) in [
            ("", format!("system.slice/ocicat-box.scope{open}")),
            ("machine.slice:libpod:abc", format!("machine.slice/libpod-abc.scope{open}")),
            ("a-b-c.slice::abc", format!("a.slice/a-b.slice/a-b-c.slice/abc.scope{open}")),
            ("-.slice:x:y", format!("x-y.scope{open}")),
            (":x:y", format!("system.slice/x-y.scope{open}")),
        ] {
            assert_eq!(unit(path, "{}", true), expected, "{path}");
        }
        for (path, expected) in [
            (
                "/a/b",
                "linux.cgroupsPath (/a/b): the systemd driver wants SLICE:PREFIX:NAME; hint: leave --systemd-cgroup out for a path",
            ),
            (
                "a:b:c:d",
                "linux.cgroupsPath (a:b:c:d): the systemd driver wants SLICE:PREFIX:NAME; hint: leave --systemd-cgroup out for a path",
            ),
            ("a.slice:x:", "linux.cgroupsPath (a.slice:x:): x-.scope is no name for a systemd unit"),
            ("a.slice:x:a/../b", "linux.cgroupsPath (a.slice:x:a/../b): x-a/../b.scope is no name for a systemd unit"),
            (
                "../a.slice:x:y",
                "linux.cgroupsPath (../a.slice): is no name for a systemd slice; hint: as in machine-web.slice",
            ),
            (
                "a--b.slice:x:y",
                "linux.cgroupsPath (a--b.slice): is no name for a systemd slice; hint: as in machine-web.slice",
            ),
            ("a:x:y", "linux.cgroupsPath (a): is no name for a systemd slice; hint: as in machine-web.slice"),
        ] {
            assert_eq!(unit(path, "{}", true), expected, "{path}");
        }
    }

    #[test]
    fn limits_become_properties() {
        let shown = |resources: &str, v2: bool| match limits(&serde_json::from_str(resources).unwrap(), v2) {
            Ok(list) => list.iter().map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        };
        for (resources, v1, v2) in [
            (
                r#"{"memory":{"limit":1000,"swap":3000,"reservation":500}}"#,
                "MemoryLimit=U64(1000)",
                "MemoryMax=U64(1000) MemoryLow=U64(500) MemorySwapMax=U64(2000)",
            ),
            (
                r#"{"memory":{"limit":-1}}"#,
                "MemoryLimit=U64(18446744073709551615)",
                "MemoryMax=U64(18446744073709551615) MemorySwapMax=U64(18446744073709551615)",
            ),
            (r#"{"cpu":{"shares":1024}}"#, "CPUShares=U64(1024)", "CPUWeight=U64(100)"),
            (
                r#"{"cpu":{"quota":33333,"period":100000}}"#,
                "CPUQuotaPeriodUSec=U64(100000) CPUQuotaPerSecUSec=U64(340000)",
                "CPUQuotaPeriodUSec=U64(100000) CPUQuotaPerSecUSec=U64(340000)",
            ),
            (r#"{"cpu":{"quota":50000}}"#, "CPUQuotaPerSecUSec=U64(500000)", "CPUQuotaPerSecUSec=U64(500000)"),
            (r#"{"cpu":{"cpus":"0-2,9","mems":"0"}}"#, "", "AllowedCPUs=Bytes([7, 2]) AllowedMemoryNodes=Bytes([1])"),
            (r#"{"cpu":{"cpus":"3-1"}}"#, "", "linux.resources.cpu.cpus (3-1): must be a list as in 0-2,7"),
            (r#"{"pids":{"limit":-1}}"#, "TasksMax=U64(18446744073709551615)", "TasksMax=U64(18446744073709551615)"),
            (r#"{"blockIO":{"weight":500}}"#, "BlockIOWeight=U64(500)", "IOWeight=U64(4950)"),
            (
                r#"{"unified":{"memory.high":"5","cpu.max":"max 5000","hugetlb.2MB.max":"1"}}"#,
                "",
                "CPUQuotaPeriodUSec=U64(5000) CPUQuotaPerSecUSec=U64(18446744073709551615) MemoryHigh=U64(5)",
            ),
            (
                r#"{"unified":{"memory.high":"lots"}}"#,
                "",
                "linux.resources.unified[memory.high] (lots): must be a number or max",
            ),
        ] {
            assert_eq!(shown(resources, false), v1, "{resources} in version 1");
            assert_eq!(shown(resources, true), v2, "{resources} in version 2");
        }
    }

    #[test]
    fn version_1_tells_systemd_the_device_rules() {
        let rules = r#"{"devices":[{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"},
            {"allow":true,"type":"c","major":195,"access":"rw"},{"allow":true,"type":"b","major":8,"access":"r"},
            {"allow":true,"type":"c","major":77,"access":"r"},{"allow":true,"type":"c","major":5,"access":"r"}]}"#;
        let groups = "Character devices:\n  5 /dev/tty\n195 nvidia\n195 nvidiactl\n\nBlock devices:\n  8 sd\n";
        let resources = serde_json::from_str(rules).unwrap();
        let listed = devices(&Rules::of(Some(&resources)).unwrap(), false, groups);
        let Value::Pairs(pairs) = &listed[1].1 else { panic!("{listed:?}") };
        let words: Vec<String> = pairs.iter().map(|(node, access)| format!("{node} {access}")).collect();
        assert_eq!(words[0..5], ["/dev/char/10:229 rw", "char-nvidia rw", "block-sd r", "char-* m", "block-* m"]);
        assert_eq!(words.last().unwrap(), "char-pts rwm");
    }

    #[test]
    fn an_annotation_does_not_lift_a_limit() {
        let config = r#"{"linux":{"resources":{"memory":{"limit":1000}}},
            "annotations":{"org.systemd.property.MemoryMax":"uint64 5","org.systemd.property.TasksMax":"uint64 5"}}"#;
        let error = Unit::of(&serde_json::from_str(config).unwrap(), "box", false, true, "").unwrap_err();
        assert_eq!(
            error.to_string(),
            "annotations[org.systemd.property.MemoryMax]: linux.resources sets this limit already"
        );
    }
}
