//! `ocicat-image bundle`: make a bundle of an image.

use super::super::command::{Flag, Positionals};
use super::command::Command;
use super::container_flags::{CONTAINER, options, rootfs};
use super::making::Making;
use super::pull::TRANSFER;
use super::registry_flags::{PLATFORM, REGISTRY};
use super::{Call, Ended};
use crate::image::bundle::Rootfs;
use crate::image::reference::Reference;
use crate::image::rootless;
use anyhow::Result;
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
    failure: 1,
    run,
};

fn run(call: &Call) -> Result<Ended> {
    let reference: Reference = call.given.argument(0).parse()?;
    let store = call.store()?;
    let mut rootfs = rootfs(&call.given)?;
    let mut options = options(&call.given, &call.given.all("cmd"))?;
    if let Some(mappings) = rootless::entered() {
        // A mount would end with this process; the runtime will be started outside of its user namespace.
        rootfs = Rootfs::Copy;
        options.user_namespace.get_or_insert_with(|| mappings.clone());
    }
    let directory = Path::new(call.given.argument(1));
    let (store, reference, options) = (&store, &reference, &options);
    Making { call, store, reference, directory, rootfs, options, temporary: false }.pull_and_make()?;
    Ok(Ended::Done)
}
