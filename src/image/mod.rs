//! Images: a content store that is an OCI image layout, layers unpacked in one streaming pass, bundles ready for
//! `ocicat run`, and the way back (the writable layer of a bundle becomes a layer of a new image).
//!
//! ```text
//! registry ─▶ layers ─▶ unpack ─▶ tar ─▶ directories of the store ─▶ overlay ─▶ bundle ─▶ (ocicat run)
//!               │         └▶ blobs of the store                                    │
//!             store ◀──────────────────────── commit ◀─ diff ◀─────────────────────┘
//! ```

pub mod access;
mod archive;
pub mod bundle;
pub mod commit;
pub mod configuration;
pub mod diff;
pub mod digest;
pub mod export;
pub mod import;
pub mod layers;
pub mod manifest;
pub mod overlay;
pub mod platform;
pub mod progress;
pub mod pull;
pub mod push;
pub mod reference;
pub mod rootless;
pub mod store;
pub mod tar;
pub mod unpack;

mod copy;
mod copy_tree;
mod owners;
mod remove;
mod spill;
mod whiteout;
mod zstd;
