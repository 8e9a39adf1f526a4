//! The words of failures: managers compare some of them letter by letter, people act on the others.

use crate::common::*;
use std::fs;

#[test]
fn a_missing_program_is_told_as_docker_and_podman_expect_it() {
    let container = Container::new().args(&["/no/such/program"]);
    container.run().exits(1).fails("no such file or directory");
    let container = Container::new().args(&["no-such-program"]);
    container.run().exits(1).fails("executable file not found in $PATH");
}

#[test]
fn a_program_that_may_not_run_is_told_as_docker_and_podman_expect_it() {
    let container = Container::new().file("/data/plain", "text", 0o644);
    let outcome = container.args(&["/data/plain"]).run();
    assert!(outcome.err.contains("permission denied"), "{outcome}");
    let outcome = Container::new().args(&["/data"]).run();
    assert!(
        outcome.code != 0 && (outcome.err.contains("is a directory") || outcome.err.contains("permission denied")),
        "{outcome}"
    );
}

#[test]
fn a_missing_interpreter_is_named() {
    only_ocicat!("runc does not name it");
    let container =
        Container::new().file("/data/script", "#!/no/such/interpreter -x\necho\n", 0o755).args(&["/data/script"]);
    let outcome = container.run();
    assert!(
        outcome.err.contains("no such file or directory") && outcome.err.contains("/no/such/interpreter"),
        "{outcome}"
    );
}

#[test]
fn a_program_for_another_machine_is_told() {
    let container = Container::new().file("/data/odd", "\u{7f}ELF but not really", 0o755).args(&["/data/odd"]);
    container.run().fails("exec format error");
}

#[test]
fn a_missing_program_is_told_at_create_as_runc_does() {
    let container = Container::new().args(&["/no/such/program"]);
    container.create().exits(1).fails("no such file or directory");
}

#[test]
fn config_json_that_is_missing_broken_or_empty_is_named() {
    let container = Container::new();
    let run = || container.call(&["run", &container.id]);
    run().fails("config.json");
    for (text, word) in
        [("", "config.json"), ("{", "config.json"), ("[]", "config.json"), ("{\"process\": 3}", "process")]
    {
        fs::write(container.dir.join("config.json"), text).unwrap();
        let outcome = run();
        assert!(outcome.code != 0, "{text:?}: {outcome}");
        if ours() {
            assert!(outcome.err.contains(word), "{text:?}: {outcome}");
        }
    }
}

#[test]
fn a_wrong_type_names_its_field() {
    only_ocicat!("each has its own words");
    for (place, value, name) in [
        ("/process/user/uid", json!("root"), "process.user.uid"),
        ("/mounts/1/destination", json!(7), "mounts[1].destination"),
        ("/linux/resources/memory", json!({"limit": "1G"}), "linux.resources.memory.limit"),
        ("/process/args", json!("sh"), "process.args"),
    ] {
        Container::new().set(place, value).run().fails(name);
    }
}

#[test]
fn a_failure_names_the_place_the_call_and_the_cause() {
    only_ocicat!("each has its own words");
    let outcome = Container::new().mount("/data", "nosuchfs", "none", &[]).run();
    for word in ["mounts[7]", "/data", "nosuchfs", "no such device (ENODEV)"] {
        assert!(outcome.err.contains(word), "no {word} in {outcome}");
    }
    assert_eq!(outcome.err.lines().count(), 1, "{outcome}");
}

#[test]
fn an_option_of_a_file_system_that_is_wrong_is_named() {
    only_ocicat!("runc prints the kernel's errno only");
    let outcome = Container::new().mount("/data", "tmpfs", "tmpfs", &["no_such_option=1"]).run();
    assert!(outcome.err.contains("no_such_option") && outcome.err.contains("mounts[7]"), "{outcome}");
}

#[test]
fn an_error_inside_crosses_to_the_log_of_create() {
    let container = Container::new().mount("/data", "bind", "/no/such/source", &["bind"]);
    let log = container.dir.join("log.json");
    container.write();
    let outcome = container.detach(&["--log", log.to_str().unwrap(), "--log-format", "json", "create", &container.id]);
    assert_eq!(outcome.code, 1);
    let text = fs::read_to_string(log).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert!(last["level"] == "error" && last["msg"].as_str().unwrap().contains("no such file or directory"), "{last}");
    if ours() {
        assert_eq!(text.lines().count(), 1, "{text}");
        // For programs: the parts that the message is made of.
        assert!(last["place"].as_str().unwrap().starts_with("config.json: mounts[7]"), "{last}");
        assert!(last["errno"] == "ENOENT" && last["call"].as_str().unwrap().contains("/no/such/source"), "{last}");
    }
}

