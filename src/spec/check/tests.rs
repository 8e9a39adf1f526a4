//! Wrong documents and the exact words for each.

use super::*;
use serde_json::{Value, json};

/// The smallest document that is right.
fn right() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["true"], "cwd": "/"},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "uts"}]}
    })
}

/// Everything that is wrong with the right document after `change` at the JSON pointer `place`; null removes.
fn told(place: &str, change: Value) -> String {
    let mut document = right();
    let mut at = &mut document;
    for key in place.trim_start_matches('/').split('/') {
        at = &mut at[key];
    }
    *at = change;
    let config: Config = crate::spec::read::parse(document.to_string().as_bytes()).unwrap();
    let lines: Vec<String> = problems(&config, &Host::modern()).iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn a_right_document_has_no_problem() {
    assert_eq!(told("/ociVersion", json!("1.3.0")), "");
}

#[test]
fn every_version_1_is_accepted_and_no_other() {
    for version in ["1.0.0", "1.0.2-dev", "1.3.0", "1.99.7", "1.0.0-rc5", "1.2.0+build"] {
        assert_eq!(told("/ociVersion", json!(version)), "", "{version}");
    }
    for version in ["2.0.0", "0.9.0", "1", "1.0", "1.0.0.0", "v1.0.0", "1.x.0", "1..0"] {
        let expected = format!("ociVersion: {version:?} is not a version 1.x.y of the specification");
        assert_eq!(told("/ociVersion", json!(version)), expected);
    }
}

#[test]
fn problems_of_the_document_are_named() {
    let table = [
        ("/ociVersion", json!(""), "ociVersion: a version is required"),
        ("/root", Value::Null, "root: a root filesystem is required"),
        ("/root", json!({}), "root.path: a path is required"),
        ("/hostname", json!("x".repeat(65)), "hostname: 65 bytes are more than 64"),
        ("/mounts", json!([{"type": "proc"}]), "mounts[0].destination: a path is required"),
        (
            "/mounts",
            json!([{"destination": "/a"}]),
            "mounts[0] (/a): neither a type nor bind or rbind among the options",
        ),
        ("/mounts", json!([{"destination": "/a", "options": ["bind"]}]), "mounts[0] (/a): a bind mount needs a source"),
        (
            "/mounts",
            json!([{"destination": "/a", "type": "tmpfs", "options": ["idmap"]}]),
            "mounts[0] (/a): idmap without uidMappings and gidMappings needs a user namespace",
        ),
        (
            "/mounts",
            json!([{"destination": "/a", "type": "tmpfs", "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}]),
            "mounts[0] (/a): uidMappings and gidMappings need each other",
        ),
        (
            "/mounts",
            json!([{"destination": "/a\u{0}", "type": "tmpfs"}]),
            "mounts[0] (/a\0): \"/a\\0\" has a NUL character in it",
        ),
        ("/hooks", json!({"prestart": [{"path": "x"}]}), "hooks.prestart[0].path: x is not an absolute path"),
        (
            "/hooks",
            json!({"poststop": [{"path": "/x", "timeout": 0}]}),
            "hooks.poststop[0].timeout: 0 is not greater than 0",
        ),
        ("/hooks", json!({"poststart": [{"path": "/x", "env": ["A"]}]}), "hooks.poststart[0].env[0]: \"A\" has no ="),
        ("/hooks", json!({"createRuntime": [{}]}), "hooks.createRuntime[0].path: a path is required"),
        ("/annotations", json!({"": "x"}), "annotations: a key must not be empty"),
    ];
    for (place, change, expected) in table {
        assert_eq!(told(place, change), expected);
    }
}

#[test]
fn problems_of_the_process_are_named() {
    let table = [
        ("/process/cwd", json!(""), "process.cwd: a path is required"),
        ("/process/cwd", json!("work"), "process.cwd: work is not an absolute path"),
        ("/process/args", json!([]), "process.args: at least one entry is required"),
        ("/process/args", json!(["a\u{0}b"]), "process.args[0]: \"a\\0b\" has a NUL character in it"),
        ("/process/env", json!(["A=1", "B"]), "process.env[1]: \"B\" has no ="),
        ("/process/env", json!(["=1"]), "process.env[0]: \"=1\" has no name before the ="),
        ("/process/user/uid", json!(4294967295_u32), "process.user.uid: 4294967295 is not an id"),
        (
            "/process/user/additionalGids",
            json!(vec![7; 65537]),
            "process.user.additionalGids: 65537 groups are more than the 65536 that a process can have",
        ),
        ("/process/user/umask", json!(512), "process.user.umask: 512 (1000 in octal) is more than 511 (777 in octal)"),
        (
            "/process/user/additionalGids",
            json!([5, 4294967295_u32]),
            "process.user.additionalGids[1]: 4294967295 is not an id",
        ),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_BOGUS"}]),
            "process.rlimits[0].type: unknown limit \"RLIMIT_BOGUS\"",
        ),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}, {"type": "RLIMIT_CPU", "soft": 1, "hard": 1}]),
            "process.rlimits[1].type: RLIMIT_CPU is already set by process.rlimits[0]",
        ),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]),
            "process.rlimits[0]: the soft limit 2 is above the hard limit 1",
        ),
        ("/process/oomScoreAdj", json!(1001), "process.oomScoreAdj: 1001 is outside of -1000 to 1000"),
    ];
    for (place, change, expected) in table {
        assert_eq!(told(place, change), expected);
    }
}

