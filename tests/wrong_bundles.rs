//! Wrong bundles, each with the exact words that a user reads, and nothing left of any of them.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test may panic, and its paths are its own"
)]

mod common;

use common::*;
use std::fs;

/// What is wrong, the change that makes it so, and the whole message without `ocicat: `; DIR is the bundle's directory.
type Case = (&'static str, fn(Container) -> Container, &'static str);

/// Calls `create` and compares: exit code, standard error, the log, and what is left.
fn refused(cases: &[Case]) {
    if !ours() {
        return skip("the words are ocicat's own");
    }
    let mut wrong = Vec::new();
    for (name, change, expected) in cases {
        let container = change(Container::new());
        if !container.dir.join("config.json").exists() {
            container.write();
        }
        let log = container.dir.join("log.json");
        let options = ["--log", log.to_str().unwrap(), "--log-format", "json", "create", &container.id];
        let outcome = container.call(&options);
        let told = outcome.err.replace(container.dir.to_str().unwrap(), "DIR");
        let expected = format!("ocicat: {expected}\n");
        if outcome.code != 1 || told != expected || !outcome.out.is_empty() {
            wrong.push(format!("{name}: exit code {}\n  expected {expected}  but said {told}", outcome.code));
        }
        let entry: Value = serde_json::from_slice(&fs::read(&log).unwrap_or_default()).unwrap_or_default();
        if entry["msg"] != outcome.err.trim_start_matches("ocicat: ").trim_end() || entry["level"] != "error" {
            wrong.push(format!("{name}: the log says {entry}"));
        }
        let left = container.leftovers();
        if !left.is_empty() {
            wrong.push(format!("{name}: left behind: {}", left.join(", ")));
        }
        let _ = fs::remove_file(container.dir.join("config.json"));
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// A bundle whose config.json is this text.
fn text(container: Container, text: &str) -> Container {
    fs::write(container.dir.join("config.json"), text).unwrap();
    container
}

#[test]
fn a_file_that_is_no_config_is_refused() {
    refused(&[
        ("no JSON", |c| text(c, "hello"), "config.json: expected value at line 1 column 1"),
        ("empty", |c| text(c, ""), "config.json: EOF while parsing a value at line 1 column 0"),
        (
            "half",
            |c| text(c, "{\"ociVersion\": \"1.3.0\""),
            "config.json: EOF while parsing an object at line 1 column 22",
        ),
        ("trailing comma", |c| text(c, "{\"hostname\": \"a\",}"), "config.json: trailing comma at line 1 column 18"),
        ("more behind it", |c| text(c, "{} {}"), "config.json: trailing characters at line 1 column 4"),
        ("a list", |c| text(c, "7"), "config.json: expected an object, found 7 at line 1 column 1"),
        (
            "a field twice",
            |c| text(c, "{\"hostname\": \"a\", \"hostname\": \"b\"}"),
            "config.json: duplicate field `hostname` at line 1 column 28",
        ),
        (
            "a uid in words",
            |c| text(c, "{\"process\": {\"user\": {\"uid\": \"root\"}}}"),
            "config.json: process.user.uid: expected a whole number from 0 to 4294967295, found \"root\" at line 1 column 35",
        ),
        (
            "a negative uid",
            |c| text(c, "{\"process\": {\"user\": {\"uid\": -1}}}"),
            "config.json: process.user.uid: expected a whole number from 0 to 4294967295, found -1 at line 1 column 31",
        ),
        (
            "options that are no list",
            |c| text(c, "{\"mounts\": [{\"destination\": \"/a\", \"options\": \"ro\"}]}"),
            "config.json: mounts[0].options: expected an array, found \"ro\" at line 1 column 49",
        ),
        (
            "a sysctl that is a number",
            |c| text(c, "{\"linux\": {\"sysctl\": {\"net.core.somaxconn\": 7}}}"),
            "config.json: linux.sysctl.net.core.somaxconn: expected a string, found 7 at line 1 column 45",
        ),
        (
            "limits as a list",
            |c| text(c, r#"{"linux": {"resources": {"memory": []}}}"#),
            "config.json: linux.resources.memory: expected an object, found an array at line 1 column 37",
        ),
        (
            "capabilities as a list",
            |c| text(c, r#"{"process": {"capabilities": [["CAP_SYS_ADMIN"]]}}"#),
            "config.json: process.capabilities: expected an object, found an array at line 1 column 30",
        ),
        (
            "a user as a list",
            |c| text(c, r#"{"process": {"user": [1000, 1000]}}"#),
            "config.json: process.user: expected an object, found an array at line 1 column 22",
        ),
        (
            "nesting without end",
            |c| text(c, &format!("{{\"x\": {}", "[".repeat(100_000))),
            "config.json: x: EOF while parsing a list at line 1 column 100006",
        ),
    ]);
}

#[test]
fn a_missing_file_is_named() {
    let container = Container::new();
    let outcome = container.call(&["create", &container.id]);
    let path = container.dir.join("config.json");
    let expected = format!("ocicat: config.json: open {}: no such file or directory (ENOENT)\n", path.display());
    if !ours() {
        return skip("the words are ocicat's own");
    }
    assert_eq!((outcome.code, outcome.err), (1, expected));
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

#[test]
fn what_the_specification_forbids_is_refused() {
    refused(&[
        ("no version", |c| c.set("/ociVersion", json!("")), "config.json: ociVersion: a version is required"),
        (
            "a version of the future",
            |c| c.set("/ociVersion", json!("2.0.0")),
            "config.json: ociVersion: \"2.0.0\" is not a version 1.x.y of the specification",
        ),
        ("no root", |c| c.set("/root", Value::Null), "config.json: root: a root filesystem is required"),
        ("no root path", |c| c.set("/root", json!({})), "config.json: root.path: a path is required"),
        (
            "a long hostname",
            |c| c.set("/hostname", json!("x".repeat(65))),
            "config.json: hostname: 65 bytes are more than 64",
        ),
        (
            "a hostname for the host",
            |c| c.without_namespace("uts"),
            "config.json: hostname: needs a uts namespace; hint: add {\"type\": \"uts\"} to linux.namespaces",
        ),
        (
            "a domainname for the host",
            |c| c.without_namespace("uts").set("/hostname", Value::Null).set("/domainname", json!("d")),
            "config.json: domainname: needs a uts namespace; hint: add {\"type\": \"uts\"} to linux.namespaces",
        ),
        (
            "a mount without destination",
            |c| c.set("/mounts/-", json!({"type": "tmpfs"})),
            "config.json: mounts[7].destination: a path is required",
        ),
        (
            "a mount without type",
            |c| c.set("/mounts/-", json!({"destination": "/data"})),
            "config.json: mounts[7] (/data): neither a type nor bind or rbind among the options",
        ),
        (
            "a bind mount of nothing",
            |c| c.set("/mounts/-", json!({"destination": "/data", "options": ["bind"]})),
            "config.json: mounts[7] (/data): a bind mount needs a source",
        ),
        (
            "idmap of nothing",
            |c| c.mount("/data", "", "/tmp", &["bind", "idmap"]),
            "config.json: mounts[7] (/data): idmap without uidMappings and gidMappings needs a user namespace",
        ),
        (
            "a hook by a relative path",
            |c| c.set("/hooks", json!({"poststart": [{"path": "hook"}]})),
            "config.json: hooks.poststart[0].path: hook is not an absolute path",
        ),
        (
            "a hook without time",
            |c| c.set("/hooks", json!({"createRuntime": [{"path": "/bin/true", "timeout": 0}]})),
            "config.json: hooks.createRuntime[0].timeout: 0 is not greater than 0",
        ),
        (
            "an annotation without a name",
            |c| c.set("/annotations", json!({"": "x"})),
            "config.json: annotations: a key must not be empty",
        ),
    ]);
}

#[test]
fn a_process_that_cannot_be_is_refused() {
    refused(&[
        ("no cwd", |c| c.set("/process/cwd", json!("")), "config.json: process.cwd: a path is required"),
        (
            "a relative cwd",
            |c| c.set("/process/cwd", json!("work")),
            "config.json: process.cwd: work is not an absolute path",
        ),
        (
            "nothing to run",
            |c| c.set("/process/args", json!([])),
            "config.json: process.args: at least one entry is required",
        ),
        (
            "NUL in an argument",
            |c| c.set("/process/args", json!(["true", "a\u{0}b"])),
            "config.json: process.args[1]: \"a\\0b\" has a NUL character in it",
        ),
        (
            "a variable without value",
            |c| c.set("/process/env/-", json!("DEBUG")),
            "config.json: process.env[2]: \"DEBUG\" has no =",
        ),
        (
            "a variable without name",
            |c| c.set("/process/env/-", json!("=x")),
            "config.json: process.env[2]: \"=x\" has no name before the =",
        ),
        (
            "the highest uid",
            |c| c.set("/process/user/uid", json!(4294967295_u32)),
            "config.json: process.user.uid: 4294967295 is not an id",
        ),
        (
            "too many groups",
            |c| c.set("/process/user/additionalGids", json!(vec![7; 65537])),
            "config.json: process.user.additionalGids: 65537 groups are more than the 65536 that a process can have",
        ),
        (
            "a long umask",
            |c| c.set("/process/user/umask", json!(4095)),
            "config.json: process.user.umask: 4095 (7777 in octal) is more than 511 (777 in octal)",
        ),
        (
            "an unknown limit",
            |c| c.set("/process/rlimits/-", json!({"type": "RLIMIT_BOGUS", "soft": 1, "hard": 1})),
            "config.json: process.rlimits[1].type: unknown limit \"RLIMIT_BOGUS\"",
        ),
        (
            "a limit twice",
            |c| c.set("/process/rlimits/-", json!({"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1})),
            "config.json: process.rlimits[1].type: RLIMIT_NOFILE is already set by process.rlimits[0]",
        ),
        (
            "a soft limit above the hard one",
            |c| c.set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1}])),
            "config.json: process.rlimits[0]: the soft limit 2 is above the hard limit 1",
        ),
        (
            "an OOM score out of range",
            |c| c.set("/process/oomScoreAdj", json!(-1001)),
            "config.json: process.oomScoreAdj: -1001 is outside of -1000 to 1000",
        ),
        (
            "a terminal that nobody holds",
            |c| c.set("/process/terminal", json!(true)),
            "config.json: process.terminal: nobody would hold the terminal; hint: give --console-socket",
        ),
    ]);
}

#[test]
fn what_linux_cannot_do_is_refused() {
    refused(&[
        (
            "an unknown namespace",
            |c| c.namespace("mnt"),
            "config.json: linux.namespaces[5].type: \"mnt\" is not one of user, pid, time, network, ipc, uts, cgroup, mount",
        ),
        (
            "a namespace twice",
            |c| c.namespace("pid"),
            "config.json: linux.namespaces[5].type: pid is already linux.namespaces[0]",
        ),
        (
            "a namespace by a relative path",
            |c| c.without_namespace("ipc").set("/linux/namespaces/-", json!({"type": "ipc", "path": "ns/ipc"})),
            "config.json: linux.namespaces[4].path: ns/ipc is not an absolute path",
        ),
        (
            "masks for the host",
            |c| c.without_namespace("mount").set("/linux/readonlyPaths", json!([])),
            "config.json: linux.maskedPaths: needs a mount namespace; hint: add {\"type\": \"mount\"} to linux.namespaces",
        ),
        (
            "a mapping without user namespace",
            |c| c.set("/linux/uidMappings", json!([{"containerID": 0, "hostID": 0, "size": 1}])),
            "config.json: linux.uidMappings: needs a user namespace; hint: add {\"type\": \"user\"} to linux.namespaces",
        ),
        (
            "mappings that overlap",
            |c| {
                let overlap =
                    json!([{"containerID": 0, "hostID": 9, "size": 9}, {"containerID": 8, "hostID": 90, "size": 9}]);
                c.user_namespace().set("/linux/gidMappings", overlap)
            },
            "config.json: linux.gidMappings[1].containerID: the range overlaps that of entry 0",
        ),
        (
            "an empty mapping",
            |c| c.user_namespace().set("/linux/uidMappings", json!([{"containerID": 0, "hostID": 9, "size": 0}])),
            "config.json: process.user.uid: 0 is not in linux.uidMappings",
        ),
        (
            "offsets without a time namespace",
            |c| c.set("/linux/timeOffsets", json!({"monotonic": {"secs": 1}})),
            "config.json: linux.timeOffsets: needs a new time namespace",
        ),
        (
            "an unknown clock",
            |c| c.namespace("time").set("/linux/timeOffsets", json!({"realtime": {"secs": 1}})),
            "config.json: linux.timeOffsets: \"realtime\" is not one of monotonic, boottime",
        ),
        (
            "a device of an unknown type",
            |c| c.set("/linux/devices", json!([{"type": "x", "path": "/dev/x", "major": 1, "minor": 3}])),
            "config.json: linux.devices[0] (/dev/x): type \"x\" is not one of c, u, b, p",
        ),
        (
            "a device without a number",
            |c| c.set("/linux/devices", json!([{"type": "c", "path": "/dev/x", "major": 1}])),
            "config.json: linux.devices[0] (/dev/x): a minor number is required",
        ),
        (
            "a device of nobody",
            |c| {
                c.set(
                    "/linux/devices",
                    json!([{"type": "c", "path": "/dev/x", "major": 1, "minor": 3, "gid": 4294967295_u32}]),
                )
            },
            "config.json: linux.devices[0] (/dev/x): gid 4294967295 is not an id",
        ),
        (
            "a device at a relative path",
            |c| c.set("/linux/devices", json!([{"type": "p", "path": "dev/x"}])),
            "config.json: linux.devices[0].path: dev/x is not an absolute path",
        ),
        (
            "a network device for the host",
            |c| c.without_namespace("network").set("/linux/netDevices", json!({"eth7": {}})),
            "config.json: linux.netDevices: needs a network namespace; hint: add {\"type\": \"network\"} to linux.namespaces",
        ),
        (
            "a device rule of an unknown type",
            |c| c.set("/linux/resources/devices/-", json!({"allow": true, "type": "x"})),
            "config.json: linux.resources.devices[1].type: \"x\" is not one of a, b, c",
        ),
        (
            "a device rule for every device by a number that wraps",
            |c| c.set("/linux/resources/devices/-", json!({"allow": true, "type": "c", "major": 4294967295_u32})),
            "config.json: linux.resources.devices[1].major: 4294967295 is not between -1 and 4095",
        ),
        (
            "a device rule with unknown rights",
            |c| c.set("/linux/resources/devices/-", json!({"allow": true, "access": "rwx"})),
            "config.json: linux.resources.devices[1].access: \"rwx\" has other letters than r, w and m",
        ),
        (
            "a cgroup file elsewhere",
            |c| c.set("/linux/resources/unified", json!({"../memory.max": "1"})),
            "config.json: linux.resources.unified (../memory.max): is not the name of a file in a cgroup",
        ),
        (
            "less swap and memory than memory",
            |c| c.set("/linux/resources/memory", json!({"limit": 20_000_000, "swap": 10_000_000})),
            "config.json: linux.resources.memory.swap: 10000000 is less than the limit of 20000000, which it has to include",
        ),
        (
            "a relative masked path",
            |c| c.set("/linux/maskedPaths/-", json!("proc/kcore")),
            "config.json: linux.maskedPaths[10]: proc/kcore is not an absolute path",
        ),
        (
            "a relative read-only path",
            |c| c.set("/linux/readonlyPaths/-", json!("proc/sys")),
            "config.json: linux.readonlyPaths[5]: proc/sys is not an absolute path",
        ),
        (
            "an unknown propagation",
            |c| c.set("/linux/rootfsPropagation", json!("secret")),
            "config.json: linux.rootfsPropagation: \"secret\" is not one of shared, slave, private, unbindable",
        ),
        (
            "an unknown personality",
            |c| c.set("/linux/personality", json!({"domain": "BSD"})),
            "config.json: linux.personality.domain: unknown domain \"BSD\", the spec has LINUX and LINUX32",
        ),
        (
            "an unknown memory policy",
            |c| c.set("/linux/memoryPolicy", json!({"mode": "MPOL_X", "nodes": "0"})),
            "config.json: linux.memoryPolicy.mode: unknown mode \"MPOL_X\"",
        ),
        (
            "a class elsewhere",
            |c| c.set("/linux/intelRdt", json!({"closID": "../x"})),
            "config.json: linux.intelRdt.closID: \"../x\" cannot be the name of a directory",
        ),
    ]);
}

#[test]
fn a_kernel_parameter_that_is_not_the_containers_is_refused() {
    refused(&[
        (
            "one of the whole host",
            |c| c.set("/linux/sysctl", json!({"kernel.core_pattern": "x"})),
            "config.json: linux.sysctl[\"kernel.core_pattern\"]: belongs to the whole host and to no namespace, a container may \
             not change it",
        ),
        (
            "by way of another",
            |c| c.set("/linux/sysctl", json!({"net/../kernel/domainname": "x"})),
            "config.json: linux.sysctl[\"net/../kernel/domainname\"]: no name of a kernel parameter",
        ),
        (
            "one that has a field",
            |c| c.set("/linux/sysctl", json!({"kernel.hostname": "x"})),
            "config.json: linux.sysctl[\"kernel.hostname\"]: is what the field hostname sets",
        ),
        (
            "one of a namespace that is the host's",
            |c| c.set("/linux/sysctl", json!({"user.max_user_namespaces": "1"})),
            "config.json: linux.sysctl[\"user.max_user_namespaces\"]: would change the host, the container has no user namespace \
             of its own",
        ),
        (
            "the network of the host",
            |c| c.without_namespace("network").set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"})),
            "config.json: linux.sysctl[\"net.ipv4.ip_forward\"]: would change the host, the container has no network namespace \
             of its own",
        ),
    ]);
}

#[test]
fn a_profile_or_a_schedule_with_unknown_words_is_refused() {
    refused(&[
        (
            "an unknown action",
            |c| c.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_X"})),
            "config.json: linux.seccomp.defaultAction: unknown action \"SCMP_ACT_X\"",
        ),
        (
            "an unknown architecture",
            |c| c.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["X"]})),
            "config.json: linux.seccomp.architectures[0]: unknown architecture \"X\"",
        ),
        (
            "an error number for what does not fail",
            |c| c.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1})),
            "config.json: linux.seccomp.defaultErrnoRet: SCMP_ACT_ALLOW takes no error number",
        ),
        (
            "a seventh argument",
            |c| {
                let args = json!([{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]);
                let rules = json!([{"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": args}]);
                c.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}))
            },
            "config.json: linux.seccomp.syscalls[0].args[0].index: 6 is past 5, the last argument of a system call",
        ),
        (
            "an unknown policy",
            |c| c.set("/process/scheduler", json!({"policy": "SCHED_X"})),
            "config.json: process.scheduler.policy: unknown policy \"SCHED_X\"",
        ),
        (
            "an unknown class",
            |c| c.set("/process/ioPriority", json!({"class": "X", "priority": 1})),
            "config.json: process.ioPriority.class: unknown class \"X\"",
        ),
        (
            "a level out of range",
            |c| c.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 8})),
            "config.json: process.ioPriority.priority: 8 is outside of 0 to 7",
        ),
        (
            "a user namespace without ids",
            |c| c.namespace("user"),
            "config.json: linux.uidMappings and linux.gidMappings: a new user namespace needs both",
        ),
    ]);
}

