//! `ocicat-image inspect`: manifest and config of an image.

use super::super::command::{Flag, Positionals};
use super::super::output;
use super::command::Command;
use super::{Call, Ended};
use crate::image::manifest::LIMIT;
use crate::image::reference::Reference;
use anyhow::Result;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "inspect",
    about: "Shows manifest and config of an image of the store",
    details: "The documents are printed as JSON, as they were pulled; --raw prints the bytes of the manifest unchanged.",
    positionals: Positionals { required: &["image"], optional: None, rest: None },
    flags: &[&[
        Flag::switch("raw", "the manifest, byte for byte"),
        Flag::switch("config", "the image config, byte for byte"),
    ]],
    examples: &[
        ("inspect debian", "everything about the image"),
        ("inspect --config debian", "how it is meant to be run"),
    ],
    failure: 1,
    run,
};

fn run(call: &Call) -> Result<Ended> {
    let reference: Reference = call.given.argument(0).parse()?;
    let (store, image) = call.image_to_read(&reference)?;
    let manifest = store.read_blob(&image.descriptor.digest, LIMIT as usize)?;
    let config = store.read_blob(&image.manifest.config.digest, LIMIT as usize)?;
    if call.given.is("raw") || call.given.is("config") {
        let bytes = if call.given.is("raw") { manifest } else { config };
        output::text(&String::from_utf8_lossy(&bytes))?;
        return Ok(Ended::Done);
    }
    let parsed = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes);
    output::json(&serde_json::json!({
        "reference": reference.to_string(),
        "digest": image.descriptor.digest,
        "platform": image.platform().to_string(),
        "size": image.size(),
        "manifest": parsed(&manifest)?,
        "config": parsed(&config)?,
    }))?;
    Ok(Ended::Done)
}
