//! The container's root filesystem: mounts, devices, masked and read-only paths, and the switch of the root.
//!
//! [`plan::plan`] decides from config.json and the host; [`Plan::prepare`] opens in the parent what only the parent may
//! open; [`Plan::build`] makes the tree in the child's mount namespace; [`Root::pivot`] and [`Root::finish`] enter and
//! close it. Everything inside the root is found by openat2(2) from its descriptor and used by descriptor.
//!
//! KERNEL(5.12): mount_setattr(2) is the newest call without which nothing works.

mod build;
mod cgroupfs;
mod copyup;
pub mod devices;
mod entry;
mod external;
mod idmapped;
mod masked;
pub mod options;
pub mod plan;
pub mod resolve;
mod tree;

pub use build::{Prepared, Root};
pub use external::{External, point_of};
pub use plan::{CgroupView, Hierarchy, Plan, Request, plan};

#[cfg(test)]
mod tests;
