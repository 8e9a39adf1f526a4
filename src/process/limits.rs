//! `process.rlimits` and `process.oomScoreAdj`.

use crate::config::Rlimit;
use crate::sys::limits as sys;
use crate::sys::procfs::Procfs;
use anyhow::{Context, Result, anyhow, bail};

/// One limit to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Where it stands in config.json: `process.rlimits[2]`.
    pub place: String,
    /// The spec's word: `RLIMIT_NOFILE`.
    pub kind: String,
    /// The kernel's number.
    pub resource: u32,
    /// Soft and hard limit; `u64::MAX` is no limit.
    pub soft: u64,
    /// See `soft`.
    pub hard: u64,
}

/// Every limit in the order of config.json.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The limits.
    pub limits: Vec<Limit>,
}

/// getrlimit(2), asm-generic/resource.h (the same numbers on x86-64 and arm64).
const WORDS: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

/// Words to numbers. An unknown type and a type given twice are errors (config.md, "POSIX process": MUST).
pub fn plan(rlimits: &[Rlimit]) -> Result<Plan> {
    let mut limits: Vec<Limit> = Vec::with_capacity(rlimits.len());
    for (index, asked) in rlimits.iter().enumerate() {
        let place = format!("process.rlimits[{index}]");
        let Some(resource) = WORDS.iter().position(|word| *word == asked.kind) else {
            bail!("{place}.type: unknown limit {:?}", asked.kind);
        };
        if let Some(first) = limits.iter().find(|l| l.kind == asked.kind) {
            bail!("{place}.type: {} is already set by {}", asked.kind, first.place);
        }
        if asked.soft > asked.hard {
            bail!("{place}: the soft limit {} is above the hard limit {}", asked.soft, asked.hard);
        }
        limits.push(Limit {
            place,
            kind: asked.kind.clone(),
            resource: resource as u32,
            soft: asked.soft,
            hard: asked.hard,
        });
    }
    Ok(Plan { limits })
}

/// Sets them for the calling process. Set late: a small RLIMIT_NOFILE would stop the runtime's own work.
pub fn apply(plan: &Plan) -> Result<()> {
    if plan.limits.iter().any(|limit| limit.resource == libc::RLIMIT_NOFILE) {
        sys::forget_files_of_caller();
    }
    sys::give_back_files()?;
    for limit in &plan.limits {
        match sys::set(limit.resource, &limit.kind, limit.soft, limit.hard) {
            // Without CAP_SYS_RESOURCE nobody raises this one, and managers ask for it by default (containerd, buildkit).
            Err(error) if error.errno.0 == libc::EPERM && limit.kind == "RLIMIT_MEMLOCK" => {}
            Err(error) => return Err(explained(limit, error)),
            Ok(()) => {}
        }
    }
    Ok(())
}

fn explained(limit: &Limit, error: crate::sys::Error) -> anyhow::Error {
    let above = (error.errno.0 == libc::EPERM).then(|| sys::get(limit.resource).ok()).flatten();
    let text = match above {
        Some((_, hard)) if hard < limit.hard => format!(
            "{}: {} above the runtime's own hard limit of {} needs CAP_SYS_RESOURCE",
            limit.place,
            limit.kind,
            amount(hard)
        ),
        _ => limit.place.clone(),
    };
    anyhow::Error::new(error).context(text)
}

/// Checks `process.oomScoreAdj`: the kernel takes -1000 to 1000 (proc_pid_oom_score_adj(5)).
pub fn check_oom_score(adjustment: Option<i32>) -> Result<()> {
    match adjustment {
        Some(value) if !(-1000..=1000).contains(&value) => {
            Err(anyhow!("process.oomScoreAdj: {value} is outside of -1000 to 1000"))
        }
        _ => Ok(()),
    }
}

/// Writes the adjustment of the calling process; must happen before the change of user, lowering needs CAP_SYS_RESOURCE.
pub fn apply_oom_score(procfs: &Procfs, adjustment: i32) -> Result<()> {
    procfs.write("self/oom_score_adj", &adjustment.to_string()).context("process.oomScoreAdj")
}

fn amount(value: u64) -> String {
    if value == u64::MAX { "unlimited".to_owned() } else { value.to_string() }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut rows = self.limits.iter();
        rows.try_for_each(|l| writeln!(f, "limit {} soft={} hard={}", l.kind, amount(l.soft), amount(l.hard)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::forked::in_child;

    fn planned(json: &str) -> Result<Plan> {
        plan(&serde_json::from_str::<Vec<Rlimit>>(json).unwrap())
    }

    #[test]
    fn wrong_limits_are_named_by_their_place() {
        let rows = [
            ("[]", ""),
            (r#"[{"type": "RLIMIT_NOFILE", "soft": 3, "hard": 5}]"#, "limit RLIMIT_NOFILE soft=3 hard=5"),
            (
                r#"[{"type": "RLIMIT_CORE", "soft": 0, "hard": 18446744073709551615}]"#,
                "limit RLIMIT_CORE soft=0 hard=unlimited",
            ),
            (r#"[{"type": "RLIMIT_BOGUS"}]"#, "process.rlimits[0].type: unknown limit \"RLIMIT_BOGUS\""),
            (
                r#"[{"type": "RLIMIT_CPU"}, {"type": "RLIMIT_AS"}, {"type": "RLIMIT_CPU"}]"#,
                "process.rlimits[2].type: RLIMIT_CPU is already set by process.rlimits[0]",
            ),
            (
                r#"[{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]"#,
                "process.rlimits[0]: the soft limit 2 is above the hard limit 1",
            ),
        ];
        for (json, expected) in rows {
            let shown = planned(json).map_or_else(|e| e.to_string(), |plan| plan.to_string().trim_end().to_owned());
            assert_eq!(shown, expected);
        }
        for (adjustment, good) in [(None, true), (Some(-1000), true), (Some(1001), false)] {
            assert_eq!(check_oom_score(adjustment).is_ok(), good);
        }
    }

    #[test]
    fn limits_are_set_and_one_that_needs_a_capability_is_explained() {
        let said = in_child(|| {
            let text = |error: anyhow::Error| format!("{error:#}");
            let set = |json: &str| apply(&planned(json).unwrap()).map_err(text);
            set(
                r#"[{"type": "RLIMIT_NOFILE", "soft": 20, "hard": 30}, {"type": "RLIMIT_MEMLOCK", "soft": 1, "hard": 2}]"#,
            )?;
            let now = crate::sys::limits::get(7).unwrap();
            crate::sys::credentials::set_uid(1234).unwrap();
            set(r#"[{"type": "RLIMIT_MEMLOCK", "soft": 1, "hard": 4000}]"#)?;
            let denied = set(r#"[{"type": "RLIMIT_NOFILE", "soft": 20, "hard": 40}]"#).unwrap_err();
            Ok(format!("{now:?} {denied}"))
        });
        assert_eq!(
            said.unwrap(),
            "(20, 30) process.rlimits[0]: RLIMIT_NOFILE above the runtime's own hard limit of 30 needs CAP_SYS_RESOURCE: \
             setrlimit RLIMIT_NOFILE soft=20 hard=40: operation not permitted (EPERM)"
        );
    }

    #[test]
    fn the_oom_score_is_written_through_the_private_procfs() {
        let said = in_child(|| {
            let procfs = Procfs::open().map_err(|e| e.to_string())?;
            apply_oom_score(&procfs, 321).map_err(|e| format!("{e:#}"))?;
            Ok(procfs.read("self/oom_score_adj").unwrap().trim().to_owned())
        });
        assert_eq!(said.unwrap(), "321");
    }
}
