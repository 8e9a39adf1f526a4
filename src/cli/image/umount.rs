//! `ocicat-image umount`: unmount the root filesystem of a bundle.

use super::super::command::Positionals;
use super::command::Command;
use super::{Call, Ended};
use crate::image::bundle;
use anyhow::Result;
use std::path::Path;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "umount",
    about: "Unmounts the root filesystem of a bundle; what was written stays",
    details: "",
    positionals: Positionals { required: &["directory"], optional: None, rest: None },
    flags: &[],
    examples: &[
        ("umount ./web", "the bundle in ./web"),
        ("umount ./web && ocicat-image mount ./web", "and mount it again"),
    ],
    failure: 1,
    run,
};

fn run(call: &Call) -> Result<Ended> {
    bundle::unmount(Path::new(call.given.argument(0)))?;
    Ok(Ended::Done)
}
