//! `process.apparmorProfile` where the kernel has AppArmor (config.md, "apparmorProfile").

use crate::common::*;
use crate::program;
use std::fs;

/// A profile of this test's own: everything but one file.
fn load(name: &str) {
    let text = format!(
        "profile {name} flags=(attach_disconnected,mediate_deleted) {{ file, capability, signal, unix, network, mount, ptrace,\n deny /data/secret r,\n}}\n"
    );
    let file = std::env::temp_dir().join(name);
    fs::write(&file, text).unwrap();
    program(&["apparmor_parser", "--replace", "--skip-cache", file.to_str().unwrap()]).ok();
    fs::remove_file(file).unwrap();
}

/// Whether the kernel has AppArmor: the fast loop in a container may not.
fn enabled() -> bool {
    fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'))
}

#[test]
#[ignore = "needs AppArmor: conformance/vm/run"]
fn the_profile_is_on_the_process_and_on_what_is_executed() {
    need!(enabled(), "the kernel has no AppArmor");
    load("ocicat-test");
    let container = Container::new()
        .set("/process/apparmorProfile", json!("ocicat-test"))
        .file("/data/secret", "secret\n", 0o644)
        .file("/data/known", "known\n", 0o644)
        .sleeping();
    let label = fs::read_to_string(format!("/proc/{}/attr/current", container.pid())).unwrap();
    assert_eq!(label.trim(), "ocicat-test (enforce)");
    let outcome = container.exec(&["sh", "-c", "cat /proc/self/attr/current /data/known; cat /data/secret"]);
    assert_eq!(outcome.text(), "ocicat-test (enforce)\nknown", "{outcome}");
    assert!(outcome.code != 0 && outcome.err.contains("Permission denied"), "{outcome}");
}

#[test]
#[ignore = "needs AppArmor: conformance/vm/run"]
fn an_exec_may_have_a_profile_of_its_own() {
    need!(enabled(), "the kernel has no AppArmor");
    load("ocicat-test-exec");
    let container = Container::new().sleeping();
    container
        .exec_with(&["--apparmor", "ocicat-test-exec"], &["cat", "/proc/self/attr/current"])
        .says("ocicat-test-exec (enforce)");
    container.exec(&["cat", "/proc/self/attr/current"]).says("unconfined");
}

#[test]
#[ignore = "needs AppArmor: conformance/vm/run"]
fn a_profile_that_is_not_loaded_is_named_and_leaves_nothing() {
    need!(enabled(), "the kernel has no AppArmor");
    let container = Container::new().set("/process/apparmorProfile", json!("no-such-profile"));
    let outcome = container.run().fails("apparmorProfile");
    assert!(outcome.err.contains("no-such-profile"), "{outcome}");
    assert_eq!(container.leftovers(), Vec::<String>::new());
}
