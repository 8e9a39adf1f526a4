//! How `bundle` and `run` make a bundle: upon the unpacked layers of the store, or as a plain tree for which no layer is
//! unpacked besides.

use super::Call;
use super::progress::Shown;
use super::pull::{layer_options, prepared, unpacked, wanted};
use super::registry_flags::client;
use crate::image::bundle::{MakeTree, Options, Request, Rootfs, create};
use crate::image::layers;
use crate::image::progress::Progress;
use crate::image::pull::{Image, Make, Unpack, fetcher};
use crate::image::reference::Reference;
use crate::image::rootless;
use crate::image::store::{LayerDirectory, Store};
use crate::image::unpack::Ids;
use anyhow::{Context, Result};
use std::path::Path;
use std::sync::Arc;

/// The bundle that is wanted.
pub(super) struct Making<'a> {
    pub(super) call: &'a Call,
    pub(super) store: &'a Store,
    pub(super) reference: &'a Reference,
    pub(super) directory: &'a Path,
    pub(super) rootfs: Rootfs,
    pub(super) options: &'a Options,
    /// It goes with its container.
    pub(super) temporary: bool,
}

impl Making<'_> {
    /// Pulls the image if it is missing; a plain tree is made while the layers come.
    pub(super) fn pull_and_make(&self) -> Result<()> {
        let streamed: &Make<'_> = &|image, fetch, progress| self.plain(image, fetch, progress);
        let streams = self.rootfs == Rootfs::Copy;
        let unpack = if streams { Unpack::Own(streamed) } else { Unpack::Layers };
        let pulled = wanted(self.call, self.store, self.reference, unpack)?;
        if streams && pulled.changed { Ok(()) } else { self.make(&pulled.image) }
    }

    /// Makes it of an image of the store.
    pub(super) fn make(&self, image: &Image) -> Result<()> {
        if self.rootfs == Rootfs::Overlay || unpacked(self.store, image).is_some() {
            let layers = prepared(self.call, self.store, self.reference, image)?;
            return self.create(image, &layers, None);
        }
        let shown = Arc::new(Shown::new(self.call.quiet(), self.call.json()));
        let client = client(&self.call.given, self.reference.repository.host(), &shown)?;
        let fetch = fetcher(&client, &self.reference.repository);
        let made = self.plain(image, &fetch, &*shown);
        shown.end();
        made
    }

    fn plain(&self, image: &Image, fetch: &layers::Fetch<'_>, progress: &dyn Progress) -> Result<()> {
        let mut unpacking = layer_options(self.call)?;
        if let Some((uids, gids)) = &self.options.user_namespace
            && rustix::process::geteuid().is_root()
            && self.options.user_namespace.as_ref() != rootless::entered()
        {
            unpacking.ids = Ids::Mapped { uids: uids.clone(), gids: gids.clone() };
        }
        let tree: &MakeTree<'_> =
            &|root| layers::flatten_into(self.store, &image.layers(), fetch, root, &unpacking, progress);
        self.create(image, &[], Some(tree))
    }

    fn create(&self, image: &Image, layers: &[LayerDirectory], tree: Option<&MakeTree<'_>>) -> Result<()> {
        let request = Request {
            directory: self.directory,
            reference: &self.reference.to_string(),
            manifest: &image.descriptor.digest,
            image: &image.configuration,
            layers,
            tree,
            temporary: self.temporary,
            rootfs: self.rootfs,
            options: self.options,
        };
        create(self.store, &request).with_context(|| format!("bundle {}", self.directory.display()))
    }
}
