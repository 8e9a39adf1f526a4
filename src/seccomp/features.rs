//! What this module knows and what the running kernel grants, for `features` (features-linux.md, "seccomp").

use super::{architectures as arch, profile};
use crate::sys;

/// Words of `action`, sorted.
pub fn actions() -> Vec<&'static str> {
    sorted(profile::ACTIONS.iter().map(|(word, _)| *word))
}

/// Words of `op`, sorted.
pub fn operators() -> Vec<&'static str> {
    sorted(profile::OPERATORS.iter().map(|(word, _)| *word))
}

/// Words of `architectures`, sorted.
pub fn architectures() -> Vec<&'static str> {
    sorted(arch::all().iter().map(|a| a.word))
}

/// Words of `flags` that a profile may have, sorted.
pub fn known_flags() -> Vec<&'static str> {
    sorted(profile::FLAGS.iter().map(|(word, _)| *word))
}

/// Those of [`known_flags`] that the running kernel knows.
pub fn supported_flags() -> Vec<&'static str> {
    sorted(profile::FLAGS.iter().filter(|(_, flag)| kernel_knows(*flag)).map(|(word, _)| *word))
}

/// Asks the kernel; a flag that makes sense only with a listener is asked together with it.
pub(super) fn kernel_knows(flag: u32) -> bool {
    let with = if flag == sys::seccomp::FLAG_WAIT_KILLABLE_RECV { sys::seccomp::FLAG_NEW_LISTENER } else { 0 };
    sys::seccomp::knows_flags(flag | with)
}

fn sorted(words: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut words: Vec<&'static str> = words.collect();
    words.sort_unstable();
    words
}
