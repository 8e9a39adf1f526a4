//! System call filters: compiles an OCI profile to BPF without libseccomp, and loads it.
//!
//! `profile` (words to checked rules) → `decide` (a decision for each system call, with libseccomp's precedence) →
//! `compile` (binary search per architecture) → [`Program`]. `docs/seccomp.md` tells what a profile means.

pub mod notify;
mod plan;

pub use notify::Listener;
pub use plan::{Plan, plan};

use crate::sys;
use std::os::fd::OwnedFd;

/// A classic BPF program over `struct seccomp_data`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program(pub Vec<sys::seccomp::Instruction>);

impl Plan {
    /// Loads the filter for this process, which needs no_new_privs or CAP_SYS_ADMIN; with a `SCMP_ACT_NOTIFY` rule the
    /// notification descriptor comes back, for [`notify::send`].
    pub fn load(&self) -> sys::Result<Option<OwnedFd>> {
        sys::seccomp::set_mode_filter(&self.program.0, self.flags)
    }
}
