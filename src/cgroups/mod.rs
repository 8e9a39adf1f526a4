//! Control groups: where a container's processes are counted, limited, frozen and killed as one.
//!
//! `plan` turns config.json and the host into directories and (file, value) writes; `make` carries that out before any
//! process is inside; `Paths`, kept in the container's record, is all that the later verbs need.
//!
//! ```text
//! plan ──▶ survey (refuse an occupied cgroup) ──▶ record paths ──▶ make ──▶ clone into it / join ──▶ keep or undo
//!                                                      └──▶ kill · freeze · processes · remove, by any later call
//! ```

mod annotations;
mod attach;
mod dbus;
mod devices;
mod freeze;
mod join;
mod make;
mod mark;
mod oom;
mod path;
mod plan;
mod processes;
mod program;
mod remove;
mod resctrl;
mod resources;
mod scope;
mod sheet;
mod spent;
pub mod stats;
mod stats_v1;
mod stats_v2;
mod unit;
mod update;
mod v1;
mod v2;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_elsewhere;
#[cfg(test)]
mod tests_made;

pub use make::{Made, NotMade, Owner};
pub use mark::mark;
pub use oom::{Heard, OomWatch};
pub use path::{Driver, Hierarchy, OwnCgroups, Paths};
pub use plan::{Plan, Request, plan};
pub use resctrl::{Former as FormerSchemata, Resctrl};
pub use scope::Bus;
pub use spent::Spent;
pub use stats::Stats;
pub use update::{Update, merged, update};
