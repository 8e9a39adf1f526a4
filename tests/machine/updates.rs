//! `update` of a container that is a scope of systemd's: the files, what systemd knows, and what is left when it fails.

use crate::common::*;
use crate::property;
use crate::systemd::{in_a_scope, reload, unit, with_other_sockets};
use std::fs;

/// Each row: the flags, properties of the unit afterwards, lines of files.
type Row = (&'static [&'static str], &'static [(&'static str, &'static str)], &'static [(&'static str, &'static str)]);

const ROWS: &[Row] = &[
    (&["--memory", "80m"], &[("MemoryMax", "83886080")], &[("memory.max", "83886080")]),
    (
        &["--memory", "64m", "--memory-swap", "96m"],
        &[("MemoryMax", "67108864"), ("MemorySwapMax", "33554432")],
        &[("memory.max", "67108864"), ("memory.swap.max", "33554432")],
    ),
    (&["--memory-reservation", "16m"], &[("MemoryLow", "16777216")], &[("memory.low", "16777216")]),
    (&["--kernel-memory", "16m"], &[("MemoryMax", "67108864")], &[("memory.max", "67108864")]),
    (&["--pids-limit", "44"], &[("TasksMax", "44")], &[("pids.max", "44")]),
    (
        &["--cpu-quota", "20000", "--cpu-period", "50000"],
        &[("CPUQuotaPerSecUSec", "400ms"), ("CPUQuotaPeriodUSec", "50ms")],
        &[("cpu.max", "20000 50000")],
    ),
    (&["--cpu-burst", "1000"], &[("CPUQuotaPerSecUSec", "400ms")], &[("cpu.max.burst", "1000")]),
    (&["--cpu-share", "512"], &[("CPUWeight", "59")], &[("cpu.weight", "59")]),
    (
        &["--cpuset-cpus", "0", "--cpuset-mems", "0"],
        &[("AllowedCPUs", "0"), ("AllowedMemoryNodes", "0")],
        &[("cpuset.cpus", "0"), ("cpuset.mems", "0")],
    ),
    (&["--blkio-weight", "500"], &[("IOWeight", "4950")], &[("io.weight", "default 4950")]),
];

/// What the file says now has this line.
#[track_caller]
fn has_line(container: &Container, (file, line): (&str, &str), when: &str) {
    let text = container.cgroup_file("cgroup", file).unwrap_or_default();
    assert!(text.lines().any(|found| found == line), "{file} is {text:?} and not {line:?} {when}");
}

#[test]
#[ignore = "needs systemd as PID 1 and all controllers: conformance/vm/run"]
fn every_flag_of_update_reaches_systemd_and_a_reload_keeps_it() {
    need_controllers!("memory", "cpu", "cpuset", "pids", "io");
    let container = in_a_scope().sleeping();
    let unit = unit(&container);
    for (flags, properties, files) in ROWS {
        container.call(&[&["update"], *flags, &[&container.id]].concat()).says("").silently();
        for (name, value) in *properties {
            assert_eq!(property(&unit, name), *value, "{flags:?}: {name}");
        }
        files.iter().for_each(|line| has_line(&container, *line, &format!("after {flags:?}")));
    }
    reload();
    // The last row that sets a file stands.
    for (flags, _, files) in ROWS.iter().skip(1) {
        files.iter().for_each(|line| has_line(&container, *line, &format!("of {flags:?} after a daemon-reload")));
    }
    // An idle cgroup has no weight of its own.
    container.call(&["update", "--cpu-idle", "1", &container.id]).ok().silently();
    has_line(&container, ("cpu.idle", "1"), "after --cpu-idle");
    reload();
    has_line(&container, ("cpu.idle", "1"), "of --cpu-idle after a daemon-reload");
    for (flags, place) in [
        (&["--cpu-rt-period", "1000000"][..], "cpu.realtimePeriod"),
        (&["--cpu-rt-runtime", "1000"], "cpu.realtimeRuntime"),
        (&["--kernel-memory-tcp", "16m"], "memory.kernelTCP"),
        (&["--l3-cache-schema", "L3:0=f"], "--l3-cache-schema"),
        (&["--mem-bw-schema", "MB:0=50"], "--mem-bw-schema"),
    ] {
        container.call(&[&["update"], flags, &[&container.id]].concat()).fails(place);
    }
}

#[test]
#[ignore = "needs systemd as PID 1: conformance/vm/run"]
fn an_update_that_systemd_does_not_hear_of_changes_nothing() {
    let rule = |minor: u32| json!({"allow": true, "type": "c", "major": 1, "minor": minor, "access": "r"});
    let none = json!({"allow": false, "access": "rwm"});
    let node =
        |path: &str, minor: u32| json!({"path": path, "type": "c", "major": 1, "minor": minor, "fileMode": 0o666});
    let container = in_a_scope()
        .set("/linux/devices", json!([node("/dev/kmsg", 11), node("/dev/mem", 1)]))
        .set("/linux/resources/devices", json!([none, rule(11)]))
        .set("/linux/resources/unified", json!({"cgroup.max.depth": "5"}))
        .capabilities(&["CAP_SYSLOG", "CAP_SYS_RAWIO"])
        .sleeping();
    let open = || {
        let script = "for d in kmsg mem; do (: < /dev/$d) 2>/dev/null && printf '%s ' $d; done; true";
        container.exec(&["sh", "-c", script]).ok().text()
    };
    assert_eq!(open(), "kmsg");
    let wanted = json!({"devices": [none, rule(1)], "unified": {"cgroup.max.depth": "9"}});
    fs::write(container.dir.join("wanted.json"), wanted.to_string()).unwrap();
    let words = ["update", "--resources", "wanted.json", &container.id];
    let outcome = finish(with_other_sockets(&container, "", &words)).fails("nothing was changed: ");
    assert!(outcome.err.contains("systemd cannot be reached"), "{outcome}");
    // The program that was attached is attached again.
    assert_eq!(open(), "kmsg");
    has_line(&container, ("cgroup.max.depth", "5"), "after an update that failed");
    container.call(&words).ok().silently();
    assert_eq!(open(), "mem");
    has_line(&container, ("cgroup.max.depth", "9"), "after the same update");
}

#[test]
#[ignore = "needs systemd as PID 1 and all controllers: conformance/vm/run"]
fn an_update_that_the_kernel_refuses_leaves_files_and_unit_as_they_were() {
    need_controllers!("memory", "cpuset", "pids");
    let container = in_a_scope()
        .set("/linux/resources/memory", json!({"limit": 67_108_864}))
        .set("/linux/resources/pids", json!({"limit": 37}))
        .sleeping();
    let words = ["update", "--memory", "80m", "--pids-limit", "50", "--cpuset-cpus", "99", &container.id];
    container.call(&words).fails("nothing was changed: linux.resources.cpu.cpus: write \"99\" to ");
    for line in [("memory.max", "67108864"), ("pids.max", "37")] {
        has_line(&container, line, "after an update that failed");
    }
    let unit = unit(&container);
    assert_eq!((property(&unit, "MemoryMax"), property(&unit, "TasksMax")), ("67108864".to_owned(), "37".to_owned()));
}
