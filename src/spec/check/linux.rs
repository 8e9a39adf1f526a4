//! The `linux` object: config-linux.md.

use super::{Report, Seen, absolute_path, no_nul};
use crate::config::IdMapping;
use crate::namespaces::Kind;
use crate::process::{memory_policy, personality, sysctl as sysctls};
use std::path::PathBuf;

pub(super) fn namespaces(seen: &Seen<'_>, report: &mut Report) {
    let all = &seen.linux.namespaces;
    for (index, namespace) in all.iter().enumerate() {
        let place = || format!("linux.namespaces[{index}]");
        if Kind::from_word(&namespace.kind).is_none() {
            let known = Kind::words().collect::<Vec<_>>().join(", ");
            report.add(place() + ".type", format!("{:?} is not one of {known}", namespace.kind));
            continue;
        }
        if let Some(first) = all.iter().take(index).position(|n| n.kind == namespace.kind) {
            report.add(place() + ".type", format!("{} is already linux.namespaces[{first}]", namespace.kind));
        }
        if let Some(path) = namespace.path.as_ref().filter(|path| !path.as_os_str().is_empty()) {
            absolute_path(|| place() + ".path", path, report);
        }
    }
}

/// Masking a path without a mount namespace would mask the host's.
pub(super) fn without_mount_namespace(seen: &Seen<'_>, report: &mut Report) {
    if seen.has("mount") {
        return;
    }
    for (field, paths) in [("maskedPaths", &seen.linux.masked_paths), ("readonlyPaths", &seen.linux.readonly_paths)] {
        if !paths.is_empty() {
            let hint = "hint: add {\"type\": \"mount\"} to linux.namespaces";
            report.add(format!("linux.{field}"), format!("needs a mount namespace; {hint}"));
        }
    }
}

pub(super) fn id_mappings(seen: &Seen<'_>, report: &mut Report) {
    let linux = seen.linux;
    mapping_pair("linux", &linux.uid_mappings, &linux.gid_mappings, report);
    if seen.has("user") {
        return;
    }
    for (field, map) in [("uidMappings", &linux.uid_mappings), ("gidMappings", &linux.gid_mappings)] {
        if !map.is_empty() {
            let hint = "hint: add {\"type\": \"user\"} to linux.namespaces";
            report.add(format!("linux.{field}"), format!("needs a user namespace; {hint}"));
        }
    }
}

/// Both maps of a user namespace or of a mount, which is `place`.
pub(super) fn mapping_pair(place: &str, uids: &[IdMapping], gids: &[IdMapping], report: &mut Report) {
    for (field, map) in [("uidMappings", uids), ("gidMappings", gids)] {
        mapping(&format!("{place}.{field}"), map, report);
    }
}

/// user_namespaces(7): up to 340 ranges, none empty, none that overlap, and the highest number is no id.
fn mapping(place: &str, map: &[IdMapping], report: &mut Report) {
    if map.len() > 340 {
        report.add(place, format!("{} ranges are more than 340", map.len()));
        return;
    }
    let overlap = |a: u32, b: u32, one: &IdMapping, other: &IdMapping| {
        u64::from(a) < u64::from(b) + u64::from(other.size) && u64::from(b) < u64::from(a) + u64::from(one.size)
    };
    for (index, range) in map.iter().enumerate() {
        let place = || format!("{place}[{index}]");
        if range.size == 0 {
            report.add(place() + ".size", "a range of 0 ids");
        }
        for (field, first) in [("containerID", range.container_id), ("hostID", range.host_id)] {
            if u64::from(first) + u64::from(range.size) > u64::from(u32::MAX) {
                let what = format!("{} ids from {first} on go beyond 4294967294", range.size);
                report.add(format!("{}.{field}", place()), what);
            }
        }
        for (earlier, other) in map.iter().take(index).enumerate() {
            if overlap(range.container_id, other.container_id, range, other) {
                report.add(place() + ".containerID", format!("the range overlaps that of entry {earlier}"));
            } else if overlap(range.host_id, other.host_id, range, other) {
                report.add(place() + ".hostID", format!("the range overlaps that of entry {earlier}"));
            }
        }
    }
}

