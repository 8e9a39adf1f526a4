//! The attacks that container runtimes have suffered, and others of their kind, each as one test with the attack's set-up and
//! what proves that it failed. SECURITY.md lists them by CVE; `table.rs` keeps that list honest.
//!
//! Every target is a decoy that the test made. Peers are not asked where they are known to fall. A race goes on for 10 000
//! rounds or 20 seconds, whichever comes first.
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

mod checkpoints;
mod decoy;
mod endless;
mod executable;
mod identity;
mod images;
mod inside;
mod limits;
mod machine;
mod races;
mod sockets;
mod table;
mod terminals;