#[test]
fn what_is_not_there_is_named_with_the_call_that_missed_it() {
    refused(&[
        (
            "no root filesystem",
            |c| c.set("/root/path", json!("nowhere")),
            "config.json: root.path (DIR/nowhere): open_tree_attr DIR/nowhere: no such file or directory (ENOENT)",
        ),
        (
            "no source of a bind mount",
            |c| c.mount("/data", "", "/no/such", &["bind"]),
            "config.json: mounts[7] (/data): bind source /no/such: open_tree /no/such: no such file or directory (ENOENT)",
        ),
        (
            "a file mounted on a directory",
            |c| c.mount("/tmp", "bind", "/etc/passwd", &["bind"]),
            "config.json: mounts[7] (/tmp): a file cannot be mounted on a directory: move_mount to a descriptor: not a directory (ENOTDIR)",
        ),
        (
            "a directory mounted on a file",
            |c| c.mount("/bin/busybox", "bind", "/etc", &["bind"]),
            "config.json: mounts[7] (/bin/busybox): a directory cannot be mounted on a file: move_mount to a descriptor: not a directory (ENOTDIR)",
        ),
        (
            "a filesystem mounted on a file",
            |c| c.mount("/bin/busybox", "tmpfs", "tmpfs", &[]),
            "config.json: mounts[7] (/bin/busybox): a directory cannot be mounted on a file: move_mount to a descriptor: not a directory (ENOTDIR)",
        ),
        (
            "a change of a mount that is not there",
            |c| c.mount("/tmp", "tmpfs", "tmpfs", &["remount", "ro"]),
            "config.json: mounts[7] (/tmp): remount: nothing is mounted here",
        ),
        (
            "a root that is a file",
            |c| c.set("/root/path", json!("rootfs/bin/busybox")),
            "config.json: root.path (DIR/rootfs/bin/busybox): not a directory (ENOTDIR)",
        ),
        (
            "no such filesystem",
            |c| c.mount("/data", "nofs", "none", &[]),
            "config.json: mounts[7] (/data): fsopen nofs: no such device (ENODEV)",
        ),
        (
            "no such namespace",
            |c| c.without_namespace("ipc").set("/linux/namespaces/-", json!({"type": "ipc", "path": "/no/such"})),
            "config.json: linux.namespaces[4] (ipc /no/such): open /no/such: no such file or directory (ENOENT)",
        ),
        (
            "a namespace of another kind",
            |c| {
                c.without_namespace("ipc")
                    .set("/linux/namespaces/-", json!({"type": "ipc", "path": "/proc/self/ns/uts"}))
            },
            "config.json: linux.namespaces[4] (ipc /proc/self/ns/uts): this is a uts namespace",
        ),
        (
            "no such hook",
            |c| c.set("/hooks", json!({"createRuntime": [{"path": "/no/such"}]})),
            "config.json: hooks.createRuntime[0] /no/such: execve /no/such: no such file or directory (ENOENT)",
        ),
        (
            "a hook that fails",
            |c| c.set("/hooks", json!({"prestart": [{"path": "/bin/false"}]})),
            "config.json: hooks.prestart[0] /bin/false: exit status 1",
        ),
        (
            "a device where a file is",
            |c| c.set("/linux/devices", json!([{"type": "c", "path": "/bin/busybox", "major": 1, "minor": 3}])),
            "config.json: linux.devices[0] (/bin/busybox): another file is at this path (a regular file)",
        ),
        (
            "no such program",
            |c| c.args(&["/no/such"]),
            "exec: \"/no/such\": stat /no/such: no such file or directory (ENOENT)",
        ),
        (
            "no such program in PATH",
            |c| c.args(&["no-such"]),
            "exec: \"no-such\": executable file not found in $PATH: no such file or directory (ENOENT)",
        ),
        ("a program that is a directory", |c| c.args(&["/tmp"]), "exec: \"/tmp\": is a directory (EISDIR)"),
        (
            "a program without the right to run",
            |c| c.file("/bin/text", "hello", 0o644).args(&["/bin/text"]),
            "exec: \"/bin/text\": its mode 0644 does not allow it: permission denied (EACCES)",
        ),
        (
            "a program on a mount without programs",
            |c| c.mount("/tmp", "bind", "/bin", &["bind", "noexec"]).args(&["/tmp/busybox"]),
            "exec: \"/tmp/busybox\": it is on a mount with noexec: permission denied (EACCES)",
        ),
        (
            "a program whose interpreter is none",
            |c| c.file("/bin/text", "#!/etc/passwd", 0o755).args(&["/bin/text"]),
            "exec: \"/bin/text\": the interpreter /etc/passwd of its first line may not be executed: permission denied (EACCES)",
        ),
    ]);
}

#[test]
fn an_id_that_is_no_file_name_is_refused() {
    if !ours() {
        return skip("the words are ocicat's own");
    }
    let container = Container::new();
    container.write();
    let table = [
        ("", "container id must not be empty"),
        ("..", "invalid container id \"..\": that name means a directory"),
        ("a/b", "invalid container id \"a/b\": '/' is not one of A-Z a-z 0-9 _ + - ."),
        ("a b", "invalid container id \"a b\": ' ' is not one of A-Z a-z 0-9 _ + - ."),
    ];
    for (id, expected) in table {
        for verb in ["create", "run"] {
            let outcome = container.call(&[verb, id]);
            assert_eq!(
                (outcome.code, outcome.err.as_str()),
                (1, format!("ocicat: {expected}\n").as_str()),
                "{verb} {id:?}"
            );
        }
    }
}
