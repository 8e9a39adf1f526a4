//! `process.capabilities`: five sets by name become five masks (capabilities(7)).
//!
//! A name that the kernel does not know or that the runtime cannot grant is a warning (config.md, "Capabilities").
//! The inheritable set is empty unless it was asked for (CVE-2022-29162). The steps are apart because a change of user
//! lies between them: [`drop_bounding`], [`keep`], setresuid, [`raise`] where something still needs
//! privileges, [`apply_final`].

use crate::config::Capabilities;
use crate::sys::credentials::{self, Sets};
use anyhow::{Context, Result};

/// The masks to be installed, one bit for each capability number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Upper limit of whatever any execve can grant.
    pub bounding: u64,
    /// What the kernel checks.
    pub effective: u64,
    /// Survives the execve of a file with inheritable capabilities.
    pub inheritable: u64,
    /// What may become effective.
    pub permitted: u64,
    /// Given to programs without file capabilities; needs permitted and inheritable.
    pub ambient: u64,
    /// Names that no kernel we know has, and what one set asks for that another one rules out.
    pub warnings: Vec<String>,
}

/// Masks for the five sets; an absent `capabilities` means none at all, as in the other runtimes. `added` are the names of
/// `exec --cap`: they join bounding, effective and permitted, and ambient only where the process has an
/// inheritable set, because ambient needs it.
pub fn plan(asked: Option<&Capabilities>, added: &[String]) -> Plan {
    let none = Capabilities::default();
    let asked = asked.unwrap_or(&none);
    let mut warnings = Vec::new();
    let mut set = |names: &[String]| mask(names, &mut warnings);
    let extra = set(added);
    let mut plan = Plan {
        bounding: set(&asked.bounding) | extra,
        effective: set(&asked.effective) | extra,
        inheritable: set(&asked.inheritable),
        permitted: set(&asked.permitted) | extra,
        ambient: set(&asked.ambient),
        warnings: Vec::new(),
    };
    plan.ambient |= extra & plan.inheritable;
    // The kernel would refuse the whole call (capset(2), PR_CAP_AMBIENT_RAISE): a warning instead (config.md, "Capabilities").
    let mut within = |set: &str, mask: u64, limit: u64, why: &str| {
        if mask & !limit != 0 {
            warnings.push(format!("process.capabilities.{set}: {} is left out: {why}", list(mask & !limit)));
        }
        mask & limit
    };
    plan.effective = within("effective", plan.effective, plan.permitted, "it is not permitted");
    let both = plan.permitted & plan.inheritable;
    plan.ambient = within("ambient", plan.ambient, both, "it is not both permitted and inheritable");
    plan.warnings = warnings;
    plan
}

/// Tells what this process cannot grant: what its kernel does not know, and outside of a user namespace what it lacks itself.
pub fn beyond_reach(plan: &Plan, user_namespace: bool) -> Option<String> {
    // What this process has its kernel knows; in a new user namespace there is everything that the kernel knows.
    let own = credentials::capabilities().map_or(u64::MAX, |own| own.permitted);
    let lacking = (0..64).filter(|number| plan.permitted & !own & 1_u64 << number != 0);
    let unknown = |number: &u32| !user_namespace || credentials::bounding_holds(*number).is_none();
    let missing = lacking.filter(unknown).fold(0, |mask, number| mask | 1_u64 << number);
    (missing != 0).then(|| format!("process.capabilities: {} cannot be granted", list(missing)))
}

fn mask(names: &[String], warnings: &mut Vec<String>) -> u64 {
    let mut mask = 0;
    for name in names {
        match number(name) {
            Some(number) => mask |= 1 << number,
            None => {
                let text = format!("process.capabilities: unknown capability {name:?} is left out");
                if !warnings.contains(&text) {
                    warnings.push(text);
                }
            }
        }
    }
    mask
}

/// The number of a capability, by its name in any case, with or without `CAP_`.
pub fn number(name: &str) -> Option<u32> {
    let bare = name.get(..4).filter(|p| p.eq_ignore_ascii_case("CAP_")).map_or(name, |_| &name[4..]);
    NAMES.iter().position(|known| known.eq_ignore_ascii_case(bare)).map(|index| index as u32)
}

