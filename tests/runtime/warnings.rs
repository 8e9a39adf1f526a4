//! What is left out is said: in the log of a call that succeeds, and by `check` and `plan`; standard error stays silent.

use crate::common::*;
use std::fs;
use std::path::PathBuf;

/// A container that asks for what nobody can grant, and what is said of each.
fn asking_too_much() -> Container {
    let sets = json!({"bounding": ["CAP_KILL", "CAP_NO_SUCH_THING"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL", "CAP_CHOWN"],
        "ambient": ["CAP_KILL"]});
    let filter =
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdirr"], "action": "SCMP_ACT_ERRNO"}]});
    Container::new().set("/process/capabilities", sets).set("/linux/seccomp", filter)
}

const SAID: [&str; 4] = [
    "process.capabilities: unknown capability \"CAP_NO_SUCH_THING\" is left out",
    "process.capabilities.effective: CAP_CHOWN is left out: it is not permitted",
    "process.capabilities.ambient: CAP_KILL is left out: it is not both permitted and inheritable",
    "linux.seccomp.syscalls[0].names[0]: unknown system call \"mkdirr\" is ignored",
];

/// Calls with a log of JSON; answers with the messages in it, all of which must be of this level.
fn logged(container: &Container, level: &str, words: &[&str]) -> Vec<String> {
    let log: PathBuf = container.dir.join("log.json");
    let options = ["--log", log.to_str().unwrap(), "--log-format", "json"];
    let outcome = container.call(&[&options[..], words].concat());
    assert_eq!(outcome.err.is_empty(), level == "warning", "{outcome}");
    let text = fs::read_to_string(&log).unwrap();
    fs::remove_file(&log).unwrap();
    let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_level = entries.inspect(|entry| assert_eq!(entry["level"], level, "{text}"));
    of_level.map(|entry| entry["msg"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_cannot_be_granted_is_in_the_log_of_a_call_that_succeeds() {
    only_ocicat!("the words are ocicat's own");
    let container = asking_too_much();
    container.write();
    assert_eq!(logged(&container, "warning", &["run", &container.id]), SAID);
    let container = asking_too_much().args(&["sleep", "1000"]);
    container.write();
    let log = container.dir.join("create.json");
    container.call(&["--log", log.to_str().unwrap(), "--log-format", "json", "run", "--detach", &container.id]).ok();
    assert_eq!(fs::read_to_string(log).unwrap().lines().count(), SAID.len());
    let exec = logged(&container, "warning", &["exec", "--cap", "CAP_NONE", &container.id, "true"]);
    assert!(exec.iter().any(|message| message.contains("\"CAP_NONE\"")), "{exec:?}");
}

#[test]
fn device_rules_that_nothing_enforces_are_said() {
    only_ocicat!("the words are ocicat's own");
    for (rules, said) in [
        (json!([{"allow": false}]), 1),
        (json!([{"allow": true}, {"allow": false, "type": "c", "major": 10}]), 1),
        (json!([{"allow": true}]), 0),
        (json!([]), 0),
    ] {
        let container = Container::new().set("/linux/resources", json!({"devices": rules})).args(&["true"]);
        container.write();
        let messages = logged(&container, "warning", &["--cgroup-manager=none", "run", &container.id]);
        assert_eq!(messages.len(), said, "{rules}: {messages:?}");
        let reason = "linux.resources.devices: nothing enforces the rules, there is no cgroup";
        assert!(messages.iter().all(|message| message.starts_with(reason)), "{messages:?}");
    }
}

#[test]
fn a_call_that_fails_has_its_error_alone_in_the_log() {
    only_ocicat!("the words are ocicat's own");
    let container = asking_too_much().args(&["/no/such/program"]);
    container.write();
    let entries = logged(&container, "error", &["create", &container.id]);
    assert_eq!(entries.len(), 1, "{entries:?}");
}

#[test]
fn debug_tells_warnings_on_standard_error_where_there_is_no_log() {
    only_ocicat!("the words are ocicat's own");
    let container = asking_too_much();
    container.write();
    let outcome = container.call(&["--debug", "run", &container.id]).ok();
    assert_eq!(outcome.err.lines().filter(|line| line.contains(" level=warning ")).count(), SAID.len(), "{outcome}");
}

#[test]
fn check_and_plan_tell_what_is_left_out_and_end_well() {
    only_ocicat!("the peers have neither");
    let container =
        asking_too_much().set("/linux/resources/memory", json!({"limt": 1})).set("/linux/x-vendor", json!({}));
    container.write();
    let plan = container.call(&["plan", &container.id]).ok().silently();
    let check = container.call(&["check"]).ok().silently();
    for message in SAID {
        let note = format!("note: {message}");
        assert!(plan.out.lines().any(|line| line == note), "{note}: {plan}");
        assert!(check.out.lines().any(|line| line == note), "{note}: {check}");
    }
    assert!(plan.out.contains("capabilities effective CAP_KILL\n"), "{plan}");
    let slip = "note: linux.resources.memory: unknown property \"limt\" is left out; hint: \"limit\"\n";
    assert!(check.out.contains(slip), "{check}");
    assert!(check.out.contains("note: linux: unknown property \"x-vendor\" is left out\n"), "{check}");
}

#[test]
fn a_bundle_without_a_fault_has_nothing_said_of_it() {
    only_ocicat!("the peers have no check");
    let container = Container::new();
    container.write();
    assert_eq!(container.call(&["check"]).ok().silently().out, "");
}

#[test]
fn a_poststop_hook_that_fails_after_a_foreground_run_is_in_the_log() {
    only_ocicat!("the words are ocicat's own");
    let container = Container::new().set("/hooks/poststop", json!([{"path": "/bin/false"}]));
    container.write();
    let entries = logged(&container, "warning", &["run", &container.id]);
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert!(entries[0].starts_with("hooks.poststop[0] /bin/false: "), "{entries:?}");
}

/// A container that may use 16 MiB.
fn small() -> Container {
    Container::new().set("/linux/resources/memory", json!({"limit": 16_777_216, "swap": 16_777_216}))
}

#[test]
fn a_foreground_run_or_exec_tells_that_the_kernel_has_killed_its_process_for_want_of_memory() {
    only_ocicat!("the words are ocicat's own");
    need!(host::limits("memory"), "needs the memory controller");
    let said = |id: &str| {
        format!(
            "container {id}: the memory limit of 16777216 bytes was reached, the kernel killed its process (OOM); \
             hint: raise linux.resources.memory.limit"
        )
    };
    // The end of the program, and whether the kernel has something to do with it.
    let rows = [
        ("exec tail /dev/zero", 137, true),
        ("tail /dev/zero", 137, true),
        ("tail /dev/zero; exit 3", 3, false),
        ("sh -c 'kill -9 $$'; exit $?", 137, false),
        ("exit 0", 0, false),
    ];
    for (line, code, told) in rows {
        let container = small().shell(line);
        let outcome = container.run().exits(code);
        let expected = if told { format!("ocicat: {}\n", said(&container.id)) } else { String::new() };
        assert_eq!(outcome.err.replace("Killed\n", ""), expected, "run {line}: {outcome}");
    }
    let container = small().sleeping();
    for (line, code, told) in rows {
        let outcome = container.call(&["exec", &container.id, "sh", "-c", line]).exits(code);
        let expected = if told { format!("ocicat: {}\n", said(&container.id)) } else { String::new() };
        assert_eq!(outcome.err.replace("Killed\n", ""), expected, "exec {line}: {outcome}");
    }
    // A manager reads the log, and standard error is the program's then.
    let container = small().args(&["tail", "/dev/zero"]);
    container.write();
    let log = container.dir.join("oom.json");
    let words = ["--log", log.to_str().unwrap(), "--log-format", "json", "run", &container.id];
    container.call(&words).exits(137).silently();
    let entry: Value = serde_json::from_str(&fs::read_to_string(&log).unwrap()).unwrap();
    assert_eq!((&entry["level"], &entry["msg"]), (&json!("warning"), &json!(said(&container.id))));
}
