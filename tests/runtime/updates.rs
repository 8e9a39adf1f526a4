//! update: every flag, and all of them or none.

use crate::common::*;
use std::process::Stdio;

/// Each row: the flags, then controller, version 1 file and what it says afterwards, version 2 file and that; where version 2
/// has no such limit, no file and the place that the error names.
type Row = (&'static [&'static str], &'static str, &'static str, &'static str, &'static str, &'static str);

const ROWS: &[Row] = &[
    (&["--memory", "64m"], "memory", "memory.limit_in_bytes", "67108864", "memory.max", "67108864"),
    (
        &["--memory=32m", "--memory-swap=48m"],
        "memory",
        "memory.memsw.limit_in_bytes",
        "50331648",
        "memory.swap.max",
        "16777216",
    ),
    (&["--memory", "-1"], "memory", "memory.limit_in_bytes", "9223372036854771712", "memory.max", "max"),
    (&["--memory-reservation", "16m"], "memory", "memory.soft_limit_in_bytes", "16777216", "memory.low", "16777216"),
    (&["--kernel-memory", "16m"], "memory", "memory.limit_in_bytes", "9223372036854771712", "memory.max", "max"),
    (&["--pids-limit", "17"], "pids", "pids.max", "17", "pids.max", "17"),
    (&["--pids-limit", "-1"], "pids", "pids.max", "max", "pids.max", "max"),
    (&["--cpu-share", "512"], "cpu", "cpu.shares", "512", "cpu.weight", "59"),
    (&["--cpu-quota", "20000", "--cpu-period", "50000"], "cpu", "cpu.cfs_period_us", "50000", "cpu.max", "20000 50000"),
    (&["--cpu-quota", "30000"], "cpu", "cpu.cfs_quota_us", "30000", "cpu.max", "30000 50000"),
    (&["--cpu-burst", "1000"], "cpu", "cpu.cfs_burst_us", "1000", "cpu.max.burst", "1000"),
    (&["--cpu-idle", "1"], "cpu", "cpu.idle", "1", "cpu.idle", "1"),
    (&["--cpuset-cpus", "0", "--cpuset-mems", "0"], "cpuset", "cpuset.cpus", "0", "cpuset.cpus", "0"),
    (&["--cpuset-mems", "0"], "cpuset", "cpuset.mems", "0", "cpuset.mems", "0"),
    (&["--blkio-weight", "500"], "blkio", "blkio.bfq.weight", "500", "io.weight", "default 4950"),
    (&["--kernel-memory-tcp", "16m"], "memory", "memory.kmem.tcp.limit_in_bytes", "16777216", "", "memory.kernelTCP"),
    (&["--cpu-rt-period", "500000"], "cpu", "cpu.rt_period_us", "500000", "", "cpu.realtimePeriod"),
    // No runtime is what version 2 has anyway.
    (&["--cpu-rt-runtime", "0"], "cpu", "cpu.rt_runtime_us", "0", "cpu.max", "30000 50000"),
];

#[test]
fn every_flag_of_update_changes_its_file() {
    only_ocicat!("the old peers lack some flags");
    let container = Container::new().sleeping();
    let mut seen = 0;
    for (flags, controller, v1_file, v1_value, v2_file, v2_value) in ROWS {
        // Block devices have another name in version 2.
        let in_v2 = if *controller == "blkio" { "io" } else { controller };
        if !host::v1(controller) && !host::limits(in_v2) {
            continue;
        }
        let words = [&["update"], *flags, &[container.id.as_str()]].concat();
        let (file, value) = if host::v1(controller) { (v1_file, v1_value) } else { (v2_file, v2_value) };
        seen += 1;
        if file.is_empty() {
            container.call(&words).fails(value);
        } else if container.cgroup_file(controller, file).is_none() {
            // A kernel without this part of the controller, as realtime groups: refused with the file.
            container.call(&words).fails(&format!("{file}: no such file or directory"));
        } else {
            container.call(&words).says("").silently();
            assert_eq!(container.cgroup_file(controller, file).as_deref(), Some(*value), "{flags:?}: {file}");
        }
    }
    need!(seen > 0, "this host has none of the controllers");
}

#[test]
fn a_class_of_service_can_be_changed_only_by_a_container_that_has_one() {
    only_ocicat!("the peers have other words");
    let container = Container::new().sleeping();
    for flags in [["--l3-cache-schema", "L3:0=f"], ["--mem-bw-schema", "MB:0=50"]] {
        container.call(&[&["update"], &flags[..], &[&container.id]].concat()).fails("without linux.intelRdt");
    }
}

