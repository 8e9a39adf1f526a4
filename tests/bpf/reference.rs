//! What a profile says about one system call, read straight from its words: no tree, no program, no cleverness.

use super::bpf::Call;
use super::libseccomp::{answer, token};
use ocicat::config::{Seccomp, SyscallArg};
use std::collections::HashMap;
use std::sync::LazyLock;

/// What a filter may answer.
#[derive(Debug)]
pub struct Possible {
    /// More than one where rules of different actions match.
    pub answers: Vec<u32>,
    /// ENOSYS for a call newer than the profile (runc's patchbpf): libseccomp itself does not know that.
    pub before_the_filter: bool,
}

const NARROW: [&str; 13] = [
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
];

const SOCKETCALL: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];
const IPC: [(&str, u64); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

static TABLE: LazyLock<HashMap<(String, String), u32>> = LazyLock::new(|| {
    let mut lines = include_str!("../../src/seccomp/tables/syscalls.tsv").lines().filter(|l| !l.starts_with('#'));
    let columns: Vec<&str> = lines.next().unwrap().split('\t').skip(1).collect();
    let mut table = HashMap::new();
    for line in lines {
        let (name, cells) = line.split_once('\t').unwrap();
        for (column, cell) in columns.iter().zip(cells.split('\t')) {
            if let Ok(number) = cell.parse::<u32>() {
                let bit = if *column == "x32" { 0x4000_0000 } else { 0 };
                table.insert(((*column).to_owned(), name.to_owned()), number | bit);
            }
        }
    }
    table
});

/// The number of a call on an architecture, from the data file.
pub fn number(word: &str, name: &str) -> Option<u32> {
    let short = word.trim_start_matches("SCMP_ARCH_").to_ascii_lowercase();
    let short = match short.as_str() {
        "ppc64le" => "ppc64",
        "mipsel" => "mips",
        "mipsel64" => "mips64",
        "mipsel64n32" => "mips64n32",
        other => other,
    };
    TABLE.get(&(short.to_owned(), name.to_owned())).copied()
}

/// The answers that the profile allows for the call on a machine of `native`.
pub fn answers(profile: &Seccomp, native: &str, call: &Call) -> Possible {
    let default = answer(&profile.default_action, profile.default_errno_ret);
    let filter = |answers| Possible { answers, before_the_filter: false };
    if call.number == u32::MAX
        && profile.architectures.iter().map(String::as_str).chain([native]).any(|w| audit(w) == call.architecture)
    {
        return filter(vec![default]);
    }
    let covered = profile.architectures.iter().map(String::as_str).chain([native]).find(|word| {
        let x32 = *word == "SCMP_ARCH_X32";
        let shared = audit(word) == 0xc000_003e;
        audit(word) == call.architecture
            && (!shared || x32 == (call.number & 0x4000_0000 != 0))
            && (!shared || call.number < 0x8000_0000 || x32)
    });
    let Some(word) = covered else { return filter(vec![0]) };
    if newer_than_the_profile(profile, word, default, call) {
        return Possible { answers: vec![0x0005_0026], before_the_filter: true };
    }
    let mut matching = Vec::new();
    for rule in &profile.syscalls {
        let action = answer(&rule.action, rule.errno_ret);
        if action == default {
            continue;
        }
        let twice = rule.args.iter().enumerate().any(|(i, a)| rule.args[i + 1..].iter().any(|b| a.index == b.index));
        let groups: Vec<Vec<&SyscallArg>> =
            if twice { rule.args.iter().map(|a| vec![a]).collect() } else { vec![rule.args.iter().collect()] };
        for name in &rule.names {
            for group in &groups {
                let carried = carried(word, name, call);
                let direct = number(word, name) == Some(call.number);
                let counts = |a: &&&SyscallArg| (direct || a.index != 0) && !says_nothing(word, a);
                let group: Vec<&SyscallArg> = group.iter().filter(counts).copied().collect();
                if direct && group.is_empty() {
                    if matching.is_empty() || !matching.iter().any(|(_, unconditional)| *unconditional) {
                        matching.push((action, true));
                    }
                } else if (direct || carried == Some(true)) && group.iter().all(|a| holds(word, a, call)) {
                    matching.push((action, false));
                }
            }
        }
    }
    if let Some((action, _)) = matching.iter().find(|(_, unconditional)| *unconditional) {
        return filter(vec![*action]);
    }
    filter(if matching.is_empty() { vec![default] } else { matching.into_iter().map(|(action, _)| action).collect() })
}

fn audit(word: &str) -> u32 {
    if word == "SCMP_ARCH_X32" { 0xc000_003e } else { token(word) }
}

/// Some(true) when the call is the carrier of `name` with its call number.
fn carried(word: &str, name: &str, call: &Call) -> Option<bool> {
    let socket = SOCKETCALL.iter().position(|n| *n == name).map(|i| ("socketcall", i as u64 + 1));
    let (carrier, code) = socket.or_else(|| IPC.iter().find(|(n, _)| *n == name).map(|(_, code)| ("ipc", *code)))?;
    let argument = if NARROW.contains(&word) { call.arguments[0] & 0xffff_ffff } else { call.arguments[0] };
    Some(number(word, carrier)? == call.number && argument == code)
}

fn says_nothing(word: &str, a: &SyscallArg) -> bool {
    let mask = if NARROW.contains(&word) { a.value & 0xffff_ffff } else { a.value };
    a.op == "SCMP_CMP_MASKED_EQ" && mask == 0
}

fn holds(word: &str, a: &SyscallArg, call: &Call) -> bool {
    let cut = |v: u64| if NARROW.contains(&word) { v & 0xffff_ffff } else { v };
    let (argument, value, second) = (cut(call.arguments[a.index as usize]), cut(a.value), cut(a.value_two));
    match a.op.as_str() {
        "SCMP_CMP_EQ" => argument == value,
        "SCMP_CMP_NE" => argument != value,
        "SCMP_CMP_LT" => argument < value,
        "SCMP_CMP_LE" => argument <= value,
        "SCMP_CMP_GE" => argument >= value,
        "SCMP_CMP_GT" => argument > value,
        "SCMP_CMP_MASKED_EQ" => argument & value == second & value,
        other => panic!("{other}"),
    }
}

/// runc's preamble (libcontainer/seccomp/patchbpf): ENOSYS above the newest call that the profile names, unless the
/// default action permits or says ENOSYS anyway. Two differences: ARM's private calls are no measure and never new (runc
/// counts them), and naming a carried call names its carrier.
fn newer_than_the_profile(profile: &Seccomp, word: &str, default: u32, call: &Call) -> bool {
    let permits = ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"].contains(&profile.default_action.as_str());
    if permits || default == 0x0005_0026 {
        return false;
    }
    let carrier = |n: &str| {
        let by =
            if SOCKETCALL.contains(&n) { Some("socketcall") } else { IPC.iter().find(|i| i.0 == n).map(|_| "ipc") };
        by.and_then(|by| number(word, by))
    };
    let names = profile.syscalls.iter().flat_map(|r| &r.names);
    let named = names.flat_map(|n| [number(word, n), carrier(n)]).flatten();
    let private = |n: u32| word == "SCMP_ARCH_ARM" && (0xf0000..0x10_0000).contains(&n);
    let Some(newest) = named.filter(|n| !private(*n)).max() else { return false };
    let zero = word.starts_with("SCMP_ARCH_S390") && call.number == 0;
    zero || (call.number > newest && !private(call.number))
}
