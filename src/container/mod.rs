//! The life cycle: one verb per file, and what a container is on disk and in fact.
//!
//! The command line turns its arguments into the requests below; each verb returns a value or an error and prints nothing.

mod check;
mod checkpoint;
mod create;
mod criu;
mod delete;
mod doctor;
mod events;
mod exec;
mod exit;
mod exposed;
mod find;
pub mod id;
mod kill;
mod members;
mod oom;
mod pause;
mod plan;
mod poststop;
mod progress;
mod record;
mod request;
mod restore;
mod run;
mod sharing;
mod signal;
mod start;
mod state;
mod stats;
mod status;
mod store;
mod streams;
mod undo;
mod update;
mod wait;
mod warnings;

pub use check::{Checked, Problem, check};
pub use checkpoint::checkpoint;
pub use create::create;
pub use delete::delete;
pub use doctor::{Finding, State as Health, doctor};
pub use events::{Event, events};
pub use exec::exec;
pub use exit::Exit;
pub use id::ContainerId;
pub use kill::kill;
pub use pause::{pause, resume};
pub use plan::{Steps, plan};
pub use progress::Progress;
pub use record::{Identity, Record};
pub use request::*;
pub use restore::restore;
pub use run::run;
pub use signal::name as signal_name;
pub use start::start;
pub use state::{list, processes, state};
pub use stats::{Meter, Usage};
pub use status::{State, Status};
pub use update::update;
pub use wait::wait;

pub use crate::spec::features::features;

use crate::cgroups::Driver;

impl Runtime {
    /// Who makes the cgroups.
    pub(crate) fn driver(&self) -> Driver {
        match self.cgroup_manager {
            CgroupManager::Cgroupfs => Driver::Cgroupfs,
            CgroupManager::Systemd => Driver::Systemd,
            CgroupManager::None => Driver::None,
        }
    }
}
