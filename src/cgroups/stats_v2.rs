//! The counters of version 2 in the terms of version 1, for which the shape was made.

use super::processes::value_of;
use super::stats::{BlkioEntry, Files, Hugetlb, MemoryEntry, Stats, device, microseconds, nested, table};

/// Reads what the directory has; a file that is not there leaves its numbers as they are.
pub(super) fn read(files: &Files, stats: &mut Stats) {
    cpu(files, stats);
    memory(files, stats);
    io(files, stats);
    stats.pids.current = files.number("pids.current");
    stats.pids.limit = match files.number("pids.max") {
        u64::MAX => 0,
        limit => limit,
    };
    for file in files.ending(".current") {
        let Some(size) = file.strip_prefix("hugetlb.").and_then(|f| f.strip_suffix(".current")) else { continue };
        if !size.contains('.') {
            let failcnt = value_of(&files.text(&format!("hugetlb.{size}.events")), "max").unwrap_or(0);
            stats.hugetlb.insert(size.to_owned(), Hugetlb { usage: files.number(&file), max: 0, failcnt });
        }
    }
    stats.rdma = nested(&files.text("rdma.current"));
}

fn cpu(files: &Files, stats: &mut Stats) {
    let text = files.text("cpu.stat");
    stats.cpu.usage.total = microseconds(&text, "usage_usec");
    stats.cpu.usage.user = microseconds(&text, "user_usec");
    stats.cpu.usage.kernel = microseconds(&text, "system_usec");
    stats.cpu.throttling.periods = value_of(&text, "nr_periods").unwrap_or(0);
    stats.cpu.throttling.throttled_periods = value_of(&text, "nr_throttled").unwrap_or(0);
    stats.cpu.throttling.throttled_time = microseconds(&text, "throttled_usec");
    stats.cpu.psi = files.pressure("cpu.pressure");
}

fn memory(files: &Files, stats: &mut Stats) {
    let memory = &mut stats.memory;
    memory.raw = table(&files.text("memory.stat"));
    memory.cache = memory.raw.get("file").copied().unwrap_or(0);
    let failed = |events: &str, key: &str| value_of(&files.text(events), key).unwrap_or(0);
    memory.usage = MemoryEntry {
        limit: files.number("memory.max"),
        usage: files.number("memory.current"),
        max: files.number("memory.peak"),
        failcnt: failed("memory.events", "max"),
    };
    // Memory and swap together, as version 1 counts.
    memory.swap = MemoryEntry {
        limit: files.number("memory.swap.max").saturating_add(memory.usage.limit),
        usage: files.number("memory.swap.current").saturating_add(memory.usage.usage),
        max: files.number("memory.swap.peak").saturating_add(memory.usage.max),
        failcnt: failed("memory.swap.events", "max"),
    };
    memory.kernel.usage = memory.raw.get("kernel").copied().unwrap_or(0);
    memory.kernel_tcp.usage = memory.raw.get("sock").copied().unwrap_or(0);
    memory.psi = files.pressure("memory.pressure");
}

fn io(files: &Files, stats: &mut Stats) {
    for (number, values) in nested(&files.text("io.stat")) {
        let Some((major, minor)) = device(&number) else { continue };
        let entry = |op: &str, key: &str| BlkioEntry {
            major,
            minor,
            op: op.to_owned(),
            value: values.get(key).copied().unwrap_or(0),
        };
        let blkio = &mut stats.blkio;
        blkio.io_service_bytes_recursive.extend([entry("Read", "rbytes"), entry("Write", "wbytes")]);
        blkio.io_serviced_recursive.extend([entry("Read", "rios"), entry("Write", "wios")]);
    }
    stats.blkio.psi = files.pressure("io.pressure");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_is_told_in_the_terms_of_version_1() {
        let directory = tempfile::tempdir().unwrap();
        for (file, text) in [
            (
                "cpu.stat",
                "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 5\nnr_throttled 2\nthrottled_usec 7\n",
            ),
            ("memory.stat", "anon 5\nfile 6\nkernel 7\nsock 8\n"),
            ("memory.max", "1000\n"),
            ("memory.current", "400\n"),
            ("memory.peak", "500\n"),
            ("memory.events", "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n"),
            ("memory.swap.max", "max\n"),
            ("memory.swap.current", "50\n"),
            ("pids.current", "4\n"),
            ("pids.max", "max\n"),
            ("io.stat", "8:0 rbytes=100 wbytes=200 rios=1 wios=2 dbytes=0 dios=0\n"),
            ("hugetlb.2MB.current", "2097152\n"),
            ("hugetlb.2MB.rsvd.current", "0\n"),
            ("hugetlb.2MB.events", "max 9\n"),
            ("rdma.current", "mlx4_0 hca_handle=2 hca_object=2000\n"),
            ("cpu.pressure", "some avg10=1.00 avg60=0.00 avg300=0.00 total=5\n"),
        ] {
            let mut made =
                std::fs::OpenOptions::new().create_new(true).write(true).open(directory.path().join(file)).unwrap();
            std::io::Write::write_all(&mut made, text.as_bytes()).unwrap();
        }
        let mut stats = Stats::default();
        read(&Files(directory.path()), &mut stats);
        let json = serde_json::to_value(&stats).unwrap();
        for (pointer, expected) in [
            ("/cpu/usage/total", 30_000u64),
            ("/cpu/throttling/throttledTime", 7000),
            ("/cpu/psi/some/total", 5),
            ("/memory/cache", 6),
            ("/memory/usage/limit", 1000),
            ("/memory/usage/max", 500),
            ("/memory/usage/failcnt", 3),
            ("/memory/swap/limit", u64::MAX),
            ("/memory/swap/usage", 450),
            ("/memory/kernel/usage", 7),
            ("/memory/kernelTCP/usage", 8),
            ("/memory/raw/anon", 5),
            ("/pids/current", 4),
            ("/pids/limit", 0),
            ("/blkio/ioServiceBytesRecursive/1/value", 200),
            ("/blkio/ioServicedRecursive/0/value", 1),
            ("/hugetlb/2MB/usage", 2_097_152),
            ("/hugetlb/2MB/failcnt", 9),
            ("/rdma/mlx4_0/hca_object", 2000),
        ] {
            assert_eq!(json.pointer(pointer).and_then(|v| v.as_u64()), Some(expected), "{pointer} in {json}");
        }
        assert_eq!(json["hugetlb"].as_object().unwrap().len(), 1);
    }
}
