//! seccomp from outside: which calls a profile lets through (config-linux.md, "Seccomp").

use crate::common::*;

fn profile(default: &str, rules: Value) -> Value {
    json!({"defaultAction": default, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": rules})
}

fn with(profile: Value, line: &str) -> Outcome {
    Container::new().set("/linux/seccomp", profile).set("/root/readonly", json!(false)).shell(line).run()
}

#[test]
fn a_filter_is_loaded_only_when_there_is_one() {
    let status = |container: Container| container.args(&["cat", "/proc/self/status"]).run().ok().field("Seccomp");
    assert_eq!(status(Container::new()), "0");
    assert_eq!(status(Container::new().set("/linux/seccomp", profile("SCMP_ACT_ALLOW", json!([])))), "2");
}

#[test]
fn a_denied_call_fails_with_eperm() {
    let rules = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]);
    let outcome = with(profile("SCMP_ACT_ALLOW", rules), "mkdir /data/x");
    assert!(outcome.code != 0 && outcome.err.contains("not permitted"), "{outcome}");
}

#[test]
fn a_denied_call_fails_with_the_errno_asked_for() {
    let rules = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]);
    let outcome = with(profile("SCMP_ACT_ALLOW", rules), "mkdir /data/x");
    assert!(outcome.err.to_lowercase().contains("no space left"), "{outcome}");
}

#[test]
fn a_kill_kills() {
    let rules = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}]);
    with(profile("SCMP_ACT_ALLOW", rules), "exec mkdir /data/x").exits(128 + 31);
}

#[test]
fn arguments_are_compared() {
    // The mode is the second argument of chmod and the third of fchmodat and fchmodat2.
    let equals = |index: u32| json!([{"index": index, "value": 0o700, "op": "SCMP_CMP_EQ"}]);
    let rules = json!([{"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "args": equals(1)},
        {"names": ["fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO", "args": equals(2)}]);
    let outcome =
        with(profile("SCMP_ACT_ALLOW", rules), "chmod 755 /data && echo done; chmod 700 /data || echo refused");
    assert_eq!(outcome.out, "done\nrefused\n", "{outcome}");
}

#[test]
fn a_default_of_errno_lets_only_the_listed_calls_through() {
    let outcome = with(
        profile(
            "SCMP_ACT_ERRNO",
            json!([{"names": ["exit_group", "exit", "execve", "write"], "action": "SCMP_ACT_ALLOW"}]),
        ),
        "true",
    );
    assert_ne!(outcome.code, 0);
}

#[test]
fn exec_has_the_filter_of_the_container() {
    let rules = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]);
    let container = Container::new()
        .set("/linux/seccomp", profile("SCMP_ACT_ALLOW", rules))
        .set("/root/readonly", json!(false))
        .sleeping();
    container.exec(&["mkdir", "/data/x"]).fails("not permitted");
    assert_eq!(container.exec(&["cat", "/proc/self/status"]).ok().field("Seccomp"), "2");
}

#[test]
fn a_filter_works_with_and_without_no_new_privileges() {
    for flag in [true, false] {
        let rules = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]);
        let container = Container::new()
            .set("/linux/seccomp", profile("SCMP_ACT_ALLOW", rules))
            .set("/process/noNewPrivileges", json!(flag))
            .set("/root/readonly", json!(false));
        container.args(&["mkdir", "/data/x"]).run().fails("not permitted");
    }
}

#[test]
fn a_filter_may_deny_what_the_runtime_itself_uses() {
    let names = [
        "getcwd",
        "chdir",
        "fchdir",
        "capset",
        "prctl",
        "setgroups",
        "setgid",
        "setuid",
        "unshare",
        "setns",
        "mount",
        "umount2",
        "pivot_root",
        "clone3",
        "openat2",
        "close_range",
    ];
    let rules = json!([{"names": names, "action": "SCMP_ACT_ERRNO"}]);
    only_ocicat!("runc needs some of these after loading");
    with(profile("SCMP_ACT_ALLOW", rules), "echo alive").says("alive");
}

/// config-linux.md, "The Container Process State": what the agent is told, with the descriptor in the same message.
#[test]
fn the_agent_is_told_the_container_process_state_of_create_and_of_exec() {
    let container = Container::new();
    let agent = socket::Receiver::new(&container.dir.join("agent"));
    let mut profile = profile("SCMP_ACT_ALLOW", json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]));
    profile["listenerPath"] = json!(agent.path());
    profile["listenerMetadata"] = json!("of the test");
    let container = container.set("/linux/seccomp", profile).set("/annotations", json!({"k": "v"}));
    let container = container.args(&["sleep", "1000"]);
    container.write();
    let version = container.config["ociVersion"].clone();
    let calls: [&[&str]; 2] = [&["run", "--detach", &container.id], &["exec", &container.id, "true"]];
    for (words, status) in calls.into_iter().zip(["creating", "running"]) {
        let mut command = container.command(words);
        let quiet = std::process::Stdio::null;
        let mut call = command.stdout(quiet()).stderr(quiet()).spawn().unwrap();
        let received = agent.take();
        assert_eq!(outcome::code_of(&mut call), 0, "{words:?}");
        let told: Value = serde_json::from_slice(&received.payload).unwrap();
        let names: Vec<&str> = told.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["fds", "metadata", "ociVersion", "pid", "state"], "{told}");
        assert_eq!((&told["fds"], received.fds.len()), (&json!(["seccompFd"]), 1), "{told}");
        assert_eq!((&told["ociVersion"], &told["metadata"]), (&version, &json!("of the test")), "{told}");
        let state = &told["state"];
        assert_eq!((&state["id"], &state["status"]), (&json!(container.id), &json!(status)), "{told}");
        assert_eq!((&state["bundle"], &state["annotations"]), (&json!(container.dir), &json!({"k": "v"})), "{told}");
        assert_eq!(state["pid"], container.pid(), "{told}");
        assert_eq!(told["pid"] == state["pid"], words[0] == "run", "{told}");
        let link = std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&received.fds[0])));
        assert_eq!(link.unwrap().to_str(), Some("anon_inode:seccomp notify"));
    }
}

#[test]
fn unknown_names_of_calls_are_ignored() {
    let rules = json!([{"names": ["no_such_call", "mkdir"], "action": "SCMP_ACT_ERRNO"}]);
    with(profile("SCMP_ACT_ALLOW", rules), "true").ok();
}

#[test]
fn an_unknown_action_operator_or_architecture_is_refused() {
    for wrong in [
        profile("SCMP_ACT_BOGUS", json!([])),
        profile("SCMP_ACT_ALLOW", json!([{"names": ["mkdir"], "action": "SCMP_ACT_BOGUS"}])),
        profile(
            "SCMP_ACT_ALLOW",
            json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_BOGUS"}]}]),
        ),
        json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_BOGUS"]}),
    ] {
        let outcome = with(wrong.clone(), "true");
        assert!(outcome.code != 0, "{wrong}: {outcome}");
    }
}
