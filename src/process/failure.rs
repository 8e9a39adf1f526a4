//! Why a program could not be run: the launcher only leaves a number, the words are the ones that managers match.

use super::execute;
use super::handshake::EXECVE;
use crate::config::Process;
use crate::sys::launcher::Outcome;
use crate::sys::{self, Errno};
use anyhow::anyhow;
use std::ffi::CString;

/// The error of a failed execve, or of the label before it.
pub fn explain(process: &Process, outcome: Outcome) -> anyhow::Error {
    match outcome {
        Outcome::Execute(errno) => refused(process, errno),
        Outcome::Label(errno) => anyhow!("write the label of the process: {errno}"),
    }
}

/// Puts the words of [`explain`] in the place of a bare error of the launcher's.
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
