//! Memory does not grow with the image: images that were made to need much, unpacked both ways by the program itself.
//!
//! The bound is 25 MB for the whole program. What it has of its own executable differs between builds, so the anonymous memory
//! is held against what the executable of a release leaves of that.
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

use common::registry::{Registry, have, ok, put_image};
use common::{Value, json};
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use ocicat::image::manifest::{Descriptor, media};
use ocicat::image::store::Store;
use ocicat::image::tar::{Entry, Kind, Writer};
use ocicat::registry::Digest;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const IMAGE: &str = "localhost/x:1";

/// 25 MB, less the 4 MB that a release has of its executable in memory (kB).
const LIMIT: u64 = 21_000;

/// A layer of the archive that `fill` writes.
fn layer(fill: impl FnOnce(&mut Writer<Vec<u8>>)) -> Vec<u8> {
    let mut tar = Writer::new(Vec::new());
    fill(&mut tar);
    tar.finish().unwrap()
}

fn put(tar: &mut Writer<Vec<u8>>, name: &str, kind: Kind, link: &str) {
    let mode = if kind == Kind::Directory { 0o755 } else { 0o644 };
    tar.entry(&Entry { path: name.into(), link: link.into(), kind, mode, ..Entry::default() }).unwrap();
}

fn files(names: impl Iterator<Item = String>) -> Vec<u8> {
    layer(|tar| names.for_each(|name| put(tar, &name, Kind::File, "")))
}

/// Bytes that no compression makes small, the same in each run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let step = |state: &mut u64| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        Some(*state)
    };
    std::iter::successors(Some(seed | 1 << 40), |state| step(&mut state.clone()))
        .flat_map(u64::to_le_bytes)
        .take(length)
        .collect()
}

/// One frame whose size nobody knows in advance, with a window of 8 MiB, as most builders write.
fn zstd_of(tar: &[u8]) -> Vec<u8> {
    zstd_with(tar, 23)
}

/// The same with the largest window there is, as `zstd --long` writes.
fn zstd_long_of(tar: &[u8]) -> Vec<u8> {
    zstd_with(tar, 27)
}

fn zstd_with(tar: &[u8], log: u32) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(log).unwrap();
    encoder.long_distance_matching(true).unwrap();
    encoder.write_all(tar).unwrap();
    encoder.finish().unwrap()
}

