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

#[path = "common/mod.rs"]
#[macro_use]
#[allow(unused_imports, reason = "each test crate uses its part of this")]
mod common;

use common::registry::{Registry, have, put_image};
use ocicat::image::manifest::{Descriptor, media};
use ocicat::image::store::Store;
use ocicat::image::tar::{Entry, Kind, Writer};
use ocicat::registry::Digest;
use ocicat::sys::pidfd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// A layer of many small files and one larger one.
fn layer(number: u8) -> Vec<u8> {
    let mut tar = Writer::new(Vec::new());
    for directory in 0..10 {
        let path = format!("l{number}/d{directory}").into_bytes();
        tar.entry(&Entry { path: path.clone(), kind: Kind::Directory, mode: 0o755, ..Entry::default() }).unwrap();
        for file in 0..20 {
            let path = [path.clone(), format!("/f{file}").into_bytes()].concat();
            tar.entry(&Entry { path, mode: 0o644, size: 100, ..Entry::default() }).unwrap();
            tar.data(&[number; 100]).unwrap();
        }
    }
    let hidden = format!("l{}/.wh.d0", number.saturating_sub(1)).into_bytes();
    tar.entry(&Entry { path: hidden, mode: 0o600, ..Entry::default() }).unwrap();
    tar.entry(&Entry { path: b"large".to_vec(), mode: 0o600, size: 1 << 20, ..Entry::default() }).unwrap();
    tar.data(&vec![number; 1 << 20]).unwrap();
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
    store.tag("localhost/x:1", &put_image(&store, &config, &descriptors)).unwrap();
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

/// Kills a command after `milliseconds`; true when it was still at work.
fn killed(mut command: Command, milliseconds: i32) -> bool {
    let mut child = command.spawn().unwrap();
    let process = pidfd::open(child.id().try_into().unwrap()).unwrap();
    let ended = pidfd::wait_end(&process, milliseconds).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    !ended
}

/// Milliseconds that a command takes here and now.
fn duration(mut command: Command) -> i32 {
    let started = Instant::now();
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    i32::try_from(started.elapsed().as_millis()).unwrap().max(10)
}

/// The image is whole: it unpacks to the tree that it should be.
fn assert_whole(store: &Path, name: &str, place: &Path) {
    let tree = place.join("whole");
    succeed(store, &["unpack", name, tree.to_str().unwrap()]);
    assert!(tree.join("l2/d3/f7").exists() && !tree.join("l0/d0").exists());
    assert_eq!(std::fs::metadata(tree.join("large")).unwrap().len(), 1 << 20);
    std::fs::remove_dir_all(tree).unwrap();
}

/// One command that is killed at moments spread over its time.
struct Interrupted<'a> {
    /// Brings place and store into the state before the command.
    prepare: &'a dyn Fn(&Path, &Path),
    /// The command, for a store and a place beside it.
    command: &'a dyn Fn(&Path, &Path) -> Vec<String>,
    /// The image that is whole when the command has gone through.
    made: &'a str,
    /// Undoes what a killed command may have made outside of the store.
    tidy: &'a dyn Fn(&Path, &Path),
}

const ATTEMPTS: i32 = 6;

