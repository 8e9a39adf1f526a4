//! The processes of a container: how init is made, what it does until it becomes the program, and what `exec` adds.
//!
//! `plan` says what a process needs; `spawn` clones; `init` and `join` are the two children's tables of steps; `settle` is
//! what they share; `handshake` is how child and parent talk. The other modules are one topic each.

pub mod capabilities;
pub mod console_socket;
pub mod credentials;
pub mod descriptors;
pub mod execute;
pub mod failure;
pub mod handshake;
pub mod hooks;
pub mod init;
mod interpreter;
pub mod interrupt;
pub mod join;
pub mod keyring;
pub mod landlock;
pub mod limits;
pub mod lsm;
pub mod memory_policy;
pub mod notify;
pub mod personality;
pub mod pid_file;
pub mod plan;
mod relay;
pub mod scheduling;
mod settle;
pub mod signals;
pub mod spawn;
pub mod sysctl;
pub mod terminal;
