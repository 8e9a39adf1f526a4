//! cgroups: where a container is, its limits as the kernel sees them, and what is removed (config-linux.md, "Control groups").

use crate::common::*;
use std::fs;

/// A container with these resources, and one file of a controller.
fn written(resources: Value, controller: &str, file: &str) -> Option<String> {
    let container = Container::new().set("/linux/resources", resources);
    container.create().ok();
    container.cgroup_file(controller, file)
}

/// Each row: the resources, then controller, file and content.
fn check(rows: &[(Value, &str, &str, &str)]) {
    for (resources, controller, file, wanted) in rows {
        if !host::v1(controller) {
            return skip(&format!("needs the version 1 hierarchy of {controller}"));
        }
        assert_eq!(written(resources.clone(), controller, file).as_deref(), Some(*wanted), "{resources}: {file}");
    }
}

#[test]
fn the_container_is_in_its_cgroup_in_every_hierarchy() {
    let container = Container::new();
    container.create().ok();
    let text = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    let count = text.lines().filter(|line| line.ends_with(&container.cgroup)).count();
    assert!(count >= host::hierarchies().iter().filter(|(names, _)| !names.is_empty()).count(), "{text}");
}

#[test]
fn memory_limits_are_written() {
    check(&[
        (json!({"memory": {"limit": 67_108_864}}), "memory", "memory.limit_in_bytes", "67108864"),
        (
            json!({"memory": {"limit": 67_108_864, "reservation": 33_554_432}}),
            "memory",
            "memory.soft_limit_in_bytes",
            "33554432",
        ),
        (json!({"memory": {"limit": 67_108_864, "swappiness": 7}}), "memory", "memory.swappiness", "7"),
        (json!({"memory": {"limit": -1}}), "memory", "memory.limit_in_bytes", "9223372036854771712"),
    ]);
}

#[test]
fn cpu_limits_are_written() {
    check(&[
        (json!({"cpu": {"shares": 512}}), "cpu", "cpu.shares", "512"),
        (json!({"cpu": {"quota": 20000, "period": 50000}}), "cpu", "cpu.cfs_quota_us", "20000"),
        (json!({"cpu": {"quota": 20000, "period": 50000}}), "cpu", "cpu.cfs_period_us", "50000"),
        (json!({"cpu": {"quota": -1}}), "cpu", "cpu.cfs_quota_us", "-1"),
    ]);
}

#[test]
fn cpusets_are_written() {
    check(&[
        (json!({"cpu": {"cpus": "0", "mems": "0"}}), "cpuset", "cpuset.cpus", "0"),
        (json!({"cpu": {"cpus": "0", "mems": "0"}}), "cpuset", "cpuset.mems", "0"),
    ]);
}

#[test]
fn the_number_of_processes_is_limited() {
    check(&[
        (json!({"pids": {"limit": 37}}), "pids", "pids.max", "37"),
        (json!({"pids": {"limit": -1}}), "pids", "pids.max", "max"),
    ]);
}

#[test]
fn a_limit_of_processes_stops_a_fork() {
    need!(host::v1("pids"), "needs the version 1 hierarchy of pids");
    let container = Container::new()
        .set("/linux/resources/pids", json!({"limit": 4}))
        .shell("for i in 1 2 3 4 5 6; do sleep 5 & done; echo all");
    let outcome = container.run();
    assert!(!outcome.out.contains("all") || outcome.err.contains("fork"), "{outcome}");
}

#[test]
fn a_process_over_the_limit_of_memory_is_killed() {
    need!(host::v1("memory"), "needs the version 1 hierarchy of memory");
    let container = Container::new().set("/linux/resources/memory", json!({"limit": 16_777_216, "swap": 16_777_216}));
    container.shell("exec tail /dev/zero").run().exits(128 + 9);
}

/// What a container needs before its program runs is charged to it: 256 KiB were enough on Linux 6.18 with one processor or
/// two, and the kernel charges in batches that grow with their number.
#[test]
fn a_container_needs_less_than_a_mebibyte_of_memory_to_begin() {
    need!(host::limits("memory"), "needs the controller memory");
    only_ocicat!("runc needs 4 MiB");
    let container = Container::new().set("/linux/resources/memory", json!({"limit": 1 << 20})).args(&["true"]);
    container.run().ok();
    let container = Container::new().set("/linux/resources/memory", json!({"limit": 65536})).args(&["true"]);
    let outcome = container.run();
    assert!(outcome.code != 0 && outcome.err.contains("its cgroup is out of memory"), "{outcome}");
}

