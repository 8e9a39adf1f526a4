//! From config.json to a plan: read it, check it against the specification, plan every part of it for this host.

pub mod check;
pub mod features;
pub mod notes;
pub mod plan;
pub mod read;
