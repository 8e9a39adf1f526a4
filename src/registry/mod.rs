//! The client of the distribution specification 1.1: what travels between a registry and the image store.
//!
//! ```text
//! client (requests, mirrors, retries) ─▶ http (redirects, time limits) ─▶ the network
//!   ├─ auth (challenges, tokens) ─▶ credentials (files) ─▶ helper (docker-credential-NAME)
//!   ├─ hosts (certs.d: mirrors, plain http) ─▶ tls (certificates)
//!   └─ transfer (a blob as `Read`: resumed when cut, verified at its end)      upload (mount, whole, in chunks)
//! ```

pub mod auth;
pub mod client;
pub mod credentials;
pub mod digest;
pub mod helper;
pub mod hosts;
pub mod http;
pub mod name;
pub mod proxy;
mod refusal;
pub mod retry;
pub mod tls;
pub mod transfer;
pub mod upload;
pub mod url;

pub use client::{Client, Fetched, Options};
pub use digest::{Algorithm, Digest, Hasher};
pub use name::Repository;
pub use transfer::Blob;