#[test]
fn a_relative_cgroups_path_is_the_same_place_every_time() {
    let container = Container::new();
    let path = container.cgroup.trim_start_matches('/').to_owned();
    let container = container.set("/linux/cgroupsPath", json!(path));
    container.create().ok();
    let first = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    container.call(&["delete", "--force", &container.id]).ok();
    container.create().ok();
    assert_eq!(fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap(), first);
    assert!(first.contains(&path), "{first}");
}

#[test]
fn a_deep_cgroups_path_is_made() {
    let container = Container::new();
    let path = format!("{}/a/b", container.cgroup);
    let container = container.set("/linux/cgroupsPath", json!(path));
    container.create().ok();
    assert!(fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap().contains(&path));
    container.call(&["delete", "--force", &container.id]).ok();
    assert!(host::cgroup_dirs(&path).is_empty());
    // The parents may be somebody else's: whoever asked for them removes them.
    for parent in [format!("{}/a", container.cgroup), container.cgroup.clone()] {
        for dir in host::cgroup_dirs(&parent) {
            fs::remove_dir(dir).unwrap();
        }
    }
}

#[test]
fn a_cgroups_path_cannot_leave_the_hierarchy() {
    let container = Container::new();
    let path = format!("/../../../..{}", container.cgroup);
    let container = container.set("/linux/cgroupsPath", json!(path));
    if container.create().code == 0 {
        assert!(!host::cgroup_dirs(&container.cgroup).is_empty());
    }
}

#[test]
fn without_a_cgroups_path_the_container_has_a_cgroup_of_its_own_name() {
    let container = Container::new().edit(|config| {
        config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
    });
    container.create().ok();
    let text = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    let line = text.lines().find(|line| line.contains(&container.id)).unwrap_or_else(|| panic!("{text}"));
    let path = line.rsplit(':').next().unwrap().to_owned();
    container.call(&["delete", "--force", &container.id]).ok();
    assert!(host::cgroup_dirs(&path).is_empty(), "{path} is left");
}

#[test]
fn cgroups_made_inside_are_removed_with_the_container() {
    let container = Container::new().sleeping();
    for dir in host::cgroup_dirs(&container.cgroup) {
        fs::create_dir_all(dir.join("below/deeper")).unwrap();
    }
    container.call(&["delete", "--force", &container.id]).ok();
    assert!(host::cgroup_dirs(&container.cgroup).is_empty());
}

#[test]
fn a_cgroup_that_holds_somebody_is_no_place_for_a_container() {
    need!(host::v1("memory"), "needs version 1 hierarchies");
    let first = Container::new().sleeping();
    let second = Container::new().set("/linux/cgroupsPath", json!(first.cgroup));
    second.write();
    let outcome = second.call(&["create", &second.id]);
    // runc refuses, crun joins; joining must at least not take the first one's processes along at the end.
    if outcome.code == 0 {
        second.call(&["delete", "--force", &second.id]);
    }
    assert_eq!(first.status(), "running");
    assert!(host::alive(first.pid()));
    only_ocicat!("runc 1.1 warns only");
    assert_ne!(outcome.code, 0, "{outcome}");
}

#[test]
fn the_unified_hierarchy_of_a_hybrid_host_is_used_too() {
    need!(host::hierarchies().iter().any(|(names, _)| names.is_empty()), "no cgroup2 is mounted");
    only_ocicat!("runc 1.1 on hybrid hosts does so as well, crun refuses them");
    let container = Container::new().sleeping();
    assert!(
        fs::read_to_string(format!("/proc/{}/cgroup", container.pid()))
            .unwrap()
            .lines()
            .any(|line| line == format!("0::{}", container.cgroup))
    );
}

