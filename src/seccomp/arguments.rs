//! Tests on the arguments of one system call, as 32-bit steps.
//!
//! Alternatives are asked in turn. Where one fails, what its tests have shown decides already how the next ones begin:
//! the jump goes past every test whose outcome is known, and past the load when the word is still in the accumulator.

use super::assemble::{AND, Assembler, IF_EQUAL, IF_GREATER, IF_GREATER_OR_EQUAL, LOAD, Label};
use super::decide::Alternative;
use super::profile::{Answer, Condition, Operator};

/// How the architecture lays out arguments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) wide: bool,
    pub(super) big_endian: bool,
}

/// A word of an argument under a mask: what the accumulator holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word {
    /// Offset in `struct seccomp_data`.
    offset: u32,
    mask: u32,
}

/// Where a test leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    /// The test after it.
    Next,
    /// The condition holds.
    Pass,
    /// The condition does not hold, so neither does its alternative.
    Fail,
}

/// One comparison of a word.
#[derive(Debug, Clone, Copy)]
struct Test {
    word: Word,
    code: u16,
    value: u32,
    yes: To,
    no: To,
}

/// A test with its place: the index of the step that follows when its condition holds.
#[derive(Debug, Clone, Copy)]
struct Step {
    test: Test,
    passed: usize,
    /// The first step of its condition.
    condition: usize,
}

/// The steps of one alternative; past the last one stands its answer.
struct Chain {
    steps: Vec<Step>,
    answer: Answer,
}

/// A test's outcome that is known at some point.
#[derive(Debug, Clone, Copy)]
struct Fact {
    test: Test,
    outcome: bool,
}

/// Entries of an emitted step: with nothing, with the whole word, and with the masked word in the accumulator.
#[derive(Debug, Clone, Copy)]
struct Entry {
    empty: Label,
    loaded: Label,
    masked: Label,
}

/// Emits the tests and gives their beginning.
pub(super) fn emit(alternatives: &[Alternative], shape: Shape, default: Answer, assembler: &mut Assembler) -> Label {
    let chains: Vec<Chain> = alternatives.iter().map(|a| chain(a, shape)).collect();
    let mut emitter = Emitter { chains: &chains, entries: chains.iter().map(|_| Vec::new()).collect(), default };
    for at in (0..chains.len()).rev() {
        emitter.chain(at, assembler);
    }
    match emitter.entries.first().and_then(|e| e.last()) {
        Some(entry) => entry.empty,
        None => assembler.answer(default),
    }
}

fn chain(alternative: &Alternative, shape: Shape) -> Chain {
    let mut steps = Vec::new();
    for condition in &alternative.conditions {
        let tests = tests(condition, shape);
        let first = steps.len();
        let passed = first + tests.len();
        steps.extend(tests.into_iter().map(|test| Step { test, passed, condition: first }));
    }
    Chain { steps, answer: alternative.answer }
}

/// A condition as comparisons of one or two words.
fn tests(condition: &Condition, shape: Shape) -> Vec<Test> {
    let base = 16 + 8 * u32::from(condition.argument);
    let (low_offset, high_offset) = if shape.big_endian { (base + 4, base) } else { (base, base + 4) };
    let low = Word { offset: low_offset, mask: condition.mask as u32 };
    let high = Word { offset: high_offset, mask: (condition.mask >> 32) as u32 };
    let (low_value, high_value) = (condition.value as u32, (condition.value >> 32) as u32);
    let low_test = |code, yes, no| Test { word: low, code, value: low_value, yes, no };
    let high_test = |code, yes, no| Test { word: high, code, value: high_value, yes, no };
    let (code, holds, fails) = match condition.operator {
        Operator::Equal | Operator::MaskedEqual => (IF_EQUAL, To::Pass, To::Fail),
        Operator::NotEqual => (IF_EQUAL, To::Fail, To::Pass),
        Operator::Greater => (IF_GREATER, To::Pass, To::Fail),
        Operator::GreaterOrEqual => (IF_GREATER_OR_EQUAL, To::Pass, To::Fail),
        Operator::Less => (IF_GREATER_OR_EQUAL, To::Fail, To::Pass),
        Operator::LessOrEqual => (IF_GREATER, To::Fail, To::Pass),
    };
    let mut tests = Vec::with_capacity(3);
    if shape.wide && high.mask != 0 {
        match code {
            // A high word of zero is neither below nor unequal: one comparison tells.
            IF_GREATER | IF_GREATER_OR_EQUAL if high_value == 0 => tests.push(high_test(IF_EQUAL, To::Next, holds)),
            IF_GREATER | IF_GREATER_OR_EQUAL => {
                tests.push(high_test(IF_GREATER, holds, To::Next));
                tests.push(high_test(IF_EQUAL, To::Next, fails));
            }
            _ if low.mask == 0 => tests.push(high_test(IF_EQUAL, holds, fails)),
            _ => tests.push(high_test(IF_EQUAL, To::Next, fails)),
        }
    }
    if low.mask != 0 {
        tests.push(low_test(code, holds, fails));
    }
    tests
}

