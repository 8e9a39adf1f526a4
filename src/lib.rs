//! ocicat: an OCI container runtime for Linux.
//!
//! Everything flows one way; nothing looks up and nothing looks sideways except what is drawn
//! (`tests/layers.rs` keeps it):
//!
//! ```text
//! bin ─▶ cli ─▶ container ─▶ spec ─▶ { namespaces · cgroups · rootfs · process · seccomp } ─▶ sys ─▶ kernel
//!               container ─▶ cgroups, process        process ─▶ namespaces, rootfs, seccomp
//! bin ─▶ cli ─▶ image ─▶ registry ─▶ (network)       image ─▶ sys
//! leaves that anybody may name: config (the data model of config.json), host (facts of this machine)
//! ```

pub mod cli;
pub mod container;
pub mod spec;

pub mod cgroups;
pub mod namespaces;
pub mod process;
pub mod rootfs;
pub mod seccomp;

#[cfg(feature = "image")]
pub mod image;
#[cfg(feature = "image")]
pub mod registry;

pub mod config;
pub mod host;
pub mod sys;
