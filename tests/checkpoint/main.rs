//! `checkpoint` and `restore` with a real CRIU.
//!
//! CRIU makes processes with numbers of its choice and works on cgroups and connections: it is run only where
//! `OCICAT_TEST_CRIU=1` says that the machine is nobody else's (a VM). What needs no CRIU runs everywhere.
//!
//! A container's standard streams must be something that the container has too, or pipes: the null device here, never a
//! file of the host's, which CRIU refuses.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic, and its paths are its own"
)]

#[macro_use]
#[path = "../common/mod.rs"]
mod common;

use common::{Container, Outcome, json, outcome};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A machine without hardware for virtual machines is slow, and several tests run at once.
const PATIENCE: Duration = Duration::from_secs(120);

/// Leaves the test where CRIU must not be run.
macro_rules! need_criu {
    () => {
        need!(
            std::env::var("OCICAT_TEST_CRIU").is_ok_and(|value| value == "1"),
            "CRIU is run only on a machine of its own, which OCICAT_TEST_CRIU=1 declares"
        );
        need!(host::is_root(), "CRIU needs root");
        need!(host::has("criu"), "criu is not installed");
    };
}

mod memory;
mod namespaces;
mod options;
mod whole;

/// Appends 1, 2, 3, ... to /data/count for ever.
const COUNT: &str = "n=0; while :; do n=$((n+1)); echo $n >> /data/count; sleep 0.05; done";

/// A container whose root can be written to and that runs this line of the shell.
fn counting(line: &str) -> Container {
    Container::new().shell(line).set("/root/readonly", json!(false))
}

/// Calls the runtime with null devices as streams, which a container inherits; its error comes through the log.
#[track_caller]
fn quietly(container: &Container, args: &[&str]) -> Outcome {
    with_streams(container, args, container.null(), container.null())
}

#[track_caller]
fn with_streams(container: &Container, args: &[&str], stdout: Stdio, stderr: Stdio) -> Outcome {
    let log = container.dir.join("log");
    let _ = fs::remove_file(&log);
    let mut command = container.command(&[&["--log", log.to_str().unwrap()], args].concat());
    command.stdout(stdout).stderr(stderr);
    let asked = format!("{command:?}");
    let mut child = command.spawn().unwrap();
    assert!(outcome::ends_within(&child, PATIENCE), "{asked} did not end");
    let code = child.wait().unwrap().code().unwrap_or(-1);
    Outcome { code, out: String::new(), err: fs::read_to_string(&log).unwrap_or_default(), asked }
}

/// Calls the runtime for something that may take long here.
#[track_caller]
fn call(container: &Container, args: &[&str]) -> Outcome {
    common::finish_within(container.command(args), PATIENCE)
}

/// Starts it in the background.
#[track_caller]
fn start(container: Container) -> Container {
    container.write();
    quietly(&container, &["run", "--detach", &container.id]).ok();
    container
}

/// A pipe: the end to read from, and the end for a container.
fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap()
}

/// The numbers that come through a pipe.
fn lines(end: OwnedFd) -> impl Iterator<Item = u64> {
    BufReader::new(File::from(end)).lines().map(|line| line.unwrap().parse().unwrap())
}

fn images(container: &Container, name: &str) -> String {
    container.dir.join(name).to_str().unwrap().to_owned()
}

#[track_caller]
fn checkpoint(container: &Container, options: &[&str]) -> Outcome {
    let images = images(container, "images");
    call(container, &[&["checkpoint", "--image-path", &images], options, &[&container.id]].concat())
}

#[track_caller]
fn restore(container: &Container, options: &[&str]) -> Outcome {
    let images = images(container, "images");
    quietly(container, &[&["restore", "--detach", "--image-path", &images], options, &[&container.id]].concat())
}

/// The numbers in a file of the container.
fn numbers(path: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    // A last line without its end is still being written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| line.trim().parse().unwrap()).collect()
}

/// Waits until the file has at least so many numbers.
#[track_caller]
fn wait_for(path: &Path, least: usize) -> Vec<u64> {
    use rustix::fs::inotify;
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&watch, path.parent().unwrap(), inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE)
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = numbers(path);
        if found.len() >= least {
            return found;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(outcome::readable_within(&watch, left), "{} has only {found:?}", path.display());
        let mut events = [0; 4096];
        rustix::io::read(&watch, &mut events).unwrap();
    }
}

fn count_file(container: &Container) -> PathBuf {
    container.rootfs().join("data/count")
}

/// It counts on: more numbers come, and none is missing or there twice.
#[track_caller]
fn counts_on(path: &Path) {
    let before = numbers(path).len();
    let after = wait_for(path, before + 3);
    assert_eq!(after, (1..=after.len() as u64).collect::<Vec<_>>());
}

/// It is gone without a trace, also of its cgroup.
#[track_caller]
fn delete(container: &Container) {
    container.end();
    container.delete().ok();
    assert_eq!(container.leftovers(), [""; 0]);
}

#[test]
fn without_criu_it_is_said_what_is_missing() {
    only_ocicat!("the words are ours");
    let container = Container::new();
    container.write();
    for command in ["checkpoint", "restore"] {
        let mut called = container.command(&[command, &container.id]);
        called.env("PATH", container.rootfs().join("data"));
        let outcome = common::finish(called);
        assert_eq!(outcome.code, 1, "{outcome}");
        assert!(outcome.err.contains("executable file not found in $PATH; hint: "), "{outcome}");
        assert_eq!(container.leftovers(), [""; 0]);
    }
}

#[test]
fn managers_see_that_both_commands_are_there() {
    let container = Container::new();
    container.call(&["checkpoint", "--help"]).ok();
    let probe = container.call(&["restore", "--lsm-mount-context"]);
    assert!(probe.code != 0 && probe.err.contains("flag needs an argument"), "{probe}");
    let features = container.call(&["features"]).ok().json();
    assert_eq!(features["annotations"]["org.opencontainers.runc.checkpoint.enabled"], "true");
}
