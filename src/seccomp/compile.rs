//! From decisions to BPF: one section per audit architecture, in it a search tree over ranges of system call numbers.
//!
//! ```text
//! load arch ─▶ native? ─▶ load nr ─▶ tree of ">= n" ─▶ answer
//!                │                        └─▶ tests on arguments (`arguments`) ─▶ answer
//!                └▶ other architectures … ─▶ kill
//! ```
//! Neighbouring numbers with the same decision are one range. The tree is balanced by weight, and the system calls that
//! programs make all the time weigh more, so that they take fewer steps.

use super::Program;
use super::architectures::{Architecture, X32_BIT};
use super::arguments;
use super::assemble::{Assembler, IF_EQUAL, IF_GREATER_OR_EQUAL, LOAD, Label};
use super::decide::{self, Decision};
use super::profile::{ALLOW, Answer, ERRNO, KILL_THREAD, LOG, Profile, TRACE};
use super::tables;
use anyhow::{Result, bail};

/// BPF_MAXINSNS (linux/bpf_common.h): the kernel takes no longer program.
const LONGEST: usize = 4096;
/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// What a program of an architecture that the profile does not cover gets, as libseccomp has it.
const FOREIGN: Answer = KILL_THREAD;
/// A tracer skips a system call by making its number -1 (seccomp(2)); that is no foreign and no new system call.
const SKIPPED: u32 = u32::MAX;

/// System calls that programs make all the time.
const COMMON: [&str; 34] = [
    "read",
    "write",
    "openat",
    "close",
    "fstat",
    "newfstatat",
    "mmap",
    "munmap",
    "mprotect",
    "brk",
    "futex",
    "lseek",
    "epoll_wait",
    "epoll_pwait",
    "poll",
    "ppoll",
    "recvfrom",
    "sendto",
    "recvmsg",
    "sendmsg",
    "clock_gettime",
    "clock_nanosleep",
    "rt_sigaction",
    "rt_sigprocmask",
    "getpid",
    "readv",
    "writev",
    "pread64",
    "fcntl",
    "ioctl",
    "mmap2",
    "fstat64",
    "_llseek",
    "statx",
];
const COMMON_WEIGHT: u32 = 40;

/// System call numbers from `first` up to the next range's first, all decided the same way.
#[derive(Debug, Clone, Copy)]
struct Range {
    first: u32,
    /// Index of the decision.
    decision: usize,
    weight: u32,
}

/// Compiles a checked profile.
pub(super) fn compile(profile: &Profile) -> Result<Program> {
    let mut assembler = Assembler::default();
    let foreign = assembler.answer(FOREIGN);
    let mut sections: Vec<(u32, Label)> = Vec::new();
    // Backwards, so that the native architecture, which stands first, is asked first and lies nearest.
    for architecture in profile.architectures.iter().rev() {
        let x32_pair = architecture.token_is_shared();
        if x32_pair && sections.iter().any(|(token, _)| *token == architecture.token) {
            continue;
        }
        let same_token = profile.architectures.iter().copied().filter(|a| a.token == architecture.token);
        let label = section(profile, &same_token.collect::<Vec<_>>(), &mut assembler)?;
        sections.push((architecture.token, label));
        if assembler.len() > LONGEST {
            break;
        }
    }
    let native = profile.architectures.first().map_or(0, |a| a.token);
    sections.sort_by_key(|(token, _)| *token == native);
    let mut next = foreign;
    for (token, label) in sections {
        next = assembler.branch(IF_EQUAL, token, label, next);
    }
    assembler.before_last(LOAD, ARCHITECTURE);
    if assembler.len() > LONGEST {
        bail!(
            "linux.seccomp: the filter needs {} instructions and the kernel takes at most {LONGEST}; hint: fewer argument rules or architectures",
            assembler.len()
        );
    }
    Ok(assembler.finish())
}

impl Architecture {
    /// x32 and x86_64 share one audit token and differ in bit 30 of the number.
    fn token_is_shared(&self) -> bool {
        self.token == 0xc000_003e
    }

    /// ARM's private calls are as old as the architecture, whatever their numbers.
    fn private_numbers(&self) -> Option<(u32, u32)> {
        (self.token == 0x4000_0028).then_some((tables::ARM_PRIVATE, tables::ARM_PRIVATE + 0x1_0000))
    }

