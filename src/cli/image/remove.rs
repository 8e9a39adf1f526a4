//! `ocicat-image remove`: remove a bundle.

use super::super::command::Positionals;
use super::command::Command;
use super::{Call, Ended};
use crate::image::bundle;
use anyhow::Result;
use std::path::Path;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "remove",
    about: "Unmounts and removes a bundle with everything that was written in it",
    details: "Only what `ocicat-image bundle` made is removed.",
    positionals: Positionals { required: &["directory"], optional: None, rest: None },
    flags: &[],
    examples: &[
        ("remove ./web", "the bundle in ./web"),
        ("remove ./web && ocicat-image gc", "and the layers that nobody else uses"),
    ],
    run,
};

fn run(call: &Call) -> Result<Ended> {
    bundle::remove(&call.store()?, Path::new(call.given.argument(0)))?;
    Ok(Ended::Done)
}
