//! What a container uses and has used, in the shape that `events --stats` prints: runc's, which managers parse.
//!
//! Times are nanoseconds, sizes bytes. What a host or a kernel does not tell is left out or 0.

use super::path::Paths;
use super::processes::value_of;
use crate::sys::files;
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// One picture of all controllers.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Processor time and throttling.
    pub cpu: Cpu,
    /// Memory by kind.
    pub memory: Memory,
    /// Number of tasks.
    pub pids: Pids,
    /// Block devices.
    pub blkio: Blkio,
    /// Huge pages by page size.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hugetlb: BTreeMap<String, Hugetlb>,
    /// RDMA devices: handles and objects in use.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rdma: BTreeMap<String, BTreeMap<String, u64>>,
    /// Interfaces of the container's network namespace.
    pub network_interfaces: Vec<Interface>,
}

/// Processor time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "runc's names")]
pub struct Cpu {
    pub usage: CpuUsage,
    pub throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// Nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "runc's names")]
pub struct CpuUsage {
    pub total: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    pub kernel: u64,
    pub user: u64,
}

/// How often and how long the quota was used up.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "runc's names")]
pub struct Throttling {
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_time: u64,
}

/// Memory in bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "runc's names")]
pub struct Memory {
    pub cache: u64,
    pub usage: MemoryEntry,
    /// Memory and swap together.
    pub swap: MemoryEntry,
    pub kernel: MemoryEntry,
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryEntry,
    /// memory.stat.
    pub raw: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
    /// Processes that the OOM killer ended.
    pub oom_kill: u64,
}

/// One kind of memory.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "runc's names")]
pub struct MemoryEntry {
    pub limit: u64,
    pub usage: u64,
    pub max: u64,
    pub failcnt: u64,
}

/// Tasks; a limit of 0 is none.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "runc's names")]
pub struct Pids {
    pub current: u64,
    pub limit: u64,
}

/// Block devices.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "runc's names")]
pub struct Blkio {
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    pub io_serviced_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// One number of one device and operation.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "runc's names")]
pub struct BlkioEntry {
    pub major: u64,
    pub minor: u64,
    pub op: String,
    pub value: u64,
}

/// Huge pages of one size.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "runc's names")]
pub struct Hugetlb {
    pub usage: u64,
    pub max: u64,
    pub failcnt: u64,
}

/// Pressure stall information (Documentation/accounting/psi.rst).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the kernel's names")]
pub struct Pressure {
    pub some: Stall,
    pub full: Stall,
}

/// Share of time in percent over three windows, and all of it in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the kernel's names")]
pub struct Stall {
    pub avg10: f64,
    pub avg60: f64,
    pub avg300: f64,
    pub total: u64,
}

/// Counters of one network interface.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "runc's names")]
pub struct Interface {
    pub name: String,
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

impl Paths {
    /// Reads all counters. `init` is a process of the container, whose network interfaces are counted; none are without it.
    pub fn stats(&self, init: Option<u32>) -> Result<Stats> {
        anyhow::ensure!(!self.is_empty(), "the container has no cgroup that counts");
        let mut stats = Stats::default();
        if let Some(unified) = self.unified() {
            super::stats_v2::read(&Files(&unified.directory), &mut stats);
        }
        super::stats_v1::read(self, &mut stats);
        stats.memory.oom_kill = self.oom_kills();
        if let Some(text) = init.and_then(|pid| files::read_text(format!("/proc/{pid}/net/dev")).ok()) {
            stats.network_interfaces = text.lines().filter_map(interface).filter(|i| i.name != "lo").collect();
        }
        Ok(stats)
    }
}

/// The files of one directory, a missing one being empty.
pub(super) struct Files<'a>(pub(super) &'a Path);

impl Files<'_> {
    pub(super) fn text(&self, file: &str) -> String {
        files::read_text(self.0.join(file)).unwrap_or_default()
    }

    /// A single number; `max` and what v1 writes for "no limit" stay as large as they are.
    pub(super) fn number(&self, file: &str) -> u64 {
        let text = self.text(file);
        if text.trim() == "max" { u64::MAX } else { text.trim().parse().unwrap_or(0) }
    }

    /// Names that are there and end so.
    pub(super) fn ending(&self, ending: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.0).into_iter().flatten().flatten();
        entries.filter_map(|e| e.file_name().into_string().ok()).filter(|name| name.ends_with(ending)).collect()
    }

    pub(super) fn pressure(&self, file: &str) -> Option<Pressure> {
        pressure(&self.text(file))
    }
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same for `full`.
fn pressure(text: &str) -> Option<Pressure> {
    let stall = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let value = |key: &str| line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let share = |key| value(key).and_then(|v| v.parse().ok()).unwrap_or(0.0);
        let total = value("total").and_then(|v| v.parse().ok()).unwrap_or(0);
        Some(Stall { avg10: share("avg10"), avg60: share("avg60"), avg300: share("avg300"), total })
    };
    Some(Pressure { some: stall("some ")?, full: stall("full ").unwrap_or_default() })
}

/// Lines of `key value`.
pub(super) fn table(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// Lines of `device key=value key=value`.
pub(super) fn nested(text: &str) -> BTreeMap<String, BTreeMap<String, u64>> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let device = words.next()?.to_owned();
        let pairs = words.filter_map(|word| word.split_once('='));
        Some((device, pairs.filter_map(|(key, value)| Some((key.to_owned(), value.parse().ok()?))).collect()))
    };
    text.lines().filter_map(line).collect()
}

/// Major and minor of `8:0`.
pub(super) fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The number of `key` in a table, in nanoseconds where the file has microseconds.
pub(super) fn microseconds(text: &str, key: &str) -> u64 {
    value_of(text, key).unwrap_or(0).saturating_mul(1000)
}

/// A line of /proc/net/dev: name, eight receive counters, eight transmit counters (proc_pid_net(5)).
fn interface(line: &str) -> Option<Interface> {
    let (name, counters) = line.split_once(':')?;
    let numbers: Vec<u64> = counters.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let at = |index: usize| numbers.get(index).copied();
    Some(Interface {
        name: name.trim().to_owned(),
        rx_bytes: at(0)?,
        rx_packets: at(1)?,
        rx_errors: at(2)?,
        rx_dropped: at(3)?,
        tx_bytes: at(8)?,
        tx_packets: at(9)?,
        tx_errors: at(10)?,
        tx_dropped: at(11)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_read_from_both_lines() {
        let text =
            "some avg10=1.50 avg60=0.25 avg300=0.01 total=1234\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=99\n";
        let read = pressure(text).unwrap();
        assert_eq!((read.some.avg10, read.some.total, read.full.avg10, read.full.total), (1.5, 1234, 0.5, 99));
        assert_eq!(pressure(""), None);
    }

    #[test]
    fn an_interface_has_its_own_columns() {
        let line = "  eth0: 1 2 3 4 5 6 7 8 11 12 13 14 15 16 17 18";
        let read = interface(line).unwrap();
        assert_eq!((read.name.as_str(), read.rx_dropped, read.tx_bytes, read.tx_dropped), ("eth0", 4, 11, 14));
        assert_eq!(interface(" face |bytes    packets errs"), None);
    }

    #[test]
    fn nested_lines_become_numbers_by_device() {
        let read = nested("8:0 rbytes=10 wbytes=20\nmlx hca_handle=max hca_object=3\n");
        assert_eq!(read["8:0"]["wbytes"], 20);
        assert_eq!(read["mlx"].len(), 1);
        assert_eq!(device("8:16"), Some((8, 16)));
    }
}
