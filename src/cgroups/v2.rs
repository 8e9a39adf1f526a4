//! The files of version 2 (Documentation/admin-guide/cgroup-v2.rst): one row for each field, which was made for version 1.

use super::resources::given;
use super::sheet::{Absent, Lines, Sheet, Version, wrong};
use super::v1;
use crate::config::{BlockIo, Cpu, Memory, Resources};
use anyhow::Result;

/// Adds what `resources` asks of `controller`.
pub(super) fn put(resources: &Resources, controller: &'static str, sheet: &mut Sheet) -> Result<()> {
    let mut lines = sheet.of(controller, Version::V2);
    match controller {
        "memory" => resources.memory.iter().try_for_each(|memory| put_memory(memory, &mut lines))?,
        "cpu" => resources.cpu.iter().try_for_each(|cpu| put_cpu(cpu, &mut lines))?,
        "cpuset" => resources.cpu.iter().for_each(|cpu| v1::put_cpuset(cpu, &mut lines)),
        "pids" => v1::put_pids(resources, &mut lines),
        "io" => resources.block_io.iter().try_for_each(|io| put_io(io, &mut lines))?,
        "hugetlb" => put_hugetlb(resources, &mut lines),
        _ => v1::put_rdma(resources, &mut lines),
    }
    Ok(())
}

fn put_memory(memory: &Memory, lines: &mut Lines) -> Result<()> {
    if let Some(limit) = given(&memory.limit) {
        lines.put("memory.limit", "memory.max", number_or_max(*limit));
    }
    if let Some(swap) = swap(memory)? {
        // Without swap accounting there is no file, and neither "no limit" nor "no swap" needs one.
        let absent = if swap <= 0 { Absent::Ignore } else { Absent::Refuse };
        lines.put_or("memory.swap", "memory.swap.max", number_or_max(swap), absent);
    }
    if let Some(reservation) = given(&memory.reservation) {
        lines.put("memory.reservation", "memory.low", number_or_max(*reservation));
    }
    if let Some(value) = memory.swappiness.filter(|value| *value != u64::MAX) {
        return wrong("memory.swappiness", value, "cgroup v2 has no swappiness of a cgroup");
    }
    if memory.disable_oom_killer == Some(true) {
        return wrong("memory.disableOOMKiller", true, "cgroup v2 cannot disable the OOM killer");
    }
    if let Some(value) = given(&memory.kernel_tcp) {
        return wrong(
            "memory.kernelTCP",
            value,
            "cgroup v2 counts TCP memory as memory and has no limit of its own for it",
        );
    }
    if given(&memory.kernel).is_some() {
        lines.note("memory.kernel", "ignored, cgroup v2 counts kernel memory as memory");
    }
    Ok(())
}

/// Swap alone, from memory and swap together as the spec (and version 1) counts it; -1 is no limit.
pub(super) fn swap(memory: &Memory) -> Result<Option<i64>> {
    let limit = memory.limit.unwrap_or(0);
    match memory.swap.unwrap_or(0) {
        0 if limit == -1 => Ok(Some(-1)),
        0 => Ok(None),
        -1 => Ok(Some(-1)),
        sum if limit == -1 => Ok(Some(sum)),
        sum if limit == 0 => wrong("memory.swap", sum, "is memory and swap together and needs memory.limit"),
        sum if sum < limit => {
            wrong("memory.swap", sum, "is memory and swap together and must not be below memory.limit")
        }
        sum => Ok(Some(sum - limit)),
    }
}

fn number_or_max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

