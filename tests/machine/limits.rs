//! Every limit as the files of a cgroup v2 host say it (Documentation/admin-guide/cgroup-v2.rst).

use crate::common::*;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// The number of the disk that the machine booted from.
fn disk() -> (u64, u64) {
    let text = fs::read_to_string("/sys/class/block/nvme0n1/dev").unwrap();
    let (major, minor) = text.trim().split_once(':').unwrap();
    (major.parse().unwrap(), minor.parse().unwrap())
}

/// A container with each of these resources is created, and the file has this line.
#[track_caller]
fn check(rows: &[(Value, &str, &str)]) {
    for (resources, file, wanted) in rows {
        let container = Container::new().set("/linux/resources", resources.clone());
        container.create().ok();
        let text = container.cgroup_file("cgroup", file).unwrap_or_else(|| panic!("{resources}: there is no {file}"));
        assert!(text.lines().any(|line| line.trim() == *wanted), "{resources}: {file} is {text:?} and not {wanted:?}");
    }
}

#[test]
#[ignore = "needs a machine with cgroup v2: conformance/vm/run"]
fn memory_is_limited_on_v2() {
    need_controllers!("memory");
    check(&[
        (json!({"memory": {"limit": 67_108_864}}), "memory.max", "67108864"),
        (json!({"memory": {"limit": -1}}), "memory.max", "max"),
        (json!({"memory": {"limit": 67_108_864, "reservation": 33_554_432}}), "memory.low", "33554432"),
        (json!({"memory": {"limit": 67_108_864, "swap": 100_663_296}}), "memory.swap.max", "33554432"),
        (json!({"memory": {"limit": 67_108_864, "swap": 67_108_864}}), "memory.swap.max", "0"),
        (json!({"memory": {"limit": 67_108_864, "swap": -1}}), "memory.swap.max", "max"),
        (json!({"unified": {"memory.high": "50331648"}}), "memory.high", "50331648"),
        (json!({"unified": {"memory.oom.group": "1"}}), "memory.oom.group", "1"),
    ]);
}

#[test]
#[ignore = "needs a machine with cgroup v2: conformance/vm/run"]
fn processors_are_limited_on_v2() {
    need_controllers!("cpu", "cpuset");
    check(&[
        (json!({"cpu": {"shares": 1024}}), "cpu.weight", "100"),
        (json!({"cpu": {"shares": 2}}), "cpu.weight", "1"),
        (json!({"cpu": {"shares": 262_144}}), "cpu.weight", "10000"),
        (json!({"cpu": {"quota": 20000, "period": 50000}}), "cpu.max", "20000 50000"),
        (json!({"cpu": {"quota": 20000}}), "cpu.max", "20000 100000"),
        (json!({"cpu": {"quota": -1}}), "cpu.max", "max 100000"),
        (json!({"cpu": {"quota": 20000, "burst": 10000}}), "cpu.max.burst", "10000"),
        (json!({"cpu": {"idle": 1}}), "cpu.idle", "1"),
        (json!({"cpu": {"cpus": "1"}}), "cpuset.cpus", "1"),
        (json!({"cpu": {"cpus": "0-1", "mems": "0"}}), "cpuset.mems", "0"),
    ]);
}

#[test]
#[ignore = "needs a machine with cgroup v2: conformance/vm/run"]
fn processes_are_limited_on_v2() {
    need_controllers!("pids");
    check(&[
        (json!({"pids": {"limit": 37}}), "pids.max", "37"),
        (json!({"pids": {"limit": 0}}), "pids.max", "0"),
        (json!({"pids": {"limit": -1}}), "pids.max", "max"),
    ]);
}

#[test]
#[ignore = "needs a machine with cgroup v2: conformance/vm/run"]
fn block_devices_are_limited_on_v2() {
    need_controllers!("io");
    let (major, minor) = disk();
    let device = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    let limits =
        |read, write, reads, writes| format!("{major}:{minor} rbps={read} wbps={write} riops={reads} wiops={writes}");
    let all = json!({"throttleReadBpsDevice": device(1_048_576), "throttleWriteBpsDevice": device(2_097_152),
        "throttleReadIOPSDevice": device(100), "throttleWriteIOPSDevice": device(200)});
    check(&[
        (json!({"blockIO": {"weight": 10}}), "io.weight", "default 1"),
        (json!({"blockIO": {"weight": 1000}}), "io.weight", "default 10000"),
        (
            json!({"blockIO": {"throttleReadBpsDevice": device(1_048_576)}}),
            "io.max",
            &limits("1048576", "max", "max", "max"),
        ),
        (json!({"blockIO": all}), "io.max", &limits("1048576", "2097152", "100", "200")),
    ]);
}

#[test]
#[ignore = "needs a machine with cgroup v2: conformance/vm/run"]
fn huge_pages_are_limited_on_v2() {
    need_controllers!("hugetlb", "memory");
    let limit = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}]});
    check(&[
        (limit.clone(), "hugetlb.2MB.max", "4194304"),
        // Reserved pages as well: what is reserved and not touched is taken from others all the same.
        (limit, "hugetlb.2MB.rsvd.max", "4194304"),
        (json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}), "hugetlb.2MB.max", "0"),
    ]);
}

