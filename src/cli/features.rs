//! `ocicat features`: what this runtime can do, for managers.

use super::command::{Command, Positionals};
use super::{Ended, Invocation};
use anyhow::{Result, bail};

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "features",
    about: "Prints what this runtime supports as JSON",
    details: "The form is that of the specification (features.md). What is printed does not depend on the host.",
    positionals: Positionals::NONE,
    flags: &[],
    examples: &[("features", "everything"), ("--log /tmp/log features", "as a manager asks for it")],
    failure: 1,
    run,
};

fn run(_invocation: &Invocation) -> Result<Ended> {
    bail!("features: not there yet")
}
