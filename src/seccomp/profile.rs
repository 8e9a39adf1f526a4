//! The words of an OCI profile, checked and turned into values; every error names its place in config.json.

use super::architectures::{self, Architecture};
use super::{Listener, tables};
use crate::config;
use crate::sys::seccomp as sys;
use anyhow::{Result, bail, ensure};

/// A filter's answer to a system call: SECCOMP_RET_* and its data (linux/seccomp.h).
pub(super) type Answer = u32;

pub(super) const KILL_THREAD: Answer = 0;
pub(super) const KILL_PROCESS: Answer = 0x8000_0000;
pub(super) const TRAP: Answer = 0x0003_0000;
pub(super) const ERRNO: Answer = 0x0005_0000;
pub(super) const NOTIFY: Answer = 0x7fc0_0000;
pub(super) const TRACE: Answer = 0x7ff0_0000;
pub(super) const LOG: Answer = 0x7ffc_0000;
pub(super) const ALLOW: Answer = 0x7fff_0000;

/// Words of `action` (config-linux.md, "Seccomp").
pub(super) const ACTIONS: [(&str, Answer); 9] = [
    ("SCMP_ACT_KILL", KILL_THREAD),
    ("SCMP_ACT_KILL_PROCESS", KILL_PROCESS),
    ("SCMP_ACT_KILL_THREAD", KILL_THREAD),
    ("SCMP_ACT_TRAP", TRAP),
    ("SCMP_ACT_ERRNO", ERRNO),
    ("SCMP_ACT_TRACE", TRACE),
    ("SCMP_ACT_ALLOW", ALLOW),
    ("SCMP_ACT_LOG", LOG),
    ("SCMP_ACT_NOTIFY", NOTIFY),
];

/// Words of `flags`, and what seccomp(2) calls them.
pub(super) const FLAGS: [(&str, u32); 4] = [
    ("SECCOMP_FILTER_FLAG_TSYNC", sys::FLAG_TSYNC),
    ("SECCOMP_FILTER_FLAG_LOG", sys::FLAG_LOG),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", sys::FLAG_SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", sys::FLAG_WAIT_KILLABLE_RECV),
];

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operator {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    MaskedEqual,
}

/// Words of `args[].op`.
pub(super) const OPERATORS: [(&str, Operator); 7] = [
    ("SCMP_CMP_NE", Operator::NotEqual),
    ("SCMP_CMP_LT", Operator::Less),
    ("SCMP_CMP_LE", Operator::LessOrEqual),
    ("SCMP_CMP_EQ", Operator::Equal),
    ("SCMP_CMP_GE", Operator::GreaterOrEqual),
    ("SCMP_CMP_GT", Operator::Greater),
    ("SCMP_CMP_MASKED_EQ", Operator::MaskedEqual),
];

/// One condition: `argument & mask` compared with `value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) argument: u8,
    pub(super) operator: Operator,
    /// All ones but for a masked comparison.
    pub(super) mask: u64,
    /// Already masked.
    pub(super) value: u64,
}

/// One rule for its system calls; all conditions must hold, and they name different arguments, in ascending order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// Index of `linux.seccomp.syscalls` it came from.
    pub(super) place: usize,
    pub(super) calls: Vec<tables::Row>,
    pub(super) answer: Answer,
    pub(super) conditions: Vec<Condition>,
}

/// A checked profile.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) default: Answer,
    /// The native architecture first.
    pub(super) architectures: Vec<&'static Architecture>,
    pub(super) rules: Vec<Rule>,
    /// System calls that the profile names at all, also where the rule asks for the default action.
    pub(super) named: Vec<tables::Row>,
    pub(super) flags: u32,
    pub(super) listener: Option<Listener>,
    pub(super) warnings: Vec<String>,
}

/// Checks the whole profile for a machine of the architecture `native`.
pub(super) fn read(profile: &config::Seccomp, native: &'static Architecture) -> Result<Profile> {
    let default = answer(
        &profile.default_action,
        profile.default_errno_ret,
        "linux.seccomp",
        "defaultAction",
        "defaultErrnoRet",
    )?;
    if default == NOTIFY {
        bail!(
            "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be the default action: the agent would have to answer before it has the descriptor"
        );
    }
    let mut checked = Profile {
        default,
        architectures: vec![native],
        rules: Vec::with_capacity(profile.syscalls.len()),
        named: Vec::new(),
        flags: 0,
        listener: None,
        warnings: Vec::new(),
    };
    read_architectures(profile, &mut checked)?;
    for (place, rule) in profile.syscalls.iter().enumerate() {
        read_rule(place, rule, &mut checked)?;
    }
    read_listener(profile, &mut checked)?;
    read_flags(profile, &mut checked)?;
    Ok(checked)
}

fn read_architectures(profile: &config::Seccomp, checked: &mut Profile) -> Result<()> {
    let native = checked.architectures.first().copied().unwrap_or_else(|| architectures::native());
    for (i, word) in profile.architectures.iter().enumerate() {
        let Some(architecture) = architectures::find(word) else {
            bail!("linux.seccomp.architectures[{i}]: unknown architecture {word:?}");
        };
        if architecture.big_endian != native.big_endian {
            // The kernel of this machine never runs a program of the other byte order, so no rule for it can matter.
            checked.warnings.push(format!(
                "linux.seccomp.architectures[{i}]: {word} is ignored: this machine has the other byte order"
            ));
        } else if !checked.architectures.contains(&architecture) {
            checked.architectures.push(architecture);
        }
    }
    Ok(())
}