/// The names of every capability this runtime knows, with `CAP_`, by number.
pub fn names() -> impl Iterator<Item = String> {
    NAMES.iter().map(|name| format!("CAP_{name}"))
}

/// include/uapi/linux/capability.h, by number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Drops from the bounding set what the plan does not hold. What is not in the set needs no drop, so a container
/// with every capability costs nothing here; a capability newer than our table is dropped too.
pub fn drop_bounding(plan: &Plan) -> Result<()> {
    for capability in 0..64 {
        if plan.bounding & (1 << capability) != 0 {
            continue;
        }
        match credentials::bounding_holds(capability) {
            Some(true) => credentials::drop_from_bounding(capability).context("process.capabilities.bounding")?,
            Some(false) => {}
            None => break,
        }
    }
    Ok(())
}

/// Lets the permitted set survive the change to another user.
pub fn keep() -> Result<()> {
    Ok(credentials::keep_capabilities()?)
}

/// Makes everything permitted effective again: the change from user 0 to another one has cleared the effective set.
/// Answers with the sets as they are then.
pub fn raise() -> Result<Sets> {
    let now = credentials::capabilities()?;
    let raised = Sets { effective: now.permitted, ..now };
    if now != raised {
        credentials::set_capabilities(raised)?;
    }
    Ok(raised)
}

/// Installs the final sets and answers with warnings: what could not be granted, what could not be made ambient.
/// `now` are the sets that [`raise`] left: a filter that is already loaded may forbid to ask for them.
pub fn apply_final(plan: &Plan, now: Sets) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    let permitted = plan.permitted & now.permitted;
    let wanted = Sets {
        permitted,
        effective: plan.effective & permitted,
        inheritable: plan.inheritable & (now.inheritable | now.permitted) & (now.inheritable | plan.bounding),
    };
    note(&mut warnings, "cannot be granted", (plan.permitted | plan.effective) & !permitted);
    credentials::set_capabilities(wanted).context("process.capabilities")?;
    // Errors of kernels without ambient capabilities (before 4.3) and of sandboxes: there is nothing to clear then.
    let _ = credentials::clear_ambient();
    let failed = bits(plan.ambient).filter(|&number| credentials::raise_ambient(number).is_err());
    let failed = failed.fold(0, |mask, number| mask | 1 << number);
    note(&mut warnings, "cannot be made ambient", failed);
    Ok(warnings)
}

fn note(warnings: &mut Vec<String>, what: &str, mask: u64) {
    if mask != 0 {
        warnings.push(format!("process.capabilities: {} {what}", list(mask)));
    }
}

fn bits(mask: u64) -> impl Iterator<Item = u32> {
    (0..64).filter(move |number| mask & (1 << number) != 0)
}

