//! `ocicat-image import`: images from files.

use super::super::command::{Flag, Positionals};
use super::super::output;
use super::command::Command;
use super::progress::Shown;
use super::registry_flags::{PLATFORM, platform};
use super::{Call, Ended};
use crate::image::import::{Options, import};
use crate::image::reference::Reference;
use anyhow::{Result, bail};
use std::io::IsTerminal;
use std::path::Path;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "import",
    about: "Takes images from an OCI layout, an oci-archive or a docker-archive into the store",
    details: "Without a name every image of the source is taken under the name that it has there.",
    positionals: Positionals { required: &["source"], optional: Some("name"), rest: None },
    flags: &[&[Flag::value("ref", "NAME", "only the image that has this name in the source")], PLATFORM],
    examples: &[
        ("import ./layout", "all images of an OCI layout"),
        ("import saved.tar localhost:5000/app:1", "the image of an archive, under a name of yours"),
    ],
    failure: 1,
    run,
};

fn run(call: &Call) -> Result<Ended> {
    let name = match call.given.argument(1) {
        "" => None,
        text => Some(text.parse::<Reference>()?),
    };
    if call.given.argument(0) == "-" && std::io::stdin().is_terminal() {
        bail!("standard input is a terminal and no archive; hint: a file's name instead of -");
    }
    let options = Options { name, only: call.given.owned("ref"), platform: platform(&call.given)? };
    let shown = Shown::new(call.quiet(), call.json());
    let imported = import(&call.store()?, Path::new(call.given.argument(0)), &options, &shown);
    shown.end();
    for (reference, digest) in imported? {
        if call.json() {
            output::json_line(&serde_json::json!({ "event": "imported", "reference": reference, "digest": digest }))?;
        } else {
            output::text(&format!("{reference}\n"))?;
        }
    }
    Ok(Ended::Done)
}
