//! `ocicat spec`: a config.json to begin with.

use super::command::{Command, Flag, Positionals};
use super::create::BUNDLE;
use super::{Ended, Invocation};
use anyhow::{Result, bail};

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "spec",
    about: "Writes a config.json to begin with",
    details: "The container it describes runs sh with few capabilities, in its own namespaces, from the directory rootfs, which is \
              read-only. An existing config.json is not touched.",
    positionals: Positionals::NONE,
    flags: &[BUNDLE, Flag::switch("rootless", "for a user without privileges")],
    examples: &[
        ("spec", "write config.json in this directory"),
        ("spec --rootless --bundle ./web", "in ./web, without root"),
    ],
    failure: 1,
    run,
};

fn run(_invocation: &Invocation) -> Result<Ended> {
    bail!("spec: not there yet")
}
