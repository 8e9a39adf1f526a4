//! What a profile asks for: the program, the flags of seccomp(2), and the agent. Loading it is one system call.

use super::profile::{ALLOW, ERRNO, KILL_PROCESS, KILL_THREAD, LOG, NOTIFY, TRACE, TRAP};
use super::{Listener, Program, architectures, assemble, compile, features, profile};
use crate::config;
use crate::host::Host;
use crate::sys;
use std::fmt;
use std::os::fd::OwnedFd;

/// Everything that loading the filter needs; nothing of it depends on the process that loads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The compiled filter.
    pub program: Program,
    /// Flags of seccomp(2), SECCOMP_FILTER_FLAG_NEW_LISTENER among them when a rule notifies.
    pub flags: u32,
    /// The agent, when a rule notifies.
    pub listener: Option<Listener>,
    /// What the profile asks for and nobody can grant: unknown system call names. Not an error (runc, crun).
    pub warnings: Vec<String>,
}

/// Compiles `profile`; an error names the place, as in `linux.seccomp.syscalls[3].args[0].op: ...`.
pub fn plan(profile: &config::Seccomp, _host: &Host) -> anyhow::Result<Plan> {
    plan_for(profile, architectures::native())
}

/// Compiles `profile` as a machine of the architecture that the spec calls `native` would; None for an unknown word.
pub fn plan_on(profile: &config::Seccomp, native: &str) -> Option<anyhow::Result<Plan>> {
    Some(plan_for(profile, architectures::find(native)?))
}

fn plan_for(profile: &config::Seccomp, native: &'static architectures::Architecture) -> anyhow::Result<Plan> {
    let checked = profile::read(profile, native)?;
    let program = compile::compile(&checked)?;
    Ok(Plan { program, flags: checked.flags, listener: checked.listener, warnings: checked.warnings })
}

impl Plan {
    /// Loads the filter for this process, which needs no_new_privs or CAP_SYS_ADMIN; with a `SCMP_ACT_NOTIFY` rule the
    /// notification descriptor comes back, for [`super::notify::send`].
    pub fn load(&self) -> sys::Result<Option<OwnedFd>> {
        sys::seccomp::set_mode_filter(&self.program.0, self.flags).map_err(|mut error| {
            if error.errno.0 == libc::EINVAL {
                let known = |flag: u32| self.flags & flag == 0 || features::kernel_knows(flag);
                for (word, _) in profile::FLAGS.iter().filter(|(_, flag)| !known(*flag)) {
                    error.call.push_str(&format!(", {word} which this kernel lacks"));
                }
            }
            error
        })
    }
}

/// One line; `{:#}` adds the program, one instruction a line.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seccomp filter of {} instructions, answers ", self.program.0.len())?;
        let mut answers: Vec<u32> =
            self.program.0.iter().filter(|i| i.code == assemble::RETURN).map(|i| i.operand).collect();
        answers.sort_unstable();
        answers.dedup();
        for (i, answer) in answers.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { ", " }, words(*answer))?;
        }
        for (word, _) in profile::FLAGS.iter().filter(|(_, flag)| self.flags & flag != 0) {
            write!(f, ", {word}")?;
        }
        if let Some(listener) = &self.listener {
            write!(f, ", agent {}", listener.path.display())?;
        }
        if f.alternate() {
            for (number, i) in self.program.0.iter().enumerate() {
                write!(f, "\n{number:5}  ")?;
                disassemble(f, number, i)?;
            }
        }
        Ok(())
    }
}

fn disassemble(f: &mut fmt::Formatter<'_>, number: usize, i: &sys::seccomp::Instruction) -> fmt::Result {
    let target = |skip: u32| number + 1 + skip as usize;
    let sign = match i.code {
        assemble::LOAD => return write!(f, "load [{}]", i.operand),
        assemble::AND => return write!(f, "and {:#x}", i.operand),
        assemble::JUMP => return write!(f, "go to {}", target(i.operand)),
        assemble::RETURN => return write!(f, "answer {}", words(i.operand)),
        assemble::IF_EQUAL => "==",
        assemble::IF_GREATER => ">",
        assemble::IF_GREATER_OR_EQUAL => ">=",
        other => return write!(f, "{other:#x}"),
    };
    let (yes, no) = (target(i.jump_true.into()), target(i.jump_false.into()));
    write!(f, "{sign} {:#x} ? {yes} : {no}", i.operand)
}

/// An answer in words: `errno 1`, `allow`.
fn words(answer: u32) -> String {
    let data = answer & 0xffff;
    match answer & 0xffff_0000 {
        KILL_THREAD => "kill thread".to_owned(),
        KILL_PROCESS => "kill process".to_owned(),
        TRAP => "trap".to_owned(),
        ERRNO => format!("errno {data}"),
        NOTIFY => "notify".to_owned(),
        TRACE => format!("trace {data}"),
        LOG => "log".to_owned(),
        ALLOW => "allow".to_owned(),
        other => format!("{other:#x}"),
    }
}
