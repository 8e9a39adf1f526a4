//! `ocicat resume`: thaw a container.

use super::command::{Command, Positionals};
use super::{Ended, Invocation};
use crate::container;
use anyhow::Result;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "resume",
    about: "Lets the processes of a paused container continue",
    details: "",
    positionals: Positionals::ID,
    flags: &[],
    examples: &[
        ("resume web", "continue the container `web`"),
        ("--root /run/mine resume web", "with the state of containers in another place"),
    ],
    failure: 1,
    run,
};

fn run(invocation: &Invocation) -> Result<Ended> {
    container::resume(&invocation.runtime()?, invocation.id())?;
    Ok(Ended::Done)
}
