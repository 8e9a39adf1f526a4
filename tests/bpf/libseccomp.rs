//! The handful of libseccomp functions that the comparison needs, and a filter made the way runc makes it.

use ocicat::config::{Seccomp, SyscallArg};
use ocicat::sys::seccomp::Instruction;
use std::ffi::{CString, c_int, c_uint, c_void};
use std::io::{Read, Seek};
use std::os::fd::{AsRawFd, FromRawFd};

#[repr(C)]
#[derive(Clone, Copy)]
struct Comparison {
    argument: c_uint,
    operator: c_int,
    a: u64,
    b: u64,
}

#[link(name = "seccomp")]
unsafe extern "C" {
    fn seccomp_init(default: u32) -> *mut c_void;
    fn seccomp_release(filter: *mut c_void);
    fn seccomp_arch_add(filter: *mut c_void, token: u32) -> c_int;
    fn seccomp_arch_remove(filter: *mut c_void, token: u32) -> c_int;
    fn seccomp_arch_native() -> u32;
    fn seccomp_attr_set(filter: *mut c_void, attribute: c_int, value: u32) -> c_int;
    fn seccomp_rule_add_array(
        filter: *mut c_void,
        action: u32,
        call: c_int,
        count: c_uint,
        args: *const Comparison,
    ) -> c_int;
    fn seccomp_syscall_resolve_name(name: *const i8) -> c_int;
    fn seccomp_syscall_resolve_name_arch(token: u32, name: *const i8) -> c_int;
    fn seccomp_export_bpf(filter: *mut c_void, fd: c_int) -> c_int;
}

const OPERATORS: [&str; 7] =
    ["SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"];

/// libseccomp's tokens (seccomp.h): the audit tokens, but for x32.
pub const TOKENS: [(&str, u32); 19] = [
    ("SCMP_ARCH_X86_64", 0xc000_003e),
    ("SCMP_ARCH_X86", 0x4000_0003),
    ("SCMP_ARCH_X32", 0x4000_003e),
    ("SCMP_ARCH_AARCH64", 0xc000_00b7),
    ("SCMP_ARCH_ARM", 0x4000_0028),
    ("SCMP_ARCH_RISCV64", 0xc000_00f3),
    ("SCMP_ARCH_PPC", 0x14),
    ("SCMP_ARCH_PPC64", 0x8000_0015),
    ("SCMP_ARCH_PPC64LE", 0xc000_0015),
    ("SCMP_ARCH_S390", 0x16),
    ("SCMP_ARCH_S390X", 0x8000_0016),
    ("SCMP_ARCH_MIPS", 0x8),
    ("SCMP_ARCH_MIPSEL", 0x4000_0008),
    ("SCMP_ARCH_MIPS64", 0x8000_0008),
    ("SCMP_ARCH_MIPSEL64", 0xc000_0008),
    ("SCMP_ARCH_MIPS64N32", 0xa000_0008),
    ("SCMP_ARCH_MIPSEL64N32", 0xe000_0008),
    ("SCMP_ARCH_PARISC", 0xf),
    ("SCMP_ARCH_PARISC64", 0x8000_000f),
];

pub fn token(word: &str) -> u32 {
    TOKENS.iter().find(|(w, _)| *w == word).unwrap_or_else(|| panic!("{word}")).1
}

/// The answer that runc gives for an action word.
pub fn answer(word: &str, errno: Option<u32>) -> u32 {
    match word {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => 0,
        "SCMP_ACT_KILL_PROCESS" => 0x8000_0000,
        "SCMP_ACT_TRAP" => 0x0003_0000,
        "SCMP_ACT_ERRNO" => 0x0005_0000 | errno.unwrap_or(1),
        "SCMP_ACT_TRACE" => 0x7ff0_0000 | errno.unwrap_or(1),
        "SCMP_ACT_LOG" => 0x7ffc_0000,
        "SCMP_ACT_NOTIFY" => 0x7fc0_0000,
        "SCMP_ACT_ALLOW" => 0x7fff_0000,
        other => panic!("{other}"),
    }
}

/// The number of a call on an architecture; negative when it has none of its own.
pub fn number(word: &str, name: &str) -> i32 {
    let name = CString::new(name).unwrap();
    // SAFETY: the name is a C string that outlives the call.
    unsafe { seccomp_syscall_resolve_name_arch(token(word), name.as_ptr()) }
}

