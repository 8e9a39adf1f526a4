//! What a profile decides for each system call number of one architecture, with libseccomp's precedence.
//!
//! * The first unconditional rule for a system call wins over everything else for it.
//! * Of conditional rules the more particular one is asked first, whatever the order in the profile: rules on a higher
//!   argument, then equality before "less" before "greater", then the tighter bound; the first that matches decides.
//! * socketcall(2) and ipc(2) carry several system calls: a rule for such a call also answers the carrier, by its call
//!   number, without the rule's condition on argument 0 (the real arguments lie in memory that a filter cannot read).

use super::architectures::Architecture;
use super::profile::{Answer, Condition, Operator, Profile, Rule};
use super::tables;
use anyhow::{Result, bail};
use std::cmp::{Ordering, Reverse};

/// What happens on one system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Always this.
    Always(Answer),
    /// The first alternative whose conditions all hold, else the default action.
    Depends(Vec<Alternative>),
}

/// Conditions (never none) and the answer when all of them hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alternative {
    pub(super) conditions: Vec<Condition>,
    pub(super) answer: Answer,
}

/// Calls carried by socketcall(2) and ipc(2) and their call numbers (linux/net.h, linux/ipc.h).
const CARRIED: [(&str, &str, u64); 32] = [
    ("socket", "socketcall", 1),
    ("bind", "socketcall", 2),
    ("connect", "socketcall", 3),
    ("listen", "socketcall", 4),
    ("accept", "socketcall", 5),
    ("getsockname", "socketcall", 6),
    ("getpeername", "socketcall", 7),
    ("socketpair", "socketcall", 8),
    ("send", "socketcall", 9),
    ("recv", "socketcall", 10),
    ("sendto", "socketcall", 11),
    ("recvfrom", "socketcall", 12),
    ("shutdown", "socketcall", 13),
    ("setsockopt", "socketcall", 14),
    ("getsockopt", "socketcall", 15),
    ("sendmsg", "socketcall", 16),
    ("recvmsg", "socketcall", 17),
    ("accept4", "socketcall", 18),
    ("recvmmsg", "socketcall", 19),
    ("sendmmsg", "socketcall", 20),
    ("semop", "ipc", 1),
    ("semget", "ipc", 2),
    ("semctl", "ipc", 3),
    ("semtimedop", "ipc", 4),
    ("msgsnd", "ipc", 11),
    ("msgrcv", "ipc", 12),
    ("msgget", "ipc", 13),
    ("msgctl", "ipc", 14),
    ("shmat", "ipc", 21),
    ("shmdt", "ipc", 22),
    ("shmget", "ipc", 23),
    ("shmctl", "ipc", 24),
];

/// One rule's claim on one number.
struct Claim<'a> {
    number: u32,
    /// Position in the profile.
    order: u32,
    rule: &'a Rule,
    /// Call number within a carrier.
    carried: Option<u64>,
}

/// Decisions by ascending system call number.
pub(super) fn decide(profile: &Profile, architecture: &Architecture) -> Result<Vec<(u32, Decision)>> {
    let mut claims = claims(profile, architecture);
    claims.sort_unstable_by_key(|c| (c.number, c.order));
    let mut decisions = Vec::with_capacity(claims.len());
    for group in claims.chunk_by(|a, b| a.number == b.number) {
        if let Some(first) = group.first() {
            decisions.push((first.number, decide_one(group, architecture)?));
        }
    }
    Ok(decisions)
}

/// The greatest system call number that the profile names on this architecture, be it by what a carrier carries.
pub(super) fn newest(profile: &Profile, architecture: &Architecture) -> Option<u32> {
    let carriers = carriers(architecture);
    let carrier = |row| carriers.iter().find(|(carried, ..)| carried == row).map(|(_, number, _)| *number);
    let numbers = profile.named.iter().filter_map(|row| row.number(architecture.column).max(carrier(row)));
    numbers.filter(|n| !tables::is_private(*n)).max().map(|n| n | architecture.number_bit)
}

