//! Namespaces: new, joined and the host's, and ids in user namespaces (config-linux.md, "Namespaces").

use crate::common::*;
use std::fs;

const KINDS: [(&str, &str); 8] = [
    ("pid", "pid"),
    ("network", "net"),
    ("mount", "mnt"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("user", "user"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

fn links(container: Container) -> Outcome {
    container
        .shell("cd /proc/self/ns; for n in pid net mnt ipc uts user cgroup time; do echo $n=$(readlink $n); done")
        .run()
        .ok()
}

#[test]
fn each_kind_is_new_when_listed() {
    for (kind, link) in KINDS {
        if kind == "time" && !ours() {
            continue;
        }
        let mut container = Container::new();
        if kind == "user" {
            container = container.user_namespace();
        } else if !["pid", "network", "mount", "ipc", "uts"].contains(&kind) {
            container = container.namespace(kind);
        }
        assert_ne!(links(container).field(link), host::namespace(std::process::id(), link), "{kind}");
    }
}

#[test]
fn each_kind_is_the_hosts_when_not_listed() {
    for (kind, link) in KINDS {
        if ["mount", "user", "cgroup", "time"].contains(&kind) {
            continue;
        }
        let mut container = Container::new().without_namespace(kind);
        if kind == "uts" {
            container.config.as_object_mut().unwrap().remove("hostname");
        }
        if kind == "network" {
            // sysfs cannot be mounted anew from a network namespace that is not ours to configure, but as root it can.
            container.config["linux"]["sysctl"] = json!({});
        }
        assert_eq!(links(container).field(link), host::namespace(std::process::id(), link), "{kind}");
    }
    for link in ["user", "cgroup", "time"] {
        assert_eq!(links(Container::new()).field(link), host::namespace(std::process::id(), link));
    }
}

#[test]
fn each_kind_can_be_joined_by_path() {
    let owner = Container::new().namespace("cgroup").sleeping();
    let pid = owner.pid();
    for (kind, link) in KINDS {
        if ["user", "time", "mount", "cgroup"].contains(&kind) {
            continue;
        }
        let path = format!("/proc/{pid}/ns/{link}");
        let mut joined =
            Container::new().without_namespace(kind).set("/linux/namespaces/-", json!({"type": kind, "path": path}));
        if kind == "uts" {
            joined.config.as_object_mut().unwrap().remove("hostname");
        }
        assert_eq!(links(joined).field(link), host::namespace(pid, link), "{kind}");
    }
}

#[test]
fn all_namespaces_of_another_container_can_be_joined_at_once() {
    let owner = Container::new().sleeping();
    let mut joined = Container::new().shell("echo $$; hostname");
    joined.config.as_object_mut().unwrap().remove("hostname");
    let pid = owner.pid();
    joined.config["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "pid", "path": format!("/proc/{pid}/ns/pid")}, {"type": "network", "path": format!("/proc/{pid}/ns/net")},
        {"type": "ipc", "path": format!("/proc/{pid}/ns/ipc")}, {"type": "uts", "path": format!("/proc/{pid}/ns/uts")}]);
    let seen = joined.run().ok();
    let (inner, name) = seen.out.trim().split_once('\n').unwrap();
    assert!(inner != "1" && name == "ocicat", "{seen}");
}

#[test]
fn a_joined_user_namespace_gives_its_ids() {
    only_ocicat!("runc 1.1 wants mappings too");
    let owner = Container::new().user_namespace().sleeping();
    let pid = owner.pid();
    let joined =
        Container::new().set("/linux/namespaces/-", json!({"type": "user", "path": format!("/proc/{pid}/ns/user")}));
    for entry in container::walk(&joined.rootfs()) {
        if !entry.ends_with("bin/busybox") {
            std::os::unix::fs::lchown(&entry, Some(100_000), Some(100_000)).unwrap();
        }
    }
    let seen = joined.shell("readlink /proc/self/ns/user; cat /proc/self/uid_map").run().ok();
    assert!(seen.out.starts_with(&host::namespace(pid, "user")) && seen.out.contains("100000"), "{seen}");
}

#[test]
fn the_joined_time_namespace_is_that_of_the_owner() {
    only_ocicat!("runc 1.1 knows no time namespaces");
    let owner =
        Container::new().namespace("time").set("/linux/timeOffsets", json!({"boottime": {"secs": 500_000}})).sleeping();
    let path = format!("/proc/{}/ns/time", owner.pid());
    let joined = Container::new().set("/linux/namespaces/-", json!({"type": "time", "path": path}));
    let seen = joined.shell("cut -d. -f1 /proc/uptime").run().ok();
    assert!(seen.text().parse::<u64>().unwrap() >= 500_000, "{seen}");
}

#[test]
fn a_path_to_another_kind_of_namespace_is_refused() {
    for (kind, other) in [("network", "uts"), ("pid", "net"), ("ipc", "mnt"), ("uts", "ipc")] {
        let container = Container::new()
            .without_namespace(kind)
            .set("/linux/namespaces/-", json!({"type": kind, "path": format!("/proc/self/ns/{other}")}));
        let outcome = container.run();
        assert!(outcome.code != 0, "{kind} by a path to {other}: {outcome}");
        if ours() {
            assert!(
                outcome.err.contains(kind) && outcome.err.contains("linux.namespaces["),
                "the place is not named: {outcome}"
            );
        }
    }
}

#[test]
fn a_path_that_is_no_namespace_is_refused() {
    for path in ["/etc/hostname", "/no/such/path", "/proc/self/ns", "relative"] {
        let outcome = Container::new()
            .without_namespace("network")
            .set("/linux/namespaces/-", json!({"type": "network", "path": path}))
            .run();
        assert!(outcome.code != 0, "{path}: {outcome}");
    }
}

#[test]
fn a_kind_listed_twice_is_refused() {
    let outcome = Container::new().namespace("pid").run();
    assert!(outcome.code != 0, "{outcome}");
}

#[test]
fn pid_1_is_the_program() {
    Container::new().shell("echo $$; cat /proc/1/comm; true").run().says("1\nsh");
}

#[test]
fn the_network_of_the_container_has_only_a_loopback() {
    Container::new().shell("ls /sys/class/net").run().says("lo");
}

#[test]
fn the_loopback_of_a_new_network_namespace_is_up() {
    let container = Container::new().capabilities(&["CAP_NET_RAW"]).set("/process/noNewPrivileges", json!(false));
    let seen = container.shell("ip addr show lo").run().ok();
    assert!(seen.out.contains("UP") && seen.out.contains("127.0.0.1"), "{seen}");
}

#[test]
fn root_in_a_user_namespace_is_an_ordinary_user_outside() {
    let container = Container::new().user_namespace().sleeping();
    let pid = container.pid();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Uid:\t100000\t100000\t100000\t100000"), "{status}");
    container.exec(&["id", "-u"]).says("0");
    let map = container.exec(&["cat", "/proc/self/uid_map"]).ok();
    assert_eq!(map.out.split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
}

#[test]
fn several_ranges_of_ids_are_mapped() {
    let mut container = Container::new().user_namespace();
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1}, {"containerID": 1, "hostID": 200_000, "size": 10}, {"containerID": 1000, "hostID": 300_000, "size": 1}]);
    container.config["linux"]["uidMappings"] = map.clone();
    container.config["linux"]["gidMappings"] = map;
    let seen = container.shell("cat /proc/self/uid_map; cat /proc/self/gid_map").run().ok();
    let words: Vec<&str> = seen.out.split_whitespace().collect();
    assert_eq!(words[..9], ["0", "100000", "1", "1", "200000", "10", "1000", "300000", "1"]);
    assert_eq!(words[..9], words[9..]);
}

