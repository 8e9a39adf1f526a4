//! The registry client against a small server of ours that fails in every way a registry fails.
#![cfg(feature = "image")]
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic, and its paths are its own"
)]

#[path = "../common/program.rs"]
mod program;
mod server;

mod auth;
mod blobs;
mod manifests;
mod mirrors;
mod pulls;
mod uploads;

use ocicat::registry::client::{Client, Options};
use ocicat::registry::credentials::{Credential, Credentials};
use ocicat::registry::hosts::Hosts;
use ocicat::registry::http::Limits;
use ocicat::registry::retry::Patience;
use ocicat::registry::{Digest, Repository};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A client that is patient for milliseconds, and what it had to say.
pub struct Tested {
    pub client: Client,
    pub notices: Arc<Mutex<Vec<String>>>,
}

impl std::ops::Deref for Tested {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Tested {
    pub fn notices(&self) -> String {
        self.notices.lock().unwrap().join("\n")
    }
}

pub fn client_with(credentials: Credentials, hosts: Hosts) -> Tested {
    let notices: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = Arc::clone(&notices);
    let patience = Patience { attempts: 4, first_wait: Duration::from_millis(5), longest_wait: Duration::from_secs(2) };
    let limits = Limits {
        connect: Duration::from_secs(2),
        answer: Duration::from_secs(2),
        stall: Duration::from_millis(300),
        stall_of_upload: Duration::from_secs(2),
    };
    let notice = Box::new(move |text: &str| heard.lock().unwrap().push(text.to_owned()));
    Tested { client: Client::new(Options { hosts, credentials, patience, limits, notice }), notices }
}

pub fn client() -> Tested {
    client_with(Credentials::default(), Hosts::default())
}

/// A client that knows a password for `host`.
pub fn client_of(host: &str, user: &str, password: &str) -> Tested {
    let given = Some((host.to_owned(), Credential::Basic(user.to_owned(), password.to_owned())));
    client_with(Credentials { given, files: Vec::new() }, Hosts::default())
}

pub fn repository(host: &str) -> Repository {
    Repository::new(host, "team/app").unwrap()
}

/// Bytes that do not repeat within any buffer.
pub fn bytes(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut all = Vec::with_capacity(count + 8);
    while all.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        all.extend_from_slice(&state.to_le_bytes());
    }
    all.truncate(count);
    all
}

/// A manifest of nothing much, its digest.
pub fn manifest() -> (Vec<u8>, Digest) {
    let config = Digest::of(b"{}");
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":2}},"layers":[]}}"#
    );
    let digest = Digest::of(text.as_bytes());
    (text.into_bytes(), digest)
}

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const LIMIT: u64 = 4 << 20;