fn put_cpu(cpu: &Cpu, lines: &mut Lines) -> Result<()> {
    if let Some(value) = given(&cpu.realtime_period).map(u64::to_string) {
        return wrong("cpu.realtimePeriod", value, "cgroup v2 has no realtime limits");
    }
    if let Some(value) = given(&cpu.realtime_runtime) {
        return wrong("cpu.realtimeRuntime", value, "cgroup v2 has no realtime limits");
    }
    if let Some(idle) = cpu.idle {
        lines.put_or("cpu.idle", "cpu.idle", idle, if idle == 0 { Absent::Ignore } else { Absent::Refuse });
    }
    if let Some(shares) = given(&cpu.shares) {
        if cpu.idle == Some(1) {
            lines.note("cpu.shares", "ignored, an idle cgroup has no weight");
        } else {
            lines.put("cpu.shares", "cpu.weight", weight_of_shares(*shares));
        }
    }
    if given(&cpu.quota).is_some() || given(&cpu.period).is_some() {
        let quota = given(&cpu.quota).copied().unwrap_or(-1);
        let period = given(&cpu.period).copied().unwrap_or(100_000);
        lines.put("cpu.quota", "cpu.max", format!("{} {period}", number_or_max(quota)));
    }
    if let Some(burst) = cpu.burst {
        lines.put_or("cpu.burst", "cpu.max.burst", burst, if burst == 0 { Absent::Ignore } else { Absent::Refuse });
    }
    Ok(())
}

/// cpu.weight for cpu.shares: the curve through the least, the greatest and the default value of both (2, 1024, 262144
/// become 1, 100, 10000) that runc, crun and systemd's users agreed on in 2025; the straight line before it made
/// the default 1024 a weight of 39.
pub(super) fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

/// io.weight for the spec's weight: 10 to 1000 become 1 to 10000.
pub(super) fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight.saturating_sub(10)) * 9999 / 990
}

fn put_io(io: &BlockIo, lines: &mut Lines) -> Result<()> {
    if let Some(weight) = given(&io.weight) {
        // The BFQ scheduler has the spec's range in a file of its own.
        let other = Absent::Instead("io.weight".to_owned(), io_weight(*weight).to_string());
        lines.put_or("blockIO.weight", "io.bfq.weight", weight, other);
    }
    if let Some(weight) = given(&io.leaf_weight) {
        return wrong("blockIO.leafWeight", weight, "cgroup v2 has no leaf weights");
    }
    for (index, device) in io.weight_device.iter().enumerate() {
        let place = format!("blockIO.weightDevice[{index}]");
        if let Some(weight) = given(&device.leaf_weight) {
            return wrong(&format!("{place}.leafWeight"), weight, "cgroup v2 has no leaf weights");
        }
        if let Some(weight) = given(&device.weight) {
            let number = format!("{}:{}", device.major, device.minor);
            let other = Absent::Instead("io.weight".to_owned(), format!("{number} {}", io_weight(*weight)));
            lines.put_or(place, "io.bfq.weight", format!("{number} {weight}"), other);
        }
    }
    for ((field, devices, _), key) in v1::throttles(io).into_iter().zip(["rbps", "wbps", "riops", "wiops"]) {
        for (index, device) in devices.iter().enumerate() {
            let rate = if device.rate == 0 { "max".to_owned() } else { device.rate.to_string() };
            let value = format!("{}:{} {key}={rate}", device.major, device.minor);
            lines.put(format!("blockIO.{field}[{index}]"), "io.max", value);
        }
    }
    Ok(())
}

fn put_hugetlb(resources: &Resources, lines: &mut Lines) {
    for (index, huge) in resources.hugepage_limits.iter().enumerate() {
        let place = format!("hugepageLimits[{index}]");
        lines.put(place.clone(), format!("hugetlb.{}.max", huge.page_size), huge.limit);
        lines.put_or(place, format!("hugetlb.{}.rsvd.max", huge.page_size), huge.limit, Absent::Ignore);
    }
}

/// The known controllers of version 2; `cgroup` stands for the core files, and for anything that is not known here.
pub(super) fn static_name(controller: &str) -> &'static str {
    const KNOWN: &[&str] = &["cpu", "cpuset", "dmem", "hugetlb", "io", "memory", "misc", "perf_event", "pids", "rdma"];
    KNOWN.iter().find(|known| **known == controller).copied().unwrap_or("cgroup")
}
