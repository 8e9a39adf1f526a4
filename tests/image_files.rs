//! Images as files: what a source says about itself is held against what it is, and its names lead nowhere else.
#![cfg(feature = "image")]
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic, and its paths are its own"
)]

#[path = "common/mod.rs"]
#[macro_use]
#[allow(unused_imports, reason = "each test crate uses its part of this")]
mod common;

use common::registry::{fails, ok, put_image};
use common::{Value, json};
use ocicat::image::manifest::Descriptor;
use ocicat::image::store::Store;
use ocicat::registry::Digest;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn image(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ocicat-image"));
        command.args(["-q", "--store"]).arg(self.path("store")).args(words).current_dir(self.directory.path());
        command.stdin(Stdio::null());
        command
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = ok(&mut self.image(&["list"])).lines().map(str::to_owned).collect();
        names.sort();
        names
    }
}

/// An image without layers whose command is its own; answers its manifest.
fn image(store: &Store, command: &str) -> Descriptor {
    let config = json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": [command]},
        "rootfs": {"type": "layers", "diff_ids": []}});
    put_image(store, &config, &[])
}

/// A layout with one image under a name of a whole reference.
fn layout(path: &Path, name: &str) -> Descriptor {
    let store = Store::open(path).unwrap();
    let image = image(&store, "x");
    store.tag(name, &image).unwrap();
    image
}

/// Whoever pins a digest asks nobody when the store has the name: so nothing else may get it.
#[test]
fn a_name_with_a_digest_is_only_given_to_what_has_that_digest() {
    let place = Place::new();
    let wrong = Digest::of(b"something that is believed in");
    let hostile = format!("docker.io/library/debian@{wrong}");
    let image = layout(&place.path("hostile"), &hostile);
    let said = fails(&mut place.image(&["import", "hostile"]));
    assert!(said.contains(&format!("{hostile}: the image has digest {}", image.digest)), "{said}");
    fails(&mut place.image(&["import", "hostile", &format!("localhost/x@{wrong}")]));

    let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    std::fs::create_dir(place.path("saved")).unwrap();
    std::fs::write(place.path("saved/c.json"), config).unwrap();
    let manifest = json!([{"Config": "c.json", "RepoTags": [hostile], "Layers": []}]).to_string();
    std::fs::write(place.path("saved/manifest.json"), manifest).unwrap();
    fails(&mut place.image(&["import", "saved"]));
    assert_eq!(place.names(), Vec::<String>::new());

    let right = format!("localhost/x@{}", image.digest);
    assert_eq!(ok(&mut place.image(&["import", "hostile", &right])), format!("{right}\n"));
    ok(&mut place.image(&["export", &right, "again.tar"]));
    assert_eq!(ok(&mut place.image(&["import", "again.tar"])), format!("{right}\n"));
}

/// What docker saves says in a document how its files are called.
#[test]
fn a_saved_image_has_only_files_of_its_own() {
    let place = Place::new();
    let secret = r#"{"architecture":"amd64","os":"linux","config":{"Env":["PASSWORD=1"]}}"#;
    std::fs::write(place.path("secret.json"), secret).unwrap();
    std::fs::create_dir(place.path("saved")).unwrap();
    std::os::unix::fs::symlink("..", place.path("saved/up")).unwrap();
    let absolute = place.path("secret.json").to_str().unwrap().to_owned();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        place.path("saved/fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    for (name, reason) in [
        ("../secret.json", "EXDEV"),
        ("up/secret.json", "EXDEV"),
        (absolute.as_str(), "EXDEV"),
        ("fifo", "no regular file"),
    ] {
        for manifest in [
            json!([{"Config": name, "RepoTags": ["localhost/x:1"], "Layers": []}]),
            json!([{"Config": "c.json", "RepoTags": ["localhost/x:1"], "Layers": [name]}]),
        ] {
            let config = json!({"os": "linux", "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"x")]}});
            std::fs::write(place.path("saved/c.json"), config.to_string()).unwrap();
            std::fs::write(place.path("saved/manifest.json"), manifest.to_string()).unwrap();
            let said = fails(&mut place.image(&["import", "saved"]));
            assert!(said.contains(reason), "{manifest}: {said}");
        }
    }
}

#[test]
fn an_image_that_has_only_a_tag_is_called_after_its_file() {
    let place = Place::new();
    layout(&place.path("layout"), "v1");
    for (file, name) in [("My_App.v2", "localhost/my-app:v1"), ("___", "localhost/image:v1")] {
        std::fs::rename(place.path("layout"), place.path(file)).unwrap();
        assert_eq!(ok(&mut place.image(&["import", file])), format!("{name}\n"), "{file}");
        std::fs::rename(place.path(file), place.path("layout")).unwrap();
    }
    ok(&mut place.image(&["export", "localhost/image:v1", "x.tar"]));
    let archive = std::fs::File::open(place.path("x.tar")).unwrap();
    let said = ok(place.image(&["import", "-"]).stdin(archive));
    assert_eq!(said, "localhost/image:v1\n");
}

#[test]
fn a_layout_keeps_every_image_that_is_exported_into_it() {
    let place = Place::new();
    let store = Store::open(&place.path("store")).unwrap();
    let names = ["localhost/a:1", "localhost/b:1", "localhost/b:2"];
    for name in names {
        store.tag(name, &image(&store, name)).unwrap();
    }
    drop(store);
    // The second time it is the same image, not one more.
    for name in names.iter().chain(&names) {
        ok(&mut place.image(&["export", "--as", "oci", name, "layout"]));
    }
    let index: Value = serde_json::from_slice(&std::fs::read(place.path("layout/index.json")).unwrap()).unwrap();
    let key = "org.opencontainers.image.ref.name";
    let shorts: Vec<&str> =
        index["manifests"].as_array().unwrap().iter().map(|d| d["annotations"][key].as_str().unwrap()).collect();
    assert_eq!(shorts, ["1", "localhost/b:1", "2"]);
    for name in names {
        ok(&mut place.image(&["rm", name]));
    }
    ok(&mut place.image(&["import", "layout"]));
    assert_eq!(place.names(), names);
    for name in names {
        assert!(ok(&mut place.image(&["inspect", "--config", name])).contains(&format!("[\"{name}\"]")), "{name}");
    }
}
