//! Limits that bite: what a container meets when it wants more. Counters of the kernel's tell, never a clock.

use crate::common::*;

/// The number after a word in a file of counters.
fn counter(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {text}")).trim().parse().unwrap()
}

#[test]
#[ignore = "needs a machine with cgroup v2: conformance/vm/run"]
fn a_process_over_memory_max_is_killed_and_counted() {
    need_controllers!("memory");
    let container = Container::new()
        .set("/linux/resources/memory", json!({"limit": 16_777_216, "swap": 16_777_216}))
        .args(&["sleep", "1000"])
        .detached();
    // The shell stays small; what it starts reads a line without an end.
    let outcome = container.exec(&["sh", "-c", "tail /dev/zero; echo ended with $?"]);
    outcome.mentions("ended with 137");
    let events = container.cgroup_file("memory", "memory.events").unwrap();
    assert!(counter(&events, "oom_kill") >= 1, "{events}");
    assert_eq!(container.status(), "running");
}

#[test]
#[ignore = "needs a machine with cgroup v2: conformance/vm/run"]
fn a_container_over_memory_max_ends_with_the_signal() {
    need_controllers!("memory");
    let container = Container::new().set("/linux/resources/memory", json!({"limit": 16_777_216, "swap": 16_777_216}));
    container.shell("exec tail /dev/zero").run().exits(128 + 9);
}

#[test]
#[ignore = "needs a machine with cgroup v2: conformance/vm/run"]
fn a_fork_bomb_stops_at_pids_max() {
    need_controllers!("pids");
    let container = Container::new().set("/linux/resources/pids", json!({"limit": 20})).sleeping();
    container.exec(&["sh", "-c", "while :; do sleep 1000 & done"]).fails("fork");
    let events = container.cgroup_file("pids", "pids.events").unwrap();
    assert!(counter(&events, "max") >= 1, "{events}");
    let peak = container.cgroup_file("pids", "pids.peak").unwrap();
    assert!(peak.trim().parse::<u64>().unwrap() <= 20, "{peak}");
    container.call(&["delete", "--force", &container.id]).ok();
}

#[test]
#[ignore = "needs a machine with cgroup v2: conformance/vm/run"]
fn a_busy_container_is_throttled_at_cpu_max() {
    need_controllers!("cpu");
    let container =
        Container::new().set("/linux/resources/cpu", json!({"quota": 5000, "period": 50000})).args(&["sleep", "1000"]);
    let container = container.detached();
    // Enough work for many periods, however fast the machine is.
    container.exec(&["sh", "-c", "i=0; while [ $i -lt 3000 ]; do i=$((i + 1)); done"]).ok();
    let stat = container.cgroup_file("cpu", "cpu.stat").unwrap();
    assert!(counter(&stat, "nr_throttled") >= 1 && counter(&stat, "throttled_usec") > 0, "{stat}");
}

#[test]
#[ignore = "needs a machine with cgroup v2: conformance/vm/run"]
fn a_container_runs_on_the_processors_that_it_was_given() {
    need_controllers!("cpuset");
    let container = Container::new().set("/linux/resources/cpu", json!({"cpus": "1", "mems": "0"}));
    container.shell("grep Cpus_allowed_list /proc/self/status").run().says("Cpus_allowed_list:\t1");
}

#[test]
#[ignore = "needs a machine with cgroup v2: conformance/vm/run"]
fn huge_pages_end_at_their_limit() {
    need_controllers!("hugetlb", "memory");
    let free = std::fs::read_to_string("/proc/meminfo").unwrap();
    let free = free.lines().find_map(|line| line.strip_prefix("HugePages_Free:")).unwrap().trim().to_owned();
    assert!(free.parse::<u32>().unwrap() >= 4, "the machine has {free} huge pages");
    let container = Container::new()
        .set("/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 4_194_304}]))
        .mount("/data", "hugetlbfs", "huge", &["pagesize=2M"])
        .shell("busybox fallocate -l 4194304 /data/two && echo two; busybox fallocate -l 2097152 /data/third || echo no third");
    let outcome = container.run();
    assert_eq!(outcome.text(), "two\nno third", "{outcome}");
}

#[test]
#[ignore = "needs a machine with cgroup v2: conformance/vm/run"]
fn only_the_allowed_devices_open_on_v2() {
    let node =
        |path: &str, minor: u32| json!({"path": path, "type": "c", "major": 1, "minor": minor, "fileMode": 0o666});
    let container = Container::new()
        .set("/linux/devices", json!([node("/dev/kmsg", 11), node("/dev/mem", 1)]))
        .set(
            "/linux/resources/devices",
            json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}]),
        )
        .capabilities(&["CAP_SYSLOG", "CAP_SYS_RAWIO"])
        .shell(
            "for d in kmsg mem null; do (: < /dev/$d) 2>/dev/null && echo $d reads; (: > /dev/$d) 2>/dev/null && echo $d writes; done; true",
        );
    container.run().says("kmsg reads\nnull reads\nnull writes");
}

#[test]
#[ignore = "needs a machine with cgroup v2: conformance/vm/run"]
fn the_statistics_of_a_container_are_told() {
    need_controllers!("memory", "pids");
    let container = Container::new().set("/linux/resources/memory", json!({"limit": 67_108_864})).sleeping();
    let outcome = container.call(&["events", "--stats", &container.id]).ok().json();
    assert_eq!(outcome["data"]["memory"]["usage"]["limit"], 67_108_864);
    assert!(outcome["data"]["pids"]["current"].as_u64().unwrap() >= 1, "{outcome}");
}

#[test]
#[ignore = "needs a machine with cgroup v2: conformance/vm/run"]
fn an_update_changes_the_limits_of_a_running_container_on_v2() {
    need_controllers!("memory", "pids", "cpu", "cpuset");
    let container = Container::new().set("/linux/resources/memory", json!({"limit": 67_108_864})).sleeping();
    container
        .call(&[
            "update",
            "--memory",
            "33554432",
            "--memory-swap",
            "33554432",
            "--pids-limit",
            "20",
            "--cpu-quota",
            "20000",
            &container.id,
        ])
        .ok();
    for (file, wanted) in
        [("memory.max", "33554432"), ("memory.swap.max", "0"), ("pids.max", "20"), ("cpu.max", "20000 100000")]
    {
        assert_eq!(container.cgroup_file("cgroup", file).as_deref().map(str::trim), Some(wanted), "{file}");
    }
    // All or nothing: the second value is refused, so the first is put back.
    let wrong = json!({"pids": {"limit": 5}, "cpu": {"cpus": "99"}}).to_string();
    std::fs::write(container.dir.join("wrong.json"), wrong).unwrap();
    container.call(&["update", "--resources", "wrong.json", &container.id]).fails("cpuset.cpus");
    assert_eq!(container.cgroup_file("cgroup", "pids.max").as_deref().map(str::trim), Some("20"));
}
