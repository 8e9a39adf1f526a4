//! `process.scheduler`, `process.ioPriority` and `process.execCPUAffinity`.

use crate::config::{IoPriority, Process, Scheduler};
use crate::sys::scheduling::{self as sys, SchedulingAttributes};
use crate::sys::{Error, Hinted};
use anyhow::{Context, Result, bail};

/// What to set; nothing is changed where nothing was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// sched_setattr(2).
    pub scheduler: Option<SchedulingAttributes>,
    /// ioprio_set(2): class and level.
    pub io_priority: Option<(u32, u32)>,
}

/// include/uapi/linux/sched.h, by number.
const POLICIES: [&str; 7] =
    ["SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", "SCHED_DEADLINE"];

/// sched(7): those with a priority.
const REALTIME: [&str; 2] = ["SCHED_FIFO", "SCHED_RR"];

/// By bit.
const FLAGS: [&str; 7] = [
    "SCHED_FLAG_RESET_ON_FORK",
    "SCHED_FLAG_RECLAIM",
    "SCHED_FLAG_DL_OVERRUN",
    "SCHED_FLAG_KEEP_POLICY",
    "SCHED_FLAG_KEEP_PARAMS",
    "SCHED_FLAG_UTIL_CLAMP_MIN",
    "SCHED_FLAG_UTIL_CLAMP_MAX",
];

/// include/uapi/linux/ioprio.h, by number.
const CLASSES: [&str; 4] = ["IOPRIO_CLASS_NONE", "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"];

/// Words to numbers (config.md, "scheduler" and "ioPriority").
pub fn plan(process: &Process) -> Result<Plan> {
    let scheduler = process.scheduler.as_ref().map(attributes).transpose()?;
    let io_priority = process.io_priority.as_ref().map(io_priority).transpose()?;
    Ok(Plan { scheduler, io_priority })
}

fn attributes(asked: &Scheduler) -> Result<SchedulingAttributes> {
    let Some(policy) = POLICIES.iter().position(|word| *word == asked.policy) else {
        bail!("process.scheduler.policy: unknown policy {:?}", asked.policy);
    };
    let mut flags = 0;
    for (index, flag) in asked.flags.iter().enumerate() {
        let Some(bit) = FLAGS.iter().position(|word| word == flag) else {
            bail!("process.scheduler.flags[{index}]: unknown flag {flag:?}");
        };
        flags |= 1 << bit;
    }
    let nice = asked.nice.unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        bail!("process.scheduler.nice: {nice} is outside of -20 to 19");
    }
    let Ok(priority) = u32::try_from(asked.priority.unwrap_or(0)) else {
        bail!("process.scheduler.priority: {} is negative", asked.priority.unwrap_or(0));
    };
    let keeps = asked.flags.iter().any(|flag| flag.starts_with("SCHED_FLAG_KEEP_"));
    match (REALTIME.contains(&asked.policy.as_str()), priority) {
        (false, 1..) => bail!("process.scheduler.priority: only SCHED_FIFO and SCHED_RR have one"),
        (true, 0 | 100..) if !keeps => bail!("process.scheduler.priority: {priority} is outside of 1 to 99"),
        _ => {}
    }
    let times = [("runtime", asked.runtime), ("deadline", asked.deadline), ("period", asked.period)];
    let [runtime, deadline, period] = times.map(|(_, time)| time.unwrap_or(0));
    if let Some((name, _)) = times.iter().find(|(_, time)| time.unwrap_or(0) != 0)
        && asked.policy != "SCHED_DEADLINE"
    {
        bail!("process.scheduler.{name}: only SCHED_DEADLINE has one");
    }
    let in_order = 0 < runtime && runtime <= deadline && (period == 0 || deadline <= period);
    if asked.policy == "SCHED_DEADLINE" && !keeps && !in_order {
        bail!(
            "process.scheduler: SCHED_DEADLINE needs 0 < runtime <= deadline, and deadline <= period where there is one"
        );
    }
    Ok(SchedulingAttributes { size: 0, policy: policy as u32, flags, nice, priority, runtime, deadline, period })
}

fn io_priority(asked: &IoPriority) -> Result<(u32, u32)> {
    let Some(class) = CLASSES.iter().position(|word| *word == asked.class) else {
        bail!("process.ioPriority.class: unknown class {:?}", asked.class);
    };
    match u32::try_from(asked.priority) {
        Ok(level @ 0..=7) => Ok((class as u32, level)),
        _ => bail!("process.ioPriority.priority: {} is outside of 0 to 7", asked.priority),
    }
}

/// Sets scheduling policy and I/O priority of the calling process; before the capabilities go.
pub fn apply(plan: &Plan) -> Result<()> {
    if let Some(attributes) = &plan.scheduler {
        sys::set_scheduling(attributes).map_err(|error| explained(attributes, error)).context("process.scheduler")?;
    }
    if let Some((class, level)) = plan.io_priority {
        sys::set_io_priority(class, level).context("process.ioPriority")?;
    }
    Ok(())
}

