//! The counters of version 1.

use super::path::Paths;
use super::processes::value_of;
use super::stats::{BlkioEntry, Files, Hugetlb, MemoryEntry, Stats, device, nested, table};

/// cpuacct.stat counts in ticks, and the kernel shows user space 100 of them a second (USER_HZ) on every machine that we know.
const TICK: u64 = 10_000_000;

/// Reads every version 1 directory of a container over what is there.
pub(super) fn read(paths: &Paths, stats: &mut Stats) {
    let with = |controller: &str| paths.v1(controller).map(|h| Files(&h.directory));
    if let Some(files) = with("cpuacct") {
        cpuacct(&files, stats);
    }
    if let Some(files) = with("cpu") {
        let text = files.text("cpu.stat");
        let number = |key| value_of(&text, key).unwrap_or(0);
        stats.cpu.throttling.periods = number("nr_periods");
        stats.cpu.throttling.throttled_periods = number("nr_throttled");
        stats.cpu.throttling.throttled_time = number("throttled_time");
    }
    if let Some(files) = with("memory") {
        memory(&files, stats);
    }
    if let Some(files) = with("pids") {
        stats.pids.current = files.number("pids.current");
        stats.pids.limit = Some(files.number("pids.max")).filter(|limit| *limit != u64::MAX).unwrap_or(0);
    }
    if let Some(files) = with("blkio") {
        let read = |file| entries(&files.text(file));
        stats.blkio.io_service_bytes_recursive = read("blkio.throttle.io_service_bytes_recursive");
        stats.blkio.io_serviced_recursive = read("blkio.throttle.io_serviced_recursive");
    }
    if let Some(files) = with("hugetlb") {
        hugetlb(&files, stats);
    }
    if let Some(files) = with("rdma") {
        stats.rdma = nested(&files.text("rdma.current"));
    }
}

fn cpuacct(files: &Files, stats: &mut Stats) {
    let usage = &mut stats.cpu.usage;
    usage.total = files.number("cpuacct.usage");
    usage.percpu = files.text("cpuacct.usage_percpu").split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let text = files.text("cpuacct.stat");
    usage.user = value_of(&text, "user").unwrap_or(0).saturating_mul(TICK);
    usage.kernel = value_of(&text, "system").unwrap_or(0).saturating_mul(TICK);
}

fn memory(files: &Files, stats: &mut Stats) {
    let entry = |kind: &str| MemoryEntry {
        limit: files.number(&format!("memory.{kind}limit_in_bytes")),
        usage: files.number(&format!("memory.{kind}usage_in_bytes")),
        max: files.number(&format!("memory.{kind}max_usage_in_bytes")),
        failcnt: files.number(&format!("memory.{kind}failcnt")),
    };
    let memory = &mut stats.memory;
    memory.usage = entry("");
    memory.swap = entry("memsw.");
    memory.kernel = entry("kmem.");
    memory.kernel_tcp = entry("kmem.tcp.");
    memory.raw = table(&files.text("memory.stat"));
    memory.cache = memory.raw.get("cache").copied().unwrap_or(0);
}

/// Lines of `8:0 Read 4096`; the last one is a total.
fn entries(text: &str) -> Vec<BlkioEntry> {
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let (major, minor) = device(words.next()?)?;
        let op = words.next()?.to_owned();
        Some(BlkioEntry { major, minor, op, value: words.next()?.parse().ok()? })
    };
    text.lines().filter_map(entry).collect()
}

fn hugetlb(files: &Files, stats: &mut Stats) {
    for file in files.ending(".usage_in_bytes") {
        let Some(size) = file.strip_prefix("hugetlb.").and_then(|f| f.strip_suffix(".usage_in_bytes")) else {
            continue;
        };
        // `max_usage_in_bytes` and the `rsvd` files end the same way.
        if !size.contains('.') {
            let number = |kind: &str| files.number(&format!("hugetlb.{size}.{kind}"));
            let counters = Hugetlb {
                usage: number("usage_in_bytes"),
                max: number("max_usage_in_bytes"),
                failcnt: number("failcnt"),
            };
            stats.hugetlb.insert(size.to_owned(), counters);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_devices_have_one_line_for_each_operation() {
        let read = entries("8:0 Read 4096\n8:0 Write 0\n8:16 Read 1\nTotal 4097\n");
        assert_eq!(read.len(), 3);
        assert_eq!((read[0].op.as_str(), read[0].value, read[2].minor), ("Read", 4096, 16));
    }
}
