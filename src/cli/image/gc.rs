//! `ocicat-image gc`: remove what nothing refers to.

use super::super::command::Positionals;
use super::super::output;
use super::command::Command;
use super::progress::bytes;
use super::{Call, Ended};
use anyhow::Result;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "gc",
    about: "Removes blobs and layers that no image and no bundle refers to",
    details: "",
    positionals: Positionals::NONE,
    flags: &[],
    examples: &[("gc", "make room"), ("gc --format json", "the same, and how much it was for a program")],
    run,
};

fn run(call: &Call) -> Result<Ended> {
    let collected = call.store()?.gc()?;
    if call.json() {
        output::json(&serde_json::json!({
            "blobs": collected.blobs, "layers": collected.layers, "bytes": collected.bytes,
        }))?;
    } else if !call.quiet() {
        let (blobs, layers) = (collected.blobs, collected.layers);
        output::text(&format!("{blobs} blobs ({}) and {layers} layers removed\n", bytes(collected.bytes)))?;
    }
    Ok(Ended::Done)
}
