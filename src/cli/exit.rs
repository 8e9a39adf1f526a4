//! How a command ends, and with which code.
//!
//! 0 done; 1 failed; 255 `exec` failed before the program ran; else the code of the program that `run` or `exec` waited
//! for, 128 + N when signal N ended it.

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It did what it was asked.
    Done,
    /// The container's program ended with this code, and it becomes ours.
    Program(i32),
}

impl Ended {
    /// The exit code of the whole program.
    pub fn code(self) -> u8 {
        match self {
            Ended::Done => 0,
            // The kernel keeps the low byte of an exit code, and so do we.
            Ended::Program(code) => (code & 0xff) as u8,
        }
    }
}