#[test]
fn a_process_may_be_missing_and_capabilities_may_be_unknown() {
    assert_eq!(told("/process", Value::Null), "");
    assert_eq!(told("/process/capabilities", json!({"bounding": ["CAP_TELEPORT"]})), "");
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn problems_of_the_linux_object_are_named() {
    let table = [
        (
            "/linux/namespaces",
            json!([{"type": "mnt"}]),
            "linux.namespaces[0].type: \"mnt\" is not one of user, pid, time, network, ipc, uts, cgroup, mount",
        ),
        (
            "/linux/namespaces",
            json!([{"type": "mount"}, {"type": "mount"}]),
            "linux.namespaces[1].type: mount is already linux.namespaces[0]",
        ),
        (
            "/linux/namespaces",
            json!([{"type": "mount", "path": "ns/mnt"}]),
            "linux.namespaces[0].path: ns/mnt is not an absolute path",
        ),
        ("/linux/maskedPaths", json!(["proc/kcore"]), "linux.maskedPaths[0]: proc/kcore is not an absolute path"),
        ("/linux/readonlyPaths", json!(["/a", ""]), "linux.readonlyPaths[1]: a path is required"),
        (
            "/linux/uidMappings",
            json!([{"containerID": 0, "hostID": 0, "size": 1}]),
            "linux.uidMappings: needs a user namespace; hint: add {\"type\": \"user\"} to linux.namespaces",
        ),
        ("/linux/timeOffsets", json!({"monotonic": {"secs": 1}}), "linux.timeOffsets: needs a new time namespace"),
        (
            "/linux/devices",
            json!([{"type": "x", "path": "/dev/x", "major": 1, "minor": 1}]),
            "linux.devices[0] (/dev/x): type \"x\" is not one of c, u, b, p",
        ),
        (
            "/linux/devices",
            json!([{"type": "c", "path": "/dev/x", "major": 1}]),
            "linux.devices[0] (/dev/x): a minor number is required",
        ),
        (
            "/linux/devices",
            json!([{"type": "p", "path": "dev/x"}]),
            "linux.devices[0].path: dev/x is not an absolute path",
        ),
        (
            "/linux/devices",
            json!([{"type": "b", "path": "/dev/x", "major": 4096, "minor": 0}]),
            "linux.devices[0] (/dev/x): major number 4096 is not between 0 and 4095",
        ),
        (
            "/linux/devices",
            json!([{"type": "c", "path": "/dev/x", "major": 1, "minor": 3, "uid": 4294967295_u32}]),
            "linux.devices[0] (/dev/x): uid 4294967295 is not an id",
        ),
        (
            "/linux/netDevices",
            json!({"eth0": {}}),
            "linux.netDevices: needs a network namespace; hint: add {\"type\": \"network\"} to linux.namespaces",
        ),
        (
            "/linux/resources",
            json!({"devices": [{"allow": true, "type": "x"}]}),
            "linux.resources.devices[0].type: \"x\" is not one of a, b, c",
        ),
        (
            "/linux/resources",
            json!({"devices": [{"allow": true, "type": "c", "major": 4294967295_u32}]}),
            "linux.resources.devices[0].major: 4294967295 is not between -1 and 4095",
        ),
        (
            "/linux/resources",
            json!({"devices": [{"allow": true, "access": "rwx"}]}),
            "linux.resources.devices[0].access: \"rwx\" has other letters than r, w and m",
        ),
        (
            "/linux/resources",
            json!({"memory": {"swappiness": 101}}),
            "linux.resources.memory.swappiness: 101 is more than 100",
        ),
        (
            "/linux/resources",
            json!({"blockIO": {"weight": 9}}),
            "linux.resources.blockIO.weight: 9 is not between 10 and 1000",
        ),
        (
            "/linux/resources",
            json!({"unified": {"../x": "1"}}),
            "linux.resources.unified (../x): is not the name of a file in a cgroup",
        ),
        (
            "/linux/intelRdt",
            json!({"closID": "a/b"}),
            "linux.intelRdt.closID: \"a/b\" cannot be the name of a directory",
        ),
        (
            "/linux/intelRdt",
            json!({"schemata": ["L3:0=f", "x\ny"]}),
            "linux.intelRdt.schemata[1]: has more than one line",
        ),
        (
            "/linux/rootfsPropagation",
            json!("secret"),
            "linux.rootfsPropagation: \"secret\" is not one of shared, slave, private, unbindable",
        ),
        (
            "/linux/personality",
            json!({"domain": "BSD"}),
            "linux.personality.domain: unknown domain \"BSD\", the spec has LINUX and LINUX32",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_X", "nodes": "0"}),
            "linux.memoryPolicy.mode: unknown mode \"MPOL_X\"",
        ),
    ];
    for (place, change, expected) in table {
        assert_eq!(told(place, change), expected);
    }
}

#[test]
fn paths_of_the_host_are_not_masked() {
    assert_eq!(
        told("/linux", json!({"maskedPaths": ["/proc/kcore"]})),
        "linux.maskedPaths: needs a mount namespace; hint: add {\"type\": \"mount\"} to linux.namespaces"
    );
}

#[test]
fn id_mappings_are_what_the_kernel_takes() {
    let map = |ranges: &[(u32, u32, u32)]| -> Value {
        ranges.iter().map(|(c, h, s)| json!({"containerID": c, "hostID": h, "size": s})).collect()
    };
    type Ranges = [(u32, u32, u32)];
    let table: &[(&Ranges, &str)] = &[
        (&[(0, 100_000, 65536)], ""),
        (&[(0, 1000, 1), (1, 100_000, 65535)], ""),
        (&[(0, 1, 1), (5, 9, 0)], "linux.uidMappings[1].size: a range of 0 ids"),
        (&[(0, 10, 5), (4, 20, 5)], "linux.uidMappings[1].containerID: the range overlaps that of entry 0"),
        (&[(0, 10, 5), (5, 14, 5)], "linux.uidMappings[1].hostID: the range overlaps that of entry 0"),
        (&[(0, 4_294_967_290, 100)], "linux.uidMappings[0].hostID: 100 ids from 4294967290 on go beyond 4294967294"),
        (&[(7, 10, 5)], "process.user.uid: 0 is not in linux.uidMappings"),
    ];
    for (ranges, expected) in table {
        let linux = json!({
            "namespaces": [{"type": "mount"}, {"type": "user"}],
            "uidMappings": map(ranges),
            "gidMappings": map(&[(0, 100_000, 65536)])
        });
        assert_eq!(told("/linux", linux), *expected);
    }
}

#[test]
fn every_problem_names_its_section() {
    let problems = problems(&Config::default(), &Host::modern());
    let shown: Vec<_> = problems.iter().map(|p| (p.section, p.place.as_str())).collect();
    assert_eq!(shown, [("config.md#specification-version", "ociVersion"), ("config.md#root", "root")]);
}
