//! `stats`: what containers use now, from the difference of two looks at their counters.

use super::find::{self, Found};
use super::status::Status;
use super::{Runtime, store};
use crate::cgroups::stats::{Blkio, Interface, Pressure, Stats};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;

/// What one container uses at one time; `null` is what this host does not tell.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// The container's id.
    pub id: String,
    /// Percent of one processor since the look before; `None` at the first one.
    pub cpu_percent: Option<f64>,
    /// Bytes of memory.
    pub memory: Memory,
    /// Bytes through the interfaces of its network namespace, loopback excepted.
    pub network: Flow,
    /// Bytes from and to block devices.
    pub block: Flow,
    /// Processes and threads.
    pub pids: Pids,
    /// Pressure stall information.
    pub pressure: Shares,
}

/// Memory in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Memory {
    /// In use, without the file pages that nobody has used for long (Docker counts so).
    pub usage: u64,
    /// The limit, or the memory of the host where that is less.
    pub limit: u64,
    /// Of the limit.
    pub percent: f64,
}

/// Bytes in and out since the container was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the words of the table")]
pub struct Flow {
    #[serde(rename = "in")]
    pub into: u64,
    pub out: u64,
}

/// Tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Pids {
    /// There are.
    pub current: u64,
    /// There may be.
    pub limit: Option<u64>,
}

/// Percent of the last ten seconds in which some task had to wait (`some avg10`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the kernel's words")]
pub struct Shares {
    pub cpu: Option<f64>,
    pub memory: Option<f64>,
    pub io: Option<f64>,
}

/// Looks at the counters of some containers, or of all that run, again and again.
#[derive(Debug)]
pub struct Meter<'a> {
    runtime: &'a Runtime,
    /// Empty: all that run.
    ids: Vec<String>,
    host_memory: u64,
    before: BTreeMap<String, (Instant, u64)>,
}

impl Meter<'_> {
    /// Begins with these containers, or with all when none is named.
    ///
    /// # Errors
    /// A named container does not exist, does not run, or has no cgroup of its own.
    pub fn new(runtime: &Runtime, ids: Vec<String>) -> Result<Meter<'_>> {
        for id in &ids {
            let found = find::look(runtime, id)?;
            if !counts(&found) {
                bail!("container not running: {id} is {}", found.status);
            }
            let paths = found.record.cgroups.as_ref().filter(|paths| !paths.is_empty());
            paths.with_context(|| format!("the container {id} has no cgroup of its own"))?;
        }
        let host = rustix::system::sysinfo();
        let host_memory = host.totalram.saturating_mul(u64::from(host.mem_unit));
        Ok(Meter { runtime, ids, host_memory, before: BTreeMap::new() })
    }

    /// What they use now, by id as they were named or sorted. Containers that have ended are left out.
    ///
    /// # Errors
    /// The directory of containers cannot be read.
    pub fn look(&mut self) -> Result<Vec<Usage>> {
        let ids = match self.ids.is_empty() {
            true => store::ids(&self.runtime.root)?.iter().map(ToString::to_string).collect(),
            false => self.ids.clone(),
        };
        let looks: Vec<_> = ids.iter().filter_map(|id| self.one(id)).collect();
        self.before = looks.iter().map(|(usage, at, total)| (usage.id.clone(), (*at, *total))).collect();
        Ok(looks.into_iter().map(|(usage, _, _)| usage).collect())
    }

    fn one(&self, id: &str) -> Option<(Usage, Instant, u64)> {
        let found = find::look(self.runtime, id).ok().filter(counts)?;
        let init = found.record.current_init().map(|init| init.pid as u32);
        let at = Instant::now();
        let stats = found.record.cgroups.as_ref()?.stats(init).ok()?;
        let total = stats.cpu.usage.total;
        let percent = self.before.get(id).and_then(|(then, before)| percent(at - *then, total.saturating_sub(*before)));
        Some((usage(id, &stats, percent, self.host_memory), at, total))
    }
}

