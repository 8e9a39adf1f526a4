//! Builds a BPF program from its end to its beginning.
//!
//! All jumps of classic BPF go forward and a conditional one at most 255 instructions far. Backwards, every target is
//! known when the jump to it is made, and one that is too far gets a stepping stone right behind the jump.

use super::Program;
use crate::sys::seccomp::Instruction;

/// BPF_LD | BPF_W | BPF_ABS.
pub(super) const LOAD: u16 = 0x20;
/// BPF_ALU | BPF_AND | BPF_K.
pub(super) const AND: u16 = 0x54;
/// BPF_JMP | BPF_JA.
pub(super) const JUMP: u16 = 0x05;
/// BPF_JMP | BPF_JEQ | BPF_K.
pub(super) const IF_EQUAL: u16 = 0x15;
/// BPF_JMP | BPF_JGT | BPF_K.
pub(super) const IF_GREATER: u16 = 0x25;
/// BPF_JMP | BPF_JGE | BPF_K.
pub(super) const IF_GREATER_OR_EQUAL: u16 = 0x35;
/// BPF_RET | BPF_K.
pub(super) const RETURN: u16 = 0x06;

/// An instruction already made, counted from the program's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

/// The program so far, last instruction first.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    reversed: Vec<Instruction>,
    /// The nearest return instruction for each answer.
    returns: Vec<(u32, Label)>,
}

impl Assembler {
    fn push(&mut self, code: u16, jump_true: u8, jump_false: u8, operand: u32) -> Label {
        self.reversed.push(Instruction { code, jump_true, jump_false, operand });
        Label(self.reversed.len() - 1)
    }

    /// `return answer`; an existing one serves again.
    pub(super) fn answer(&mut self, answer: u32) -> Label {
        match self.returns.iter().find(|(known, _)| *known == answer) {
            Some((_, label)) => *label,
            None => self.new_answer(answer),
        }
    }

    fn new_answer(&mut self, answer: u32) -> Label {
        let label = self.push(RETURN, 0, 0, answer);
        self.returns.retain(|(known, _)| *known != answer);
        self.returns.push((answer, label));
        label
    }

    /// An instruction that goes on with the one made just before.
    pub(super) fn before_last(&mut self, code: u16, operand: u32) -> Label {
        self.push(code, 0, 0, operand)
    }

    /// A comparison that goes to one of two places.
    pub(super) fn branch(&mut self, code: u16, operand: u32, mut yes: Label, mut no: Label) -> Label {
        loop {
            match (self.distance(yes), self.distance(no)) {
                (Some(jump_true), Some(jump_false)) => return self.push(code, jump_true, jump_false, operand),
                (None, _) => yes = self.stepping_stone(yes),
                (_, None) => no = self.stepping_stone(no),
            }
        }
    }

    /// How many instructions the next one must skip to reach `target`, if a conditional jump can.
    fn distance(&self, target: Label) -> Option<u8> {
        u8::try_from(self.reversed.len() - 1 - target.0).ok()
    }

    /// Brings a far target near: an answer is repeated, anything else is jumped to.
    fn stepping_stone(&mut self, target: Label) -> Label {
        match self.reversed.get(target.0).copied() {
            Some(Instruction { code: RETURN, operand, .. }) => {
                let near = self.answer(operand);
                if self.distance(near).is_some() { near } else { self.new_answer(operand) }
            }
            _ => {
                let skip = self.reversed.len() - 1 - target.0;
                self.push(JUMP, 0, 0, skip as u32)
            }
        }
    }

    /// True for the instruction made just before.
    pub(super) fn is_last(&self, label: Label) -> bool {
        label.0 + 1 == self.reversed.len()
    }

    /// Instructions so far.
    pub(super) fn len(&self) -> usize {
        self.reversed.len()
    }

    /// The whole program; its first instruction is the one made last.
    pub(super) fn finish(self) -> Program {
        Program(self.reversed.into_iter().rev().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows jumps on a loaded value; enough of an interpreter for these programs.
    fn run(program: &Program, value: u32) -> u32 {
        let mut at = 0;
        loop {
            let i = program.0[at];
            let taken = match i.code {
                RETURN => return i.operand,
                JUMP => i.operand as usize,
                IF_EQUAL => usize::from(if value == i.operand { i.jump_true } else { i.jump_false }),
                other => panic!("{other:#x}"),
            };
            at += 1 + taken;
        }
    }

    #[test]
    fn targets_past_255_instructions_are_reached() {
        let mut a = Assembler::default();
        let default = a.answer(7);
        let mut next = default;
        for value in (0..2000).rev() {
            let answer = a.answer(value % 3);
            next = a.branch(IF_EQUAL, value, answer, next);
        }
        let mut far = next;
        for value in (2000..2300).rev() {
            far = a.branch(IF_EQUAL, value, next, far);
        }
        let program = a.finish();
        assert_eq!(run(&program, 0), 0);
        assert_eq!(run(&program, 1999), 1);
        assert_eq!(run(&program, 2100), 7);
        assert_eq!(run(&program, 5000), 7);
    }
}
