//! Containers as scopes of systemd's: what it knows of them, what it must not undo, and what is said when it does not help.

use crate::common::*;
use crate::{program, property};
use std::fs;
use std::os::unix::net::UnixListener;
use std::process::Command;

pub(crate) fn unit(container: &Container) -> String {
    format!("ocicat-{}.scope", container.id)
}

pub(crate) fn in_a_scope() -> Container {
    Container::new().scope("system.slice")
}

/// systemd reads all its units again, and writes what it knows.
pub(crate) fn reload() {
    program(&["systemctl", "daemon-reload"]).ok();
}

#[test]
#[ignore = "needs systemd as PID 1: conformance/vm/run"]
fn a_container_is_a_scope_from_create_to_delete() {
    let container = in_a_scope().args(&["sleep", "1000"]).started();
    let unit = unit(&container);
    for (name, wanted) in [
        ("ActiveState", "active".to_owned()),
        ("Slice", "system.slice".to_owned()),
        ("Delegate", "yes".to_owned()),
        ("Transient", "yes".to_owned()),
        ("Description", format!("container {}", container.id)),
        ("ControlGroup", container.cgroup.clone()),
    ] {
        assert_eq!(property(&unit, name), wanted, "{name}");
    }
    let own = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    assert!(own.lines().any(|line| line == format!("0::{}", container.cgroup)), "{own}");
    let inside = container.cgroup_file("cgroup", "cgroup.procs").unwrap();
    assert_eq!(inside, container.pid().to_string(), "nobody but init is in the scope");
    container.exec(&["cat", "/proc/self/cgroup"]).ok();
    assert_eq!(container.call(&["ps", "--format", "json", &container.id]).ok().json(), json!([container.pid()]));
    container.call(&["pause", &container.id]).ok();
    assert_eq!(container.status(), "paused");
    container.call(&["resume", &container.id]).ok();
    container.call(&["delete", "--force", &container.id]).ok();
    assert_eq!(property(&unit, "LoadState"), "not-found");
}

#[test]
#[ignore = "needs systemd as PID 1: conformance/vm/run"]
fn a_slice_below_another_is_made_and_found() {
    let container = Container::new();
    let place = format!("machine-web.slice:ocicat:{}", container.id);
    let mut container = container.global("--systemd-cgroup").set("/linux/cgroupsPath", json!(place));
    container.cgroup = format!("/machine.slice/machine-web.slice/ocicat-{}.scope", container.id);
    let container = container.sleeping();
    assert_eq!(property(&unit(&container), "ControlGroup"), container.cgroup);
}

#[test]
#[ignore = "needs systemd as PID 1: conformance/vm/run"]
fn a_container_that_ends_by_itself_leaves_no_unit() {
    let container = in_a_scope().shell("exit 3");
    container.run().exits(3);
    assert_eq!(property(&unit(&container), "LoadState"), "not-found");
    // Again under the same name, also after a unit of that name had failed.
    container.run().exits(3);
}

#[test]
#[ignore = "needs systemd as PID 1: conformance/vm/run"]
fn stopping_the_unit_ends_the_container() {
    let container = in_a_scope().sleeping();
    let pid = container.pid();
    program(&["systemctl", "kill", "--signal=KILL", &unit(&container)]).ok();
    container::wait_pid(pid);
    assert_eq!(container.status(), "stopped");
    container.delete().ok();
}

#[test]
#[ignore = "needs systemd as PID 1: conformance/vm/run"]
fn devices_survive_a_daemon_reload() {
    // /dev/full is one of the usual ones; /dev/kmsg was asked for; /dev/fuse comes by an update; /dev/mem never was.
    let node = |path: &str, major: u32, minor: u32| json!({"path": path, "type": "c", "major": major, "minor": minor, "fileMode": 0o666});
    let rule =
        |major: u32, minor: u32| json!({"allow": true, "type": "c", "major": major, "minor": minor, "access": "rw"});
    let container = in_a_scope()
        .set("/linux/devices", json!([node("/dev/kmsg", 1, 11), node("/dev/fuse", 10, 229), node("/dev/mem", 1, 1)]))
        .set("/linux/resources/devices", json!([{"allow": false, "access": "rwm"}, rule(1, 11)]))
        .capabilities(&["CAP_SYSLOG", "CAP_SYS_RAWIO", "CAP_SYS_ADMIN"])
        .sleeping();
    let open = || {
        container
            .exec(&[
                "sh",
                "-c",
                "for d in full kmsg fuse mem; do (: < /dev/$d) 2>/dev/null && printf '%s ' $d; done; true",
            ])
            .ok()
            .text()
    };
    assert_eq!(open(), "full kmsg");
    reload();
    assert_eq!(open(), "full kmsg", "after a daemon-reload");
    // A whole major: in version 1 systemd knows it by its name in /proc/devices only.
    let misc = json!({"allow": true, "type": "c", "major": 10, "access": "rw"});
    let wanted = json!({"devices": [{"allow": false, "access": "rwm"}, rule(1, 11), misc]});
    fs::write(container.dir.join("devices.json"), wanted.to_string()).unwrap();
    container.call(&["update", "--resources", "devices.json", &container.id]).ok();
    assert_eq!(open(), "full kmsg fuse", "after the update");
    reload();
    assert_eq!(open(), "full kmsg fuse", "after the update and a daemon-reload");
}

