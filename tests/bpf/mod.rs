//! A classic BPF interpreter for seccomp programs, with the kernel's rules: what a filter may do and nothing else.

use ocicat::sys::seccomp::Instruction;

/// `struct seccomp_data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Call {
    pub number: u32,
    pub architecture: u32,
    pub arguments: [u64; 6],
}

impl Call {
    /// The word at an offset, in the byte order that the program was made for.
    fn word(&self, offset: u32, big_endian: bool) -> u32 {
        let halves = |value: u64| {
            let (low, high) = (value as u32, (value >> 32) as u32);
            if big_endian { [high, low] } else { [low, high] }
        };
        match offset {
            0 => self.number,
            4 => self.architecture,
            16..64 => halves(self.arguments[(offset as usize - 16) / 8])[(offset as usize - 16) / 4 % 2],
            other => panic!("a load at {other}"),
        }
    }
}

/// Runs the program; the answer and the number of instructions it took.
pub fn run(program: &[Instruction], call: &Call, big_endian: bool) -> (u32, u32) {
    let (mut accumulator, mut at, mut steps) = (0_u32, 0_usize, 0);
    loop {
        let i = program.get(at).expect("the program runs past its end");
        steps += 1;
        at += 1;
        let branch = |yes: bool| usize::from(if yes { i.jump_true } else { i.jump_false });
        match i.code {
            0x20 => accumulator = call.word(i.operand, big_endian),
            0x54 => accumulator &= i.operand,
            0x05 => at += i.operand as usize,
            0x15 => at += branch(accumulator == i.operand),
            0x25 => at += branch(accumulator > i.operand),
            0x35 => at += branch(accumulator >= i.operand),
            0x45 => at += branch(accumulator & i.operand != 0),
            0x06 => return (i.operand, steps),
            other => panic!("instruction {other:#x}"),
        }
    }
}
