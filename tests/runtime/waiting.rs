//! wait, and the exit record: who learns how a container ended, and who says honestly that nobody does.

use crate::common::container::{Fifo, wait_pid};
use crate::common::outcome::{code_of, content, readable_within, scratch};
use crate::common::*;
use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

/// A `wait` at work.
struct Waiter {
    child: Child,
    out: fs::File,
    err: fs::File,
}

impl Waiter {
    /// Starts `wait --format json` and returns when it holds what it waits on.
    fn of(container: &Container) -> Waiter {
        let (out, err) = (scratch(), scratch());
        let mut command = container.command(&["wait", "--format", "json", &container.id]);
        command.stdout(Stdio::from(out.try_clone().unwrap())).stderr(Stdio::from(err.try_clone().unwrap()));
        let child = command.spawn().unwrap();
        let holds = || {
            let fds = fs::read_dir(format!("/proc/{}/fd", child.id())).into_iter().flatten().flatten();
            let pidfd = |entry: fs::DirEntry| {
                fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy().contains("pidfd"))
            };
            fds.into_iter().any(pidfd)
        };
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !holds() {
            assert!(
                std::time::Instant::now() < deadline,
                "wait holds no pidfd: {}",
                content(&mut err.try_clone().unwrap())
            );
            std::thread::yield_now();
        }
        Waiter { child, out, err }
    }

    /// What it says when it has ended.
    #[track_caller]
    fn says(mut self) -> Value {
        let code = code_of(&mut self.child);
        assert_eq!((code, content(&mut self.err)), (0, String::new()));
        serde_json::from_str(&content(&mut self.out)).unwrap()
    }
}

/// A container that ends with what `go` tells it.
fn obedient() -> (Container, Fifo) {
    let container = Container::new();
    let go = container.fifo("go");
    (container.shell("read how < /go; eval \"$how\"").detached(), go)
}

fn kernel_tells_everybody() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

#[test]
fn wait_tells_the_exit_code_or_the_signal_and_what_was_used() {
    only_ocicat!("the peers have no wait");
    for (how, code, signal) in [("exit 0", 0, None), ("exit 37", 37, None), ("kill -9 $$", 137, Some(9))] {
        // Signals of the default action do not reach the first process of a pid namespace from inside.
        let container = Container::new().without_namespace("pid");
        let mut go = container.fifo("go");
        let container = container.shell("read how < /go; eval \"$how\"").detached();
        let pid = container.pid();
        let waiter = Waiter::of(&container);
        go.tell(&format!("{how}\n"));
        let said = waiter.says();
        assert_eq!(said["exitCode"], json!(code), "{how}: {said}");
        assert_eq!(said.get("signal").and_then(Value::as_i64), signal, "{how}: {said}");
        assert!(said["cpuTime"].as_u64().unwrap() > 0 && said["ended"].is_string(), "{how}: {said}");
        if host::v1("memory") {
            assert!(said["memoryPeak"].as_u64().unwrap() > 0 && said["oomKills"] == json!(0), "{how}: {said}");
        }
        wait_pid(pid);
        // The record stays: for state, for list, and for a wait that comes late.
        assert_eq!(container.state()["exit"], said, "{how}");
        assert_eq!(container.state()["status"], "stopped");
        let list = container.call(&["list", "--format", "json"]).ok().json();
        assert_eq!(list[0]["exit"], said, "{how}");
        let late = container.call(&["wait", "--format=json", &container.id]).ok().silently().json();
        assert_eq!(late, said, "{how}");
        let words = container.call(&["wait", &container.id]).ok().text();
        let expected = signal.map_or(format!("exited with {code}"), |_| "was ended by SIGKILL".to_owned());
        assert!(words.starts_with(&format!("{} {expected}, processor time ", container.id)), "{words}");
        container.delete().ok();
    }
}

#[test]
fn a_container_that_lives_has_no_exit_record() {
    let container = Container::new().sleeping();
    assert_eq!(container.state().get("exit"), None);
}

#[test]
fn any_number_of_waits_learn_the_same() {
    only_ocicat!("the peers have no wait");
    let (container, mut go) = obedient();
    let waiters: Vec<Waiter> = (0..5).map(|_| Waiter::of(&container)).collect();
    go.tell("exit 4\n");
    for waiter in waiters {
        assert_eq!(waiter.says()["exitCode"], json!(4));
    }
    assert_eq!(container.state()["exit"]["exitCode"], json!(4));
}

#[test]
fn wait_learns_the_code_when_the_parent_reaps_at_once() {
    only_ocicat!("the peers have no wait");
    need!(kernel_tells_everybody(), "needs Linux 6.15: PIDFD_INFO_EXIT");
    let container = Container::new();
    let mut go = container.fifo("go");
    let container = container.shell("read how < /go; eval \"$how\"");
    container.write();
    // A foreground run is the parent and reaps; with --keep it leaves a record, too.
    let mut run = container.command(&["run", "--keep", &container.id]);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while container.call(&["state", &container.id]).out.lines().all(|line| !line.contains("running")) {
        assert!(std::time::Instant::now() < deadline, "the container does not run");
    }
    let waiter = Waiter::of(&container);
    go.tell("exit 9\n");
    assert_eq!(waiter.says()["exitCode"], json!(9));
    assert_eq!(code_of(&mut run), 9);
    assert_eq!(container.state()["exit"]["exitCode"], json!(9));
}