    fn brings_numbers_through_zero(&self) -> bool {
        self.token & 0xffff == 22
    }
}

/// Compiles all that goes by one audit token.
fn section(profile: &Profile, architectures: &[&'static Architecture], assembler: &mut Assembler) -> Result<Label> {
    let mut decisions = Decisions { all: Vec::new(), wide: Vec::new() };
    let default = decisions.index(&Decision::Always(profile.default), true);
    let mut ranges = Vec::new();
    let halves: &[(u32, u32)] = match architectures.first() {
        Some(a) if a.token_is_shared() => &[(0, X32_BIT - 1), (X32_BIT, SKIPPED - 1)],
        _ => &[(0, SKIPPED - 1)],
    };
    for (first, last) in halves {
        match architectures.iter().find(|a| halves.len() == 1 || a.number_bit == *first) {
            Some(architecture) => number_space(profile, architecture, (*first, *last), &mut decisions, &mut ranges)?,
            None => {
                let foreign = decisions.index(&Decision::Always(FOREIGN), true);
                ranges.push(Range { first: *first, decision: foreign, weight: 1 });
            }
        }
    }
    ranges.push(Range { first: SKIPPED, decision: default, weight: 1 });
    merge(&mut ranges);
    let mut tree = Tree { assembler, decisions: &decisions, blocks: Vec::new(), profile, big_endian: false };
    tree.big_endian = architectures.first().is_some_and(|a| a.big_endian);
    let root = tree.grow(&ranges);
    // A section that answers everything alike needs no number, and its answer may stand anywhere.
    Ok(if assembler.is_last(root) { assembler.before_last(LOAD, NUMBER) } else { root })
}

/// Appends the ranges of one architecture's numbers, `first..=last`.
fn number_space(
    profile: &Profile,
    architecture: &Architecture,
    (first, last): (u32, u32),
    decisions: &mut Decisions,
    ranges: &mut Vec<Range>,
) -> Result<()> {
    let default = decisions.index(&Decision::Always(profile.default), true);
    let newest = unknown_answer(profile).and_then(|enosys| Some((decide::newest(profile, architecture)?, enosys)));
    let newest = newest.map(|(newest, enosys)| (newest, decisions.index(&Decision::Always(enosys), true)));
    // Numbers from `from` up to `to` that no rule names.
    let gap = |from: u32, to: u32, ranges: &mut Vec<Range>| {
        let border = newest.map_or(u32::MAX, |(newest, _)| newest + 1);
        if from < to.min(border) {
            ranges.push(Range { first: from, decision: default, weight: 1 });
        }
        if let (Some((_, enosys)), true) = (newest, border < to) {
            let start = from.max(border);
            ranges.push(Range { first: start, decision: enosys, weight: 1 });
            if let Some((private, end)) = architecture.private_numbers().filter(|(p, e)| start < *e && *p < to) {
                ranges.push(Range { first: private.max(start), decision: default, weight: 1 });
                if end < to {
                    ranges.push(Range { first: end, decision: enosys, weight: 1 });
                }
            }
        }
    };
    let weights: Vec<u32> = common_numbers(architecture);
    let weight = |number: u32| if weights.contains(&number) { COMMON_WEIGHT } else { 1 };
    let mut after = first;
    for (number, decision) in decide::decide(profile, architecture)? {
        gap(after, number, ranges);
        let decision = match newest {
            // s390 brings numbers above 255 through 0; one that the kernel does not know arrives as 0 (runc #2750).
            Some((_, enosys)) if number == 0 && architecture.brings_numbers_through_zero() => enosys,
            _ => decisions.index(&decision, architecture.wide),
        };
        ranges.push(Range { first: number, decision, weight: weight(number) });
        after = number + 1;
    }
    gap(after, last, ranges);
    if let (Some((_, enosys)), true) = (newest, architecture.brings_numbers_through_zero()) {
        shadow_zero(ranges, enosys, default);
    }
    Ok(())
}

/// Gives number 0, which no rule names, another decision than the numbers after it.
fn shadow_zero(ranges: &mut Vec<Range>, enosys: usize, default: usize) {
    if let Some(at) = ranges.iter().position(|r| r.first == 0) {
        let second = ranges.get(at + 1).map_or(u32::MAX, |r| r.first);
        if let Some(zero) = ranges.get_mut(at) {
            zero.decision = enosys;
        }
        if second > 1 {
            ranges.insert(at + 1, Range { first: 1, decision: default, weight: 1 });
        }
    }
}

/// The answer to a system call newer than the profile, so that a C library falls back to an older one instead of
/// taking "not permitted" for the truth (runc 1.0.0-rc93): only where the default action refuses, and not when it
/// says ENOSYS anyway.
fn unknown_answer(profile: &Profile) -> Option<Answer> {
    let enosys = ERRNO | libc::ENOSYS as u32;
    let allows = [ALLOW, LOG, TRACE].contains(&(profile.default & 0xffff_0000));
    (!allows && profile.default != enosys).then_some(enosys)
}

fn common_numbers(architecture: &Architecture) -> Vec<u32> {
    let number = |name: &&str| tables::find(name).and_then(|row| row.number(architecture.column));
    COMMON.iter().filter_map(number).map(|n| n | architecture.number_bit).collect()
}

/// Joins neighbours with the same decision; of two ranges with the same first number the later stands.
fn merge(ranges: &mut Vec<Range>) {
    let mut merged: Vec<Range> = Vec::with_capacity(ranges.len());
    for range in ranges.drain(..) {
        if merged.last().is_some_and(|last| last.first == range.first) {
            merged.pop();
        }
        match merged.last_mut() {
            Some(last) if last.decision == range.decision => last.weight += range.weight,
            _ => merged.push(range),
        }
    }
    *ranges = merged;
}

/// Decisions without repetition, so that ranges compare by index.
struct Decisions {
    all: Vec<Decision>,
    wide: Vec<bool>,
}

impl Decisions {
    fn index(&mut self, decision: &Decision, wide: bool) -> usize {
        let same = |(known, known_wide): (&Decision, &bool)| {
            known == decision && (*known_wide == wide || matches!(decision, Decision::Always(_)))
        };
        if let Some(found) = self.all.iter().zip(&self.wide).position(same) {
            return found;
        }
        self.all.push(decision.clone());
        self.wide.push(wide);
        self.all.len() - 1
    }
}

/// Emits the search tree of one section.
struct Tree<'a> {
    assembler: &'a mut Assembler,
    decisions: &'a Decisions,
    /// Argument tests already made, by decision.
    blocks: Vec<(usize, Label)>,
    profile: &'a Profile,
    big_endian: bool,
}