/// With CONFIG_RT_GROUP_SCHED a realtime policy is refused to a cgroup that has no realtime, as every new one has none.
fn explained(attributes: &SchedulingAttributes, error: Error) -> anyhow::Error {
    let realtime = REALTIME.iter().any(|word| POLICIES.get(attributes.policy as usize) == Some(word));
    match error.errno.0 {
        libc::EPERM if realtime => {
            let hint = "it needs CAP_SYS_NICE and, where cgroups of version 1 share out realtime, \
                        linux.resources.cpu.realtimeRuntime";
            Hinted { error, hint: hint.to_owned() }.into()
        }
        _ => error.into(),
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = |words: &[&'static str], number: u32| words.get(number as usize).copied().unwrap_or("unknown");
        if let Some(a) = &self.scheduler {
            write!(f, "scheduler {} nice={} priority={}", word(&POLICIES, a.policy), a.nice, a.priority)?;
            write!(f, " runtime={} deadline={} period={}", a.runtime, a.deadline, a.period)?;
            let set = |bit: &usize| a.flags & (1 << bit) != 0;
            (0..FLAGS.len()).filter(set).try_for_each(|bit| write!(f, " {}", word(&FLAGS, bit as u32)))?;
            writeln!(f)?;
        }
        if let Some((class, level)) = self.io_priority {
            writeln!(f, "io priority {} {level}", word(&CLASSES, class))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(process: &str) -> String {
        let process: Process = serde_json::from_str(process).unwrap();
        plan(&process).map_or_else(|error| error.to_string(), |plan| plan.to_string().trim_end().to_owned())
    }

    #[test]
    fn words_become_numbers_and_wrong_ones_are_named() {
        let rows = [
            ("{}", ""),
            (
                r#"{"scheduler": {"policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}}"#,
                "scheduler SCHED_BATCH nice=5 priority=0 runtime=0 deadline=0 period=0 SCHED_FLAG_RESET_ON_FORK",
            ),
            (
                r#"{"scheduler": {"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3}}"#,
                "scheduler SCHED_DEADLINE nice=0 priority=0 runtime=1 deadline=2 period=3",
            ),
            (r#"{"scheduler": {"policy": "SCHED_X"}}"#, "process.scheduler.policy: unknown policy \"SCHED_X\""),
            (
                r#"{"scheduler": {"policy": "SCHED_RR", "flags": ["F"]}}"#,
                "process.scheduler.flags[0]: unknown flag \"F\"",
            ),
            (
                r#"{"scheduler": {"policy": "SCHED_OTHER", "nice": 20}}"#,
                "process.scheduler.nice: 20 is outside of -20 to 19",
            ),
            (
                r#"{"scheduler": {"policy": "SCHED_OTHER", "priority": 1}}"#,
                "process.scheduler.priority: only SCHED_FIFO and SCHED_RR have one",
            ),
            (
                r#"{"scheduler": {"policy": "SCHED_RR", "priority": 1, "period": 1}}"#,
                "process.scheduler.period: only SCHED_DEADLINE has one",
            ),
            (r#"{"scheduler": {"policy": "SCHED_FIFO"}}"#, "process.scheduler.priority: 0 is outside of 1 to 99"),
            (
                r#"{"scheduler": {"policy": "SCHED_RR", "priority": 100}}"#,
                "process.scheduler.priority: 100 is outside of 1 to 99",
            ),
            (
                r#"{"scheduler": {"policy": "SCHED_DEADLINE", "runtime": 3, "deadline": 2}}"#,
                "process.scheduler: SCHED_DEADLINE needs 0 < runtime <= deadline, and deadline <= period where there is one",
            ),
            (r#"{"ioPriority": {"class": "IOPRIO_CLASS_RT", "priority": 4}}"#, "io priority IOPRIO_CLASS_RT 4"),
            (
                r#"{"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}}"#,
                "process.ioPriority.priority: 8 is outside of 0 to 7",
            ),
            (r#"{"ioPriority": {"class": "BE"}}"#, "process.ioPriority.class: unknown class \"BE\""),
        ];
        for (process, expected) in rows {
            assert_eq!(shown(process), expected, "{process}");
        }
    }

    #[test]
    fn lists_of_cpus_become_masks() {
        let rows: [(&str, std::result::Result<&[u64], &str>); 8] = [
            ("0", Ok(&[1])),
            ("0-3,7", Ok(&[0b1000_1111])),
            ("64", Ok(&[0, 1])),
            (" 1 , 3 ", Ok(&[0b1010])),
            ("1-", Err("\"1-\" is no list of numbers like 0-3,7")),
            ("3-1", Err("\"3-1\": the range 3-1 is empty or too large")),
            ("0-99999999999", Err("\"0-99999999999\": the range 0-99999999999 is empty or too large")),
            ("a", Err("\"a\" is no list of numbers like 0-3,7")),
        ];
        for (list, expected) in rows {
            let parsed = number_list(list).map_err(|error| error.to_string());
            assert_eq!(parsed.as_deref().map_err(String::as_str), expected, "{list}");
        }
    }

    #[test]
    fn policy_priority_and_affinity_are_really_set() {
        let said = crate::sys::forked::in_child(|| {
            let process = r#"{"scheduler": {"policy": "SCHED_BATCH", "nice": 7},
                              "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 6},
                              "execCPUAffinity": {"initial": "0"}}"#;
            let process: Process = serde_json::from_str(process).unwrap();
            apply(&plan(&process).unwrap()).map_err(|error| format!("{error:#}"))?;
            set_affinity(&affinity(&process).unwrap().initial.unwrap()).map_err(|error| format!("{error:#}"))?;
            let narrow = sys::affinity().unwrap();
            reset_affinity();
            let wide = sys::affinity().unwrap() != narrow;
            let status = std::fs::read_to_string("/proc/self/stat").unwrap();
            let fields: Vec<_> = status.rsplit_once(')').unwrap().1.split_whitespace().collect();
            Ok(format!("nice={} policy={} {:?} wider={wide}", fields[16], fields[38], narrow.first()))
        });
        assert_eq!(said.unwrap(), "nice=7 policy=3 Some(1) wider=true");
    }
}
