//! `linux.resources` as a sheet of (file, value): which controllers are asked for, and by which version's table.

use super::sheet::{Sheet, Version, wrong};
use super::{v1, v2};
use crate::config::{BlockIo, Cpu, Resources};
use anyhow::Result;

/// Tells in which kind of hierarchy a controller is on this host; `None` when it is in none.
pub(super) type Available<'a> = &'a dyn Fn(&str) -> Result<Option<Version>>;

/// Every value that `resources` asks for, device rules excepted.
pub(super) fn sheet(resources: &Resources, available: Available) -> Result<Sheet> {
    check(resources)?;
    let mut sheet = Sheet::default();
    for (controller, v2_name, place) in asked(resources) {
        let found = match available(controller)? {
            None if v2_name != controller => available(v2_name)?,
            found => found,
        };
        let Some(version) = found else {
            anyhow::bail!(
                "linux.resources.{place}: this host has no cgroup controller {controller}{}",
                hint(controller)
            );
        };
        match version {
            Version::V1 => v1::put(resources, controller, &mut sheet)?,
            Version::V2 => v2::put(resources, v2_name, &mut sheet)?,
        }
    }
    unified(resources, available, &mut sheet)?;
    Ok(sheet)
}

/// True when some limit is asked for, device rules excepted.
pub(super) fn asks_anything(resources: &Resources) -> bool {
    !resources.unified.is_empty() || !asked(resources).is_empty()
}

/// The controllers that are needed: their name in version 1, in version 2, and the place in config.json that needs them.
fn asked(resources: &Resources) -> Vec<(&'static str, &'static str, &'static str)> {
    let cpu = resources.cpu.as_ref();
    let network = resources.network.as_ref();
    let rows = [
        (resources.memory.as_ref().is_some_and(v1::asks_memory), "memory", "memory", "memory"),
        (cpu.is_some_and(asks_cpu), "cpu", "cpu", "cpu"),
        (cpu.is_some_and(asks_cpuset), "cpuset", "cpuset", "cpu"),
        (resources.pids.as_ref().is_some_and(|p| p.limit.is_some()), "pids", "pids", "pids"),
        (resources.block_io.as_ref().is_some_and(asks_io), "blkio", "io", "blockIO"),
        (!resources.hugepage_limits.is_empty(), "hugetlb", "hugetlb", "hugepageLimits"),
        (network.is_some_and(|n| n.class_id.is_some_and(|id| id != 0)), "net_cls", "net_cls", "network.classID"),
        (network.is_some_and(|n| !n.priorities.is_empty()), "net_prio", "net_prio", "network.priorities"),
        (!resources.rdma.is_empty(), "rdma", "rdma", "rdma"),
    ];
    rows.into_iter().filter(|row| row.0).map(|row| (row.1, row.2, row.3)).collect()
}

fn asks_cpu(cpu: &Cpu) -> bool {
    let Cpu { shares, quota, burst, period, realtime_runtime, realtime_period, idle, .. } = cpu;
    set(shares)
        || set(quota)
        || set(period)
        || burst.is_some()
        || set(realtime_runtime)
        || set(realtime_period)
        || idle.is_some()
}

fn asks_cpuset(cpu: &Cpu) -> bool {
    text(&cpu.cpus).is_some() || text(&cpu.mems).is_some()
}

fn asks_io(io: &BlockIo) -> bool {
    *io != BlockIo {
        weight: io.weight.filter(|w| *w == 0),
        leaf_weight: io.leaf_weight.filter(|w| *w == 0),
        ..BlockIo::default()
    }
}

/// True when a number is given; 0 stands for "not given", as Go's encoder writes it and managers rely on.
pub(super) fn set<T: Default + PartialEq>(value: &Option<T>) -> bool {
    given(value).is_some()
}

/// The number when it is given and not 0.
pub(super) fn given<T: Default + PartialEq>(value: &Option<T>) -> Option<&T> {
    value.as_ref().filter(|value| **value != T::default())
}

/// The text when it is given and not empty.
pub(super) fn text(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|text| !text.is_empty())
}

fn hint(controller: &str) -> &'static str {
    match controller {
        "net_cls" | "net_prio" => "; hint: it exists in version 1 only, mount it there or use eBPF of your own",
        _ => "; hint: cgroup.controllers (v2) or the folders of /sys/fs/cgroup (v1) list those that it has",
    }
}

/// Values that no kernel takes, found before anything is made.
fn check(resources: &Resources) -> Result<()> {
    let memory = resources.memory.as_ref();
    if let Some(value) = memory.and_then(|m| m.swappiness).filter(|v| *v > 100 && *v != u64::MAX) {
        return wrong("memory.swappiness", value, "must be 0 to 100");
    }
    if let Some(io) = &resources.block_io {
        for (place, weight) in [("blockIO.weight", io.weight), ("blockIO.leafWeight", io.leaf_weight)] {
            if let Some(weight) = weight.filter(|w| *w != 0 && !(10..=1000).contains(w)) {
                return wrong(place, weight, "must be 10 to 1000");
            }
        }
    }
    if let Some(idle) = resources.cpu.as_ref().and_then(|cpu| cpu.idle).filter(|idle| !(0..=1).contains(idle)) {
        return wrong("cpu.idle", idle, "must be 0 or 1");
    }
    for (index, huge) in resources.hugepage_limits.iter().enumerate() {
        if !is_page_size(&huge.page_size) {
            let why = "must be a number and KB, MB or GB, as in 2MB";
            return wrong(&format!("hugepageLimits[{index}].pageSize"), &huge.page_size, why);
        }
    }
    Ok(())
}

/// `2MB`: config-linux.md, "Huge page limits". The name becomes part of a file name.
fn is_page_size(text: &str) -> bool {
    let Some(number) = ["KB", "MB", "GB"].iter().find_map(|unit| text.strip_suffix(unit)) else { return false };
    !number.is_empty() && !number.starts_with('0') && number.bytes().all(|b| b.is_ascii_digit())
}

/// Files of cgroup2 that act on processes and limit nothing: a process that is written into the first becomes one of the container's,
/// and is killed with it.
const NO_LIMITS: &[&str] = &["cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.freeze"];

/// `unified`: any file of cgroup2 by its name that limits something. Last, so that it has the last word.
fn unified(resources: &Resources, available: Available, sheet: &mut Sheet) -> Result<()> {
    for (file, value) in &resources.unified {
        let place = format!("unified[{file}]");
        let Some((controller, rest)) = file.split_once('.').filter(|_| !file.contains('/')) else {
            anyhow::bail!("linux.resources.{place}: must be the name of a cgroup v2 file, as in memory.high");
        };
        anyhow::ensure!(!rest.is_empty(), "linux.resources.{place}: must be the name of a cgroup v2 file");
        anyhow::ensure!(
            !NO_LIMITS.contains(&file.as_str()),
            "linux.resources.{place}: acts on processes and is no resource"
        );
        match (controller, available(controller)?) {
            ("cgroup", _) | (_, Some(Version::V2)) => {}
            (_, Some(Version::V1)) => {
                anyhow::bail!(
                    "linux.resources.{place}: controller {controller} is in a version 1 hierarchy on this host"
                )
            }
            (_, None) => anyhow::bail!("linux.resources.{place}: this host has no cgroup controller {controller}"),
        }
        sheet.of(v2::static_name(controller), Version::V2).put(place, file, value);
    }
    Ok(())
}

#[cfg(test)]
#[path = "resources_tests.rs"]
mod tests;
