//! `wait` and the exit record where a systemd takes the cgroup away as soon as it is empty, and for an ordinary user.

use crate::common::outcome::{code_of, content, scratch};
use crate::common::*;
use crate::sessions;
use crate::systemd::in_a_scope;
use std::process::Stdio;

/// `wait` in the background, until the container has done what it is told to do by then.
#[track_caller]
fn ended(container: &Container, go: impl FnOnce()) -> Value {
    let (out, err) = (scratch(), scratch());
    let mut command = container.command(&["wait", "--format", "json", &container.id]);
    command.stdout(Stdio::from(out.try_clone().unwrap())).stderr(Stdio::from(err.try_clone().unwrap()));
    let mut child = command.spawn().unwrap();
    go();
    let code = code_of(&mut child);
    assert_eq!((code, content(&mut err.try_clone().unwrap())), (0, String::new()));
    serde_json::from_str(&content(&mut out.try_clone().unwrap())).unwrap()
}

/// What nobody knows is null: a number, or nothing where systemd was faster.
fn number_or_null(value: &Value) -> bool {
    value.is_u64() || value.is_null()
}

#[test]
#[ignore = "needs systemd as PID 1: conformance/vm/run"]
fn the_end_of_a_scope_is_recorded() {
    for (how, code, signal) in [("exit 37", 37, None), ("kill -9 $$", 137, Some(9))] {
        let container = in_a_scope().without_namespace("pid");
        let mut go = container.fifo("go");
        let container = container.shell("read how < /go; eval \"$how\"").detached();
        let pid = container.pid();
        let said = ended(&container, || go.tell(&format!("{how}\n")));
        assert_eq!((&said["exitCode"], said.get("signal").and_then(Value::as_i64)), (&json!(code), signal), "{said}");
        for name in ["cpuTime", "memoryPeak", "oomKills"] {
            assert!(number_or_null(&said[name]), "{name}: {said}");
        }
        container::wait_pid(pid);
        let state = container.state();
        assert_eq!((&state["status"], &state["exit"]), (&json!("stopped"), &said), "{how}");
        container.delete().ok();
    }
}

#[test]
#[ignore = "needs a machine with cgroup v2: conformance/vm/run"]
fn the_end_of_a_container_on_v2_is_recorded_with_what_it_used() {
    need_controllers!("memory", "cpu");
    let container = Container::new().set("/linux/resources/memory", json!({"limit": 16_777_216, "swap": 16_777_216}));
    let mut go = container.fifo("go");
    let container = container.shell("read go < /go; exec tail /dev/zero").detached();
    let pid = container.pid();
    let said = ended(&container, || go.tell("go\n"));
    assert_eq!((&said["exitCode"], &said["signal"], &said["oomKills"]), (&json!(137), &json!(9), &json!(1)), "{said}");
    assert!(said["cpuTime"].as_u64().unwrap() > 0 && said["ended"].is_string(), "{said}");
    let peak = said["memoryPeak"].as_u64().unwrap();
    assert!(peak > 8 << 20 && peak <= 16 << 20, "{said}");
    container::wait_pid(pid);
    assert_eq!(container.state()["exit"], said);
}

#[test]
#[ignore = "needs a machine with cgroup v2: conformance/vm/run"]
fn events_tell_huge_pages_pressure_and_the_limits_of_v2() {
    need_controllers!("memory", "hugetlb", "pids");
    let container = Container::new()
        .set("/linux/resources/memory", json!({"limit": 67_108_864}))
        .set("/linux/resources/pids", json!({"limit": 37}))
        .set("/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 4_194_304}]))
        .mount("/data", "hugetlbfs", "huge", &["pagesize=2M"]);
    let container = container.shell("busybox fallocate -l 2097152 /data/one; sleep 1000").detached();
    // It is there when a second process sees it.
    container.exec(&["sh", "-c", "until [ -s /data/one ]; do sleep 0.05; done"]).ok();
    let said = container.call(&["events", "--stats", &container.id]).ok().silently().json();
    for (place, wanted) in [
        ("memory/usage/limit", json!(67_108_864)),
        ("pids/limit", json!(37)),
        ("hugetlb/2MB/usage", json!(2_097_152)),
        ("hugetlb/2MB/failcnt", json!(0)),
    ] {
        assert_eq!(said.pointer(&format!("/data/{place}")), Some(&wanted), "{place}: {said}");
    }
    let pressure = std::path::Path::new("/proc/pressure/cpu").exists();
    for place in ["cpu/psi/some/total", "memory/psi/full/avg10", "blkio/psi/some/avg60"] {
        assert_eq!(said.pointer(&format!("/data/{place}")).is_some(), pressure, "{place}: {said}");
    }
}

#[test]
#[ignore = "needs the users of the machine: conformance/vm/run"]
fn the_end_of_a_users_container_is_recorded() {
    // The user's systemd is the parent and reaps at once: before Linux 6.15 it may be faster than `wait`, which then says
    // that the exit code is unknown, and must not guess.
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let numbers: Vec<u32> = release.split(['.', '-']).take(2).map(|part| part.parse().unwrap()).collect();
    let always_told = (numbers[0], numbers[1]) >= (6, 15);
    for (code, globals) in [(37, ""), (38, "--systemd-cgroup")] {
        let said = sessions::ended(&sessions::of_somebody().shell(&format!("exit {code}")), globals);
        let told = &said["exitCode"];
        assert!(*told == json!(code) || told.is_null() && !always_told, "{said}");
        assert!(said.get("signal").is_none() && said["ended"].is_string(), "{said}");
    }
}
