//! Images: from a reference to layers, and from layers to a bundle.

pub mod manifest;
pub mod reference;
