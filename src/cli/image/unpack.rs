//! `ocicat-image unpack`: the files of an image as one plain tree.

use super::super::command::{Flag, Positionals};
use super::command::Command;
use super::progress::Shown;
use super::pull::{TRANSFER, layer_options, wanted};
use super::registry_flags::{PLATFORM, REGISTRY, client};
use super::{Call, Ended};
use crate::image::layers;
use crate::image::pull::{Make, Unpack, fetcher};
use crate::image::reference::Reference;
use anyhow::Result;
use std::path::Path;
use std::sync::Arc;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "unpack",
    about: "Unpacks an image into one plain tree",
    details: "The directory must be empty or absent. There is no config.json: for that, see `ocicat-image bundle --copy`.",
    positionals: Positionals { required: &["image", "path"], optional: None, rest: None },
    flags: &[&[Flag::switch("pull", "ask the registry even if the image is here")], PLATFORM, TRANSFER, REGISTRY],
    examples: &[
        ("unpack debian ./rootfs", "the tree of an image"),
        ("unpack --platform linux/arm64 debian ./arm", "the same of another architecture"),
    ],
    failure: 1,
    run,
};

fn run(call: &Call) -> Result<Ended> {
    let reference: Reference = call.given.argument(0).parse()?;
    let store = call.store()?;
    let into = Path::new(call.given.argument(1));
    // What has to be fetched goes into the tree while it comes.
    let options = layer_options(call)?;
    let make: &Make<'_> =
        &|image, fetch, progress| layers::flatten(&store, &image.layers(), fetch, into, &options, progress);
    let pulled = wanted(call, &store, &reference, Unpack::Own(make))?;
    if pulled.changed {
        return Ok(Ended::Done);
    }
    let shown = Arc::new(Shown::new(call.quiet(), call.json()));
    let client = client(&call.given, reference.repository.host(), &shown)?;
    let fetch = fetcher(&client, &reference.repository);
    let flattened = make(&pulled.image, &fetch, &*shown);
    shown.end();
    flattened?;
    Ok(Ended::Done)
}