impl Interrupted<'_> {
    fn at_every_moment(&self) {
        let first = tempfile::tempdir().unwrap();
        let run = |place: &Path| {
            let store = place.join("store");
            (self.prepare)(place, &store);
            let words = (self.command)(place, &store);
            (store.clone(), move || image(&store, &words.iter().map(String::as_str).collect::<Vec<_>>()))
        };
        let whole = duration(run(first.path()).1());
        let mut hit = 0;
        for attempt in 0..ATTEMPTS {
            let place = tempfile::tempdir().unwrap();
            let (store, command) = run(place.path());
            hit += u32::from(killed(command(), whole * attempt / ATTEMPTS));
            // Killed before its first step it has made no store, and there is nothing to check.
            if store.join("index.json").exists() {
                succeed(&store, &["check"]);
            }
            // What has a name is whole, though the command was not finished.
            let listed = image(&store, &["list"]).stdout(Stdio::piped()).output().unwrap();
            if String::from_utf8_lossy(&listed.stdout).contains(self.made) {
                assert_whole(&store, self.made, place.path());
            }
            (self.tidy)(place.path(), &store);
            duration(command());
            succeed(&store, &["gc"]);
            succeed(&store, &["check"]);
            assert_eq!(names(&store.join("ocicat/tmp")), Vec::<std::ffi::OsString>::new());
            assert_whole(&store, self.made, place.path());
        }
        assert!(hit > 0, "no try hit the program at work");
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn text(path: std::path::PathBuf) -> String {
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_bundle_that_was_killed_at_any_moment_can_be_made_again() {
    Interrupted {
        prepare: &|_, store| layout(store),
        command: &|place, _| words(&["bundle", "--copy", "localhost/x:1", &text(place.join("b"))]),
        made: "localhost/x:1",
        tidy: &|place, store| {
            let bundle = place.join("b");
            if bundle.join("ocicat-image.json").exists() {
                succeed(store, &["remove", &text(bundle)]);
            } else if bundle.exists() {
                std::fs::remove_dir(bundle).unwrap();
            }
        },
    }
    .at_every_moment();
}

#[test]
fn an_import_that_was_killed_at_any_moment_can_be_made_again() {
    for source in ["source", "source.tar"] {
        Interrupted {
            prepare: &|place, _| {
                layout(&place.join("source"));
                if source != "source" {
                    let archive = text(place.join(source));
                    succeed(&place.join("source"), &["export", "localhost/x:1", &archive]);
                }
            },
            command: &|place, _| words(&["import", &text(place.join(source)), "localhost/x:1"]),
            made: "localhost/x:1",
            tidy: &|_, _| {},
        }
        .at_every_moment();
    }
}

#[test]
fn a_commit_that_was_killed_at_any_moment_can_be_made_again() {
    Interrupted {
        prepare: &|place, store| {
            layout(store);
            let bundle = place.join("b");
            succeed(store, &["bundle", "--copy", "localhost/x:1", &text(bundle.clone())]);
            for number in 0..100 {
                std::fs::write(bundle.join(format!("rootfs/new{number}")), vec![7; 20_000]).unwrap();
            }
            std::fs::remove_dir_all(bundle.join("rootfs/l1/d3")).unwrap();
        },
        command: &|place, _| words(&["commit", &text(place.join("b")), "localhost/x:2"]),
        made: "localhost/x:2",
        tidy: &|_, _| {},
    }
    .at_every_moment();
}

#[test]
fn a_gc_that_was_killed_at_any_moment_takes_nothing_that_is_needed() {
    Interrupted {
        prepare: &|place, store| {
            layout(store);
            let bundle = place.join("b");
            succeed(store, &["bundle", "--copy", "localhost/x:1", &text(bundle.clone())]);
            // Layers and blobs that nobody needs any more.
            for number in 0..3 {
                std::fs::write(bundle.join("rootfs/new"), vec![number; 500_000]).unwrap();
                succeed(store, &["commit", &text(bundle.clone()), "localhost/x:2"]);
                let other = text(place.join(format!("b{number}")));
                succeed(store, &["bundle", "localhost/x:2", &other]);
                succeed(store, &["remove", &other]);
            }
            succeed(store, &["rm", "localhost/x:2"]);
        },
        command: &|_, _| words(&["gc"]),
        made: "localhost/x:1",
        tidy: &|_, _| {},
    }
    .at_every_moment();
}

#[test]
fn a_pull_and_a_push_that_were_killed_at_any_moment_go_on() {
    need!(have(&["docker-registry"]), "docker-registry is not installed");
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::start(place.path(), "");
    let source = place.path().join("source");
    layout(&source);
    let pushed = AtomicUsize::new(0);
    // Each push to a repository of its own, in pieces: there is something to send.
    let target = |number: usize| format!("{}/push{number}:1", registry.address);
    Interrupted {
        prepare: &|_, store| {
            pushed.fetch_add(1, Ordering::SeqCst);
            layout(store);
        },
        command: &|_, _| {
            words(&["push", "--chunk-size", "1000", "localhost/x:1", &target(pushed.load(Ordering::SeqCst))])
        },
        made: "localhost/x:1",
        tidy: &|_, _| {},
    }
    .at_every_moment();
    let last = pushed.load(Ordering::SeqCst);
    let pull = target(last);
    Interrupted { prepare: &|_, _| {}, command: &|_, _| words(&["pull", &pull]), made: &pull, tidy: &|_, _| {} }
        .at_every_moment();
    // Every repository has what was pushed to it, the interrupted ones too.
    for number in 1..last {
        let store = place.path().join(format!("read{number}"));
        succeed(&store, &["pull", &target(number)]);
        assert_whole(&store, &target(number), place.path());
    }
}

/// Everything that writes into a store, on file systems from much too small to large enough.
#[test]
fn a_full_disk_leaves_nothing_that_claims_to_be_whole() {
    let place = tempfile::tempdir().unwrap();
    let (source, archive, small) =
        (place.path().join("source"), place.path().join("a.tar"), place.path().join("small"));
    layout(&source);
    succeed(&source, &["export", "localhost/x:1", &text(archive.clone())]);
    std::fs::create_dir(&small).unwrap();
    let alone = ocicat::sys::clone::unshare(libc::CLONE_NEWNS as u64).is_ok()
        && ocicat::sys::mount::change_propagation("/", ocicat::sys::mount::Propagation::Private).is_ok();
    need!(alone, "no mount namespace of its own");
    let store = small.join("store");
    let mut failures = 0;
    for kilobytes in [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200] {
        let size = std::ffi::CString::new(format!("size={kilobytes}k")).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", &small, "tmpfs", flags, Some(size.as_c_str())).unwrap();
        let bundle = text(small.join("b"));
        for words in [
            &["import", archive.to_str().unwrap(), "localhost/x:1"][..],
            &["bundle", "--copy", "localhost/x:1", &bundle],
            &["commit", &bundle, "localhost/x:2"],
        ] {
            if words[0] == "commit" {
                // Not every byte fits: a smaller file than it should be is still a change.
                let _ = std::fs::write(small.join("b/rootfs/new"), bytes(2 << 20));
            }
            let output = image(&store, words).output().unwrap();
            if output.status.success() {
                continue;
            }
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("no space left on device") || said.contains("does not fit"), "{words:?}: {said}");
            failures += 1;
            if store.join("index.json").exists() {
                succeed(&store, &["check"]);
                assert_eq!(names(&store.join("ocicat/tmp")), Vec::<std::ffi::OsString>::new(), "{words:?}");
            }
            break;
        }
        rustix::mount::unmount(&small, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
    assert!((3..10).contains(&failures), "{failures} of ten did not fit");
}

/// A pull onto a disk that is too small says so and keeps nothing that is not whole; with more room it goes through.
#[test]
fn a_pull_onto_a_full_disk_goes_through_when_there_is_room() {
    need!(have(&["docker-registry"]), "docker-registry is not installed");
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::start(place.path(), "");
    let (source, small) = (place.path().join("source"), place.path().join("small"));
    layout(&source);
    let name = format!("{}/x:1", registry.address);
    succeed(&source, &["push", "localhost/x:1", &name]);
    std::fs::create_dir(&small).unwrap();
    let alone = ocicat::sys::clone::unshare(libc::CLONE_NEWNS as u64).is_ok()
        && ocicat::sys::mount::change_propagation("/", ocicat::sys::mount::Propagation::Private).is_ok();
    need!(alone, "no mount namespace of its own");
    let store = small.join("store");
    let mut failures = 0;
    for (kilobytes, command) in [
        (150, "pull"),
        (600, "pull"),
        (2000, "pull"),
        (600, "run"),
        (2000, "run"),
        (600, "bundle"),
        (2000, "bundle"),
        (2000, "copy"),
    ] {
        let size = std::ffi::CString::new(format!("size={kilobytes}k")).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", &small, "tmpfs", flags, Some(size.as_c_str())).unwrap();
        let bundle = text(small.join("b"));
        let words: Vec<&str> = match command {
            "bundle" => vec!["bundle", &name, &bundle],
            "copy" => vec!["bundle", "--copy", &name, &bundle],
            "run" => vec!["run", &name, "x"],
            _ => vec!["pull", &name],
        };
        let output = image(&store, &words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{words:?} onto {kilobytes} kB succeeded");
        let names_cause = said.contains("no space left on device (ENOSPC)") || said.contains("does not fit");
        let names_place = said.contains(small.to_str().unwrap());
        assert!(names_cause && names_place, "{words:?} onto {kilobytes} kB: {said}");
        failures += 1;
        assert!(!small.join("b").exists(), "{words:?} onto {kilobytes} kB");
        if store.join("index.json").exists() {
            succeed(&store, &["check"]);
            assert_eq!(names(&store.join("ocicat/tmp")), Vec::<std::ffi::OsString>::new(), "{words:?}");
            let listed = image(&store, &["list"]).stdout(Stdio::piped()).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&listed.stdout), "", "{words:?} onto {kilobytes} kB");
        }
        // Room is made; what was kept is used, and what was not is fetched.
        rustix::mount::mount_remount(&small, flags, "size=100m").unwrap();
        succeed(&store, &["pull", &name]);
        succeed(&store, &["check"]);
        assert_whole(&store, &name, place.path());
        rustix::mount::unmount(&small, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
    assert_eq!(failures, 8);
}

/// Bytes that do not shrink.
fn bytes(count: usize) -> Vec<u8> {
    let next = |state: &mut u64| {
        *state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        Some((*state >> 56) as u8)
    };
    let mut state = 1u64;
    std::iter::from_fn(|| next(&mut state)).take(count).collect()
}

#[test]
fn two_processes_unpack_one_image_at_once() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("store");
    layout(&store);
    let bundles: Vec<_> = (0..4).map(|number| place.path().join(format!("b{number}"))).collect();
    let start = |bundle: &std::path::PathBuf| {
        image(&store, &["bundle", "localhost/x:1", bundle.to_str().unwrap()]).spawn().unwrap()
    };
    let children: Vec<_> = bundles.iter().map(start).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for bundle in &bundles {
        assert!(bundle.join("rootfs/l2/d3/f7").exists());
        succeed(&store, &["remove", bundle.to_str().unwrap()]);
    }
    assert_eq!(names(&store.join("ocicat/layers")).len(), 3);
}