fn read_rule(place: usize, rule: &config::SyscallRule, checked: &mut Profile) -> Result<()> {
    let at = format!("linux.seccomp.syscalls[{place}]");
    if rule.names.is_empty() {
        bail!("{at}.names: at least one name is needed");
    }
    let answer = answer(&rule.action, rule.errno_ret, &at, "action", "errnoRet")?;
    let mut calls = Vec::with_capacity(rule.names.len());
    for (i, name) in rule.names.iter().enumerate() {
        if answer == NOTIFY && (name == "sendmsg" || name == "write") {
            bail!(
                "{at}.names[{i}]: SCMP_ACT_NOTIFY cannot be used for {name}: the runtime needs it to hand over the descriptor of the notifications"
            );
        }
        match tables::find(name) {
            Some(row) => calls.push(row),
            None => checked.warnings.push(format!("{at}.names[{i}]: unknown system call {name:?} is ignored")),
        }
    }
    checked.named.extend_from_slice(&calls);
    let conditions = rule.args.iter().enumerate().map(|(i, arg)| condition(&at, i, arg)).collect::<Result<Vec<_>>>()?;
    if answer == checked.default {
        // As the other runtimes have it: such a rule says nothing, and does not shield against a wider one.
        return Ok(());
    }
    let mut push = |calls, conditions| checked.rules.push(Rule { place, calls, answer, conditions });
    if names_an_argument_twice(&conditions) {
        // As runc and crun have it since runc 1.0: such conditions are alternatives, not a conjunction.
        for condition in conditions {
            push(calls.clone(), vec![condition]);
        }
    } else {
        let mut conditions = conditions;
        conditions.sort_by_key(|c| c.argument);
        push(calls, conditions);
    }
    Ok(())
}

fn names_an_argument_twice(conditions: &[Condition]) -> bool {
    conditions.iter().enumerate().any(|(i, a)| conditions.iter().skip(i + 1).any(|b| a.argument == b.argument))
}

fn condition(at: &str, i: usize, arg: &config::SyscallArg) -> Result<Condition> {
    let Some(&(_, operator)) = OPERATORS.iter().find(|(word, _)| *word == arg.op) else {
        bail!("{at}.args[{i}].op: unknown operator {:?}", arg.op);
    };
    if arg.index > 5 {
        bail!("{at}.args[{i}].index: {} is past 5, the last argument of a system call", arg.index);
    }
    let (mask, value) =
        if operator == Operator::MaskedEqual { (arg.value, arg.value_two & arg.value) } else { (u64::MAX, arg.value) };
    Ok(Condition { argument: arg.index as u8, operator, mask, value })
}

fn answer(word: &str, errno: Option<u32>, at: &str, action_field: &str, errno_field: &str) -> Result<Answer> {
    let Some(&(_, answer)) = ACTIONS.iter().find(|(known, _)| *known == word) else {
        ensure!(!word.is_empty(), "{at}.{action_field}: an action is required");
        bail!("{at}.{action_field}: unknown action {word:?}");
    };
    if answer != ERRNO && answer != TRACE {
        if errno.is_some() {
            bail!("{at}.{errno_field}: {word} takes no error number");
        }
        return Ok(answer);
    }
    match u16::try_from(errno.unwrap_or(libc::EPERM as u32)) {
        Ok(data) => Ok(answer | u32::from(data)),
        Err(_) => bail!("{at}.{errno_field}: {} is more than 65535", errno.unwrap_or_default()),
    }
}

fn read_listener(profile: &config::Seccomp, checked: &mut Profile) -> Result<()> {
    if profile.listener_metadata.as_ref().is_some_and(|m| !m.is_empty()) && profile.listener_path.is_none() {
        bail!("linux.seccomp.listenerMetadata: must not be set without listenerPath");
    }
    let Some(first) = checked.rules.iter().find(|r| r.answer == NOTIFY) else {
        return Ok(());
    };
    let Some(path) = profile.listener_path.clone().filter(|p| !p.as_os_str().is_empty()) else {
        bail!("linux.seccomp.listenerPath: syscalls[{}] has SCMP_ACT_NOTIFY, which needs it", first.place);
    };
    checked.listener = Some(Listener { path, metadata: profile.listener_metadata.clone() });
    Ok(())
}

fn read_flags(profile: &config::Seccomp, checked: &mut Profile) -> Result<()> {
    for (i, word) in profile.flags.iter().enumerate() {
        let Some(&(_, flag)) = FLAGS.iter().find(|(known, _)| *known == word.as_str()) else {
            bail!("linux.seccomp.flags[{i}]: unknown flag {word:?}");
        };
        checked.flags |= flag;
    }
    if checked.listener.is_none() {
        // Without a listener the kernel refuses it (seccomp(2), EINVAL) and it would mean nothing.
        checked.flags &= !sys::FLAG_WAIT_KILLABLE_RECV;
    } else {
        checked.flags |= sys::FLAG_NEW_LISTENER;
        if checked.flags & sys::FLAG_TSYNC != 0 {
            checked.flags |= sys::FLAG_TSYNC_ESRCH;
        }
    }
    Ok(())
}
