//! System call filters: compiles an OCI profile to BPF without libseccomp, and loads it.
//!
//! ```text
//! config::Seccomp ─▶ profile (words to checked values) ─▶ decide (one decision a system call, libseccomp's precedence)
//!                 ─▶ compile + arguments (search tree, tests) ─▶ assemble ─▶ Program ─▶ load, cache
//! ```

mod architectures;
mod arguments;
mod assemble;
mod cache;
mod compile;
mod decide;
mod features;
pub mod notify;
mod plan;
mod profile;
mod tables;

pub use features::{actions, architectures, known_flags, operators, supported_flags};
pub use notify::Listener;
pub use plan::{Plan, plan, plan_on};

use crate::sys::seccomp::Instruction;

/// A classic BPF program over `struct seccomp_data`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program(pub Vec<Instruction>);

#[cfg(test)]
mod tests;
