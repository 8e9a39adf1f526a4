//! Whole pulls from a registry that serves what it should not.

use crate::server::{Answer, Server};
use crate::{Tested, client};
use ocicat::image::layers;
use ocicat::image::manifest::{Platform, media};
use ocicat::image::progress::Quiet;
use ocicat::image::pull::{Options, Unpack, pull};
use ocicat::image::store::Store;
use ocicat::registry::Digest;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// A registry with one image, every document and blob of which a test may change.
struct Image {
    layer: Vec<u8>,
    config: serde_json::Value,
    manifest: serde_json::Value,
    media_type: String,
    /// What is served under these digests instead of what belongs there.
    wrong: BTreeMap<String, Vec<u8>>,
}

impl Image {
    fn new() -> Image {
        let layer = vec![0u8; 1024];
        let config = serde_json::json!({"architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer)]}});
        let bytes = serde_json::to_vec(&config).unwrap();
        let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": media::MANIFEST,
            "config": {"mediaType": media::CONFIG, "digest": Digest::of(&bytes), "size": bytes.len()},
            "layers": [{"mediaType": media::LAYER, "digest": Digest::of(&layer), "size": layer.len()}]});
        Image { layer, config, manifest, media_type: media::MANIFEST.to_owned(), wrong: BTreeMap::new() }
    }

    fn serve(self) -> Server {
        let config = serde_json::to_vec(&self.config).unwrap();
        let manifest = serde_json::to_vec(&self.manifest).unwrap();
        let mut blobs: BTreeMap<String, Vec<u8>> =
            [(Digest::of(&config).to_string(), config), (Digest::of(&self.layer).to_string(), self.layer)].into();
        blobs.extend(self.wrong);
        Server::start(move |asked| match asked.target.rsplit_once('/') {
            Some((place, _)) if place.ends_with("/manifests") => {
                Answer::ok(manifest.clone()).with("Content-Type", self.media_type.clone())
            }
            Some((_, digest)) => blobs.get(digest).map_or(Answer::of(404), |blob| Answer::ok(blob.clone())),
            None => Answer::of(404),
        })
    }
}

/// Pulls `team/app:1` into a store of its own; what went wrong, and whether anything got a name.
fn pulled(server: &Server, client: &Tested) -> (Result<(), String>, Vec<String>) {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(&place.path().join("s")).unwrap();
    let platform = Platform { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: None };
    let options = Options { platform, unpack: Unpack::Layers, layers: layers::Options::default() };
    let reference = format!("{}/team/app:1", server.address).parse().unwrap();
    let done = pull(&store, client, &reference, &options, &Quiet).map(drop).map_err(|error| format!("{error:#}"));
    (done, store.list().unwrap().into_iter().map(|tag| tag.reference).collect())
}

#[test]
fn a_whole_image_gets_its_name() {
    let server = Image::new().serve();
    let (done, names) = pulled(&server, &client());
    assert_eq!((done, names.len()), (Ok(()), 1));
}

/// A layer may say where else its bytes are: whoever asks there gives away who he is, and may be led anywhere.
#[test]
fn foreign_urls_of_a_layer_are_not_followed() {
    let heard: Arc<Mutex<usize>> = Arc::default();
    let count = Arc::clone(&heard);
    let foreign = Server::start(move |_| {
        *count.lock().unwrap() += 1;
        Answer::ok(vec![0u8; 1024])
    });
    for media_type in [media::LAYER, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"] {
        let mut image = Image::new();
        image.manifest["layers"][0]["urls"] = serde_json::json!([format!("http://{}/layer", foreign.address)]);
        image.manifest["layers"][0]["mediaType"] = media_type.into();
        // The registry itself does not have it.
        image.layer.clear();
        let (done, names) = pulled(&image.serve(), &client());
        assert!(done.is_err() && names.is_empty(), "{media_type}: {done:?}");
    }
    assert_eq!(*heard.lock().unwrap(), 0);
}

#[test]
fn an_image_that_contradicts_itself_gets_no_name() {
    type Change = fn(&mut Image);
    let cases: &[(&str, Change)] = &[
        ("but the document is a manifest", |image| image.media_type = media::INDEX.to_owned()),
        ("CVE-2021-41190", |image| image.manifest["manifests"] = serde_json::json!([])),
        ("1 layers, the config 2 diff_ids", |image| {
            let id = image.config["rootfs"]["diff_ids"][0].clone();
            image.config["rootfs"]["diff_ids"] = serde_json::json!([id.clone(), id]);
            let bytes = serde_json::to_vec(&image.config).unwrap();
            image.manifest["config"]["digest"] = Digest::of(&bytes).to_string().into();
            image.manifest["config"]["size"] = bytes.len().into();
        }),
        ("but the image config says", |image| {
            image.config["rootfs"]["diff_ids"][0] = Digest::of(b"other").to_string().into();
            let bytes = serde_json::to_vec(&image.config).unwrap();
            image.manifest["config"]["digest"] = Digest::of(&bytes).to_string().into();
            image.manifest["config"]["size"] = bytes.len().into();
        }),
        ("digest", |image| {
            let digest = Digest::of(&image.layer).to_string();
            image.wrong.insert(digest, vec![1u8; 1024]);
        }),
        ("but the manifest says 1023", |image| image.manifest["layers"][0]["size"] = 1023.into()),
        ("not an image of a filesystem", |image| {
            image.manifest["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json".into();
        }),
        ("the limit is", |image| image.manifest["config"]["size"] = (5 << 20).into()),
    ];
    for (reason, change) in cases {
        let mut image = Image::new();
        change(&mut image);
        let (done, names) = pulled(&image.serve(), &client());
        let error = done.expect_err(reason);
        assert!(error.contains(reason), "{reason}: {error}");
        assert!(names.is_empty(), "{reason}: {names:?}");
    }
}
