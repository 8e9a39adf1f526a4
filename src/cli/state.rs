//! `ocicat state`: what a container is now.

use super::command::{Command, Positionals};
use super::{Ended, Invocation, output};
use crate::container;
use anyhow::Result;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "state",
    about: "Prints the state of a container as JSON",
    details: "",
    positionals: Positionals::ID,
    flags: &[],
    examples: &[
        ("state web", "print the state of the container `web`"),
        ("--root /run/mine state web", "with the state of containers in another place"),
    ],
    failure: 1,
    run,
};

fn run(invocation: &Invocation) -> Result<Ended> {
    output::json(&container::state(&invocation.runtime()?, invocation.id())?)?;
    Ok(Ended::Done)
}