#[test]
fn a_wrong_value_names_its_place_and_leaves_nothing() {
    need!(host::v1("cpuset"), "needs the version 1 hierarchy of cpuset");
    let container = Container::new().set("/linux/resources/cpu", json!({"cpus": "9999"}));
    let outcome = container.create();
    assert!(outcome.code != 0 && outcome.err.contains("cpuset.cpus"), "{outcome}");
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

#[test]
fn an_exec_gets_into_a_container_that_is_at_its_limit_of_processes() {
    need!(host::limits("pids"), "needs the controller pids");
    let container = Container::new().set("/linux/resources/pids", json!({"limit": 1})).sleeping();
    assert_eq!(container.exec(&["echo", "inside"]).ok().out, "inside\n");
    // It is counted all the same, and cannot have children.
    let outcome = container.exec(&["sh", "-c", "sleep 1 & echo after"]);
    assert!(!outcome.out.contains("after") || outcome.err.contains("fork"), "{outcome}");
}

#[test]
fn an_exec_counts_against_the_limits_of_the_container() {
    need!(host::v1("pids"), "needs the version 1 hierarchy of pids");
    let container = Container::new().set("/linux/resources/pids", json!({"limit": 20})).sleeping();
    let outcome = container.exec(&["sh", "-c", "for i in $(seq 30); do sleep 2 & done; echo all"]);
    assert!(!outcome.out.contains("all") || outcome.err.contains("fork"), "{outcome}");
}

#[test]
fn the_limits_are_there_before_the_first_process_does_anything() {
    need!(host::v1("memory") && host::v1("pids"), "needs the version 1 hierarchies of memory and pids");
    // The hook runs when init has been born and has done nothing yet.
    let container = Container::new();
    let seen = container.dir.join("seen");
    let place = |controller: &str| host::cgroup_dir(controller, &container.cgroup).unwrap().display().to_string();
    let (memory, pids) = (place("memory"), place("pids"));
    let script = format!(
        "cat {memory}/memory.limit_in_bytes {pids}/pids.max {memory}/cgroup.procs {pids}/cgroup.procs > {}",
        seen.display()
    );
    let container = container
        .set("/linux/resources", json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 37}}))
        .set("/hooks/prestart/-", json!({"path": "/bin/sh", "args": ["sh", "-c", script]}));
    container.create().ok();
    let pid = container.pid();
    assert_eq!(fs::read_to_string(seen).unwrap(), format!("67108864\n37\n{pid}\n{pid}\n"));
}

#[test]
fn who_makes_the_cgroup_is_a_choice() {
    only_ocicat!("the peers have no cgroup manager to choose but systemd");
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    for (manager, of_its_own) in [("cgroupfs", true), ("disabled", false), ("none", false)] {
        let container = Container::new().global(&format!("--cgroup-manager={manager}")).edit(|config| {
            config["linux"].as_object_mut().unwrap().remove("resources");
        });
        container.create().ok();
        let theirs = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
        assert_eq!(theirs != own, of_its_own, "{manager}: {theirs}");
        assert_eq!(host::cgroup_dirs(&container.cgroup).is_empty(), !of_its_own, "{manager}");
    }
    need!(host::limits("pids"), "needs the controller pids");
    let limited = Container::new().global("--cgroup-manager=none").set("/linux/resources/pids", json!({"limit": 3}));
    limited.create().fails("there are limits but no cgroup");
}

/// A processor with resctrl is rare: the directory is a made one, in a mount namespace where nobody else sees it.
#[test]
fn a_class_of_service_has_its_schemata_before_the_program_enters_it() {
    only_ocicat!("the peers look for a real resctrl");
    let made = "mkdir old && mount --rbind /sys/fs old && mount -t tmpfs none /sys/fs && mkdir /sys/fs/cgroup /sys/fs/resctrl \
        && mount --rbind old/cgroup /sys/fs/cgroup && cd /sys/fs/resctrl && touch schemata tasks mon_groups && cd - >/dev/null \
        && \"$@\" && cat /sys/fs/resctrl/schemata /sys/fs/resctrl/tasks";
    let container =
        Container::new().set("/linux/intelRdt", json!({"closID": "/", "schemata": ["L3:0=f"]})).args(&["echo", "ran"]);
    container.write();
    let own = container.command(&["run", &container.id]);
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", made, "sh"]);
    command.arg(own.get_program()).args(own.get_args()).current_dir(&container.dir).stdin(container.null());
    assert_eq!(finish(command).ok().out, "ran\nL3:0=f\n0");

    let container = Container::new().set("/linux/intelRdt", json!({"closID": "some"}));
    if !std::path::Path::new("/sys/fs/resctrl/schemata").exists() {
        container.create().fails("linux.intelRdt: resctrl is not mounted at /sys/fs/resctrl; hint: mount -t resctrl");
        assert_eq!(container.leftovers(), Vec::<String>::new());
    }
}
