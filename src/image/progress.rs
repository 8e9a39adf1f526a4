//! What a long operation tells about itself: implemented by the command line, called from several threads.

use crate::image::digest::Digest;

/// Listens to the work on layers.
pub trait Progress: Sync {
    /// A layer of `size` compressed bytes is part of what is to be done; it may be here already.
    fn layer_known(&self, _layer: &Digest, _size: u64) {}
    /// A layer of `size` compressed bytes begins to arrive.
    fn layer_started(&self, _layer: &Digest, _size: u64) {}
    /// `bytes` more compressed bytes of the layer were read.
    fn received(&self, _layer: &Digest, _bytes: u64) {}
    /// The layer is complete; `cached` when it was there already.
    fn layer_done(&self, _layer: &Digest, _cached: bool) {}
    /// Something that a user should know and that does not stop the work.
    fn warning(&self, _text: &str) {}
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Progress for Quiet {}