impl Tree<'_> {
    fn grow(&mut self, ranges: &[Range]) -> Label {
        match ranges {
            [] => self.assembler.answer(self.profile.default),
            [only] => self.leaf(only.decision),
            // One number between two ranges of the same decision takes one comparison and not two.
            [before, one, after] if before.decision == after.decision && one.first + 1 == after.first => {
                let no = self.leaf(before.decision);
                let yes = self.leaf(one.decision);
                self.assembler.branch(IF_EQUAL, one.first, yes, no)
            }
            _ => {
                let (below, above) = ranges.split_at(heaviest_split(ranges));
                let border = above.first().map_or(0, |r| r.first);
                let yes = self.grow(above);
                let no = self.grow(below);
                self.assembler.branch(IF_GREATER_OR_EQUAL, border, yes, no)
            }
        }
    }

    fn leaf(&mut self, decision: usize) -> Label {
        match self.decisions.all.get(decision) {
            Some(Decision::Always(answer)) => self.assembler.answer(*answer),
            Some(Decision::Depends(alternatives)) => {
                if let Some((_, label)) = self.blocks.iter().find(|(known, _)| *known == decision) {
                    return *label;
                }
                let wide = self.decisions.wide.get(decision).copied().unwrap_or(true);
                let shape = arguments::Shape { wide, big_endian: self.big_endian };
                let label = arguments::emit(alternatives, shape, self.profile.default, self.assembler);
                self.blocks.push((decision, label));
                label
            }
            None => self.assembler.answer(self.profile.default),
        }
    }
}

/// Where to divide so that both sides weigh about the same.
fn heaviest_split(ranges: &[Range]) -> usize {
    let total: u32 = ranges.iter().map(|r| r.weight).sum();
    let mut best = (u32::MAX, 1);
    let mut below = 0;
    for (i, range) in ranges.iter().enumerate().take(ranges.len() - 1) {
        below += range.weight;
        let unbalance = below.abs_diff(total - below);
        if unbalance < best.0 {
            best = (unbalance, i + 1);
        }
    }
    best.1
}