/// time_namespaces(7): two clocks, and the offsets can be set only before anybody is in the namespace.
pub(super) fn time_offsets(seen: &Seen<'_>, report: &mut Report) {
    if seen.linux.time_offsets.is_empty() {
        return;
    }
    if !seen.makes("time") {
        report.add("linux.timeOffsets", "needs a new time namespace");
    }
    for (clock, offset) in &seen.linux.time_offsets {
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            report.add("linux.timeOffsets", format!("{clock:?} is not one of monotonic, boottime"));
        }
        if offset.nanosecs > 999_999_999 {
            report
                .add(format!("linux.timeOffsets.{clock}.nanosecs"), format!("{} is a second or more", offset.nanosecs));
        }
    }
}

pub(super) fn devices(seen: &Seen<'_>, report: &mut Report) {
    for (index, device) in seen.linux.devices.iter().enumerate() {
        let place = || format!("linux.devices[{index}] ({})", device.path.display());
        absolute_path(|| format!("linux.devices[{index}].path"), &device.path, report);
        if !matches!(device.kind.as_str(), "c" | "u" | "b" | "p") {
            report.add(place(), format!("type {:?} is not one of c, u, b, p", device.kind));
        }
        for (field, id) in [("uid", device.uid), ("gid", device.gid)] {
            // chown(2) takes it for "leave it".
            if id == Some(u32::MAX) {
                report.add(place(), format!("{field} {} is not an id", u32::MAX));
            }
        }
        // Linux has 12 bits for a major and 20 for a minor number (include/linux/kdev_t.h).
        for (field, number, most) in [("major", device.major, 0xfff), ("minor", device.minor, 0xfffff)] {
            match number {
                None if device.kind != "p" => report.add(place(), format!("a {field} number is required")),
                Some(n) if device.kind != "p" && !(0..=most).contains(&n) => {
                    report.add(place(), format!("{field} number {n} is not between 0 and {most}"));
                }
                _ => {}
            }
        }
    }
}

pub(super) fn net_devices(seen: &Seen<'_>, report: &mut Report) {
    if !seen.linux.net_devices.is_empty() && !seen.has("network") {
        let hint = "hint: add {\"type\": \"network\"} to linux.namespaces";
        report.add("linux.netDevices", format!("needs a network namespace; {hint}"));
    }
    let mut taken: Vec<&str> = Vec::new();
    for (name, device) in &seen.linux.net_devices {
        let place = || format!("linux.netDevices ({name})");
        let inside = device.name.as_deref().filter(|n| !n.is_empty()).unwrap_or(name);
        for given in [name.as_str(), inside] {
            if !is_device_name(given) {
                report.add(place(), format!("{given:?} cannot be the name of a network device"));
            }
        }
        if taken.contains(&inside) && !inside.contains('%') {
            report.add(place(), format!("two devices with the name {inside:?}"));
        }
        taken.push(inside);
    }
}

/// dev_valid_name of net/core/dev.c: up to 15 bytes, no slash, colon or white space, not . and not ..
fn is_device_name(name: &str) -> bool {
    let letter = |c: char| c != '/' && c != ':' && c != '\0' && !c.is_ascii_whitespace();
    !name.is_empty() && name.len() < 16 && name != "." && name != ".." && name.chars().all(letter)
}

pub(super) fn device_rules(seen: &Seen<'_>, report: &mut Report) {
    let Some(resources) = &seen.linux.resources else { return };
    for (index, rule) in resources.devices.iter().enumerate() {
        let place = || format!("linux.resources.devices[{index}]");
        if let Some(kind) = rule.kind.as_deref().filter(|k| !matches!(*k, "" | "a" | "b" | "c" | "u" | "p")) {
            report.add(place() + ".type", format!("{kind:?} is not one of a, b, c"));
        }
        // -1 stands for all; so does 4294967295 to the kernel's version 1, which nobody would have meant.
        for (field, number, most) in [("major", rule.major, 0xfff), ("minor", rule.minor, 0xfffff)] {
            if let Some(n) = number.filter(|n| !(-1..=most).contains(n)) {
                report.add(format!("{}.{field}", place()), format!("{n} is not between -1 and {most}"));
            }
        }
        let access = rule.access.as_deref().unwrap_or_default();
        if !access.chars().all(|c| "rwm".contains(c)) {
            report.add(place() + ".access", format!("{access:?} has other letters than r, w and m"));
        }
    }
}