#[test]
#[ignore = "needs systemd as PID 1 and all controllers: conformance/vm/run"]
fn limits_survive_a_daemon_reload() {
    need_controllers!("memory", "cpu", "cpuset", "pids", "io", "hugetlb");
    let container = in_a_scope()
        .set(
            "/linux/resources",
            json!({
                "memory": {"limit": 67_108_864, "reservation": 33_554_432, "swap": 67_108_864},
                "cpu": {"shares": 512, "quota": 20000, "period": 50000, "cpus": "0", "mems": "0"},
                "pids": {"limit": 37},
                "blockIO": {"weight": 100},
                "hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}],
                "unified": {"memory.high": "50331648"}
            }),
        )
        .sleeping();
    let files = |memory: &str, weight: &str| {
        [
            ("memory.max", memory.to_owned()),
            ("memory.low", "33554432".to_owned()),
            ("memory.high", "50331648".to_owned()),
            ("memory.swap.max", "0".to_owned()),
            ("cpu.max", "20000 50000".to_owned()),
            ("cpu.weight", weight.to_owned()),
            ("cpuset.cpus", "0".to_owned()),
            ("pids.max", "37".to_owned()),
            ("io.weight", "default 910".to_owned()),
            ("hugetlb.2MB.max", "4194304".to_owned()),
        ]
    };
    let check = |wanted: &[(&str, String)], when: &str| {
        for (file, value) in wanted {
            assert_eq!(container.cgroup_file("cgroup", file).as_ref(), Some(value), "{file} {when}");
        }
    };
    check(&files("67108864", "59"), "after run");
    reload();
    check(&files("67108864", "59"), "after a daemon-reload");
    container
        .call(&["update", "--memory", "83886080", "--memory-swap", "83886080", "--cpu-share", "1024", &container.id])
        .ok();
    check(&files("83886080", "100"), "after an update");
    reload();
    check(&files("83886080", "100"), "after an update and a daemon-reload");
    let unit = unit(&container);
    assert_eq!(property(&unit, "MemoryMax"), "83886080");
    assert_eq!(property(&unit, "TasksMax"), "37");
}

#[test]
#[ignore = "needs systemd as PID 1 and all controllers: conformance/vm/run"]
fn a_quota_between_two_percents_is_never_made_smaller() {
    need_controllers!("cpu");
    // systemd keeps whole percents: 33.333 % is 34 % there, never 33 %.
    let container = in_a_scope().set("/linux/resources/cpu", json!({"quota": 33_333, "period": 100_000})).sleeping();
    let quota = || container.cgroup_file("cpu", "cpu.max").unwrap().split(' ').next().unwrap().parse::<u32>().unwrap();
    assert_eq!(quota(), 33_333, "the file says what was asked");
    reload();
    assert!((33_333..=34_000).contains(&quota()), "{} after a daemon-reload", quota());
}

#[test]
#[ignore = "needs systemd as PID 1: conformance/vm/run"]
fn what_the_container_divides_stays_divided_after_a_daemon_reload() {
    let container = in_a_scope().sleeping();
    let below = format!("/sys/fs/cgroup{}/below", container.cgroup);
    fs::create_dir(&below).unwrap();
    fs::write(format!("{below}/cgroup.procs"), container.pid().to_string()).unwrap();
    reload();
    assert_eq!(fs::read_to_string(format!("{below}/cgroup.procs")).unwrap().trim(), container.pid().to_string());
    container.call(&["delete", "--force", &container.id]).ok();
    assert!(!fs::exists(&below).unwrap());
}

#[test]
#[ignore = "needs systemd as PID 1: conformance/vm/run"]
fn annotations_set_harmless_properties_of_the_unit() {
    let container = in_a_scope()
        .set("/annotations/org.systemd.property.TimeoutStopUSec", json!("uint64 7000000"))
        .set("/annotations/org.systemd.property.CollectMode", json!("'inactive-or-failed'"))
        .set("/annotations/org.systemd.property.Description", json!("'a web server'"))
        .sleeping();
    let unit = unit(&container);
    assert_eq!(property(&unit, "TimeoutStopUSec"), "7s");
    assert_eq!(property(&unit, "CollectMode"), "inactive-or-failed");
    assert_eq!(property(&unit, "Description"), "a web server");
}

