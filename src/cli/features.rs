//! `ocicat features`: what this runtime can do, for managers.

use super::command::{Command, Positionals};
use super::{Ended, Invocation, output};
use crate::container;
use anyhow::Result;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "features",
    about: "Prints what this runtime supports as JSON",
    details: "The form is that of the specification (features.md). It tells what ocicat can do, not what this host can; only seccomp's supportedFlags are the running kernel's.",
    positionals: Positionals::NONE,
    flags: &[],
    examples: &[("features", "everything"), ("--log /tmp/log features", "as a manager asks for it")],
    failure: 1,
    run,
};

fn run(_: &Invocation) -> Result<Ended> {
    output::json(&container::features())?;
    Ok(Ended::Done)
}
