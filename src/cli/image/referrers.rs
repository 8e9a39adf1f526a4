//! `ocicat-image referrers`: what refers to an image: signatures, bills of materials.

use super::super::command::{Flag, Positionals};
use super::super::output;
use super::command::Command;
use super::progress::Shown;
use super::registry_flags::{REGISTRY, client};
use super::{Call, Ended};
use crate::image::manifest::{self, Document, LIMIT, media};
use crate::image::pull::ACCEPT;
use crate::image::reference::Reference;
use anyhow::{Context, Result, bail};
use std::sync::Arc;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "referrers",
    about: "Lists what refers to an image of a registry: signatures, bills of materials",
    details: "A registry without the referrers API is asked for the tag that stands in for it.",
    positionals: Positionals { required: &["image"], optional: None, rest: None },
    flags: &[&[Flag::value("artifact-type", "TYPE", "only artifacts of that type")], REGISTRY],
    examples: &[
        ("referrers localhost:5000/app:1", "what there is about an image"),
        ("referrers --artifact-type application/spdx+json localhost:5000/app:1", "only bills of materials"),
    ],
    failure: 1,
    run,
};

fn run(call: &Call) -> Result<Ended> {
    let reference: Reference = call.given.argument(0).parse()?;
    let shown = Arc::new(Shown::new(call.quiet(), false));
    let client = client(&call.given, reference.repository.host(), &shown)?;
    let digest = match &reference.digest {
        Some(digest) => digest.clone(),
        None => client.manifest(&reference.repository, reference.selector(), ACCEPT, LIMIT)?.digest,
    };
    let found = match client.referrers(&reference.repository, &digest, media::INDEX, LIMIT)? {
        Some(bytes) => match manifest::parse(&bytes, None).with_context(|| format!("referrers of {digest}"))? {
            Document::Index(index) => index.manifests,
            Document::Manifest(_) => bail!("referrers of {digest}: a manifest where a list was promised"),
        },
        None => Vec::new(),
    };
    let wanted = call.given.value("artifact-type");
    let found: Vec<_> =
        found.into_iter().filter(|d| wanted.is_none() || d.artifact_type.as_deref() == wanted).collect();
    if call.json() {
        output::json(&found)?;
        return Ok(Ended::Done);
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|d| {
            vec![
                d.digest.to_string(),
                d.size.to_string(),
                output::harmless(d.artifact_type.as_deref().unwrap_or_default()),
            ]
        })
        .collect();
    output::text(&output::table(&["DIGEST", "SIZE", "TYPE"], &rows))?;
    Ok(Ended::Done)
}
