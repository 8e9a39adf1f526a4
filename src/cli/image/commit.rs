//! `ocicat-image commit`: a bundle's writable layer becomes an image.

use super::super::command::{Flag, Positionals};
use super::super::output;
use super::command::Command;
use super::{Call, Ended};
use crate::image::commit::{Options, commit};
use crate::image::reference::Reference;
use anyhow::{Result, bail};
use std::path::Path;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "commit",
    about: "Makes an image of what was changed in a bundle",
    details: "The changes become one more layer upon those of the bundle's image. The container should not be running.",
    positionals: Positionals { required: &["directory", "name"], optional: None, rest: None },
    flags: &[&[
        Flag::value("author", "TEXT", "who made it"),
        Flag::value("comment", "TEXT", "a note for the image's history").short('m'),
        Flag::value("cmd", "WORD", "a word of the new default command (repeatable)").repeated(),
    ]],
    examples: &[
        ("commit ./web localhost:5000/web:2", "keep the changes of the bundle in ./web as an image"),
        (
            "commit -m 'fix the greeting' --cmd /hello ./web localhost:5000/web:2",
            "the same with a note and a new default command",
        ),
    ],
    failure: 1,
    run,
};

fn run(call: &Call) -> Result<Ended> {
    let reference: Reference = call.given.argument(1).parse()?;
    if reference.digest.is_some() {
        bail!("{reference}: a new image has a tag, its content decides the digest");
    }
    let command = call.given.all("cmd");
    let options = Options {
        author: call.given.owned("author"),
        comment: call.given.owned("comment"),
        command: Some(command).filter(|words| !words.is_empty()),
    };
    let digest = commit(&call.store()?, Path::new(call.given.argument(0)), &reference.to_string(), &options)?;
    if call.json() {
        let event = serde_json::json!({ "event": "committed", "reference": reference.to_string(), "digest": digest });
        output::json_line(&event)?;
    } else {
        output::text(&format!("{digest}\n"))?;
    }
    Ok(Ended::Done)
}
