//! `ocicat-image gc`: remove what nothing refers to.

use super::super::command::Positionals;
use super::super::output;
use super::command::Command;
use super::progress::{bytes, count};
use super::{Call, Ended};
use crate::image::bundle::remove_abandoned;
use anyhow::Result;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "gc",
    about: "Removes blobs and layers that no image and no bundle refers to",
    details: "What an interrupted command left goes too, and so do the bundles of `run` that was killed, unless the container \
              still runs.",
    positionals: Positionals::NONE,
    flags: &[],
    examples: &[("gc", "make room"), ("gc --format json", "the same, and how much it was for a program")],
    failure: 1,
    run,
};

fn run(call: &Call) -> Result<Ended> {
    let store = call.store()?;
    let bundles = remove_abandoned(&store)?;
    let collected = store.gc()?;
    if call.json() {
        output::json(&serde_json::json!({
            "blobs": collected.blobs, "layers": collected.layers, "bytes": collected.bytes,
            "bundles": bundles,
        }))?;
    } else if !call.quiet() {
        let (blobs, layers) = (count(collected.blobs, "blob"), count(collected.layers, "layer"));
        let left = if bundles > 0 { format!(", {} of killed runs", count(bundles, "bundle")) } else { String::new() };
        output::text(&format!("{blobs} ({}) and {layers} removed{left}\n", bytes(collected.bytes)))?;
    }
    Ok(Ended::Done)
}
