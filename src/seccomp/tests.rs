use super::*;
use crate::config;
use crate::host::Host;

/// Plans a profile written as a user writes it.
fn planned(json: &str) -> anyhow::Result<Plan> {
    plan(&serde_json::from_str::<config::Seccomp>(json).unwrap(), &Host::modern())
}

#[test]
fn a_wrong_profile_is_refused_with_its_place() {
    let cases = [
        (r#"{}"#, "linux.seccomp.defaultAction: an action is required"),
        (r#"{"defaultAction":"ALLOW"}"#, r#"linux.seccomp.defaultAction: unknown action "ALLOW""#),
        (
            r#"{"defaultAction":"SCMP_ACT_NOTIFY","listenerPath":"/a"}"#,
            "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be the default action: the agent would have to answer before it has the descriptor",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":1}"#,
            "linux.seccomp.defaultErrnoRet: SCMP_ACT_ALLOW takes no error number",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":65536}"#,
            "linux.seccomp.defaultErrnoRet: 65536 is more than 65535",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86","SCMP_ARCH_VAX"]}"#,
            r#"linux.seccomp.architectures[1]: unknown architecture "SCMP_ARCH_VAX""#,
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG","FAST"]}"#,
            r#"linux.seccomp.flags[1]: unknown flag "FAST""#,
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerMetadata":"m"}"#,
            "linux.seccomp.listenerMetadata: must not be set without listenerPath",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"action":"SCMP_ACT_KILL"}]}"#,
            "linux.seccomp.syscalls[0].names: at least one name is needed",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"KILL"}]}"#,
            r#"linux.seccomp.syscalls[0].action: unknown action "KILL""#,
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_TRAP","errnoRet":5}]}"#,
            "linux.seccomp.syscalls[0].errnoRet: SCMP_ACT_TRAP takes no error number",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_KILL","args":[{"index":6,"op":"SCMP_CMP_EQ"}]}]}"#,
            "linux.seccomp.syscalls[0].args[0].index: 6 is past 5, the last argument of a system call",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_KILL","args":[{"op":"=="}]}]}"#,
            r#"linux.seccomp.syscalls[0].args[0].op: unknown operator "==""#,
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_NOTIFY"}]}"#,
            "linux.seccomp.listenerPath: syscalls[0] has SCMP_ACT_NOTIFY, which needs it",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/a","syscalls":[{"names":["read","write"],"action":"SCMP_ACT_NOTIFY"}]}"#,
            "linux.seccomp.syscalls[0].names[1]: SCMP_ACT_NOTIFY cannot be used for write: the runtime needs it to hand over the descriptor of the notifications",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
                {"names":["kill"],"action":"SCMP_ACT_TRAP","args":[{"index":1,"value":9,"op":"SCMP_CMP_EQ"}]},
                {"names":["kill"],"action":"SCMP_ACT_KILL","args":[{"index":1,"value":9,"op":"SCMP_CMP_EQ"}]}]}"#,
            "linux.seccomp.syscalls[1]: contradicts syscalls[0]: another action for the same conditions of the same system call",
        ),
    ];
    for (json, message) in cases {
        assert_eq!(planned(json).unwrap_err().to_string(), message, "{json}");
    }
}

#[test]
fn what_cannot_be_granted_is_a_warning() {
    let plan = planned(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_S390X"],
            "syscalls":[{"names":["read","sys_from_the_future"],"action":"SCMP_ACT_KILL"}]}"#,
    );
    assert_eq!(
        plan.unwrap().warnings,
        [
            "linux.seccomp.architectures[0]: SCMP_ARCH_S390X is ignored: this machine has the other byte order",
            r#"linux.seccomp.syscalls[0].names[1]: unknown system call "sys_from_the_future" is ignored"#,
        ]
    );
}

#[test]
fn a_filter_too_long_for_the_kernel_is_refused() {
    let rules: Vec<String> = (0..3000)
        .map(|i| format!(r#"{{"names":["ioctl"],"action":"SCMP_ACT_ERRNO","args":[{{"index":1,"value":{i},"op":"SCMP_CMP_EQ"}}]}}"#))
        .collect();
    let json = format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{}]}}"#, rules.join(","));
    let message = planned(&json).unwrap_err().to_string();
    assert!(message.starts_with("linux.seccomp: the filter needs "), "{message}");
    assert!(message.contains("instructions and the kernel takes at most 4096; hint: "), "{message}");
}

#[test]
fn flags_that_mean_nothing_without_a_listener_are_left_out() {
    let flags =
        r#""flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV","SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_LOG"]"#;
    let plan = planned(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW",{flags}}}"#)).unwrap();
    assert_eq!(plan.flags, 0b11);
    let plan = planned(&format!(
        r#"{{"defaultAction":"SCMP_ACT_ALLOW",{flags},"listenerPath":"/a","syscalls":[{{"names":["read"],"action":"SCMP_ACT_NOTIFY"}}]}}"#
    ));
    assert_eq!(plan.unwrap().flags, 0b11_1011);
}

#[test]
fn the_plan_reads_as_one_line_and_as_a_program() {
    let plan = planned(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG"],"syscalls":[
            {"names":["personality"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":8,"op":"SCMP_CMP_NE"}]},
            {"names":["ptrace"],"action":"SCMP_ACT_KILL_PROCESS"}]}"#,
    )
    .unwrap();
    assert_eq!(
        plan.to_string(),
        "seccomp filter of 16 instructions, answers kill thread, errno 1, allow, kill process, SECCOMP_FILTER_FLAG_LOG"
    );
    if cfg!(target_arch = "x86_64") {
        let text = format!("{plan:#}");
        let lines: Vec<&str> = text.lines().skip(1).take(3).collect();
        assert_eq!(lines[0], "    0  load [4]");
        assert!(lines[1].starts_with("    1  == 0xc000003e ? 2 : "), "{text}");
        assert_eq!(lines[2], "    2  load [0]");
    }
}

#[test]
fn a_plan_comes_back_from_its_bytes() {
    let plan = planned(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","listenerPath":"/run/agent","listenerMetadata":"of mine","syscalls":[
            {"names":["mknod"],"action":"SCMP_ACT_NOTIFY"},{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#,
    )
    .unwrap();
    let bytes = plan.to_bytes();
    assert_eq!(Plan::from_bytes(&bytes).unwrap(), plan);
    for cut in 0..bytes.len() {
        assert!(Plan::from_bytes(&bytes[..cut]).is_err(), "{cut} bytes are no plan");
    }
    assert!(Plan::from_bytes(&[bytes.as_slice(), b"x"].concat()).is_err());
}

#[test]
fn every_architecture_compiles_dockers_list() {
    let profile: config::Seccomp = serde_json::from_str(include_str!("../../tests/data/docker-seccomp.json")).unwrap();
    for word in architectures() {
        let profile = config::Seccomp { architectures: Vec::new(), ..profile.clone() };
        let plan = plan_on(&profile, word).unwrap().unwrap();
        assert!(plan.program.0.len() < 400, "{word}: {plan}");
        assert_eq!(plan.warnings, Vec::<String>::new(), "{word}");
    }
}
