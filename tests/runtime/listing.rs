//! list, ps, spec, features, --version, --help, --log.

use crate::common::*;
use std::fs;

#[test]
fn list_as_json_is_an_array_of_states() {
    let container = Container::new().set("/annotations", json!({"a": "b"})).sleeping();
    for words in [&["list", "--format", "json"][..], &["list", "--format=json"], &["list", "-f", "json"]] {
        let list = container.call(words).ok().json();
        let entry = &list.as_array().unwrap()[0];
        assert_eq!(
            (&entry["id"], &entry["status"], &entry["bundle"]),
            (&json!(container.id), &json!("running"), &json!(container.dir))
        );
        assert_eq!(entry["pid"], json!(container.pid()));
        assert_eq!(entry["annotations"]["a"], "b");
        assert!(entry["created"].is_string() && entry["rootfs"].is_string() && entry["owner"].is_string(), "{entry}");
    }
}

#[test]
fn list_of_nothing_is_empty() {
    let container = Container::new();
    let outcome = container.call(&["list", "--format", "json"]).ok().silently();
    assert!(["null", "[]"].contains(&outcome.text().as_str()), "{outcome}");
    container.call(&["list", "--quiet"]).says("");
}

#[test]
fn list_as_a_table_has_a_heading_and_a_row() {
    let container = Container::new().sleeping();
    let outcome = container.call(&["list"]).ok();
    let lines: Vec<&str> = outcome.out.lines().collect();
    assert!(lines[0].starts_with("ID ") && lines[0].contains("PID") && lines[0].contains("STATUS"), "{outcome}");
    assert!(lines[1].starts_with(&container.id) && lines[1].contains("running"), "{outcome}");
}

#[test]
fn list_quietly_gives_ids_only() {
    let container = Container::new().sleeping();
    container.call(&["list", "-q"]).says(&container.id);
}

#[test]
fn list_tells_every_status() {
    let container = Container::new().args(&["sleep", "1000"]);
    let status = || container.call(&["list", "--format", "json"]).ok().json()[0]["status"].as_str().unwrap().to_owned();
    container.create().ok();
    assert_eq!(status(), "created");
    container.start().ok();
    assert_eq!(status(), "running");
    container.call(&["pause", &container.id]).ok();
    assert_eq!(status(), "paused");
    container.call(&["resume", &container.id]).ok();
    container.end();
    assert_eq!(status(), "stopped");
}

#[test]
fn ps_as_json_is_an_array_of_pids_of_the_host() {
    let container = Container::new().without_namespace("cgroup");
    let mut ready = container.fifo("ready");
    let container = container.shell("sleep 1000 & echo up > /ready; wait").detached();
    assert_eq!(ready.line(), "up");
    let pids = container.call(&["ps", "--format", "json", &container.id]).ok().silently().json();
    let pids = pids.as_array().unwrap();
    assert!(pids.len() == 2 && pids.contains(&json!(container.pid())), "{pids:?}");
}

#[test]
fn ps_as_a_table_has_the_rows_of_the_container_only() {
    need!(host::has("ps"), "needs ps of procps");
    let container = Container::new().sleeping();
    let outcome = container.call(&["ps", &container.id]).ok();
    let lines: Vec<&str> = outcome.out.lines().collect();
    assert!(lines[0].contains("PID") && lines.len() == 2 && lines[1].contains("sleep 1000"), "{outcome}");
    container.call(&["ps", &container.id, "-o", "pid,comm"]).mentions("sleep");
    let outcome = container.call(&["ps", &container.id, "-eo", "args,pid"]);
    if ours() {
        let words: Vec<&str> = outcome.out.split_whitespace().collect();
        assert_eq!(words, ["COMMAND", "PID", "sleep", "1000", &container.pid().to_string()], "{outcome}");
    }
}

#[test]
fn spec_writes_a_config_that_runs() {
    let container = Container::new();
    container.call(&["spec"]).ok();
    let file = container.dir.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(config["process"]["args"], json!(["sh"]));
    assert_eq!(config["root"]["path"], json!("rootfs"));
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["echo", "it runs"]);
    config["linux"]["cgroupsPath"] = json!(container.cgroup);
    fs::write(file, config.to_string()).unwrap();
    container.call(&["run", &container.id]).says("it runs");
}