/// A created container waits, and an ended one is gone.
fn counts(found: &Found) -> bool {
    matches!(found.status, Status::Running | Status::Paused)
}

/// Processor time in nanoseconds, as percent of a time that has gone by.
fn percent(time: std::time::Duration, used: u64) -> Option<f64> {
    let nanoseconds = time.as_nanos() as f64;
    (nanoseconds > 0.0).then(|| used as f64 / nanoseconds * 100.0)
}

fn usage(id: &str, stats: &Stats, cpu_percent: Option<f64>, host_memory: u64) -> Usage {
    // Version 1 counts the cgroups below only in the totals.
    let raw = |name: &str| stats.memory.raw.get(name).copied();
    let idle = raw("total_inactive_file").or_else(|| raw("inactive_file")).unwrap_or(0);
    let used = stats.memory.usage.usage;
    let limit = match stats.memory.usage.limit {
        0 => host_memory,
        limit => limit.min(host_memory),
    };
    let memory = Memory {
        usage: used.saturating_sub(idle),
        limit,
        percent: used.saturating_sub(idle) as f64 / (limit.max(1)) as f64 * 100.0,
    };
    let some = |pressure: &Option<Pressure>| pressure.as_ref().map(|pressure| pressure.some.avg10);
    Usage {
        id: id.to_owned(),
        cpu_percent,
        memory,
        network: network(&stats.network_interfaces),
        block: block(&stats.blkio),
        pids: Pids { current: stats.pids.current, limit: Some(stats.pids.limit).filter(|limit| *limit != 0) },
        pressure: Shares { cpu: some(&stats.cpu.psi), memory: some(&stats.memory.psi), io: some(&stats.blkio.psi) },
    }
}

fn network(interfaces: &[Interface]) -> Flow {
    let sum = |of: fn(&Interface) -> u64| interfaces.iter().map(of).fold(0, u64::saturating_add);
    Flow { into: sum(|interface| interface.rx_bytes), out: sum(|interface| interface.tx_bytes) }
}

fn block(blkio: &Blkio) -> Flow {
    let sum = |op: &str| {
        let entries = blkio.io_service_bytes_recursive.iter().filter(|entry| entry.op.eq_ignore_ascii_case(op));
        entries.map(|entry| entry.value).fold(0, u64::saturating_add)
    };
    Flow { into: sum("read"), out: sum("write") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroups::stats::{BlkioEntry, MemoryEntry};
    use std::time::Duration;

    #[test]
    fn counters_become_what_a_person_asks_for() {
        let mut stats = Stats::default();
        stats.memory.usage = MemoryEntry { limit: 1000, usage: 300, ..MemoryEntry::default() };
        stats.memory.raw = BTreeMap::from([("inactive_file".to_owned(), 50), ("total_inactive_file".to_owned(), 100)]);
        let entry = |op: &str, value| BlkioEntry { major: 8, minor: 0, op: op.to_owned(), value };
        stats.blkio.io_service_bytes_recursive = vec![entry("Read", 5), entry("Write", 7), entry("read", 1)];
        let interface = |rx_bytes, tx_bytes| Interface { rx_bytes, tx_bytes, ..Interface::default() };
        stats.network_interfaces = vec![interface(1, 2), interface(10, 20)];
        let seen = usage("web", &stats, Some(50.0), 500);
        assert_eq!(seen.memory, Memory { usage: 200, limit: 500, percent: 40.0 });
        assert_eq!((seen.block, seen.network), (Flow { into: 6, out: 7 }, Flow { into: 11, out: 22 }));
        assert_eq!((seen.pids.limit, seen.pressure), (None, Shares::default()));
    }

    #[test]
    fn one_busy_processor_is_a_hundred_percent() {
        assert_eq!(percent(Duration::from_millis(500), 500_000_000), Some(100.0));
        assert_eq!(percent(Duration::from_millis(500), 1_000_000_000), Some(200.0));
        assert_eq!(percent(Duration::ZERO, 1), None);
    }
}
