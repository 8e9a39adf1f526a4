//! SIGKILL to the runtime at any moment: after one `delete --force` nothing is left, neither state nor cgroups nor
//! mounts nor processes, and the id can be used again.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic, and its paths are its own"
)]

#[macro_use]
mod common;

use common::*;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, pidfd_open, waitid};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often a verb is killed.
fn tries(usual: u32) -> u32 {
    std::env::var("OCICAT_CRASH_TRIES").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Numbers that look random; the seed is printed by a failure.
struct Random(u64);

impl Random {
    fn new() -> Random {
        let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        Random(u64::try_from(seed & u128::from(u64::MAX)).unwrap() | 1)
    }

    /// Between 0 and 1.
    fn fraction(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn quiet(mut command: Command, container: &Container) -> Child {
    command.stdin(container.null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Kills calls at moments spread over their whole life. How long that is changes with what else the machine does, so
/// each call that ends by itself corrects the estimate.
struct Killer {
    random: Random,
    usually: Duration,
    at_work: u32,
    tries: u32,
}

impl Killer {
    /// Learns from one call how long it takes.
    fn new(mut call: Child) -> Killer {
        let begin = Instant::now();
        call.wait().unwrap();
        Killer { random: Random::new(), usually: begin.elapsed(), at_work: 0, tries: 0 }
    }

    /// Lets the call run for a part of its usual life and kills it. Gives the processes that it had made.
    fn kill(&mut self, mut child: Child) -> Vec<u32> {
        let mut made = Vec::new();
        let begin = Instant::now();
        let moment = self.usually.mul_f64(1.1 * self.random.fraction());
        self.tries += 1;
        if outcome::ends_within(&child, moment) {
            self.usually = (self.usually * 3 + begin.elapsed()) / 4;
        } else {
            // Stopped first, so that what it had made can be read.
            kill_process(Pid::from_child(&child), Signal::STOP).unwrap();
            // It stops a moment later, and may make a process until then.
            let changed = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            waitid(WaitId::Pid(Pid::from_child(&child)), changed).unwrap();
            let children =
                std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap_or_default();
            made.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
            self.at_work += 1;
        }
        child.wait().unwrap();
        made
    }

    /// Whether there were this many kills at work, or enough tries.
    fn done(&self, wanted: u32) -> bool {
        self.at_work >= wanted || self.tries >= 4 * wanted
    }

    #[track_caller]
    fn report(&self, what: &str, wanted: u32) {
        println!("{what}: killed at work in {} of {} tries, usually {:?}", self.at_work, self.tries, self.usually);
        assert!(
            self.at_work >= wanted / 2,
            "{what}: only {} of {} kills came while it was at work",
            self.at_work,
            self.tries
        );
    }
}

/// Processes that were just killed may need a moment to be gone.
fn leftovers(container: &Container) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(5);
    for pid in host::processes_of(&container.id, &container.rootfs()) {
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        if let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) {
            outcome::readable_within(&fd, deadline.saturating_duration_since(Instant::now()));
        }
    }
    container.leftovers()
}

/// One try: whatever is there is removed by a single `delete --force`.
#[track_caller]
fn one_delete_removes_all(container: &Container, told: &str) {
    let outcome = container.call(&["delete", "--force", &container.id]);
    assert!(outcome.code == 0, "{told}: {outcome}");
    let left = leftovers(container);
    assert!(left.is_empty(), "{told}: left after `delete --force`:\n{}", left.join("\n"));
    assert_ne!(container.call(&["state", &container.id]).code, 0, "{told}");
}

/// Kills a call at random moments of its life. `prepare` makes what the call needs.
#[track_caller]
fn kill_at_random_moments(usual: u32, container: &Container, prepare: impl Fn(), words: &[&str]) {
    only_ocicat!("runc and crun leave cgroups behind");
    container.write();
    let remove = || container.call(&["delete", "--force", &container.id]).ok();
    prepare();
    let mut killer = Killer::new(quiet(container.command(words), container));
    remove();
    let wanted = tries(usual);
    let seed = killer.random.0;
    while !killer.done(wanted) {
        prepare();
        killer.kill(quiet(container.command(words), container));
        one_delete_removes_all(container, &format!("try {} of {words:?}, seed {seed}", killer.tries));
    }
    killer.report(words[0], wanted);
}

#[test]
fn create_killed_at_any_moment_leaves_nothing() {
    let container = Container::new().args(&["sleep", "1000"]);
    let id = container.id.clone();
    kill_at_random_moments(100, &container, || (), &["create", &id]);
}

#[test]
fn create_with_hooks_and_a_user_namespace_killed_at_any_moment_leaves_nothing() {
    let hook = json!([{"path": "/bin/true"}]);
    let container = Container::new().user_namespace().args(&["sleep", "1000"]).namespace("cgroup");
    let container = container
        .set("/hooks/prestart", hook.clone())
        .set("/hooks/createRuntime", hook.clone())
        .set("/hooks/createContainer", hook);
    let id = container.id.clone();
    kill_at_random_moments(40, &container, || (), &["create", &id]);
}

#[test]
fn run_killed_at_any_moment_leaves_nothing() {
    let container = Container::new().args(&["sleep", "0.02"]);
    let id = container.id.clone();
    kill_at_random_moments(40, &container, || (), &["run", &id]);
}

#[test]
fn a_detached_run_killed_at_any_moment_leaves_nothing() {
    let container = Container::new().args(&["sleep", "1000"]);
    let id = container.id.clone();
    kill_at_random_moments(40, &container, || (), &["run", "--detach", &id]);
}

#[test]
fn start_killed_at_any_moment_leaves_nothing() {
    let container = Container::new().args(&["sleep", "1000"]);
    let id = container.id.clone();
    let prepare = || assert!(quiet(container.command(&["create", &id]), &container).wait().unwrap().success());
    kill_at_random_moments(40, &container, prepare, &["start", &id]);
}

#[test]
fn delete_killed_at_any_moment_leaves_nothing() {
    let container = Container::new().args(&["sleep", "1000"]);
    let id = container.id.clone();
    let prepare = || assert!(quiet(container.command(&["run", "--detach", &id]), &container).wait().unwrap().success());
    kill_at_random_moments(40, &container, prepare, &["delete", "--force", &id]);
}

#[test]
fn delete_of_a_stopped_container_killed_at_any_moment_leaves_nothing() {
    let container = Container::new();
    let id = container.id.clone();
    let prepare = || {
        assert!(quiet(container.command(&["create", &id]), &container).wait().unwrap().success());
        container.end();
    };
    kill_at_random_moments(40, &container, prepare, &["delete", &id]);
}

#[test]
fn delete_with_a_poststop_hook_killed_at_any_moment_leaves_nothing_and_the_hook_has_run() {
    let container = Container::new();
    let log = container.dir.join("log");
    let line = format!("echo ran >> {}", log.display());
    let container = container.set("/hooks/poststop", json!([{"path": "/bin/sh", "args": ["sh", "-c", line]}]));
    let (id, made) = (container.id.clone(), std::cell::Cell::new(0));
    let prepare = || {
        assert!(quiet(container.command(&["create", &id]), &container).wait().unwrap().success());
        made.set(made.get() + 1);
    };
    kill_at_random_moments(40, &container, prepare, &["delete", "--force", &id]);
    let ran = std::fs::read_to_string(&log).unwrap_or_default().lines().count();
    assert!(ran >= made.get(), "{ran} of {}", made.get());
}

#[test]
fn pause_killed_at_any_moment_leaves_nothing() {
    let container = Container::new().args(&["sleep", "1000"]);
    let id = container.id.clone();
    let prepare = || assert!(quiet(container.command(&["run", "--detach", &id]), &container).wait().unwrap().success());
    kill_at_random_moments(40, &container, prepare, &["pause", &id]);
}

#[test]
fn exec_killed_at_any_moment_leaves_the_container_as_it_was() {
    only_ocicat!("peers were not asked");
    let container = Container::new().sleeping();
    let pid = container.pid();
    let words = ["exec", &container.id, "true"];
    let mut killer = Killer::new(quiet(container.command(&words), &container));
    let wanted = tries(60);
    while !killer.done(wanted) {
        // What it had begun dies with it or ends by itself, and is ours to reap: a pid namespace cannot end before.
        for pid in killer.kill(quiet(container.command(&words), &container)) {
            container::wait_pid(pid);
        }
        assert_eq!((container.status(), container.pid()), ("running".to_owned(), pid));
    }
    container.exec(&["echo", "alive"]).says("alive");
    // What a killed exec had begun inside is gone too: only the first process is there.
    let pids = container.call(&["ps", "--format", "json", &container.id]).ok().json();
    assert_eq!(pids, json!([pid]));
    killer.report("exec", wanted);
}

#[test]
fn an_id_whose_create_was_killed_can_be_created_again_after_a_delete() {
    only_ocicat!("peers were not asked");
    let container = Container::new();
    container.write();
    let id = container.id.clone();
    let mut killer = Killer::new(quiet(container.command(&["create", &id]), &container));
    for _ in 0..10 {
        container.call(&["delete", "--force", &id]).ok();
        killer.kill(quiet(container.command(&["create", &id]), &container));
        container.call(&["delete", "--force", &id]).ok();
        container.create().ok();
        assert_eq!(container.status(), "created");
    }
}

#[test]
fn a_killed_create_is_listed_and_told_as_no_running_container() {
    only_ocicat!("peers were not asked");
    let container = Container::new();
    container.write();
    let id = container.id.clone();
    let mut killer = Killer::new(quiet(container.command(&["create", &id]), &container));
    for _ in 0..20 {
        container.call(&["delete", "--force", &id]).ok();
        killer.kill(quiet(container.command(&["create", &id]), &container));
        container.call(&["list", "--format", "json"]).ok();
        let state = container.call(&["state", &id]);
        if state.code == 0 {
            let status = state.json()["status"].as_str().unwrap().to_owned();
            assert!(["creating", "created", "stopped"].contains(&status.as_str()), "{status}");
        }
    }
}
