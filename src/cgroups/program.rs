//! Device rules as an eBPF program for cgroup2 (BPF_PROG_TYPE_CGROUP_DEVICE).
//!
//! The kernel calls it with the device and the accesses that are asked for together (an open for reading and writing
//! asks for two). Every rule is a block; they stand in the order last to first, because the last one that speaks decides:
//!
//! ```text
//! r2 = kind  r3 = accesses not yet decided  r4 = major  r5 = minor
//! allow:  other device? next block.   r3 &= ~access; anything left? next block.   return 1
//! deny:   other device? next block.   r3 & access == 0? next block.               return 0
//! end:    return what holds for devices that no rule names
//! ```

use super::devices::{ALL, Kind, Rule, Rules};
use crate::sys::bpf::Instruction;

// Instruction classes, operations and sources: Documentation/bpf/standardization/instruction-set.rst.
const LOAD_WORD: u8 = 0x61; // LDX | MEM | W
const MOVE_REGISTER: u8 = 0xbf; // ALU64 | MOV | X
const MOVE: u8 = 0xb7; // ALU64 | MOV | K
const AND: u8 = 0x54; // ALU | AND | K (32 bits)
const SHIFT_RIGHT: u8 = 0x74; // ALU | RSH | K (32 bits)
const JUMP: u8 = 0x05; // JMP | JA
const JUMP_NOT_EQUAL: u8 = 0x55; // JMP | JNE | K
const JUMP_IF_BITS: u8 = 0x45; // JMP | JSET | K
const EXIT: u8 = 0x95; // JMP | EXIT

/// Offsets in struct bpf_cgroup_dev_ctx: access and kind in one word, then major, then minor.
const ACCESS_TYPE: i16 = 0;
const MAJOR: i16 = 4;
const MINOR: i16 = 8;

/// The program of `rules`.
pub(super) fn program(rules: &Rules) -> Vec<Instruction> {
    let mut code = vec![
        Instruction::new(LOAD_WORD, 2, 1, ACCESS_TYPE, 0),
        Instruction::new(MOVE_REGISTER, 3, 2, 0, 0),
        Instruction::new(SHIFT_RIGHT, 3, 0, 0, 16),
        Instruction::new(AND, 2, 0, 0, 0xffff),
        Instruction::new(LOAD_WORD, 4, 1, MAJOR, 0),
        Instruction::new(LOAD_WORD, 5, 1, MINOR, 0),
    ];
    for rule in rules.rules.iter().rev() {
        block(rule, &mut code);
    }
    answer(rules.allowed, &mut code);
    code
}

fn block(rule: &Rule, code: &mut Vec<Instruction>) {
    let start = code.len();
    let mut unlike = |register: u8, value: Option<u32>| {
        if let Some(value) = value {
            code.push(Instruction::new(JUMP_NOT_EQUAL, register, 0, 0, value as i32));
        }
    };
    unlike(2, kind_number(rule.kind));
    unlike(4, rule.major);
    unlike(5, rule.minor);
    if rule.allow {
        if rule.access != ALL {
            code.push(Instruction::new(AND, 3, 0, 0, i32::from(ALL & !rule.access)));
            code.push(Instruction::new(JUMP_NOT_EQUAL, 3, 0, 0, 0));
        }
    } else if rule.access != ALL {
        code.push(Instruction::new(JUMP_IF_BITS, 3, 0, 1, i32::from(rule.access)));
        code.push(Instruction::new(JUMP, 0, 0, 0, 0));
    }
    answer(rule.allow, code);
    let end = code.len();
    // Every jump without a target leads to the next block.
    for (index, instruction) in code.iter_mut().enumerate().skip(start) {
        if matches!(instruction.code, JUMP_NOT_EQUAL | JUMP) {
            instruction.offset = (end - index - 1) as i16;
        }
    }
}

fn kind_number(kind: Kind) -> Option<u32> {
    match kind {
        Kind::Any => None,
        Kind::Block => Some(1),
        Kind::Char => Some(2),
    }
}

