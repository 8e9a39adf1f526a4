//! SIGKILL to ocicat-image at any moment: the store never claims to have what it has not, the same command goes through
//! afterwards, and `gc` takes the leftovers away.
#![cfg(feature = "image")]
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic, and its paths are its own"
)]

use ocicat::image::manifest::{Descriptor, media};
use ocicat::image::store::Store;
use ocicat::image::tar::{Entry, Kind, Writer};
use ocicat::registry::Digest;
use ocicat::sys::pidfd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// A layer of many small files and one larger one.
fn layer(number: u8) -> Vec<u8> {
    let mut tar = Writer::new(Vec::new());
    for directory in 0..20 {
        let path = format!("l{number}/d{directory}").into_bytes();
        tar.entry(&Entry { path: path.clone(), kind: Kind::Directory, mode: 0o755, ..Entry::default() }).unwrap();
        for file in 0..50 {
            let path = [path.clone(), format!("/f{file}").into_bytes()].concat();
            tar.entry(&Entry { path, mode: 0o644, size: 100, ..Entry::default() }).unwrap();
            tar.data(&[number; 100]).unwrap();
        }
    }
    let hidden = format!("l{}/.wh.d0", number.saturating_sub(1)).into_bytes();
    tar.entry(&Entry { path: hidden, mode: 0o600, ..Entry::default() }).unwrap();
    tar.entry(&Entry { path: b"large".to_vec(), mode: 0o600, size: 3 << 20, ..Entry::default() }).unwrap();
    tar.data(&vec![number; 3 << 20]).unwrap();
    tar.finish().unwrap()
}

/// An OCI layout with one image of three layers, named `localhost/x:1`.
fn layout(path: &Path) {
    let store = Store::open(path).unwrap();
    let layers: Vec<Vec<u8>> = (0..3).map(layer).collect();
    let mut descriptors = Vec::new();
    let mut diff_ids = Vec::new();
    for layer in &layers {
        let bytes = zstd::stream::encode_all(&layer[..], 1).unwrap();
        store.put(&bytes).unwrap();
        descriptors.push(Descriptor::of(media::LAYER_ZSTD, &bytes));
        diff_ids.push(Digest::of(layer));
    }
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["x"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = serde_json::to_vec(&config).unwrap();
    store.put(&config).unwrap();
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": media::MANIFEST,
        "config": Descriptor::of(media::CONFIG, &config), "layers": descriptors});
    let manifest = serde_json::to_vec(&manifest).unwrap();
    store.put(&manifest).unwrap();
    store.tag("localhost/x:1", &Descriptor::of(media::MANIFEST, &manifest)).unwrap();
}

fn image(store: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ocicat-image"));
    command.arg("--quiet").arg("--store").arg(store).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn succeed(store: &Path, words: &[&str]) {
    let output = image(store, words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn names(path: &Path) -> Vec<std::ffi::OsString> {
    std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

/// Kills a bundle after `milliseconds`; true when it was still at work.
fn killed(store: &Path, bundle: &Path, milliseconds: i32) -> bool {
    let mut child = image(store, &["bundle", "--copy", "localhost/x:1", bundle.to_str().unwrap()]).spawn().unwrap();
    let process = pidfd::open(child.id().try_into().unwrap()).unwrap();
    let ended = pidfd::wait_end(&process, milliseconds).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    !ended
}

#[test]
fn a_store_that_lost_its_process_at_any_moment_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let original = place.path().join("original");
    layout(&original);
    let started = Instant::now();
    succeed(&original, &["bundle", "--copy", "localhost/x:1", place.path().join("first").to_str().unwrap()]);
    let whole = i32::try_from(started.elapsed().as_millis()).unwrap().max(10);
    let mut hit = 0;
    for attempt in 0..12 {
        let store = place.path().join(format!("store-{attempt}"));
        layout(&store);
        let bundle = place.path().join(format!("bundle-{attempt}"));
        hit += u32::from(killed(&store, &bundle, whole * attempt / 12));
        succeed(&store, &["check"]);
        if bundle.join("ocicat-image.json").exists() {
            succeed(&store, &["remove", bundle.to_str().unwrap()]);
        }
        let again = place.path().join(format!("again-{attempt}"));
        succeed(&store, &["bundle", "--copy", "localhost/x:1", again.to_str().unwrap()]);
        assert!(again.join("rootfs/l2/d3/f7").exists() && !again.join("rootfs/l0/d0").exists());
        assert_eq!(std::fs::metadata(again.join("rootfs/large")).unwrap().len(), 3 << 20);
        succeed(&store, &["gc"]);
        assert_eq!(names(&store.join("ocicat/tmp")), Vec::<std::ffi::OsString>::new());
    }
    assert!(hit > 0, "no try hit the program at work");
}

#[test]
fn two_processes_unpack_one_image_at_once() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("store");
    layout(&store);
    let bundles: Vec<_> = (0..4).map(|number| place.path().join(format!("b{number}"))).collect();
    let start = |bundle: &std::path::PathBuf| {
        image(&store, &["bundle", "--copy", "localhost/x:1", bundle.to_str().unwrap()]).spawn().unwrap()
    };
    let children: Vec<_> = bundles.iter().map(start).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for bundle in &bundles {
        assert!(bundle.join("rootfs/l2/d3/f7").exists());
    }
    assert_eq!(names(&store.join("ocicat/layers")).len(), 3);
}