fn claims<'a>(profile: &'a Profile, architecture: &Architecture) -> Vec<Claim<'a>> {
    let carriers: Vec<(tables::Row, u32, u64)> = carriers(architecture);
    let mut claims = Vec::with_capacity(profile.named.len() + carriers.len());
    let mut order = 0;
    for rule in &profile.rules {
        for row in &rule.calls {
            order += 1;
            if let Some((_, number, call)) = carriers.iter().find(|(carried, ..)| carried == row) {
                claims.push(Claim { number: *number, order, rule, carried: Some(*call) });
            }
            if let Some(number) = row.number(architecture.column) {
                claims.push(Claim { number: number | architecture.number_bit, order, rule, carried: None });
            }
        }
    }
    claims
}

/// Which calls this architecture carries in which number; most architectures carry none.
fn carriers(architecture: &Architecture) -> Vec<(tables::Row, u32, u64)> {
    let number = |name| tables::find(name).and_then(|row| row.number(architecture.column));
    let (socketcall, ipc) = (number("socketcall"), number("ipc"));
    if socketcall.is_none() && ipc.is_none() {
        return Vec::new();
    }
    let carrier = |name: &str| if name == "ipc" { ipc } else { socketcall };
    let row = |&(name, by, call): &(&str, &str, u64)| Some((tables::find(name)?, carrier(by)?, call));
    CARRIED.iter().filter_map(row).collect()
}

fn decide_one(group: &[Claim<'_>], architecture: &Architecture) -> Result<Decision> {
    let mut alternatives: Vec<(Alternative, usize)> = Vec::new();
    for claim in group {
        let conditions = conditions(claim, architecture);
        let answer = claim.rule.answer;
        if conditions.is_empty() {
            return Ok(Decision::Always(answer));
        }
        match alternatives.iter().find(|(a, _)| a.conditions == conditions) {
            None => alternatives.push((Alternative { conditions, answer }, claim.rule.place)),
            Some((a, _)) if a.answer == answer => {}
            Some((_, place)) if claim.carried.is_none() => bail!(
                "linux.seccomp.syscalls[{}]: contradicts syscalls[{place}]: another action for the same conditions of the same system call",
                claim.rule.place
            ),
            // Two rules that differ only in what the carrier cannot tell apart: the first one stands.
            Some(_) => {}
        }
    }
    let mut alternatives: Vec<Alternative> = alternatives.into_iter().map(|(a, _)| a).collect();
    alternatives.sort_by(|a, b| asked_first(&a.conditions, &b.conditions));
    Ok(Decision::Depends(alternatives))
}

/// The conditions that mean something on this architecture.
fn conditions(claim: &Claim<'_>, architecture: &Architecture) -> Vec<Condition> {
    let word = if architecture.wide { u64::MAX } else { u64::from(u32::MAX) };
    let seen = |c: &Condition| Condition { mask: c.mask & word, value: c.value & word, ..*c };
    let call = |value| Condition { argument: 0, operator: Operator::Equal, mask: word, value };
    let rest = claim.rule.conditions.iter().filter(|c| claim.carried.is_none() || c.argument != 0).map(seen);
    claim.carried.map(call).into_iter().chain(rest).filter(|c| c.mask != 0).collect()
}

/// libseccomp's order of a rule tree's branches: see the module's head.
fn asked_first(a: &[Condition], b: &[Condition]) -> Ordering {
    let class = |c: &Condition| match c.operator {
        Operator::Equal | Operator::NotEqual | Operator::MaskedEqual => 0,
        Operator::Less | Operator::LessOrEqual => 1,
        Operator::Greater | Operator::GreaterOrEqual => 2,
    };
    let key = |c: &Condition| {
        let kind = class(c);
        (Reverse(c.argument), kind, if kind == 1 { c.value } else { !c.value })
    };
    let differing = a.iter().zip(b).map(|(a, b)| key(a).cmp(&key(b))).find(|o| o.is_ne());
    // A prefix of another rule is the wider one, and is asked first as libseccomp does.
    differing.unwrap_or_else(|| a.len().cmp(&b.len()))
}
