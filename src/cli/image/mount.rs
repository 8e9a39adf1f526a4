//! `ocicat-image mount`: mount the root filesystem of a bundle again.

use super::super::command::Positionals;
use super::command::Command;
use super::{Call, Ended};
use crate::image::bundle;
use anyhow::{Context, Result};
use std::path::Path;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "mount",
    about: "Mounts the root filesystem of a bundle again: after a reboot, or after umount",
    details: "A bundle with a plain tree needs no mount: nothing happens.",
    positionals: Positionals { required: &["directory"], optional: None, rest: None },
    flags: &[],
    examples: &[
        ("mount ./web", "the bundle in ./web, with what was written in it"),
        ("mount ./web && ocicat run --bundle ./web web", "and run it again after a reboot"),
    ],
    failure: 1,
    run,
};

fn run(call: &Call) -> Result<Ended> {
    let directory = Path::new(call.given.argument(0));
    bundle::mount(&call.store()?, directory).with_context(|| format!("bundle {}", directory.display()))?;
    Ok(Ended::Done)
}
