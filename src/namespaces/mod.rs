//! The eight kinds of namespaces: new ones, joined ones, the order that the kernel allows, and what belongs to them.

pub mod enter;
pub mod idmap;
pub mod net;
pub mod plan;
pub mod time;

pub use enter::Opened;
pub use idmap::Mappings;
pub use plan::{Join, Kind, Plan, plan};