#[test]
fn a_foreground_run_that_keeps_the_container_keeps_its_exit_record() {
    only_ocicat!("the peers have none");
    let container = Container::new().shell("exit 5");
    container.run_with(&["--keep"]).exits(5);
    let exit = container.state()["exit"].clone();
    assert_eq!((&exit["exitCode"], exit.get("signal"), exit["ended"].is_string()), (&json!(5), None, true), "{exit}");
    container.call(&["wait", &container.id]).mentions("exited with 5");
}

#[test]
fn the_exit_code_is_learned_late_as_long_as_nobody_has_reaped() {
    only_ocicat!("the peers have none");
    let (container, mut go) = obedient();
    let pid = container.pid();
    let init = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let pidfd = rustix::process::pidfd_open(init, rustix::process::PidfdFlags::empty()).unwrap();
    go.tell("exit 6\n");
    assert!(readable_within(&pidfd, Duration::from_secs(20)));
    let exit = container.state()["exit"].clone();
    assert_eq!((&exit["exitCode"], &exit["ended"]), (&json!(6), &Value::Null), "nobody saw when: {exit}");
    wait_pid(pid);
    assert_eq!(container.state()["exit"], exit, "it was not recorded");
}

#[test]
fn an_exit_that_nobody_saw_is_told_to_be_unknown() {
    only_ocicat!("the peers have none");
    let (container, mut go) = obedient();
    // Asking for it later would be a look at how it ended.
    let pid = container.pid();
    go.tell("exit 6\n");
    wait_pid(pid);
    let exit = container.state()["exit"].clone();
    assert_eq!((&exit["exitCode"], &exit["ended"]), (&Value::Null, &Value::Null), "{exit}");
    assert!(exit["cpuTime"].as_u64().unwrap() > 0, "the cgroup still knows: {exit}");
    container.call(&["wait", &container.id]).mentions("has ended, its exit code is unknown");
}

#[test]
fn a_kill_for_want_of_memory_is_in_the_record() {
    only_ocicat!("the peers have none");
    need!(host::limits("memory"), "needs the memory controller");
    let container = Container::new().set("/linux/resources/memory", json!({"limit": 16_777_216, "swap": 16_777_216}));
    let container = container.shell("exec tail /dev/zero");
    container.create().ok();
    let waiter = Waiter::of(&container);
    container.start().ok();
    let said = waiter.says();
    assert_eq!((&said["exitCode"], &said["signal"], &said["oomKills"]), (&json!(137), &json!(9), &json!(1)), "{said}");
    let peak = said["memoryPeak"].as_u64().unwrap();
    assert!(peak > 8 << 20 && peak <= 16 << 20, "{said}");
}

#[test]
fn a_delete_and_the_waits_on_the_container_do_not_hold_each_other_up() {
    only_ocicat!("the peers have no wait");
    for created_only in [true, false] {
        let container = Container::new().args(&["sleep", "1000"]);
        container.create().ok();
        if !created_only {
            container.start().ok();
        }
        let waiters: Vec<Waiter> = (0..3).map(|_| Waiter::of(&container)).collect();
        container.call(&["delete", "--force", &container.id]).ok().silently();
        for waiter in waiters {
            let said = waiter.says();
            // Nobody but this test reaps, and it has not done so.
            assert_eq!((&said["exitCode"], &said["signal"]), (&json!(137), &json!(9)), "{said}");
        }
        assert_eq!(container.leftovers(), Vec::<String>::new());
        container.call(&["wait", &container.id]).fails("container does not exist");
    }
}

#[test]
fn wait_gives_up_when_it_was_told_to() {
    only_ocicat!("the peers have no wait");
    let container = Container::new().sleeping();
    container.call(&["wait", "--timeout", "50ms", &container.id]).fails("has not ended within 50ms");
    container.call(&["wait", "--timeout", "soon", &container.id]).fails("invalid timeout");
    container.call(&["wait", "nobody-has-this-id"]).fails("container does not exist");
    assert_eq!(container.status(), "running");
}

#[test]
fn a_wait_that_is_killed_harms_nobody() {
    only_ocicat!("the peers have no wait");
    let (container, mut go) = obedient();
    let mut killed = Waiter::of(&container);
    let other = Waiter::of(&container);
    killed.child.kill().unwrap();
    assert_eq!(code_of(&mut killed.child), 137);
    assert_eq!(container.status(), "running");
    go.tell("exit 8\n");
    assert_eq!(other.says()["exitCode"], json!(8));
    assert_eq!(container.state()["exit"]["exitCode"], json!(8));
    container.call(&["delete", &container.id]).ok();
}