#[test]
fn a_user_namespace_has_its_devices_proc_and_sys() {
    let container = Container::new().user_namespace();
    let seen = container.shell("echo > /dev/null && head -c 1 /dev/zero | wc -c && ls /dev/pts /proc/1/fd >/dev/null && grep -q ' /sys ' /proc/self/mountinfo && echo sys").run().ok();
    assert_eq!(seen.text(), "1\nsys");
}

#[test]
fn a_process_of_a_user_namespace_can_be_another_user() {
    Container::new()
        .user_namespace()
        .set("/process/user", json!({"uid": 1000, "gid": 1000, "additionalGids": [2000]}))
        .shell("id -u; id -G")
        .run()
        .says("1000\n1000 2000");
}

#[test]
fn exec_enters_the_user_namespace() {
    let container = Container::new().user_namespace().sleeping();
    let pid_file = container.dir.join("exec.pid");
    container
        .detach(&["exec", "--detach", "--pid-file", pid_file.to_str().unwrap(), &container.id, "sleep", "1000"])
        .ok();
    let pid: u32 = fs::read_to_string(pid_file).unwrap().parse().unwrap();
    assert_eq!(host::namespace(pid, "user"), host::namespace(container.pid(), "user"));
    assert!(fs::read_to_string(format!("/proc/{pid}/status")).unwrap().contains("Uid:\t100000\t"));
    container::end_pid(pid);
}

#[test]
fn mappings_without_a_user_namespace_are_refused() {
    let outcome =
        Container::new().set("/linux/uidMappings", json!([{"containerID": 0, "hostID": 1000, "size": 1}])).run();
    assert!(outcome.code != 0 || !ours(), "{outcome}");
}

