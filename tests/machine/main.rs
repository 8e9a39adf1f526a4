//! What only a whole machine can show: limits that the kernel of a cgroup v2 host enforces, systemd as the owner of its
//! cgroups, users with a session, AppArmor. `conformance/vm/run` boots one and runs these; elsewhere they are ignored.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic, and its paths are its own"
)]

#[macro_use]
#[path = "../common/mod.rs"]
mod common;

/// Leaves the test where cgroup2 lacks a controller.
macro_rules! need_controllers {
    ($($name:expr),+) => {
        need!($crate::controllers(&[$($name),+]), concat!("cgroup2 lacks a controller of:", $(" ", $name),+))
    };
}

mod apparmor;
mod endings;
mod enforced;
mod limits;
mod sessions;
mod systemd;
mod updates;

use common::*;
use std::process::Command;

/// A program of the machine, run to its end.
#[track_caller]
fn program(words: &[&str]) -> Outcome {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(std::process::Stdio::null());
    finish(command)
}

/// One property of a unit, as systemd says it.
#[track_caller]
fn property(unit: &str, name: &str) -> String {
    program(&["systemctl", "show", "--value", "--property", name, unit]).ok().text()
}

/// Whether cgroup2 has these controllers here: in the fast loop some may be in version 1 hierarchies.
fn controllers(names: &[&str]) -> bool {
    let text = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    names.iter().all(|name| text.split_whitespace().any(|found| found == *name))
}
