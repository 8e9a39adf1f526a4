//! `ocicat-image logout`: forget the credentials of a registry.

use super::super::command::Positionals;
use super::super::output;
use super::command::Command;
use super::registry_flags::{REGISTRY, access};
use super::{Call, Ended};
use crate::image::access::registry_named;
use anyhow::{Result, bail};

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "logout",
    about: "Forgets the credentials of a registry",
    details: "",
    positionals: Positionals { required: &[], optional: Some("registry"), rest: None },
    flags: &[REGISTRY],
    examples: &[
        ("logout localhost:5000", "forget who you are there"),
        ("logout --authfile ./auth.json localhost:5000", "the same in a file of your own"),
    ],
    failure: 1,
    run,
};

fn run(call: &Call) -> Result<Ended> {
    let registry = registry_named(call.given.argument(0))?;
    if !access(&call.given)?.logout(&registry)? {
        bail!("no credentials are known for {registry}");
    }
    if !call.quiet() {
        output::note(&format!("the credentials of {registry} are forgotten\n"));
    }
    Ok(Ended::Done)
}