fn gzip_of(tar: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(tar).unwrap();
    encoder.finish().unwrap()
}

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    /// In memory where there is room: an old file system's inodes would take most of the time.
    fn new() -> Place {
        let shared = Path::new("/dev/shm");
        let room = rustix::fs::statvfs(shared).is_ok_and(|all| all.f_bavail * all.f_frsize > 2 << 30);
        let directory = if room { tempfile::tempdir_in(shared) } else { tempfile::tempdir() };
        Place { directory: directory.unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts an image into the store. `more` is merged into its config.
    fn make(&self, layers: &[Vec<u8>], pack: fn(&[u8]) -> Vec<u8>, more: &Value) {
        let store = Store::open(&self.path("store")).unwrap();
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let blobs = layers.iter().map(|layer| pack(layer));
        let descriptors: Vec<_> = blobs
            .map(|blob| {
                store.put(&blob).unwrap();
                Descriptor::of(media::LAYER_ZSTD, &blob)
            })
            .collect();
        let mut config = json!({"architecture": std::env::consts::ARCH.replace("x86_64", "amd64").replace("aarch64", "arm64"),
            "os": "linux", "config": {"Cmd": ["x"]}, "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        store.tag(IMAGE, &put_image(&store, &config, &descriptors)).unwrap();
    }

    fn image(&self, store: &str, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ocicat-image"));
        command.arg("-q").arg("--store").arg(self.path(store)).args(words).current_dir(self.directory.path());
        command.stdin(Stdio::null()).env("REGISTRY_AUTH_FILE", self.path("auth.json"));
        command
    }

    /// Runs a command; whether it succeeded, and its peak of anonymous memory is held against the limit.
    ///
    /// The program is looked at again and again, and held at its end: even one that is gone at once is seen, and its own peak
    /// with it.
    #[allow(clippy::zombie_processes, reason = "waitpid below waits for it")]
    fn bounded(&self, store: &str, words: &[&str]) -> Result<(), String> {
        let program = self.image(store, words);
        // Nobody can trace a program from its first step who has not waited for it: a shell waits for a line, and becomes it.
        let mut command = Command::new("sh");
        command.args(["-c", "read -r line && exec \"$0\" \"$@\" </dev/null"]).arg(program.get_program());
        command.args(program.get_args()).current_dir(self.directory.path());
        program.get_envs().for_each(|(name, value)| _ = command.env(name, value.unwrap()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut error = child.stderr.take().unwrap();
        let said = std::thread::spawn(move || std::io::read_to_string(&mut error).unwrap());
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        ptrace::seize(pid, ptrace::Options::PTRACE_O_TRACEEXIT).unwrap();
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let mut peak = 0;
        let code = loop {
            match waitpid(pid, Some(WaitPidFlag::WNOHANG)).unwrap() {
                WaitStatus::StillAlive => {
                    peak = peak.max(anonymous(pid));
                    std::thread::park_timeout(Duration::from_millis(1));
                }
                WaitStatus::PtraceEvent(..) => {
                    peak = peak.max(anonymous(pid));
                    ptrace::cont(pid, None).unwrap();
                }
                WaitStatus::Stopped(_, signal) => ptrace::cont(pid, signal).unwrap(),
                WaitStatus::Exited(_, code) => break code,
                other => panic!("{words:?}: {other:?}"),
            }
        };
        let said = said.join().unwrap();
        assert!(peak > 100, "{words:?} was not seen: {said}");
        assert!(peak < LIMIT, "{words:?} took {peak} kB of anonymous memory, more than {LIMIT}: {said}");
        if code == 0 { Ok(()) } else { Err(said) }
    }

    /// The image in layers, as one tree from its blobs, and as one tree from the layers.
    fn bounded_each_way(&self) {
        self.bounded("store", &["bundle", "--copy", IMAGE, "flat"]).unwrap();
        self.bounded("store", &["bundle", "--overlay", IMAGE, "stacked"]).unwrap();
        self.bounded("store", &["bundle", "--copy", IMAGE, "copied"]).unwrap();
        for bundle in ["flat", "stacked", "copied"] {
            self.bounded("store", &["remove", bundle]).unwrap();
        }
    }
}

/// The anonymous memory of a process (kB): at this moment, or at its peak less what it has of files now. 0 when it is gone
/// or not yet the program.
fn anonymous(pid: Pid) -> u64 {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return 0 };
    if !status.starts_with("Name:\tocicat-image\n") {
        return 0;
    }
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()).map_or(0u64, |number| number.parse().unwrap())
    };
    field("RssAnon:").max(field("VmHWM:").saturating_sub(field("RssFile:") + field("RssShmem:")))
}

macro_rules! need_root {
    () => {
        need!(rustix::process::geteuid().is_root(), "not root: overlay mounts are root's");
    };
}

/// Six layers of files that are twice there, which no compression makes small but for that.
fn twice(length: usize) -> Vec<Vec<u8>> {
    let large = |number: u64| {
        let bytes = noise(number, length);
        layer(|tar| {
            for copy in 0..2 {
                let path = format!("{number}-{copy}").into();
                tar.entry(&Entry { path, mode: 0o644, size: bytes.len() as u64, ..Entry::default() }).unwrap();
                tar.data(&bytes).unwrap();
            }
        })
    };
    (0..6).map(large).collect()
}

#[test]
fn windows_of_many_layers_are_not_in_memory_at_once() {
    need_root!();
    let place = Place::new();
    place.make(&twice(10 << 20), zstd_of, &json!({}));
    place.bounded_each_way();
    need!(have(&["docker-registry"]), "docker-registry is not installed");
    let registry = Registry::start(place.directory.path(), "");
    let there = format!("{}/x:1", registry.address);
    ok(&mut place.image("store", &["push", IMAGE, &there]));
    place.bounded("another", &["pull", &there]).unwrap();
}

#[test]
fn windows_larger_than_the_bound_are_in_files() {
    need_root!();
    let place = Place::new();
    place.make(&twice(30 << 20), zstd_long_of, &json!({}));
    let packed = std::fs::read_dir(place.path("store/blobs/sha256")).unwrap();
    let largest = packed.map(|blob| blob.unwrap().metadata().unwrap().len()).max();
    assert!(largest < Some(31 << 20), "nothing refers 30 MiB back: {largest:?}");
    place.bounded_each_way();
    assert_eq!(std::fs::read_dir(place.path("store/ocicat/tmp")).unwrap().count(), 0);
}

#[test]
fn names_that_wait_for_the_lower_layers_are_few_in_memory() {
    need_root!();
    let place = Place::new();
    let whiteouts = |number: u32| {
        let parent = format!("{number}{}", "x".repeat(60));
        files((0..55_000).map(|n| format!("{parent}/.wh.{n}")))
    };
    place.make(
        &[vec![files(["low".to_owned()].into_iter())], (0..4).map(whiteouts).collect()].concat(),
        gzip_of,
        &json!({}),
    );
    place.bounded_each_way();
}

#[test]
fn a_layer_of_too_many_such_names_is_refused() {
    need_root!();
    let place = Place::new();
    let many = files((0..90_000).map(|n| format!("{}/.wh.{n}", "x".repeat(60))));
    place.make(&[files(["low".to_owned()].into_iter()), many], gzip_of, &json!({}));
    let error = place.bounded("store", &["bundle", "--overlay", IMAGE, "x"]).unwrap_err();
    assert!(error.contains("limits.deferred"), "{error}");
    assert_eq!(std::fs::read_dir(place.path("store/ocicat/tmp")).unwrap().count(), 0);
}

#[test]
fn links_to_lower_files_and_directories_without_entries_are_few_in_memory() {
    need_root!();
    let place = Place::new();
    let deep = "d/".repeat(60);
    let low = layer(|tar| {
        // A short way to long names.
        put(tar, "way", Kind::Symlink, &deep);
        (0..4000).for_each(|n| put(tar, &format!("{deep}{n}"), Kind::File, ""));
    });
    let links = layer(|tar| (0..4000).for_each(|n| put(tar, &format!("link{n}"), Kind::HardLink, &format!("way/{n}"))));
    let implied = files((0..20_000).map(|n| format!("implied/directory-with-a-name-{n}/file")));
    place.make(&[low, links, implied], gzip_of, &json!({}));
    place.bounded_each_way();
}

#[test]
fn directories_of_any_number_and_size_take_no_memory() {
    need_root!();
    let place = Place::new();
    let wide = |number: u32| {
        layer(|tar| (0..20_000).for_each(|n| put(tar, &format!("{number}-directory-{n}"), Kind::Directory, "")))
    };
    let long = "n".repeat(230);
    let full = files((0..60_000).map(|n| format!("full/{long}{n}")));
    let hidden = files(["full/.wh..wh..opq".to_owned()].into_iter());
    place.make(&[vec![full], (0..3).map(wide).collect(), vec![hidden]].concat(), gzip_of, &json!({}));
    place.bounded_each_way();
}

#[test]
fn entries_and_hard_links_of_any_number_take_no_memory() {
    need_root!();
    let place = Place::new();
    let low = files(["low".to_owned()].into_iter());
    let many = layer(|tar| {
        (0..60_000).for_each(|n| put(tar, &format!("a/file-{n}"), Kind::File, ""));
        (0..60_000).for_each(|n| put(tar, &format!("b/link-{n}"), Kind::HardLink, &format!("a/file-{n}")));
    });
    place.make(&[low, many], gzip_of, &json!({}));
    place.bounded_each_way();
}

#[test]
fn large_headers_and_documents_are_not_kept_twice() {
    need_root!();
    let place = Place::new();
    let attributes = (0..14).map(|n| (format!("user.{n}").into_bytes(), vec![b'v'; 60_000])).collect::<Vec<_>>();
    let heavy = |number: u32| {
        layer(|tar| {
            let path = format!("file-{number}").into();
            tar.entry(&Entry { path, mode: 0o644, xattrs: attributes.clone(), ..Entry::default() }).unwrap();
        })
    };
    let label = "x".repeat(3_900_000);
    let more = json!({"config": {"Cmd": ["x"], "Labels": {"large": label}}, "history": vec![json!({}); 12_000]});
    place.make(&[files(["a".to_owned()].into_iter())], gzip_of, &more);
    place.bounded_each_way();
    // The file system may have no room for such attributes: only the memory counts.
    place.make(&(0..4).map(heavy).collect::<Vec<_>>(), gzip_of, &json!({}));
    let _ = place.bounded("store", &["bundle", "--overlay", IMAGE, "x"]);
}

#[test]
fn a_manifest_of_more_layers_than_can_be_stacked_is_refused() {
    need_root!();
    let place = Place::new();
    let one = files(["a".to_owned()].into_iter());
    place.make(&vec![one.clone(); 600], <[u8]>::to_vec, &json!({}));
    let error = place.bounded("store", &["bundle", "--overlay", IMAGE, "x"]).unwrap_err();
    assert!(error.contains("600 layers: overlayfs stacks at most 500"), "{error}");
    place.bounded("store", &["bundle", "--copy", IMAGE, "flat"]).unwrap();
    place.make(&vec![one; 1001], <[u8]>::to_vec, &json!({}));
    ok(Command::new("cp").args(["-r", "store", "layout"]).current_dir(place.directory.path()));
    let error = place.bounded("another", &["import", "layout"]).unwrap_err();
    assert!(error.contains("1001 layers: the limit is 1000"), "{error}");
}