/// The filter that runc would load for the profile on a machine of `native`, without its ENOSYS preamble; None where
/// libseccomp refuses the profile.
pub fn compile(profile: &Seccomp, native: &str) -> Option<Vec<Instruction>> {
    let default = answer(&profile.default_action, profile.default_errno_ret);
    // SAFETY: takes a number, gives a filter or null.
    let filter = unsafe { seccomp_init(default) };
    assert!(!filter.is_null());
    let made = fill(filter, profile, native, default);
    let swapped = matches!(token(native) & 0x4000_0000, 0) != cfg!(target_endian = "big");
    let program = made.then(|| export(filter, swapped));
    // SAFETY: made by seccomp_init above and not used after this.
    unsafe { seccomp_release(filter) };
    program
}

fn fill(filter: *mut c_void, profile: &Seccomp, native: &str, default: u32) -> bool {
    // SAFETY: takes nothing.
    let machine = unsafe { seccomp_arch_native() };
    if machine != token(native) {
        // SAFETY: a live filter and a token.
        unsafe { seccomp_arch_remove(filter, machine) };
        // SAFETY: as before.
        assert_eq!(unsafe { seccomp_arch_add(filter, token(native)) }, 0);
    }
    for word in &profile.architectures {
        // SAFETY: a live filter and a token; one that is there already is refused, which is what is wanted.
        unsafe { seccomp_arch_add(filter, token(word)) };
    }
    // SAFETY: a live filter; attribute 8 is SCMP_FLTATR_CTL_OPTIMIZE, 2 is the binary tree.
    assert_eq!(unsafe { seccomp_attr_set(filter, 8, 2) }, 0);
    for rule in &profile.syscalls {
        let action = answer(&rule.action, rule.errno_ret);
        if action == default {
            continue;
        }
        let twice = rule.args.iter().enumerate().any(|(i, a)| rule.args[i + 1..].iter().any(|b| a.index == b.index));
        for name in &rule.names {
            let name = CString::new(name.as_str()).unwrap();
            // SAFETY: the name is a C string that outlives the call.
            let call = unsafe { seccomp_syscall_resolve_name(name.as_ptr()) };
            if call == -1 {
                continue;
            }
            let groups: Vec<Vec<Comparison>> = if twice {
                rule.args.iter().map(|a| vec![comparison(a)]).collect()
            } else {
                vec![rule.args.iter().map(comparison).collect()]
            };
            for group in groups {
                // SAFETY: a live filter, and as many comparisons as the count says.
                let done = unsafe { seccomp_rule_add_array(filter, action, call, group.len() as u32, group.as_ptr()) };
                if done != 0 {
                    return false;
                }
            }
        }
    }
    true
}

fn comparison(arg: &SyscallArg) -> Comparison {
    let operator = OPERATORS.iter().position(|o| *o == arg.op).unwrap() as c_int + 1;
    Comparison { argument: arg.index, operator, a: arg.value, b: arg.value_two }
}

/// The program; libseccomp writes it in the byte order of the filter's architectures.
fn export(filter: *mut c_void, swapped: bool) -> Vec<Instruction> {
    // SAFETY: a C string and a flag; the result is checked.
    let fd = unsafe { libc::memfd_create(c"filter".as_ptr(), 1) };
    assert!(fd >= 0);
    // SAFETY: just made, owned by nobody else.
    let mut file = unsafe { std::fs::File::from_raw_fd(fd) };
    // SAFETY: a live filter and an open descriptor.
    assert_eq!(unsafe { seccomp_export_bpf(filter, file.as_raw_fd()) }, 0);
    file.rewind().unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let instruction = |i: &[u8; 8]| Instruction {
        code: if swapped { u16::swap_bytes } else { |v| v }(u16::from_ne_bytes([i[0], i[1]])),
        jump_true: i[2],
        jump_false: i[3],
        operand: if swapped { u32::swap_bytes } else { |v| v }(u32::from_ne_bytes([i[4], i[5], i[6], i[7]])),
    };
    bytes.as_chunks::<8>().0.iter().map(instruction).collect()
}
