//! Image documents: manifests and indexes, of OCI and of docker's schema 2, told apart strictly.
//!
//! A document is parsed from exactly the bytes whose digest was verified. One that could be read as a manifest and as an
//! index is refused (CVE-2021-41190), and so is one whose `mediaType` contradicts the Content-Type it came with.

use crate::config::json;
use crate::registry::Digest;
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Manifests, indexes and image configurations above this size are refused (bytes).
pub const LIMIT: u64 = 4 << 20;

/// Documents with more values are refused: a value of two bytes takes up to a hundred in memory.
const VALUES: usize = 25_000;

/// Images with more layers are refused: overlayfs stacks 500 (fs/overlayfs/params.c, OVL_MAX_STACK).
pub const LAYERS: usize = 1000;

/// Media types of documents.
pub mod media {
    /// An image manifest of OCI.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An image index of OCI.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An image configuration of OCI.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// An uncompressed layer of OCI.
    pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// A layer of OCI, gzip.
    pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// A layer of OCI, zstd.
    pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// A manifest of docker's schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// A manifest list of docker's schema 2.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// An image configuration of docker.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
}

/// What a document points at: type, digest and size of some bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of what is pointed at.
    #[serde(default)]
    pub media_type: String,
    /// Digest of the bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// Where else they might lie; never followed (foreign layers).
    #[serde(default, skip_serializing_if = "is_empty")]
    pub urls: Option<Vec<String>>,
    /// For what machine a manifest of an index is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What kind of artifact a manifest is (referrers).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Notes: `org.opencontainers.image.ref.name` is a tag in an OCI layout.
    #[serde(default, skip_serializing_if = "is_none_or_empty")]
    pub annotations: Option<BTreeMap<String, String>>,
}

fn is_empty(urls: &Option<Vec<String>>) -> bool {
    urls.as_ref().is_none_or(Vec::is_empty)
}

fn is_none_or_empty(map: &Option<BTreeMap<String, String>>) -> bool {
    map.as_ref().is_none_or(BTreeMap::is_empty)
}

impl Descriptor {
    /// A descriptor of `bytes`.
    pub fn of(media_type: &str, bytes: &[u8]) -> Descriptor {
        Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// A descriptor without any of the optional fields.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Descriptor {
        Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size,
            urls: None,
            platform: None,
            artifact_type: None,
            annotations: None,
        }
    }

    /// The value of an annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// A plain tar.
    None,
    /// gzip, possibly of several members.
    Gzip,
    /// zstd, possibly of several frames.
    Zstd,
}

/// The compression that a layer's media type tells, or that it is no layer of a filesystem.
pub fn layer_compression(media_type: &str) -> anyhow::Result<Compression> {
    Ok(match media_type {
        media::LAYER
        | "application/vnd.oci.image.layer.nondistributable.v1.tar"
        | "application/vnd.docker.image.rootfs.diff.tar" => Compression::None,
        media::LAYER_GZIP
        | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => Compression::Gzip,
        media::LAYER_ZSTD
        | "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Compression::Zstd,
        other => bail!("media type {other:?} is no layer of a filesystem"),
    })
}

/// What machine an image is for, in Go's words: `linux`, `arm64`, `v8`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`, `arm`, ...
    #[serde(default)]
    pub architecture: String,
    /// `linux`, `windows`, ...
    #[serde(default)]
    pub os: String,
    /// `v8` of arm64; `v5` `v6` `v7` of arm; `v1` to `v4` of amd64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// An image for one machine: a configuration and its layers, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Media type of the document itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What kind of artifact this is, if it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one is about (referrers).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Notes.
    #[serde(default, skip_serializing_if = "is_none_or_empty")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// Manifests for several machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// Media type of the document itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests.
    pub manifests: Vec<Descriptor>,
    /// Notes.
    #[serde(default, skip_serializing_if = "is_none_or_empty")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// A document that a tag may point at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "one of them at a time, and it is taken apart at once")]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// One image for each of several machines.
    Index(Index),
}

/// Reads a document; `media_type` is what the registry or the descriptor said it is.
pub fn parse(bytes: &[u8], media_type: Option<&str>) -> anyhow::Result<Document> {
    if bytes.len() as u64 > LIMIT {
        bail!("document of {} bytes: the limit is {LIMIT}", bytes.len());
    }
    let shape: Shape = read(bytes).context("document")?;
    let is_index = shape.is_index(media_type)?;
    Ok(if is_index {
        Document::Index(json::parse(bytes).context("index")?)
    } else {
        Document::Manifest(json::parse(bytes).context("manifest")?)
    })
}

/// Parses a document of an image, whoever made it, within bounded memory.
pub(super) fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> anyhow::Result<T> {
    let values = values_in(bytes);
    if values > VALUES {
        bail!("{values} values: the limit is {VALUES}");
    }
    json::parse(bytes)
}

/// How many values JSON has, roughly: what begins with a bracket or stands before a comma.
fn values_in(bytes: &[u8]) -> usize {
    let (mut count, mut in_string, mut escaped) = (0, false, false);
    for byte in bytes {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b',' | b'[' | b'{') => count += 1,
            _ => {}
        }
    }
    count
}

