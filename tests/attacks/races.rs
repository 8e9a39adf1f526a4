//! Names that change while the runtime uses them, by somebody who shares a volume with the container.

use crate::common::*;
use crate::decoy::*;
use rustix::fs::RenameFlags;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A thread that exchanges two names of a directory as fast as it can, until it is dropped.
struct Swapper(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Swapper {
    fn start(dir: &Path, one: &'static str, other: &'static str) -> Swapper {
        let dir = rustix::fs::open(dir, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(&dir, one, &dir, other, RenameFlags::EXCHANGE).unwrap();
            }
        });
        Swapper(stop, Some(thread))
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().unwrap().join().unwrap();
    }
}

/// Runs the container for 10 000 rounds or 20 seconds; each time it comes up, it has said one of the texts that are right.
/// The decoy stays as it is, and more than one outcome of the race has been seen: what was said, or a refusal.
#[track_caller]
fn raced(container: &Container, decoy: &Path, right: &dyn Fn(&str) -> bool) {
    container.write();
    let until = Instant::now() + Duration::from_secs(20);
    let (mut rounds, mut outcomes) = (0, BTreeSet::new());
    while rounds < 10_000 && Instant::now() < until {
        let outcome = container.call(&["run", &container.id]);
        rounds += 1;
        if outcome.code == 0 {
            assert!(right(&outcome.out), "{outcome}");
            outcomes.insert(outcome.out);
        } else {
            assert!(outcome.out.is_empty() && outcome.err.starts_with("ocicat: "), "{outcome}");
            outcomes.insert("refused".to_owned());
        }
        untouched(decoy);
    }
    println!("{rounds} rounds, {} outcomes", outcomes.len());
    assert!(outcomes.len() > 1, "no race in {rounds} rounds: {outcomes:?}");
}

/// The mount points and what is mounted there, as the container sees them.
const TABLE: &str = "while read a b c root point rest; do echo $point ${rest#* - }; done < /proc/self/mountinfo";

#[test]
fn a_proc_that_is_exchanged_with_a_link_gets_no_procfs_elsewhere() {
    only_ocicat!("CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: old peers fall for it");
    // Wherever it is when the program looks: it is the one that was masked.
    let look = "for at in /proc /proc.link; do cd $at 2>/dev/null && [ -d sys/kernel ] || continue; echo found; \
        (echo decoy > sys/kernel/domainname) 2>/dev/null && echo written; wc -c < keys; done; true";
    let container = Container::new().shell(look);
    let dir = decoy(&container);
    // The link leads to another directory of the container, where nothing would be masked.
    symlink("/data", container.rootfs().join("proc.link")).unwrap();
    let swapper = Swapper::start(&container.rootfs(), "proc", "proc.link");
    raced(&container, &dir, &|said| said.replace("found\n0\n", "").is_empty());
    drop(swapper);
}

/// A container with the decoy as a volume that is mounted last: what was mounted on it from within would show.
fn with_volume(line: &str) -> (Container, PathBuf, PathBuf) {
    let container = Container::new();
    let dir = decoy(&container);
    let volume = container.dir.join("volume");
    fs::create_dir_all(volume.join("swap/sub")).unwrap();
    symlink(&dir, volume.join("link")).unwrap();
    let container = container.mount("/volume", "bind", &volume, &["rbind", "rw"]).shell(line);
    fs::create_dir(container.rootfs().join("volume")).unwrap();
    fs::create_dir(container.rootfs().join("decoy")).unwrap();
    (container, dir, volume)
}

#[test]
fn a_mount_point_that_is_exchanged_with_a_link_stays_inside() {
    only_ocicat!("CVE-2021-30465: old peers fall for it");
    let (container, dir, volume) = with_volume(&format!("{TABLE}; ls /decoy"));
    let container = container
        .mount("/volume/swap", "tmpfs", "tmpfs", &[])
        .mount("/volume/swap/sub", "tmpfs", "tmpfs", &[])
        .mount("/decoy", "bind", &dir, &["rbind", "ro"]);
    let swapper = Swapper::start(&volume, "swap", "link");
    raced(&container, &dir, &|said| said.ends_with("\nfile\n") && !said.contains("\n/decoy/"));
    drop(swapper);
}

#[test]
fn a_mount_point_that_is_made_while_its_name_is_exchanged_is_made_inside() {
    only_ocicat!("CVE-2024-45310: old peers fall for it");
    let (container, dir, volume) = with_volume(&format!("{TABLE}; ls /decoy"));
    fs::write(container.dir.join("config"), "").unwrap();
    let container = container
        .mount("/volume/swap/a/b/c", "tmpfs", "tmpfs", &[])
        .mount("/volume/swap/sub/file", "bind", container_file(&volume), &["bind"])
        .mount("/decoy", "bind", &dir, &["rbind", "ro"]);
    let swapper = Swapper::start(&volume, "swap", "link");
    raced(&container, &dir, &|said| said.ends_with("\nfile\n") && !said.contains("\n/decoy/"));
    drop(swapper);
}

/// A file beside the volume.
fn container_file(volume: &Path) -> PathBuf {
    volume.with_file_name("config")
}

#[test]
fn a_null_device_that_is_exchanged_with_a_link_masks_with_nothing_else() {
    only_ocicat!("CVE-2025-31133, CVE-2025-62161: old peers fall for it");
    // A /dev that somebody else shares, and a path that is masked with its null device.
    let container = without_mounts(Container::new(), "/dev");
    let dir = decoy(&container);
    let dev = container.dir.join("dev");
    fs::create_dir(&dev).unwrap();
    let null = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::from_raw_mode(0o666));
    rustix::fs::mknodat(rustix::fs::CWD, dev.join("null"), null.0, null.1, rustix::fs::makedev(1, 3)).unwrap();
    symlink(dir.join("file"), dev.join("link")).unwrap();
    symlink("/data/secret", dev.join("inside")).unwrap();
    let container = container
        .mount("/dev", "bind", &dev, &["rbind", "rw"])
        .file("/data/secret", "secret\n", 0o644)
        .set("/linux/maskedPaths", json!(["/proc/version"]))
        .shell("stat -c '%F %t:%T' /proc/version; wc -c < /proc/version");
    let swapper = Swapper::start(&dev, "null", "inside");
    raced(&container, &dir, &|said| said == "character special file 1:3\n0\n");
    drop(swapper);
}