fn list(mask: u64) -> String {
    let known = bits(mask).map(|number| match NAMES.get(number as usize) {
        Some(name) => format!("CAP_{name}"),
        None => number.to_string(),
    });
    let names: Vec<_> = known.collect();
    if names.is_empty() { "none".to_owned() } else { names.join(",") }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sets = [
            ("bounding", self.bounding),
            ("effective", self.effective),
            ("permitted", self.permitted),
            ("inheritable", self.inheritable),
            ("ambient", self.ambient),
        ];
        sets.iter().try_for_each(|(name, mask)| writeln!(f, "capabilities {name} {}", list(*mask)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::forked::in_child;

    fn asked(json: &str) -> Capabilities {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn names_become_masks_and_unknown_ones_warnings() {
        let rows: &[(&str, &[&str], &str)] = &[
            ("{}", &[], "bounding none; effective none; permitted none; inheritable none; ambient none; []"),
            (
                r#"{"bounding": ["CAP_CHOWN", "cap_kill", "BPF"], "permitted": ["CAP_CHOWN"]}"#,
                &[],
                "bounding CAP_CHOWN,CAP_KILL,CAP_BPF; effective none; permitted CAP_CHOWN; inheritable none; ambient none; []",
            ),
            (
                r#"{"bounding": ["CAP_NOT"], "effective": ["CAP_NOT", "CAP_"]}"#,
                &[],
                "bounding none; effective none; permitted none; inheritable none; ambient none; \
                 [\"process.capabilities: unknown capability \\\"CAP_NOT\\\" is left out\", \
                 \"process.capabilities: unknown capability \\\"CAP_\\\" is left out\"]",
            ),
            (
                r#"{"bounding": ["CAP_KILL"]}"#,
                &["NET_RAW"],
                "bounding CAP_KILL,CAP_NET_RAW; effective CAP_NET_RAW; permitted CAP_NET_RAW; inheritable none; ambient none; []",
            ),
            (
                r#"{"inheritable": ["CAP_KILL"]}"#,
                &["NET_RAW"],
                "bounding CAP_NET_RAW; effective CAP_NET_RAW; permitted CAP_NET_RAW; inheritable CAP_KILL; ambient none; []",
            ),
            (
                r#"{"inheritable": ["CAP_NET_RAW"]}"#,
                &["NET_RAW"],
                "bounding CAP_NET_RAW; effective CAP_NET_RAW; permitted CAP_NET_RAW; inheritable CAP_NET_RAW; ambient CAP_NET_RAW; []",
            ),
            (
                r#"{"effective": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]}"#,
                &[],
                "bounding none; effective CAP_KILL; permitted CAP_KILL; inheritable none; ambient none; \
                 [\"process.capabilities.effective: CAP_CHOWN is left out: it is not permitted\", \
                 \"process.capabilities.ambient: CAP_KILL is left out: it is not both permitted and inheritable\"]",
            ),
        ];
        for (sets, added, expected) in rows {
            let added: Vec<String> = added.iter().map(|name| (*name).to_owned()).collect();
            let plan = plan(Some(&asked(sets)), &added);
            let shown = plan.to_string().replace("capabilities ", "").replace('\n', "; ");
            assert_eq!(format!("{shown}{:?}", plan.warnings), *expected);
        }
        assert_eq!(names().last().as_deref(), Some("CAP_CHECKPOINT_RESTORE"));
    }

    /// The five sets of /proc/self/status after the steps, as user `uid`.
    fn applied(json: &'static str, uid: u32) -> String {
        let said = in_child(|| {
            let text = |error: anyhow::Error| format!("{error:#}");
            let plan = plan(Some(&asked(json)), &[]);
            drop_bounding(&plan).map_err(text)?;
            keep().map_err(text)?;
            credentials::set_uid(uid).map_err(|e| e.to_string())?;
            raise().map_err(text)?;
            let warnings = apply_final(&plan, credentials::capabilities().unwrap()).map_err(text)?;
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let value = |name: &str| {
                let line = status.lines().find(|line| line.starts_with(name)).unwrap();
                list(u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap())
            };
            let sets = ["CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb"].map(value);
            Ok(format!("{} {warnings:?}", sets.join(" ")))
        });
        said.unwrap()
    }

    #[test]
    fn the_kernel_then_holds_exactly_these_sets() {
        let three = r#"{"bounding": ["CAP_KILL", "CAP_CHOWN"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]}"#;
        let ambient = r#"{"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"],
                          "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]}"#;
        let lonely = r#"{"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]}"#;
        let rows = [
            ("{}", 0, "none none none none none []"),
            (three, 0, "CAP_CHOWN,CAP_KILL CAP_KILL CAP_KILL none none []"),
            (three, 1000, "CAP_CHOWN,CAP_KILL CAP_KILL CAP_KILL none none []"),
            (ambient, 1000, "CAP_KILL CAP_KILL CAP_KILL CAP_KILL CAP_KILL []"),
            (lonely, 1000, "CAP_KILL none CAP_KILL none none []"),
        ];
        for (json, uid, expected) in rows {
            assert_eq!(applied(json, uid), expected, "{json} as {uid}");
        }
    }
}
