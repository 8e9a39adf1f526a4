//! The container's process: what it becomes, step by step, and how it is looked after.

pub mod capabilities;
pub mod console_socket;
pub mod credentials;
pub mod descriptors;
pub mod execute;
pub mod hooks;
pub mod keyring;
pub mod limits;
pub mod lsm;
pub mod memory_policy;
pub mod notify;
pub mod personality;
pub mod scheduling;
pub mod signals;
pub mod sysctl;
pub mod terminal;
