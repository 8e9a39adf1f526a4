//! `ocicat-image bundle`: make a bundle of an image.

use super::super::command::{Flag, Positionals};
use super::command::Command;
use super::container_flags::{CONTAINER, options, rootfs};
use super::pull::{TRANSFER, layer_options, prepared, wanted};
use super::registry_flags::{PLATFORM, REGISTRY};
use super::{Call, Ended};
use crate::image::bundle::{MakeTree, Request, Rootfs, create};
use crate::image::layers;
use crate::image::pull::{Image, Make, Unpack};
use crate::image::reference::Reference;
use crate::image::rootless;
use crate::image::store::LayerDirectory;
use anyhow::{Context, Result};
use std::path::Path;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "bundle",
    about: "Makes a bundle of an image: config.json and a root filesystem, ready for `ocicat run`",
    details: "The image is pulled if it is not in the store. Ten bundles of one image share its layers; what a container writes \
              goes into its bundle's own layer. `ocicat-image remove DIR` takes the bundle away again.",
    positionals: Positionals { required: &["image", "directory"], optional: None, rest: None },
    flags: &[
        &[Flag::value("cmd", "WORD", "a word of the command, instead of the image's (repeatable)").repeated()],
        CONTAINER,
        PLATFORM,
        TRANSFER,
        REGISTRY,
    ],
    examples: &[
        ("bundle debian ./web", "then: ocicat run --bundle ./web web"),
        ("bundle --copy debian ./web", "with a plain tree of its own"),
    ],
    run,
};

fn run(call: &Call) -> Result<Ended> {
    let reference: Reference = call.given.argument(0).parse()?;
    let store = call.store()?;
    let directory = Path::new(call.given.argument(1));
    let mut rootfs = rootfs(&call.given)?;
    let mut options = options(&call.given, &call.given.all("cmd"))?;
    let ids_are_mapped = options.user_namespace.is_some();
    if let Some(mappings) = rootless::entered() {
        // A mount would end with this process; the runtime will be started outside of its user namespace.
        rootfs = Rootfs::Copy;
        options.user_namespace.get_or_insert_with(|| mappings.clone());
    }
    let name = reference.to_string();
    let make = |image: &Image, layers: &[LayerDirectory], tree: Option<&MakeTree<'_>>| {
        let request = Request {
            directory,
            reference: &name,
            manifest: &image.descriptor.digest,
            image: &image.configuration,
            layers,
            tree,
            temporary: false,
            rootfs,
            options: &options,
        };
        create(&store, &request).with_context(|| format!("bundle {}", directory.display()))
    };
    let unpacking = layer_options(call)?;
    let streamed: &Make<'_> = &|image, fetch, progress| {
        let tree: &MakeTree<'_> =
            &|root| layers::flatten_into(&store, &image.layers(), fetch, root, &unpacking, progress);
        make(image, &[], Some(tree))
    };
    // A plain tree of an image that is not here is made while the layers come.
    let streams = rootfs == Rootfs::Copy && !ids_are_mapped;
    let unpack = if streams { Unpack::Own(streamed) } else { Unpack::Layers };
    let pulled = wanted(call, &store, &reference, unpack)?;
    if !(streams && pulled.changed) {
        make(&pulled.image, &prepared(call, &store, &reference, &pulled.image)?, None)?;
    }
    Ok(Ended::Done)
}