#[test]
#[ignore = "needs systemd as PID 1: conformance/vm/run"]
fn annotations_that_would_reach_beyond_the_unit_are_refused() {
    for (name, value) in [
        ("ExecStartPre", "'/bin/touch /tmp/injected'"),
        ("Conflicts", "['dbus.service']"),
        ("Slice", "'other.slice'"),
        ("PIDs", "[1]"),
        ("DeviceAllow", "[('/dev/mem', 'rwm')]"),
        ("DevicePolicy", "'auto'"),
        ("Delegate", "false"),
        ("BindsTo", "['debug-shell.service']"),
    ] {
        let container = in_a_scope().set(&format!("/annotations/org.systemd.property.{name}"), json!(value));
        container.create().fails(&format!("org.systemd.property.{name}"));
        assert_eq!(container.leftovers(), Vec::<String>::new(), "{name}");
        assert_eq!(property(&unit(&container), "LoadState"), "not-found", "{name}");
    }
}

#[test]
#[ignore = "needs systemd as PID 1: conformance/vm/run"]
fn a_value_that_systemd_does_not_take_is_named_and_leaves_nothing() {
    let container = in_a_scope().set("/annotations/org.systemd.property.KillMode", json!("'sometimes'"));
    container.create().fails("KillMode");
    assert_eq!(container.leftovers(), Vec::<String>::new());
    assert_eq!(property(&unit(&container), "LoadState"), "not-found");
}

#[test]
#[ignore = "needs systemd as PID 1: conformance/vm/run"]
fn a_job_that_fails_is_told_and_leaves_nothing() {
    // A slice that may not start: the scope's job fails for it.
    let slice = format!("masked{}.slice", std::process::id());
    let mask = format!("/run/systemd/system/{slice}");
    std::os::unix::fs::symlink("/dev/null", &mask).unwrap();
    reload();
    let container = Container::new().scope(&slice);
    let outcome = container.create();
    fs::remove_file(&mask).unwrap();
    reload();
    let outcome = outcome.fails(&unit(&container));
    assert!(outcome.err.contains("systemd") && !outcome.err.contains("after 30 s"), "{outcome}");
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

#[test]
#[ignore = "needs systemd as PID 1: conformance/vm/run"]
fn a_unit_of_somebody_elses_is_left_alone() {
    let container = in_a_scope();
    let unit = unit(&container);
    let mut other = Command::new("systemd-run");
    other.args(["--quiet", "--scope", "--slice=system.slice", "--unit", &unit, "sleep", "1000"]);
    let mut other = other.stdin(std::process::Stdio::null()).spawn().unwrap();
    while property(&unit, "ActiveState") != "active" {
        assert!(other.try_wait().unwrap().is_none(), "systemd-run has ended");
    }
    let outcome = container.create();
    assert_ne!(outcome.code, 0, "{outcome}");
    container.call(&["delete", "--force", &container.id]);
    assert_eq!(property(&unit, "ActiveState"), "active", "{outcome}");
    assert!(other.try_wait().unwrap().is_none());
    other.kill().unwrap();
    other.wait().unwrap();
    program(&["systemctl", "stop", &unit]);
}

/// The runtime where /run/systemd and /run/dbus are what the script makes of them.
pub(crate) fn with_other_sockets(container: &Container, script: &str, words: &[&str]) -> Command {
    let inner = container.command(words);
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-euc"])
        .arg(format!("mount -t tmpfs none /run/systemd; mount -t tmpfs none /run/dbus; {script} exec \"$@\""))
        .arg("sh")
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(&container.dir)
        .stdin(std::process::Stdio::null());
    command
}

#[test]
#[ignore = "needs systemd as PID 1: conformance/vm/run"]
fn without_a_bus_the_error_says_what_was_tried() {
    let container = in_a_scope();
    container.write();
    let create = ["create", &container.id];
    let outcome = finish(with_other_sockets(&container, "", &create)).fails("systemd cannot be reached");
    for word in ["/run/systemd/private", "/run/dbus/system_bus_socket", "hint: is systemd running here"] {
        assert!(outcome.err.contains(word), "{word}: {outcome}");
    }
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

#[test]
#[ignore = "needs systemd as PID 1: conformance/vm/run"]
fn a_bus_that_never_answers_is_given_up_within_the_deadline() {
    let container = in_a_scope();
    container.write();
    // Somebody takes the connection and says nothing.
    let silent = UnixListener::bind(container.dir.join("silent")).unwrap();
    let at = container.dir.join("silent");
    let script = format!("ln -s {0} /run/systemd/private; ln -s {0} /run/dbus/system_bus_socket;", at.display());
    let outcome =
        finish(with_other_sockets(&container, &script, &["create", &container.id])).fails("systemd cannot be reached");
    assert!(outcome.err.contains("D-Bus authentication at /run/systemd/private"), "{outcome}");
    assert!(outcome.err.contains("ETIMEDOUT"), "{outcome}");
    drop(silent);
    assert_eq!(container.leftovers(), Vec::<String>::new());
}
