//! `ocicat pause`: freeze a container.

use super::command::{Command, Positionals};
use super::{Ended, Invocation};
use crate::container;
use anyhow::Result;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "pause",
    about: "Suspends every process of a container",
    details: "The processes are frozen by their cgroup: none of them can prevent or notice it.",
    positionals: Positionals::ID,
    flags: &[],
    examples: &[
        ("pause web", "suspend the container `web`"),
        ("--root /run/mine pause web", "with the state of containers in another place"),
    ],
    failure: 1,
    run,
};

fn run(invocation: &Invocation) -> Result<Ended> {
    container::pause(&invocation.runtime()?, invocation.id())?;
    Ok(Ended::Done)
}
