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

mod limits;
