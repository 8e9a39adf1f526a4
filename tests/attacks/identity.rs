//! Who a process is: user, groups and capabilities are those of the configuration and nobody else's.

use crate::common::*;
use std::fs;

fn status(container: &Container, options: &[&str]) -> Outcome {
    container.exec_with(options, &["cat", "/proc/self/status"]).ok()
}

#[test]
fn the_inheritable_and_ambient_sets_are_empty_in_run_and_exec() {
    let container = Container::new().args(&["sleep", "1000"]).detached();
    let first = fs::read_to_string(format!("/proc/{}/status", container.pid())).unwrap();
    assert!(first.contains("CapInh:\t0000000000000000") && first.contains("CapAmb:\t0000000000000000"), "{first}");
    let seen = container.exec_with(&["--cap", "CAP_SYS_ADMIN"], &["cat", "/proc/self/status"]).ok();
    assert_eq!(seen.field("CapInh"), "0".repeat(16));
}

#[test]
fn the_name_of_a_user_that_is_a_number_is_never_looked_up_by_exec() {
    let passwd = "1000:x:0:0:evil:/root:/bin/sh\n";
    let container = Container::new().file("/etc/passwd", passwd, 0o644).sleeping();
    assert_eq!(status(&container, &["--user", "1000"]).field("Uid"), "1000\t1000\t1000\t1000");
}

#[test]
fn an_exec_as_a_user_without_a_group_has_group_0_and_that_user() {
    let container = Container::new().sleeping();
    let seen = status(&container, &["--user", "1"]);
    assert_eq!((seen.field("Uid"), seen.field("Gid")), ("1\t1\t1\t1".to_owned(), "0\t0\t0\t0".to_owned()));
}

#[test]
fn ids_out_of_range_are_refused_by_exec_and_never_wrap() {
    only_ocicat!("CVE-2024-40635, CVE-2026-30892: some peers wrap");
    let container = Container::new().sleeping();
    for user in ["4294967296", "4294967295", "-1", "2147483648:4294967296", "0x0", " 0", "1:", ":1", "root", "1:2:3"] {
        let outcome = container.exec_with(&["--user", user], &["id"]);
        assert!(outcome.code == 255 && outcome.out.is_empty(), "{user}: {outcome}");
    }
    // The largest that there is.
    assert_eq!(status(&container, &["--user", "4294967294"]).field("Uid").split('\t').next(), Some("4294967294"));
}

#[test]
fn another_user_has_no_capability_that_nobody_asked_for() {
    let container = Container::new().set("/process/user", json!({"uid": 1000, "gid": 1000})).sleeping();
    let first = fs::read_to_string(format!("/proc/{}/status", container.pid())).unwrap();
    for set in ["CapEff", "CapPrm", "CapAmb", "CapInh"] {
        assert!(first.contains(&format!("{set}:\t{}", "0".repeat(16))), "{first}");
        assert_eq!(status(&container, &[]).field(set), "0".repeat(16));
    }
}

#[test]
fn the_groups_are_exactly_those_asked_for() {
    let user = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 6]});
    let group = "many:x:7:fay\n".repeat(10);
    let container = Container::new().set("/process/user", user).file("/etc/group", &group, 0o644).sleeping();
    assert_eq!(container.exec(&["id", "-G"]).ok().text(), "1001 5 6");
    assert_eq!(status(&container, &["--user", "1000:1001"]).field("Groups"), "5 6");
}

#[test]
fn a_huge_group_file_of_the_image_is_not_read() {
    let container = Container::new().shell("echo alive");
    fs::write(container.rootfs().join("etc/group"), "x:x:1:y\n".repeat(10_000_000)).unwrap();
    container.run().says("alive");
}

#[test]
fn the_environment_of_one_call_does_not_reach_the_container() {
    let container = Container::new().sleeping();
    let mut command = container.command(&["exec", &container.id, "env"]);
    command.env("SECRET", "of somebody else");
    let seen = finish(command).ok();
    let mut names: Vec<_> = seen.out.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "PATH", "TERM"]);
}
