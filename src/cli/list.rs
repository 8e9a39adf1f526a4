//! `ocicat list`: the containers of this root.

use super::command::{Command, Flag, Positionals};
use super::{Ended, Invocation};
use anyhow::{Result, bail};

pub(super) const FORMAT: Flag = Flag::value("format", "FORMAT", "table or json (default table)").short('f');

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "list",
    about: "Lists the containers of this root",
    details: "",
    positionals: Positionals::NONE,
    flags: &[FORMAT, Flag::switch("quiet", "print only the ids").short('q')],
    examples: &[("list", "a table of all containers"), ("list --format json", "for programs")],
    failure: 1,
    run,
};

fn run(_invocation: &Invocation) -> Result<Ended> {
    bail!("list: not there yet")
}
