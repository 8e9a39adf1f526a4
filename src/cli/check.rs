//! `ocicat check`: everything that is wrong with a bundle's config.json.

use super::command::{Command, Positionals};
use super::create::BUNDLE;
use super::{Ended, Invocation};
use anyhow::{Result, bail};

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "check",
    about: "Tells everything that is wrong with a config.json",
    details: "One line a problem, with the section of the specification that says so. `create` stops at the first of them.",
    positionals: Positionals::NONE,
    flags: &[BUNDLE],
    examples: &[("check", "the config.json of this directory"), ("check --bundle ./web", "that of ./web")],
    failure: 1,
    run,
};

fn run(_invocation: &Invocation) -> Result<Ended> {
    bail!("check: not there yet")
}
