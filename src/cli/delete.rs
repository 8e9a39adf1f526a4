//! `ocicat delete`: remove what is left of a container.

use super::command::{Command, Flag, Positionals};
use super::{Ended, Invocation};
use crate::container;
use anyhow::Result;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "delete",
    about: "Removes a container that is not running: its cgroups and its state",
    details: "With --force a running container is killed first, and a container that does not exist is no error.",
    positionals: Positionals::ID,
    flags: &[Flag::switch("force", "kill the container first if it still runs").short('f')],
    examples: &[
        ("delete web", "remove the stopped container `web`"),
        ("delete --force web", "whatever state it is in"),
    ],
    failure: 1,
    run,
};

fn run(invocation: &Invocation) -> Result<Ended> {
    let warnings = container::delete(&invocation.runtime()?, invocation.id(), invocation.given.is("force"))?;
    super::log::warnings(&invocation.globals, &warnings);
    Ok(Ended::Done)
}
