//! The files of version 1 (Documentation/admin-guide/cgroup-v1): one row for each field.

use super::resources::{given, text};
use super::sheet::{Absent, Lines, Sheet, Version};
use crate::config::{BlockIo, Cpu, Memory, Resources, ThrottleDevice};
use anyhow::Result;

/// Adds what `resources` asks of `controller`.
pub(super) fn put(resources: &Resources, controller: &'static str, sheet: &mut Sheet) -> Result<()> {
    let mut lines = sheet.of(controller, Version::V1);
    let cpu = resources.cpu.as_ref();
    let network = resources.network.as_ref();
    match controller {
        "memory" => resources.memory.iter().for_each(|memory| put_memory(memory, &mut lines)),
        "cpu" => cpu.iter().for_each(|cpu| put_cpu(cpu, &mut lines)),
        "cpuset" => cpu.iter().for_each(|cpu| put_cpuset(cpu, &mut lines)),
        "pids" => put_pids(resources, &mut lines),
        "blkio" => resources.block_io.iter().for_each(|io| put_blkio(io, &mut lines)),
        "hugetlb" => put_hugetlb(resources, &mut lines),
        "net_cls" => {
            if let Some(id) = network.and_then(|n| n.class_id) {
                lines.put("network.classID", "net_cls.classid", id);
            }
        }
        "net_prio" => {
            for (index, entry) in network.iter().flat_map(|n| &n.priorities).enumerate() {
                let value = format!("{} {}", entry.name, entry.priority);
                lines.put(format!("network.priorities[{index}]"), "net_prio.ifpriomap", value);
            }
        }
        _ => put_rdma(resources, &mut lines),
    }
    Ok(())
}

/// True when the memory controller has something to do.
pub(super) fn asks_memory(memory: &Memory) -> bool {
    let Memory { limit, reservation, swap, kernel_tcp, .. } = memory;
    [limit, reservation, swap, kernel_tcp].into_iter().any(|field| given(field).is_some())
        || memory.swappiness.is_some_and(|value| value != u64::MAX)
        || memory.disable_oom_killer == Some(true)
}

fn put_memory(memory: &Memory, lines: &mut Lines) {
    let rows = [
        (&memory.limit, "memory.limit", "memory.limit_in_bytes"),
        (&memory.swap, "memory.swap", "memory.memsw.limit_in_bytes"),
        (&memory.reservation, "memory.reservation", "memory.soft_limit_in_bytes"),
        (&memory.kernel_tcp, "memory.kernelTCP", "memory.kmem.tcp.limit_in_bytes"),
    ];
    for (field, place, file) in rows {
        if let Some(value) = given(field) {
            lines.put(place, file, value);
        }
    }
    // No limit on memory and nothing said on swap: no limit on swap either, or the old sum would still bind.
    if memory.limit == Some(-1) && given(&memory.swap).is_none() {
        lines.put_or("memory.limit", "memory.memsw.limit_in_bytes", -1, Absent::Ignore);
    }
    // Docker writes -1 as the greatest u64 for "not given".
    if let Some(value) = memory.swappiness.filter(|value| *value != u64::MAX) {
        lines.put("memory.swappiness", "memory.swappiness", value);
    }
    if let Some(off) = memory.disable_oom_killer {
        lines.put("memory.disableOOMKiller", "memory.oom_control", u8::from(off));
    }
    if given(&memory.kernel).is_some() {
        lines.note(
            "memory.kernel",
            "ignored, the kernel has no such limit since 5.16 (and should not be given: config-linux.md)",
        );
    }
}

fn put_cpu(cpu: &Cpu, lines: &mut Lines) {
    if let Some(value) = given(&cpu.shares) {
        lines.put("cpu.shares", "cpu.shares", value);
    }
    if let Some(value) = cpu.idle {
        lines.put_or("cpu.idle", "cpu.idle", value, if value == 0 { Absent::Ignore } else { Absent::Refuse });
    }
    if let Some(value) = given(&cpu.period) {
        lines.put("cpu.period", "cpu.cfs_period_us", value);
    }
    if let Some(value) = given(&cpu.quota) {
        lines.put("cpu.quota", "cpu.cfs_quota_us", value);
    }
    if let Some(value) = cpu.burst {
        lines.put_or("cpu.burst", "cpu.cfs_burst_us", value, if value == 0 { Absent::Ignore } else { Absent::Refuse });
    }
    if let Some(value) = given(&cpu.realtime_period) {
        lines.put("cpu.realtimePeriod", "cpu.rt_period_us", value);
    }
    if let Some(value) = given(&cpu.realtime_runtime) {
        lines.put("cpu.realtimeRuntime", "cpu.rt_runtime_us", value);
    }
}

