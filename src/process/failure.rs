//! Why a program could not be run: the launcher only leaves a number, the words are the ones that managers match.

use super::execute;
use super::handshake::EXECVE;
use crate::config::Process;
use crate::sys::{self, Errno};
use std::ffi::CString;

/// Puts words in the place of the bare number that a failed execve leaves; other errors have theirs.
pub fn translate(process: &Process, error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<sys::Error>() {
        Some(bare) if bare.call == EXECVE => refused(process, bare.errno),
        _ => error,
    }
}

fn refused(process: &Process, errno: Errno) -> anyhow::Error {
    let name = process.args.first().map_or("", String::as_str);
    execute::refused(&CString::new(name).unwrap_or_default(), errno).into()
}
