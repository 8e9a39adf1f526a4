//! What a container has used in all: what can be told of it after its end, as long as its cgroup is there.

use super::path::Paths;
use super::processes::value_of;
use crate::sys::files;

/// Totals since the cgroup was made; `None` where nobody counted, or the cgroup is gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Processor time of all its processes, in nanoseconds.
    pub cpu_time: Option<u64>,
    /// The most memory that was in use at one time, in bytes (version 2: Linux 5.19).
    pub memory_peak: Option<u64>,
    /// Processes that the kernel's OOM killer has ended.
    pub oom_kills: Option<u64>,
}

impl Paths {
    /// Reads the totals.
    pub fn spent(&self) -> Spent {
        let text = |directory: &std::path::Path, file: &str| files::read_text(directory.join(file)).ok();
        let number = |text: String| text.trim().parse().ok();
        let v1 = |controller: &str, file: &str| self.v1(controller).and_then(|h| text(&h.directory, file));
        let v2 = |file: &str| self.unified().and_then(|h| text(&h.directory, file));
        let unified_time = || Some(value_of(&v2("cpu.stat")?, "usage_usec")?.saturating_mul(1000));
        Spent {
            cpu_time: v1("cpuacct", "cpuacct.usage").and_then(number).or_else(unified_time),
            memory_peak: v1("memory", "memory.max_usage_in_bytes").or_else(|| v2("memory.peak")).and_then(number),
            oom_kills: self.oom_killed(),
        }
    }
}
