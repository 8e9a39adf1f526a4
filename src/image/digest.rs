//! Digests of content: computed while bytes pass by, and the only names that content has.
//!
//! `sha256` and `sha512` are what the image-spec registers; anything else is refused, because a digest that nobody can
//! compute verifies nothing.

use anyhow::{Result, bail};
pub use oci_spec::image::Digest;
use oci_spec::image::DigestAlgorithm;
use std::str::FromStr;

/// Computes one digest over the bytes that are given to it.
#[derive(Clone)]
pub struct Hasher {
    context: ring::digest::Context,
    name: &'static str,
}

impl Default for Hasher {
    fn default() -> Hasher {
        Hasher { context: ring::digest::Context::new(&ring::digest::SHA256), name: "sha256" }
    }
}

impl Hasher {
    /// A hasher of the algorithm that `digest` names.
    pub fn like(digest: &Digest) -> Result<Hasher> {
        match digest.algorithm() {
            DigestAlgorithm::Sha256 => Ok(Hasher::default()),
            DigestAlgorithm::Sha512 => {
                Ok(Hasher { context: ring::digest::Context::new(&ring::digest::SHA512), name: "sha512" })
            }
            other => bail!("{digest}: digest algorithm {other} is not supported; sha256 and sha512 are"),
        }
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// The digest of everything taken in.
    pub fn finish(self) -> Result<Digest> {
        Ok(Digest::from_str(&format!("{}:{}", self.name, hex(self.context.finish().as_ref())))?)
    }
}

/// The sha256 digest of `bytes`.
pub fn of(bytes: &[u8]) -> Result<Digest> {
    let mut hasher = Hasher::default();
    hasher.update(bytes);
    hasher.finish()
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The chain id of a layer upon the chain below it (image-spec config.md, "Layer ChainID").
pub fn chain_id(below: Option<&Digest>, diff_id: &Digest) -> Result<Digest> {
    match below {
        None => Ok(diff_id.clone()),
        Some(below) => of(format!("{below} {diff_id}").as_bytes()),
    }
}

/// The chain ids of a stack of layers, lowest first.
pub fn chain_ids(diff_ids: &[Digest]) -> Result<Vec<Digest>> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        chain.push(chain_id(chain.last(), diff_id)?);
    }
    Ok(chain)
}
