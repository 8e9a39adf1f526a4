//! How a command ends, and with which code.
//!
//! 0 done; 1 failed; 255 `exec` failed before the program ran; else the code of the program that `run` or `exec` waited
//! for, 128 + N when signal N ended it.

use std::process::ExitCode;

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It did what it was asked.
    Done,
    /// The container's program ended with this code, and it becomes ours.
    Program(i32),
}

impl From<Ended> for ExitCode {
    fn from(ended: Ended) -> ExitCode {
        match ended {
            Ended::Done => ExitCode::SUCCESS,
            // The kernel keeps the low byte of an exit code, and so do we.
            Ended::Program(code) => ExitCode::from((code & 0xff) as u8),
        }
    }
}