fn answer(allow: bool, code: &mut Vec<Instruction>) {
    code.push(Instruction::new(MOVE, 0, 0, 0, i32::from(allow)));
    code.push(Instruction::new(EXIT, 0, 0, 0, 0));
}

#[cfg(test)]
mod tests {
    use super::super::devices::{MKNOD, READ, WRITE};
    use super::*;
    use proptest::prelude::*;

    /// True when the rule speaks of this device.
    fn names(rule: &Rule, kind: Kind, major: u32, minor: u32) -> bool {
        (rule.kind == Kind::Any || rule.kind == kind)
            && rule.major.is_none_or(|m| m == major)
            && rule.minor.is_none_or(|m| m == minor)
    }

    /// What the rules say, bit by bit: the last rule that names the device and the access.
    fn by_the_rules(rules: &Rules, kind: Kind, major: u32, minor: u32, access: u8) -> bool {
        [MKNOD, READ, WRITE].into_iter().filter(|bit| access & bit != 0).all(|bit| {
            let last = rules.rules.iter().rev().find(|r| names(r, kind, major, minor) && r.access & bit != 0);
            last.map_or(rules.allowed, |rule| rule.allow)
        })
    }

    /// Runs the program as the kernel would, for the instructions that the generator uses.
    fn by_the_program(code: &[Instruction], kind: Kind, major: u32, minor: u32, access: u8) -> bool {
        let context = [u32::from(access) << 16 | kind_number(kind).unwrap(), major, minor];
        let mut registers = [0u64; 11];
        let mut at = 0usize;
        loop {
            let i = code[at];
            let (to, from) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            at += 1;
            match i.code {
                LOAD_WORD => registers[to] = u64::from(context[i.offset as usize / 4]),
                MOVE_REGISTER => registers[to] = registers[from],
                MOVE => registers[to] = i.immediate as i64 as u64,
                AND => registers[to] = u64::from(registers[to] as u32 & i.immediate as u32),
                SHIFT_RIGHT => registers[to] = u64::from(registers[to] as u32 >> i.immediate),
                JUMP => at = at.strict_add_signed(isize::from(i.offset)),
                JUMP_NOT_EQUAL if registers[to] != i.immediate as i64 as u64 => at += i.offset as usize,
                JUMP_IF_BITS if registers[to] & (i.immediate as i64 as u64) != 0 => at += i.offset as usize,
                JUMP_NOT_EQUAL | JUMP_IF_BITS => {}
                EXIT => return registers[0] == 1,
                other => panic!("instruction {other:#x} is not known here"),
            }
        }
    }

    fn rule() -> impl Strategy<Value = crate::config::DeviceRule> {
        let kind =
            prop_oneof![Just(None), Just(Some("a".to_owned())), Just(Some("b".to_owned())), Just(Some("c".to_owned()))];
        let number = || prop_oneof![Just(None), Just(Some(-1i64)), (0i64..4).prop_map(Some)];
        let access = prop_oneof![Just(None), "[rwm]{0,3}".prop_map(Some)];
        (any::<bool>(), kind, number(), number(), access).prop_map(|(allow, kind, major, minor, access)| {
            crate::config::DeviceRule { allow, kind, major, minor, access }
        })
    }

    proptest! {
        #[test]
        fn the_program_answers_as_the_rules_do(devices in prop::collection::vec(rule(), 0..12)) {
            let resources = crate::config::Resources { devices, ..Default::default() };
            let rules = Rules::of(Some(&resources)).unwrap();
            let code = program(&rules);
            for kind in [Kind::Block, Kind::Char] {
                for (major, minor) in [(0, 0), (0, 3), (1, 1), (1, 3), (3, 2), (2, 0), (5, 2), (136, 7)] {
                    for access in 1..=ALL {
                        prop_assert_eq!(
                            by_the_program(&code, kind, major, minor, access),
                            by_the_rules(&rules, kind, major, minor, access),
                            "{:?} {}:{} access {} under {}", kind, major, minor, access, rules
                        );
                    }
                }
            }
        }
    }
}
