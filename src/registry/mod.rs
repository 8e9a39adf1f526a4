//! The client of the distribution specification 1.1: what travels between a registry and the image store.
//!
//! ```text
//! client (requests, mirrors) ─▶ http (retries, redirects, time limits) ─▶ the network
//!   ├─ auth (challenges, tokens) ─▶ credentials (files, helpers)
//!   ├─ hosts (certs.d: mirrors, certificates, plain http)
//!   └─ transfer (a blob as `Read`: resumed when cut, verified at its end)      upload (mount, whole, in chunks)
//! ```

pub mod digest;
pub mod hosts;
pub mod http;
pub mod name;
pub mod proxy;
pub mod retry;
pub mod tls;
pub mod url;

pub use digest::{Algorithm, Digest, Hasher};
pub use name::Repository;