pub(super) fn resources(seen: &Seen<'_>, report: &mut Report) {
    no_nul(|| "linux.cgroupsPath".to_owned(), seen.linux.cgroups_path.as_deref().unwrap_or_default(), report);
    let Some(resources) = &seen.linux.resources else { return };
    if let Some(swappiness) = resources.memory.as_ref().and_then(|m| m.swappiness).filter(|s| *s > 100) {
        report.add("linux.resources.memory.swappiness", format!("{swappiness} is more than 100"));
    }
    let memory = resources.memory.as_ref();
    if let (Some(limit @ 1..), Some(swap @ 1..)) = (memory.and_then(|m| m.limit), memory.and_then(|m| m.swap))
        && swap < limit
    {
        let message = format!("{swap} is less than the limit of {limit}, which it has to include");
        report.add("linux.resources.memory.swap", message);
    }
    let wrong = |weight: &u16| *weight != 0 && !(10..=1000).contains(weight);
    if let Some(weight) = resources.block_io.as_ref().and_then(|b| b.weight).filter(wrong) {
        report.add("linux.resources.blockIO.weight", format!("{weight} is not between 10 and 1000"));
    }
    for (file, value) in &resources.unified {
        let place = || format!("linux.resources.unified ({file})");
        if file.is_empty() || file.contains('/') || file == "." || file == ".." {
            report.add(place(), "is not the name of a file in a cgroup");
        }
        no_nul(place, value, report);
    }
}

/// The closID becomes the name of a directory; `/` is the default class (since 1.3).
pub(super) fn intel_rdt(seen: &Seen<'_>, report: &mut Report) {
    let Some(rdt) = &seen.linux.intel_rdt else { return };
    let id = rdt.clos_id.as_deref().unwrap_or_default();
    if id == "." || id == ".." || (id.contains('/') && id != "/") || id.contains(['\0', '\n']) {
        report.add("linux.intelRdt.closID", format!("{id:?} cannot be the name of a directory"));
    }
    for (index, line) in rdt.schemata.iter().enumerate() {
        if line.contains(['\0', '\n']) {
            report.add(format!("linux.intelRdt.schemata[{index}]"), "has more than one line");
        }
    }
}

pub(super) fn sysctl(seen: &Seen<'_>, report: &mut Report) {
    report.refused(sysctls::plan(seen.linux));
}

pub(super) fn propagation(seen: &Seen<'_>, report: &mut Report) {
    const WORDS: [&str; 8] =
        ["shared", "slave", "private", "unbindable", "rshared", "rslave", "rprivate", "runbindable"];
    let word = seen.linux.rootfs_propagation.as_deref().unwrap_or_default();
    if !word.is_empty() && !WORDS.contains(&word) {
        report.add("linux.rootfsPropagation", format!("{word:?} is not one of shared, slave, private, unbindable"));
    }
}

/// A relative path would be relative to whatever directory the runtime was started in.
pub(super) fn absolute(field: &str, paths: &[PathBuf], report: &mut Report) {
    for (index, path) in paths.iter().enumerate() {
        absolute_path(|| format!("linux.{field}[{index}]"), path, report);
    }
}

pub(super) fn personality(seen: &Seen<'_>, report: &mut Report) {
    if let Some(asked) = &seen.linux.personality {
        report.refused(personality::plan(asked));
    }
}

pub(super) fn memory_policy(seen: &Seen<'_>, report: &mut Report) {
    if let Some(asked) = &seen.linux.memory_policy {
        report.refused(memory_policy::plan(asked));
    }
}