#[test]
fn the_rootfs_that_is_missing_is_named() {
    let outcome = Container::new().set("/root/path", json!("no-such-rootfs")).run();
    assert!(outcome.code != 0 && outcome.err.contains("no-such-rootfs"), "{outcome}");
}

#[test]
fn a_limit_that_may_not_be_raised_is_named() {
    need!(!host::capable(24), "this host may raise limits");
    only_ocicat!("each has its own words");
    let outcome = Container::new()
        .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 1_000_000_000, "hard": 1_000_000_000}]))
        .run();
    assert!(
        outcome.code != 0 && outcome.err.contains("RLIMIT_NOFILE") && outcome.err.contains("process.rlimits[0]"),
        "{outcome}"
    );
}

#[test]
fn a_container_with_hardly_any_descriptors_still_starts() {
    only_ocicat!("runc and crun need more for themselves");
    let outcome = Container::new()
        .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 8, "hard": 8}]))
        .shell("ulimit -n")
        .run();
    assert_eq!(outcome.text(), "8", "{outcome}");
}

#[test]
fn what_a_name_has_in_it_makes_no_second_line_and_no_endless_one_in_a_message_or_a_log() {
    only_ocicat!("the peers write it as it is");
    const FORGED: &str = "x\ntime=\"2026-01-01T00:00:00Z\" level=error msg=\"forged\"\r\u{1b}[2J\u{202e}\u{2028}";
    let long = "y".repeat(200_000);
    let rows: Vec<(&str, Container)> = [FORGED, long.as_str()]
        .into_iter()
        .flat_map(|name| {
            let mount = json!({"destination": format!("/tmp/{name}"), "type": "bind", "source": format!("/no/{name}")});
            [
                ("args", Container::new().args(&[name])),
                ("mount", Container::new().set("/mounts/-", mount)),
                ("mount option", Container::new().mount("/tmp", "tmpfs", "tmpfs", &[name])),
                ("annotation", Container::new().set("/annotations", json!({name: name})).args(&["/no"])),
                ("environment", Container::new().set("/process/env", json!([name])).args(&["/no"])),
                ("hostname", Container::new().set("/hostname", json!(name))),
                ("cgroup", Container::new().set("/linux/resources", json!({"unified": {(name): "1"}}))),
                ("hook", Container::new().set("/hooks/prestart", json!([{"path": format!("/no/{name}")}]))),
                ("user", Container::new().set("/process/cwd", json!(name))),
                ("root", Container::new().set("/root/path", json!(name))),
            ]
        })
        .collect();
    for (what, container) in rows {
        container.write();
        let id = &container.id;
        let clean = |text: &str| text.chars().all(|c| !c.is_control() && !matches!(c, '\u{2028}' | '\u{202e}'));
        for format in ["json", "text"] {
            let words = ["--log", "log", "--log-format", format, "run", id];
            let outcome = container.call(&words);
            assert!(outcome.code != 0 && outcome.err.len() < 10_000, "{what}: {} bytes", outcome.err.len());
            assert!(outcome.err.strip_suffix('\n').is_some_and(clean), "{what}: {outcome}");
            let log = std::fs::read_to_string(container.dir.join("log")).unwrap();
            std::fs::remove_file(container.dir.join("log")).unwrap();
            assert!(log.len() < 30_000 && log.strip_suffix('\n').is_some_and(clean), "{what}: {log}");
            assert!(format == "text" || serde_json::from_str::<Value>(&log).is_ok(), "{what}: {log}");
        }
        let check = container.call(&["check"]);
        assert!(check.out.lines().all(|line| clean(line) && !line.starts_with("time=")), "{what}: {check}");
    }
    let container = Container::new();
    let outcome = container.call(&["state", FORGED]);
    assert_eq!(outcome.err.lines().count(), 1, "{outcome}");
}