#[test]
fn clocks_are_moved_in_a_time_namespace() {
    only_ocicat!("runc 1.1 knows no time namespaces");
    let container = Container::new().namespace("time").set(
        "/linux/timeOffsets",
        json!({"monotonic": {"secs": 1000}, "boottime": {"secs": 1_000_000, "nanosecs": 5}}),
    );
    let seen = container.shell("cut -d. -f1 /proc/uptime; cat /proc/self/timens_offsets").run().ok();
    assert!(seen.out.lines().next().unwrap().parse::<u64>().unwrap() >= 1_000_000, "{seen}");
    let words: Vec<&str> = seen.out.split_whitespace().skip(1).collect();
    assert_eq!(words, ["monotonic", "1000", "0", "boottime", "1000000", "5"]);
}

#[test]
fn exec_sees_the_clocks_of_the_container() {
    only_ocicat!("runc 1.1 knows no time namespaces");
    let container = Container::new()
        .namespace("time")
        .set("/linux/timeOffsets", json!({"boottime": {"secs": 1_000_000}}))
        .sleeping();
    assert!(container.exec(&["cut", "-d.", "-f1", "/proc/uptime"]).ok().text().parse::<u64>().unwrap() >= 1_000_000);
}

#[test]
fn every_combination_of_user_time_pid_and_network_namespaces_lives() {
    need!(host::is_root() && std::path::Path::new("/proc/self/ns/time").exists(), "needs root and time namespaces");
    only_ocicat!("runc 1.1 has no time namespaces");
    const KINDS: [&str; 4] = ["user", "time", "pid", "network"];
    for chosen in 0..16 {
        let has = |kind: &str| KINDS.iter().position(|other| *other == kind).is_some_and(|at| chosen >> at & 1 == 1);
        let mut container = Container::new();
        for kind in ["pid", "network"] {
            container = if has(kind) { container } else { container.without_namespace(kind) };
        }
        container = if has("user") { container.user_namespace() } else { container };
        if has("time") {
            container = container.namespace("time").set("/linux/timeOffsets", json!({"boottime": {"secs": 1_000_000}}));
        }
        if !has("pid") || !has("network") {
            // Whose pid or network namespace it is, the host's here, may alone mount these.
            container = container.edit(|config| {
                let mounts = config["mounts"].as_array_mut().unwrap();
                for (kind, point) in [("pid", "/proc"), ("network", "/sys")] {
                    if let Some(mount) =
                        mounts.iter_mut().find(|mount| mount["destination"] == point && has("user") && !has(kind))
                    {
                        *mount = json!({"destination": point, "type": "none", "source": point, "options": ["rbind"]});
                    }
                }
            });
        }
        let container = container.sleeping();
        let line = "for kind in user time pid net; do readlink /proc/self/ns/$kind; done; cut -d. -f1 /proc/uptime";
        let seen = container.exec(&["sh", "-c", line]).ok().text();
        let lines: Vec<&str> = seen.lines().collect();
        for (kind, link) in KINDS.iter().zip(&lines) {
            let file = if *kind == "network" { "net" } else { kind };
            let own = std::fs::read_link(format!("/proc/self/ns/{file}")).unwrap();
            assert_eq!(own.to_str() != Some(link), has(kind), "{chosen:04b} {kind}: {seen}");
        }
        assert_eq!(lines[4].parse::<u64>().unwrap() > 1_000_000, has("time"), "{chosen:04b}: {seen}");
    }
}

#[test]
fn offsets_without_a_time_namespace_are_refused() {
    only_ocicat!("runc 1.1 knows no time namespaces");
    Container::new().set("/linux/timeOffsets", json!({"boottime": {"secs": 1}})).run().fails("timeOffsets");
}

#[test]
fn a_network_device_is_moved_into_the_container() {
    only_ocicat!("runc 1.1 knows no netDevices");
    need!(host::has("ip"), "needs ip of iproute2");
    let name = format!("oct{}", std::process::id() % 100_000);
    let made = std::process::Command::new("ip").args(["link", "add", &name, "type", "dummy"]).output().unwrap();
    need!(made.status.success(), "the kernel has no dummy network device");
    let container = Container::new()
        .set("/linux/netDevices", json!({name.as_str(): {"name": "inside0"}}))
        .shell("ls /sys/class/net; ip link show inside0");
    let outcome = container.run();
    let _ = std::process::Command::new("ip").args(["link", "delete", &name]).output();
    assert!(outcome.code == 0 && outcome.out.contains("inside0") && outcome.out.contains("UP"), "{outcome}");
}