/// The same in both versions.
pub(super) fn put_cpuset(cpu: &Cpu, lines: &mut Lines) {
    if let Some(value) = text(&cpu.cpus) {
        lines.put("cpu.cpus", "cpuset.cpus", value);
    }
    if let Some(value) = text(&cpu.mems) {
        lines.put("cpu.mems", "cpuset.mems", value);
    }
}

/// The same in both versions: 0 is a limit, a negative number none (config-linux.md, "PIDs").
pub(super) fn put_pids(resources: &Resources, lines: &mut Lines) {
    if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        lines.put("pids.limit", "pids.max", if limit < 0 { "max".to_owned() } else { limit.to_string() });
    }
}

fn put_blkio(io: &BlockIo, lines: &mut Lines) {
    if let Some(weight) = given(&io.weight) {
        let old = Absent::Instead("blkio.weight".to_owned(), weight.to_string());
        lines.put_or("blockIO.weight", "blkio.bfq.weight", weight, old);
    }
    if let Some(weight) = given(&io.leaf_weight) {
        lines.put("blockIO.leafWeight", "blkio.leaf_weight", weight);
    }
    for (index, device) in io.weight_device.iter().enumerate() {
        let place = format!("blockIO.weightDevice[{index}]");
        if let Some(weight) = given(&device.weight) {
            let value = format!("{}:{} {weight}", device.major, device.minor);
            let old = Absent::Instead("blkio.weight_device".to_owned(), value.clone());
            lines.put_or(place.clone(), "blkio.bfq.weight_device", value, old);
        }
        if let Some(weight) = given(&device.leaf_weight) {
            lines.put(place, "blkio.leaf_weight_device", format!("{}:{} {weight}", device.major, device.minor));
        }
    }
    for (field, devices, file) in throttles(io) {
        for (index, device) in devices.iter().enumerate() {
            let value = format!("{}:{} {}", device.major, device.minor, device.rate);
            lines.put(format!("blockIO.{field}[{index}]"), format!("blkio.throttle.{file}_device"), value);
        }
    }
}

/// The four throttles: the field, its devices, what version 1 calls it.
pub(super) fn throttles(io: &BlockIo) -> [(&'static str, &[ThrottleDevice], &'static str); 4] {
    [
        ("throttleReadBpsDevice", &io.throttle_read_bps_device, "read_bps"),
        ("throttleWriteBpsDevice", &io.throttle_write_bps_device, "write_bps"),
        ("throttleReadIOPSDevice", &io.throttle_read_iops_device, "read_iops"),
        ("throttleWriteIOPSDevice", &io.throttle_write_iops_device, "write_iops"),
    ]
}

fn put_hugetlb(resources: &Resources, lines: &mut Lines) {
    for (index, huge) in resources.hugepage_limits.iter().enumerate() {
        let place = format!("hugepageLimits[{index}]");
        lines.put(place.clone(), format!("hugetlb.{}.limit_in_bytes", huge.page_size), huge.limit);
        // Reserved pages are counted apart since 5.7; without it a reservation that is never touched goes uncounted.
        let rsvd = format!("hugetlb.{}.rsvd.limit_in_bytes", huge.page_size);
        lines.put_or(place, rsvd, huge.limit, Absent::Ignore);
    }
}

/// The same in both versions.
pub(super) fn put_rdma(resources: &Resources, lines: &mut Lines) {
    for (device, rdma) in &resources.rdma {
        let handles = rdma.hca_handles.map(|n| format!(" hca_handle={n}"));
        let objects = rdma.hca_objects.map(|n| format!(" hca_object={n}"));
        let value = format!("{device}{}{}", handles.unwrap_or_default(), objects.unwrap_or_default());
        lines.put(format!("rdma[{device}]"), "rdma.max", value);
    }
}