#[test]
fn update_takes_a_file_of_resources_or_standard_input() {
    need!(host::limits("pids") && host::limits("cpu"), "needs the controllers pids and cpu");
    let container = Container::new().sleeping();
    let file = container.dir.join("resources.json");
    let text = r#"{"pids": {"limit": 21}, "cpu": {"shares": 256, "quota": 0}}"#;
    std::fs::write(&file, text).unwrap();
    container.call(&["update", "--resources", file.to_str().unwrap(), &container.id]).ok().silently();
    assert_eq!(container.cgroup_file("pids", "pids.max").as_deref(), Some("21"));
    for words in [&["--resources", "-"][..], &["--resources=-"], &["-r", "-"]] {
        let limit = 30 + words.len();
        std::fs::write(&file, text.replace("21", &limit.to_string())).unwrap();
        let mut command = container.command(&[&["update"], words, &[container.id.as_str()]].concat());
        command.stdin(Stdio::from(std::fs::File::open(&file).unwrap()));
        finish(command).ok().silently();
        assert_eq!(container.cgroup_file("pids", "pids.max"), Some(limit.to_string()), "{words:?}");
    }
    std::fs::write(&file, r#"{"pids": {"limit": "many"}}"#).unwrap();
    container.call(&["update", "-r", file.to_str().unwrap(), &container.id]).fails("pids.limit");
}

#[test]
fn an_update_that_fails_changes_nothing_and_names_the_write() {
    only_ocicat!("the peers leave what they have written before");
    let all = ["memory", "pids", "cpuset"].iter().all(|controller| host::limits(controller));
    need!(all, "needs the controllers memory, pids and cpuset");
    let container = Container::new().set("/linux/resources/pids", json!({"limit": 40})).sleeping();
    let words = ["update", "--pids-limit", "50", "--memory", "64m", "--cpuset-cpus", "4095", &container.id];
    container.call(&words).fails("nothing was changed: linux.resources.cpu.cpus: write \"4095\" to ");
    assert_eq!(container.cgroup_file("pids", "pids.max").as_deref(), Some("40"));
    let (file, value) =
        if host::v1("memory") { ("memory.limit_in_bytes", "9223372036854771712") } else { ("memory.max", "max") };
    assert_eq!(container.cgroup_file("memory", file).as_deref(), Some(value));
}

#[test]
fn a_memory_limit_below_the_usage_is_refused_with_both_numbers_and_one_that_can_be_reclaimed_is_not() {
    only_ocicat!("the peers have other words");
    need!(host::limits("memory"), "needs the memory controller");
    need!(!host::v1("memory") || !host::has_swap(), "version 1 swaps out what it cannot reclaim");
    let container = Container::new().mount("/mem", "tmpfs", "tmpfs", &["size=64m"]);
    let mut ready = container.fifo("ready");
    // What a tmpfs holds cannot be reclaimed without swap, which these limits leave none of in version 2.
    let container = container
        .set("/linux/resources/memory", json!({"limit": 134_217_728, "swap": 134_217_728}))
        .shell("dd if=/dev/zero of=/mem/file bs=1M count=40 2>/dev/null; echo up > /ready; sleep 1000")
        .detached();
    assert_eq!(ready.line(), "up");
    let outcome =
        container.call(&["update", "--memory", "8m", &container.id]).fails("linux.resources.memory.limit (8388608): ");
    assert!(outcome.err.contains(" bytes are in use and cannot be reclaimed"), "{outcome}");
    let file = if host::v1("memory") { "memory.limit_in_bytes" } else { "memory.max" };
    assert_eq!(container.cgroup_file("memory", file).as_deref(), Some("134217728"));
    container.exec(&["rm", "/mem/file"]).ok();
    container.call(&["update", "--memory", "8m", &container.id]).ok().silently();
    assert_eq!(container.cgroup_file("memory", file).as_deref(), Some("8388608"));
    assert_eq!(container.status(), "running");
}

#[test]
fn limits_of_a_container_that_is_created_or_paused_can_be_changed_and_of_a_stopped_one_not() {
    need!(host::limits("pids"), "needs the controller pids");
    let container = Container::new().args(&["sleep", "1000"]);
    container.create().ok();
    let update = |limit: &str| container.call(&["update", "--pids-limit", limit, &container.id]);
    update("11").ok();
    container.start().ok();
    container.call(&["pause", &container.id]).ok();
    update("12").ok();
    assert_eq!(container.cgroup_file("pids", "pids.max").as_deref(), Some("12"));
    assert_eq!(container.status(), "paused");
    container.call(&["resume", &container.id]).ok();
    container.end();
    only_ocicat!("runc writes into the cgroup of a stopped container");
    update("13").fails("container not running");
}

#[test]
fn a_weight_for_an_idle_cgroup_is_refused_with_what_helps_and_nothing_was_changed() {
    only_ocicat!("the words are ocicat's own");
    let container = Container::new().sleeping();
    let id = &container.id;
    let idle = host::cgroup_dir("cpu", &container.cgroup).map(|dir| dir.join("cpu.idle"));
    need!(host::limits("cpu") && idle.is_some_and(|file| file.exists()), "needs the controller cpu with cpu.idle");
    container.call(&["update", "--cpu-idle", "1", id]).ok();
    let refused = container.call(&["update", "--cpu-share", "77", "--pids-limit", "77", id]);
    let refused = refused.fails("nothing was changed: linux.resources.cpu.shares: write ");
    refused.fails("invalid argument (EINVAL); hint: an idle cgroup has no weight, set cpu.idle to 0 first");
    container.call(&["update", "--cpu-idle", "0", id]).ok();
    container.call(&["update", "--cpu-share", "77", id]).ok();
}