/// The fields that tell a manifest from an index.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u64>,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Shape {
    fn is_index(&self, outside: Option<&str>) -> anyhow::Result<bool> {
        match self.schema_version {
            Some(2) => {}
            Some(1) => {
                bail!("docker's manifest schema 1 is not supported; hint: push the image again with a current tool")
            }
            other => bail!("schemaVersion is {}, not 2", other.map_or("missing".to_owned(), |v| v.to_string())),
        }
        let looks_index = self.manifests.is_some();
        let looks_manifest = self.layers.is_some() || self.config.is_some() || self.fs_layers.is_some();
        if looks_index && looks_manifest {
            bail!("document has the fields of a manifest and of an index: refused (CVE-2021-41190)");
        }
        if !looks_index && !looks_manifest {
            bail!("document is neither a manifest (config, layers) nor an index (manifests)");
        }
        let found = if looks_index { "an index" } else { "a manifest" };
        for (place, named) in [("mediaType", self.media_type.as_deref()), ("Content-Type", outside)] {
            let Some(named) = named else { continue };
            match named {
                media::INDEX | media::DOCKER_LIST if looks_index => {}
                media::MANIFEST | media::DOCKER_MANIFEST if looks_manifest => {}
                _ => bail!("{place} is {named:?}, but the document is {found}"),
            }
        }
        match (self.media_type.as_deref(), outside) {
            (Some(inside), Some(outside)) if inside != outside => {
                bail!("mediaType is {inside:?}, but the document came as {outside:?}")
            }
            _ => Ok(looks_index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor() -> String {
        format!(r#"{{"mediaType":"x","digest":"sha256:{}","size":1}}"#, "0".repeat(64))
    }

    #[test]
    fn a_document_is_what_its_fields_and_both_media_types_agree_on() {
        let d = descriptor();
        let manifest = format!(r#"{{"schemaVersion":2,"config":{d},"layers":[{d}]}}"#);
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{d}]}}"#);
        let typed =
            format!(r#"{{"schemaVersion":2,"mediaType":"{}","config":{d},"layers":[]}}"#, media::DOCKER_MANIFEST);
        assert!(matches!(parse(manifest.as_bytes(), None), Ok(Document::Manifest(_))));
        assert!(matches!(parse(manifest.as_bytes(), Some(media::MANIFEST)), Ok(Document::Manifest(_))));
        assert!(matches!(parse(index.as_bytes(), Some(media::INDEX)), Ok(Document::Index(_))));
        assert!(matches!(parse(index.as_bytes(), Some(media::DOCKER_LIST)), Ok(Document::Index(_))));
        assert!(matches!(parse(typed.as_bytes(), Some(media::DOCKER_MANIFEST)), Ok(Document::Manifest(_))));
    }

    /// 4 MiB of `{},` as the history of a config took 140 MB.
    #[test]
    fn a_document_of_many_values_is_refused_before_it_is_parsed() {
        for (text, values) in [("{}", 1), (r#"{"a":[1,2],"b":"[,{\\\",,"}"#, 4), (r#"["\\",1]"#, 2)] {
            assert_eq!(values_in(text.as_bytes()), values, "{text}");
        }
        let d = descriptor();
        let annotations: Vec<String> = (0..VALUES).map(|n| format!(r#""{n}":"""#)).collect();
        let text =
            format!(r#"{{"schemaVersion":2,"config":{d},"layers":[],"annotations":{{{}}}}}"#, annotations.join(","));
        let history = format!(r#"{{"history":[{}{{}}]}}"#, "{},".repeat(VALUES));
        let errors = [
            parse(text.as_bytes(), None).map(drop).unwrap_err(),
            crate::image::configuration::ImageConfiguration::parse(history.as_bytes()).map(drop).unwrap_err(),
        ];
        for error in errors {
            assert!(format!("{error:#}").contains("values: the limit is 25000"), "{error:#}");
        }
    }

    #[test]
    fn a_document_that_contradicts_itself_is_refused() {
        let d = descriptor();
        let both = format!(r#"{{"schemaVersion":2,"config":{d},"layers":[],"manifests":[]}}"#);
        let manifest = format!(r#"{{"schemaVersion":2,"config":{d},"layers":[]}}"#);
        let typed = format!(r#"{{"schemaVersion":2,"mediaType":"{}","config":{d},"layers":[]}}"#, media::INDEX);
        let docker =
            format!(r#"{{"schemaVersion":2,"mediaType":"{}","config":{d},"layers":[]}}"#, media::DOCKER_MANIFEST);
        let listed = format!(r#"{{"schemaVersion":2,"config":["x","sha256:{}",1],"layers":[]}}"#, "0".repeat(64));
        let bad = manifest.replacen("sha256:", "sha256:../", 1);
        for (text, media_type, reason) in [
            (both.as_str(), None, "CVE-2021-41190"),
            (&manifest, Some(media::INDEX), "but the document is a manifest"),
            (&manifest, Some("text/html"), "but the document is a manifest"),
            (&typed, None, "but the document is a manifest"),
            (&docker, Some(media::MANIFEST), "but the document came as"),
            (r#"{"schemaVersion":2}"#, None, "neither"),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#, None, "schema 1"),
            (r#"{"manifests":[]}"#, None, "schemaVersion is missing"),
            ("[]", None, "document: expected an object, found an array"),
            (&listed, None, "manifest: config: expected an object, found an array"),
            (&bad, None, "config.digest"),
        ] {
            let error = format!("{:#}", parse(text.as_bytes(), media_type).unwrap_err());
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
