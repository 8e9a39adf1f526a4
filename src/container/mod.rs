//! The life cycle: one verb per file, and what a container is on disk and in fact.
//!
//! The command line turns its arguments into the requests below; each verb returns a value or an error and prints nothing.

pub mod id;
mod request;

pub use id::ContainerId;
pub use request::*;
