//! `ocicat pause`: freeze a container.

use super::command::{Command, Positionals};
use super::{Ended, Invocation};
use anyhow::{Result, bail};

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

fn run(_invocation: &Invocation) -> Result<Ended> {
    bail!("pause: not there yet")
}
