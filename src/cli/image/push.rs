//! `ocicat-image push`: send an image to a registry.

use super::super::command::{Flag, Positionals};
use super::super::output;
use super::command::Command;
use super::progress::Shown;
use super::registry_flags::{REGISTRY, client};
use super::{Call, Ended};
use crate::image::push::{Options, push};
use crate::image::reference::Reference;
use anyhow::{Context, Result};
use std::sync::Arc;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "push",
    about: "Sends an image of the store to a registry",
    details: "Blobs that the registry has are not sent; those that another repository of it is known to have are mounted \
              from there.",
    positionals: Positionals { required: &["image"], optional: Some("target"), rest: None },
    flags: &[
        &[
            Flag::value("jobs", "N", "blobs at once (4)"),
            Flag::value("chunk-size", "BYTES", "send larger blobs in chunks of this size (64 MiB)"),
        ],
        REGISTRY,
    ],
    examples: &[
        ("push localhost:5000/app:1", "under the name that it has"),
        ("push debian:12 localhost:5000/debian:12", "under another one"),
    ],
    failure: 1,
    run,
};

fn run(call: &Call) -> Result<Ended> {
    let reference: Reference = call.given.argument(0).parse()?;
    let target: Reference = match call.given.argument(1) {
        "" => reference.clone(),
        other => other.parse()?,
    };
    let store = call.store()?;
    let descriptor = store.resolve(&reference.to_string())?;
    let descriptor = descriptor.with_context(|| format!("{reference} is not in the store"))?;
    let mut options = Options::default();
    options.jobs = call.given.number("jobs")?.unwrap_or(options.jobs);
    options.chunk = call.given.number("chunk-size")?.unwrap_or(options.chunk);
    let shown = Arc::new(Shown::new(call.quiet(), call.json()));
    let client = client(&call.given, target.repository.host(), &shown)?;
    let pushed = push(&store, &client, &descriptor, &target, &options, &*shown);
    shown.end();
    let pushed = pushed.with_context(|| format!("push {target}"))?;
    let digest = &descriptor.digest;
    if call.json() {
        output::json_line(&serde_json::json!({
            "event": "pushed", "reference": target.to_string(), "digest": digest, "uploaded": pushed.uploaded,
            "mounted": pushed.mounted, "present": pushed.present,
        }))?;
        return Ok(Ended::Done);
    }
    if !call.quiet() {
        let (sent, mounted, present) = (pushed.uploaded, pushed.mounted, pushed.present);
        output::note(&format!(
            "{}: pushed, {sent} blobs sent, {mounted} mounted, {present} there already\n",
            target.familiar()
        ));
    }
    output::text(&format!("{digest}\n"))?;
    Ok(Ended::Done)
}