#[test]
fn spec_refuses_to_overwrite() {
    let container = Container::new();
    container.call(&["spec"]).ok();
    container.call(&["spec"]).fails("exist");
}

#[test]
fn spec_writes_into_the_bundle_given() {
    let container = Container::new();
    let bundle = container.dir.join("bundle");
    fs::create_dir(&bundle).unwrap();
    container.call(&["spec", "--bundle", bundle.to_str().unwrap()]).ok();
    assert!(bundle.join("config.json").exists());
}

#[test]
fn spec_for_an_ordinary_user_has_a_user_namespace() {
    let container = Container::new();
    container.call(&["spec", "--rootless"]).ok();
    let config: Value = serde_json::from_slice(&fs::read(container.dir.join("config.json")).unwrap()).unwrap();
    assert!(config["linux"]["namespaces"].as_array().unwrap().iter().any(|entry| entry["type"] == "user"));
    assert_eq!(config["linux"]["uidMappings"][0]["containerID"], 0);
}

#[test]
fn features_are_one_json_document_with_what_managers_ask_for() {
    need!(!runtime().ends_with("runc") && !runtime().ends_with("crun"), "the old peers have no or another features");
    let outcome = Container::new().call(&["features"]).ok().silently();
    let features = outcome.json();
    assert_eq!(features["ociVersionMin"], "1.0.0");
    assert!(features["ociVersionMax"].as_str().unwrap().starts_with("1.3"), "{features}");
    let has = |place: &str, words: &[&str]| {
        let list: Vec<&str> = features
            .pointer(place)
            .and_then(Value::as_array)
            .unwrap_or_else(|| panic!("no {place}: {features}"))
            .iter()
            .filter_map(Value::as_str)
            .collect();
        for word in words {
            assert!(list.contains(word), "{place} has no {word}: {list:?}");
        }
    };
    has("/hooks", &["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]);
    has("/mountOptions", &["bind", "rbind", "ro", "rro", "idmap", "tmpcopyup", "nosymfollow", "rshared"]);
    has("/linux/namespaces", &["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"]);
    has("/linux/capabilities", &["CAP_KILL", "CAP_CHECKPOINT_RESTORE"]);
    has("/linux/seccomp/actions", &["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_NOTIFY"]);
    has("/linux/seccomp/operators", &["SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"]);
    has("/linux/seccomp/archs", &["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"]);
    for (place, wanted) in [
        ("/linux/cgroup/v1", true),
        ("/linux/cgroup/v2", true),
        ("/linux/seccomp/enabled", true),
        ("/linux/mountExtensions/idmap/enabled", true),
        ("/linux/netDevices/enabled", true),
    ] {
        assert_eq!(features.pointer(place), Some(&json!(wanted)), "{place}");
    }
}

#[test]
fn the_version_is_told_as_managers_parse_it() {
    let container = Container::new();
    for word in ["--version", "-v"] {
        let outcome = container.call(&[word]).ok().silently();
        let name = runtime().file_name().unwrap().to_string_lossy().into_owned();
        assert!(outcome.out.starts_with(&format!("{name} version ")), "{outcome}");
        assert!(outcome.out.lines().any(|line| line.starts_with("commit: ")), "{outcome}");
        assert!(outcome.out.lines().any(|line| line.starts_with("spec: 1.")), "{outcome}");
    }
}

#[test]
fn help_is_told_for_the_program_and_each_verb() {
    only_ocicat!("each has its own words");
    let container = Container::new();
    let verbs = [
        "create", "start", "run", "state", "kill", "delete", "exec", "list", "ps", "pause", "resume", "spec",
        "features",
    ];
    let outcome = container.call(&["--help"]).ok();
    for verb in verbs {
        assert!(outcome.out.contains(verb), "no {verb} in {outcome}");
        let own = container.call(&[verb, "--help"]).ok();
        assert!(own.out.contains(verb) && own.err.is_empty(), "{own}");
    }
}

#[test]
fn an_unknown_command_or_option_is_refused() {
    let container = Container::new();
    for words in [&["no-such-command"][..], &["run", "--no-such-option", "x"], &["--no-such-option"]] {
        let outcome = container.call(words);
        assert!(outcome.code != 0 && outcome.code < 126, "{outcome}");
    }
}

#[test]
fn a_failure_is_one_line_on_the_error_output() {
    only_ocicat!("each has its own words");
    let outcome = Container::new().call(&["state", "nobody-has-this-id"]).exits(1);
    assert!(outcome.err.lines().count() == 1 && outcome.err.ends_with('\n'), "{outcome}");
}

#[test]
fn a_json_log_holds_one_object_a_failure_with_level_message_and_time() {
    let container = Container::new();
    let log = container.dir.join("log.json");
    let words = ["--log", log.to_str().unwrap(), "--log-format", "json", "state", "nobody-has-this-id"];
    container.call(&words).exits(1);
    let entry: Value = serde_json::from_str(&fs::read_to_string(&log).unwrap()).expect("one object and nothing else");
    assert_eq!(entry["level"], "error");
    assert!(entry["msg"].as_str().unwrap().contains("container does not exist"), "{entry}");
    let time = entry["time"].as_str().unwrap();
    assert!(
        time.len() >= 20
            && time.as_bytes()[4] == b'-'
            && time.as_bytes()[10] == b'T'
            && (time.ends_with('Z') || time.contains('+')),
        "{time}"
    );
}

#[test]
fn a_success_writes_nothing_to_the_log() {
    only_ocicat!("runc writes warnings");
    let container = Container::new();
    let log = container.dir.join("log.json");
    container.write();
    container.call(&["--log", log.to_str().unwrap(), "--log-format", "json", "run", &container.id]).ok().silently();
    assert_eq!(fs::read_to_string(&log).unwrap_or_default(), "");
}

#[test]
fn a_text_log_holds_the_message() {
    let container = Container::new();
    let log = container.dir.join("log");
    container.call(&[&format!("--log={}", log.display()), "state", "nobody-has-this-id"]).exits(1);
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("does not exist") && text.contains("level=error"), "{text}");
}

#[test]
fn a_log_in_a_directory_that_is_missing_is_an_error() {
    let outcome = Container::new().call(&["--log", "/no/such/dir/log", "list"]);
    assert!(outcome.code != 0, "{outcome}");
}

#[test]
fn long_options_may_have_one_dash_and_values_an_equals_sign() {
    need!(!runtime().ends_with("crun"), "crun takes two dashes only");
    let container = Container::new();
    container.write();
    let bundle = container.dir.to_str().unwrap();
    for words in
        [vec!["run", "-bundle", bundle], vec!["run", "--bundle", bundle], vec!["run", "-no-subreaper", "-b", bundle]]
    {
        let mut words = words;
        words.push(&container.id);
        container.call(&words).ok();
    }
    container.call(&["run", &format!("-bundle={bundle}"), &container.id]).ok();
}

#[test]
fn debug_tells_more_and_changes_nothing() {
    let container = Container::new().shell("echo output");
    container.write();
    let outcome = container.call(&["--debug", "--log", "/dev/null", "run", &container.id]);
    assert_eq!(outcome.out, "output\n", "{outcome}");
}

#[test]
fn debug_tells_each_step_with_its_time_in_the_order_of_the_work() {
    only_ocicat!("the words are ocicat's own");
    // What was told by now stands before the words in one text.
    let told = |container: &Container, words: &[&str], steps: &[&str]| {
        let log = container.dir.join("log");
        let log = ["--debug", "--log", log.to_str().unwrap(), "--log-format", "json"];
        let all: Vec<&str> = log.iter().chain(words).copied().collect();
        container.detach(&all).ok();
        let text = std::fs::read_to_string(log[2]).unwrap();
        std::fs::remove_file(log[2]).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.iter().all(|line| line["level"] == "debug" && line["time"].is_string()), "{text}");
        let messages = lines.iter().map(|line| line["msg"].as_str().unwrap());
        let found: Vec<&str> =
            messages.filter_map(|msg| steps.iter().find(|step| msg.contains(**step)).copied()).collect();
        assert_eq!(found, steps, "{text}");
    };
    let container = Container::new().args(&["sleep", "1000"]).user_namespace();
    container.write();
    let create = [
        "checked and planned",
        "claimed",
        "cgroups and limits made",
        "init cloned",
        "ids mapped",
        "init is ready",
        "recorded as created",
    ];
    told(&container, &["create", &container.id], &create);
    told(&container, &["start", &container.id], &["program executed"]);
    told(
        &container,
        &["exec", &container.id, "true"],
        &["planned", "process cloned", "process is ready", "program executed"],
    );
}
