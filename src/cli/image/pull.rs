//! `ocicat-image pull`: fetch and unpack an image.

use super::super::command::{Flag, Positionals};
use super::super::output;
use super::command::Command;
use super::progress::{Shown, bytes, count};
use super::registry_flags::{PLATFORM, REGISTRY, client, platform};
use super::{Call, Ended};
use crate::image::layers;
use crate::image::pull::{Image, Options, Pulled, Unpack, fetcher, pull, serves};
use crate::image::reference::Reference;
use crate::image::store::{LayerDirectory, Store};
use anyhow::{Context, Result};
use std::sync::Arc;

/// How layers are received.
pub(super) const TRANSFER: &[Flag] = &[Flag::value("jobs", "N", "layers at once (cores + 1, at most 4)")];

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "pull",
    about: "Fetches an image and unpacks its layers into the store",
    details: "Layers are downloaded, verified and unpacked in one pass. When the store has the image, one HEAD request tells \
              whether it is still what the registry's tag means.",
    positionals: Positionals { required: &["image"], optional: None, rest: None },
    flags: &[&[Flag::switch("no-unpack", "keep the blobs only")], PLATFORM, TRANSFER, REGISTRY],
    examples: &[
        ("pull debian:12", "from docker.io"),
        ("pull --platform linux/arm64 localhost:5000/app", "another machine's image from a registry on this machine"),
    ],
    failure: 1,
    run,
};

fn run(call: &Call) -> Result<Ended> {
    let reference: Reference = call.given.argument(0).parse()?;
    let store = call.store()?;
    let unpack = if call.given.is("no-unpack") { Unpack::No } else { Unpack::Layers };
    let pulled = fetch(call, &store, &reference, unpack)?;
    print(call, &reference, &pulled)?;
    Ok(Ended::Done)
}

/// Pulls with the options of the call and shows how it goes.
pub(super) fn fetch(call: &Call, store: &Store, reference: &Reference, unpack: Unpack<'_>) -> Result<Pulled> {
    let shown = Arc::new(Shown::new(call.quiet(), call.json()));
    let client = client(&call.given, reference.repository.host(), &shown)?;
    let options = Options { platform: platform(&call.given)?, unpack, layers: layer_options(call)? };
    let pulled = pull(store, &client, reference, &options, &*shown);
    shown.end();
    // Which of the disks is full is the question then.
    let full = |error: &anyhow::Error| {
        crate::sys::errno_of(error).is_some_and(|errno| [libc::ENOSPC, libc::EDQUOT].contains(&errno.0))
    };
    pulled.map_err(
        |error| {
            if full(&error) { error.context(format!("store {}", store.path().display())) } else { error }
        },
    )
}

/// The image of the store, pulled first if it is missing, or always with `--pull`; and whether it was fetched, and so
/// unpacked, just now.
pub(super) fn wanted(call: &Call, store: &Store, reference: &Reference, unpack: Unpack<'_>) -> Result<Pulled> {
    let machine = platform(&call.given)?;
    let mut other = None;
    if !call.given.is("pull") {
        // An image that is here is used without asking anybody.
        match Image::named(store, &reference.to_string())? {
            Some(image) if serves(&image, &machine) => return Ok(Pulled { image, changed: false }),
            known => other = known.map(|image| image.platform()),
        }
    }
    fetch(call, store, reference, unpack).with_context(|| match other {
        Some(here) => {
            format!("pull {reference} for {machine} (the store's is for {here}; hint: --platform {here} takes it)")
        }
        None => format!("pull {reference}"),
    })
}

/// How layers are received and unpacked.
pub(super) fn layer_options(call: &Call) -> Result<layers::Options> {
    let mut options = layers::Options { jobs: call.given.number("jobs")?.unwrap_or(0), ..layers::Options::default() };
    if !rustix::process::geteuid().is_root() {
        options.ids = crate::image::unpack::Ids::Caller;
    }
    Ok(options)
}

fn print(call: &Call, reference: &Reference, pulled: &Pulled) -> Result<()> {
    let digest = &pulled.image.descriptor.digest;
    if call.json() {
        return output::json_line(&serde_json::json!({
            "event": "pulled", "reference": reference.to_string(), "digest": digest, "changed": pulled.changed,
            "layers": pulled.image.manifest.layers.len(), "size": pulled.image.size(),
        }));
    }
    if !call.quiet() {
        let what = if pulled.changed { "pulled" } else { "up to date" };
        let layers = count(pulled.image.manifest.layers.len() as u64, "layer");
        let size = bytes(pulled.image.size());
        output::note(&format!("{}: {what}, {layers}, {size}\n", reference.familiar()));
    }
    output::text(&format!("{digest}\n"))
}

/// The unpacked layers of an image, if all are here.
pub(super) fn unpacked(store: &Store, image: &Image) -> Option<Vec<LayerDirectory>> {
    let ids = crate::image::digest::chain_ids(&image.configuration.rootfs.diff_ids);
    ids.iter().map(|id| store.layer(id)).collect()
}

/// The unpacked layers of an image; what the store has only as blobs is unpacked, what it lacks is fetched.
pub(super) fn prepared(
    call: &Call,
    store: &Store,
    reference: &Reference,
    image: &Image,
) -> Result<Vec<LayerDirectory>> {
    // The usual case needs no client.
    if let Some(all) = unpacked(store, image) {
        return Ok(all);
    }
    let shown = Arc::new(Shown::new(call.quiet(), call.json()));
    let client = client(&call.given, reference.repository.host(), &shown)?;
    let fetch = fetcher(&client, &reference.repository);
    let layers = layers::prepare(store, &image.layers(), &fetch, &layer_options(call)?, &*shown);
    shown.end();
    layers
}
