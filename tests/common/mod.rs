//! What the black-box tests share: a bundle made on the spot, a runtime called with a deadline, and a look afterwards
//! at whether anything was left behind.
//!
//! The runtime is `OCICAT_TEST_RUNTIME` or the one that cargo built, so every test can be proved on runc and crun. Each
//! container has a directory, a state root and a cgroup of its own; tests run side by side. Nothing sleeps: a test
//! waits on a pidfd or a fifo, with a deadline.
#![allow(dead_code, unreachable_pub, reason = "each test crate uses its part of this")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic, and its paths are its own"
)]

pub mod container;
pub mod host;
pub mod outcome;
pub mod program;
pub mod registry;
pub mod socket;
pub mod terminal;

pub use container::Container;
#[allow(unused_imports, reason = "each test crate uses its part of this")]
pub use outcome::{Outcome, finish, finish_within, through_shell};
#[allow(unused_imports, reason = "each test crate uses its part of this")]
pub use serde_json::{Value, json};

use std::path::PathBuf;

/// The runtime under test.
pub fn runtime() -> PathBuf {
    std::env::var_os("OCICAT_TEST_RUNTIME").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_ocicat")), PathBuf::from)
}

/// Whether the runtime under test is ocicat and not a peer that the tests are being proved on.
pub fn ours() -> bool {
    runtime().file_name().is_some_and(|name| name.to_string_lossy().starts_with("ocicat"))
}

/// Notes that the running test cannot say anything here; `make test` lists these by name and reason.
pub fn skip(reason: &str) {
    use std::io::Write;
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("?");
    println!("skipped: {reason}");
    if let Some(file) = std::env::var_os("OCICAT_SKIPPED") {
        let line = format!("{name}\t{reason}\n");
        std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap().write_all(line.as_bytes()).unwrap();
    }
}

/// Leaves the test when a peer is under test: the reason says what peers do instead.
#[allow(unused_macros, reason = "each test crate uses its part of this")]
macro_rules! only_ocicat {
    ($reason:expr) => {
        if !$crate::common::ours() {
            return $crate::common::skip($reason);
        }
    };
}

/// Leaves the test when the condition does not hold on this host.
#[allow(unused_macros, reason = "each test crate uses its part of this")]
macro_rules! need {
    ($condition:expr, $reason:expr) => {
        if !$condition {
            return $crate::common::skip($reason);
        }
    };
}
