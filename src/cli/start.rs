//! `ocicat start`: run the program of a created container.

use super::command::{Command, Positionals};
use super::{Ended, Invocation};
use crate::container;
use anyhow::Result;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "start",
    about: "Starts the program of a created container",
    details: "",
    positionals: Positionals::ID,
    flags: &[],
    examples: &[
        ("start web", "start what `ocicat create web` made"),
        ("--root /run/mine start web", "with the state of containers in another place"),
    ],
    failure: 1,
    run,
};

fn run(invocation: &Invocation) -> Result<Ended> {
    container::start(&invocation.runtime()?, invocation.id())?;
    Ok(Ended::Done)
}
