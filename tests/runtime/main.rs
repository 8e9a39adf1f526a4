//! Black-box tests of the runtime, one topic a file. `OCICAT_TEST_RUNTIME=/usr/sbin/runc cargo test --test runtime`
//! proves them on a peer.
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

mod callers;
mod cgroups;
mod confinement;
mod descriptors;
mod devices;
mod errors;
mod exec;
mod filters;
mod hooks;
mod hostile;
mod lifecycle;
mod listing;
mod mapped;
mod mounts;
mod namespaces;
mod process;
mod rootless;
mod signals;
mod terminals;
mod together;
mod undone;
mod updates;
mod usage;
mod waiting;
mod warnings;