#[test]
#[ignore = "needs a machine with cgroup v2: conformance/vm/run"]
fn what_cannot_be_limited_on_v2_is_an_error_that_names_its_place() {
    need_controllers!("memory", "cpu", "cpuset", "io", "hugetlb", "rdma", "misc");
    for (resources, place) in [
        (json!({"memory": {"limit": 67_108_864, "swappiness": 7}}), "memory.swappiness"),
        (json!({"memory": {"disableOOMKiller": true}}), "memory.disableOOMKiller"),
        (json!({"memory": {"kernelTCP": 67_108_864}}), "memory.kernelTCP"),
        (json!({"cpu": {"realtimeRuntime": 1000}}), "cpu.realtimeRuntime"),
        (json!({"cpu": {"realtimePeriod": 1000}}), "cpu.realtimePeriod"),
        (json!({"cpu": {"cpus": "99"}}), "cpuset.cpus"),
        (json!({"blockIO": {"leafWeight": 10}}), "blockIO.leafWeight"),
        (json!({"network": {"classID": 5}}), "network.classID"),
        (json!({"network": {"priorities": [{"name": "lo", "priority": 1}]}}), "network.priorities"),
        (json!({"rdma": {"no-such-device": {"hcaHandles": 3}}}), "rdma[no-such-device]"),
        (json!({"hugepageLimits": [{"pageSize": "64MB", "limit": 0}]}), "hugepageLimits[0]"),
        (json!({"unified": {"memory.no_such_file": "1"}}), "unified[memory.no_such_file]"),
        (json!({"unified": {"dmem.max": "1"}}), "unified[dmem.max]"),
        (json!({"unified": {"misc.max": "no-such-resource 1"}}), "unified[misc.max]"),
        (json!({"unified": {"memory.high": "lots"}}), "unified[memory.high]"),
    ] {
        let container = Container::new().set("/linux/resources", resources.clone());
        let outcome = container.create();
        assert!(outcome.code != 0 && outcome.err.contains(place), "{resources}: {outcome}");
        assert_eq!(container.leftovers(), Vec::<String>::new(), "{resources}");
    }
}

#[test]
#[ignore = "needs a machine with cgroup v2: conformance/vm/run"]
fn the_limits_are_there_before_the_container_is() {
    need_controllers!("memory", "pids", "cpu");
    // The hook runs when init has been born and has done nothing yet.
    let container = Container::new();
    let seen = container.dir.join("seen");
    let script = format!(
        "cd /sys/fs/cgroup{} && cat memory.max pids.max cpu.max cgroup.procs > {}",
        container.cgroup,
        seen.display()
    );
    let container = container
        .set(
            "/linux/resources",
            json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 37}, "cpu": {"quota": 20000}}),
        )
        .set("/hooks/prestart/-", json!({"path": "/bin/sh", "args": ["sh", "-c", script]}));
    container.create().ok();
    let seen = fs::read_to_string(seen).unwrap();
    assert_eq!(seen, format!("67108864\n37\n20000 100000\n{}\n", container.pid()));
}

#[test]
#[ignore = "needs a machine with cgroup v2: conformance/vm/run"]
fn a_cgroup_with_somebody_in_it_or_frozen_is_refused() {
    let first = Container::new().sleeping();
    let second = Container::new().set("/linux/cgroupsPath", json!(first.cgroup));
    second.write();
    second.call(&["create", &second.id]).fails("process(es) already");
    assert_eq!(first.status(), "running");
    let frozen = Container::new();
    let directory = format!("/sys/fs/cgroup{}", frozen.cgroup);
    fs::create_dir(&directory).unwrap();
    fs::write(format!("{directory}/cgroup.freeze"), "1").unwrap();
    frozen.create().fails("frozen");
    let below = Container::new();
    let below = below.set("/linux/cgroupsPath", json!(format!("{}/below", frozen.cgroup)));
    below.create().fails("frozen");
    fs::remove_dir(&directory).unwrap();
}

#[test]
#[ignore = "needs a machine with cgroup v2: conformance/vm/run"]
fn the_cgroup_belongs_to_the_container_only_where_it_may_be_divided() {
    need_controllers!("memory", "pids", "cpu");
    let owner = |container: &Container, file: &str| {
        fs::metadata(format!("/sys/fs/cgroup{}/{file}", container.cgroup)).unwrap().uid()
    };
    let writable = |container: Container| {
        container.edit(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            let cgroup = mounts.iter_mut().find(|mount| mount["destination"] == "/sys/fs/cgroup").unwrap();
            cgroup["options"] = json!(["nosuid", "noexec", "nodev", "relatime"]);
        })
    };
    let listed = fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap();
    // A user namespace, a cgroup namespace, a writable mount: the directory and the files that the kernel lists.
    let container = writable(Container::new().user_namespace().namespace("cgroup"));
    container.create().ok();
    assert_eq!(owner(&container, ""), 100_000);
    for file in listed.lines().filter(|file| !file.starts_with("memory.oom")) {
        assert_eq!(owner(&container, file), 100_000, "{file}");
    }
    for file in ["memory.max", "pids.max", "cpu.max", "cgroup.freeze", "cgroup.kill"] {
        assert_eq!(owner(&container, file), 0, "{file}");
    }
    // Anything less, and it stays the host's.
    for container in [
        Container::new().user_namespace().namespace("cgroup"),
        writable(Container::new().user_namespace()),
        writable(Container::new().namespace("cgroup")),
    ] {
        container.create().ok();
        assert_eq!(owner(&container, ""), 0);
        assert_eq!(owner(&container, "cgroup.procs"), 0);
    }
}

#[test]
#[ignore = "needs a machine with cgroup v2: conformance/vm/run"]
fn a_container_of_nobodys_cgroup_stays_in_its_callers() {
    let container = Container::new().global("--cgroup-manager=disabled").edit(|config| {
        config["linux"].as_object_mut().unwrap().remove("resources");
    });
    container.create().ok();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    assert_eq!(fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap(), own);
    let limited =
        Container::new().global("--cgroup-manager=disabled").set("/linux/resources/pids", json!({"limit": 3}));
    limited.create().fails("there are limits but no cgroup");
}
