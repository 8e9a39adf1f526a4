//! `ocicat ps`: the processes of a container.

use super::command::{Command, Positionals};
use super::list::FORMAT;
use super::{Ended, Invocation};
use anyhow::{Result, bail};

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "ps",
    about: "Lists the processes of a container",
    details: "The table is that of ps(1), called with the options that follow the id (default -ef), without the processes that \
              are not in the container.",
    positionals: Positionals { required: &["container-id"], optional: None, rest: Some("ps options") },
    flags: &[FORMAT],
    examples: &[
        ("ps web", "the processes of the container `web`"),
        ("ps web -eo pid,rss,args", "as ps(1) would show them"),
    ],
    failure: 1,
    run,
};

fn run(_invocation: &Invocation) -> Result<Ended> {
    bail!("ps: not there yet")
}