struct Emitter<'a> {
    chains: &'a [Chain],
    /// Entries of the emitted steps, last step first.
    entries: Vec<Vec<Entry>>,
    default: Answer,
}

impl Emitter<'_> {
    fn chain(&mut self, at: usize, assembler: &mut Assembler) {
        let Some(chain) = self.chains.get(at) else { return };
        for (index, step) in chain.steps.iter().enumerate().rev() {
            let yes = self.target(at, index, step, true, assembler);
            let no = self.target(at, index, step, false, assembler);
            let masked = assembler.branch(step.test.code, step.test.value, yes, no);
            let mask = step.test.word.mask;
            let loaded = if mask == u32::MAX { masked } else { assembler.before_last(AND, mask) };
            let empty = assembler.before_last(LOAD, step.test.word.offset);
            if let Some(entries) = self.entries.get_mut(at) {
                entries.push(Entry { empty, loaded, masked });
            }
        }
    }

    /// Where an outcome of a step leads, past everything that is known by then.
    fn target(&self, at: usize, index: usize, step: &Step, outcome: bool, assembler: &mut Assembler) -> Label {
        let facts = self.facts(at, index, outcome);
        let (mut chain, mut to) = follow(at, index, step, outcome);
        loop {
            let Some(steps) = self.chains.get(chain) else {
                return assembler.answer(self.default);
            };
            let Some(step) = steps.steps.get(to) else {
                return assembler.answer(steps.answer);
            };
            match facts.iter().find_map(|fact| implied(fact, &step.test)) {
                Some(known) => (chain, to) = follow(chain, to, step, known),
                None => break,
            }
        }
        self.enter(chain, to, step.test.word).unwrap_or_else(|| assembler.answer(self.default))
    }

    /// What is certain when this outcome of this step happens.
    fn facts(&self, at: usize, index: usize, outcome: bool) -> Vec<Fact> {
        let Some((before, step)) = self.chains.get(at).and_then(|c| Some((c.steps.get(..index)?, c.steps.get(index)?)))
        else {
            return Vec::new();
        };
        let certain = |earlier: &Step| {
            let test = earlier.test;
            if earlier.condition == step.condition {
                // We are here because it led on.
                return Some(Fact { test, outcome: test.yes == To::Next });
            }
            // An earlier condition held, and there is one way for this test not to have failed it.
            let equality = before.iter().filter(|s| s.condition == earlier.condition).all(|s| s.test.no == To::Fail);
            equality.then_some(Fact { test, outcome: true })
        };
        let mut facts: Vec<Fact> = vec![Fact { test: step.test, outcome }];
        facts.extend(before.iter().rev().filter_map(certain));
        facts
    }

    /// The entry of a step for an accumulator that holds `word`.
    fn enter(&self, chain: usize, index: usize, word: Word) -> Option<Label> {
        let step = self.chains.get(chain)?.steps.get(index)?;
        let entries = self.entries.get(chain)?;
        let emitted = self.chains.get(chain)?.steps.len() - 1 - index;
        let entry = entries.get(emitted)?;
        Some(match step.test.word {
            wanted if wanted == word => entry.masked,
            wanted if wanted.offset == word.offset && word.mask == u32::MAX => entry.loaded,
            _ => entry.empty,
        })
    }
}

/// The chain and step that an outcome leads to.
fn follow(chain: usize, index: usize, step: &Step, outcome: bool) -> (usize, usize) {
    match if outcome { step.test.yes } else { step.test.no } {
        To::Next => (chain, index + 1),
        To::Pass => (chain, step.passed),
        To::Fail => (chain + 1, 0),
    }
}

/// The outcome of `test` when `fact` is known, if it follows.
fn implied(fact: &Fact, test: &Test) -> Option<bool> {
    if fact.test.word.offset != test.word.offset {
        return None;
    }
    if fact.test.word == test.word && fact.test.code == test.code && fact.test.value == test.value {
        return Some(fact.outcome);
    }
    let known = fact.test.word.mask;
    if fact.test.code != IF_EQUAL || !fact.outcome || known & test.word.mask != test.word.mask {
        return None;
    }
    let value = fact.test.value & test.word.mask;
    Some(match test.code {
        IF_EQUAL => value == test.value,
        IF_GREATER => value > test.value,
        _ => value >= test.value,
    })
}
