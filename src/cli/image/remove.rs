//! `ocicat-image remove`: remove a bundle.

use super::super::command::{Flag, Positionals};
use super::command::Command;
use super::{Call, Ended};
use crate::image::bundle;
use anyhow::Result;
use std::path::Path;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "remove",
    about: "Unmounts and removes a bundle with everything that was written in it",
    details: "Only what `ocicat-image bundle` made is removed. A bundle in which a container's process lives is refused.",
    positionals: Positionals { required: &["directory"], optional: None, rest: None },
    flags: &[&[Flag::switch("force", "remove it even if a container still uses it").short('f')]],
    examples: &[
        ("remove ./web", "the bundle in ./web"),
        ("remove ./web && ocicat-image gc", "and the layers that nobody else uses"),
    ],
    failure: 1,
    run,
};

fn run(call: &Call) -> Result<Ended> {
    let (store, directory) = (call.store()?, Path::new(call.given.argument(0)));
    bundle::Record::read(directory)?;
    if !call.given.is("force") {
        bundle::refuse_used(directory)?;
    }
    bundle::remove(&store, directory)?;
    Ok(Ended::Done)
}
