//! `ocicat-image rm`: take the name of an image away.

use super::super::command::Positionals;
use super::command::Command;
use super::{Call, Ended};
use crate::image::reference::Reference;
use anyhow::{Result, bail};

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "rm",
    about: "Takes images out of the store",
    details: "Names go at once; what nothing refers to any more goes with `ocicat-image gc`. Bundles keep their layers.",
    positionals: Positionals { required: &["image"], optional: None, rest: Some("images") },
    flags: &[],
    examples: &[
        ("rm debian:12", "forget an image"),
        ("rm debian:11 debian:12 && ocicat-image gc", "forget two and make room"),
    ],
    failure: 1,
    run,
};

fn run(call: &Call) -> Result<Ended> {
    let store = call.store()?;
    let mut missing = Vec::new();
    for name in &call.given.arguments {
        let reference: Reference = name.parse()?;
        if !store.remove(&reference.to_string())? {
            missing.push(reference.familiar());
        }
    }
    if !missing.is_empty() {
        bail!("not in the store: {}", missing.join(" "));
    }
    Ok(Ended::Done)
}
