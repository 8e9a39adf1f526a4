//! Containers that get into each other's way: one cgroup for two, and calls at the same time.

use crate::common::*;
use std::process::{Child, Stdio};

/// Two bundles that ask for the same cgroup, and the containers side by side in one state root.
fn side_by_side_in_one_cgroup() -> (Container, Container) {
    let (first, second) = two_in_one_cgroup();
    let root = first.root();
    (first, second.global("--root").global(root.to_str().unwrap()))
}

/// Two bundles that ask for the same cgroup.
fn two_in_one_cgroup() -> (Container, Container) {
    let first = Container::new().args(&["sleep", "1000"]);
    let mut second = Container::new().args(&["sleep", "1000"]);
    second.cgroup.clone_from(&first.cgroup);
    let second = second.set("/linux/cgroupsPath", json!(first.cgroup));
    (first, second)
}

fn quiet(container: &Container, args: &[&str]) -> Child {
    let mut call = container.command(args);
    call.stdin(container.null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn of_two_that_are_made_at_once_in_one_cgroup_one_is_refused_and_the_other_lives() {
    only_ocicat!("others let both in");
    for round in 0..16 {
        let in_one_root = round % 2 == 0;
        let (first, second) = if in_one_root { side_by_side_in_one_cgroup() } else { two_in_one_cgroup() };
        let both = [first, second];
        both.iter().for_each(Container::write);
        let calls = [0, 1].map(|at| quiet(&both[at], &["create", &both[at].id]));
        let codes = calls.map(|mut call| outcome::code_of(&mut call));
        assert!(codes == [0, 1] || codes == [1, 0], "round {round}: {codes:?}");
        let winner = &both[usize::from(codes[0] != 0)];
        assert_eq!(winner.status(), "created", "round {round}");
        both.iter().for_each(|container| drop(container.call(&["delete", "--force", &container.id])));
    }
}

#[test]
fn deleting_a_stopped_container_leaves_the_one_alone_that_has_its_cgroup_now() {
    only_ocicat!("crun kills it");
    let (first, second) = side_by_side_in_one_cgroup();
    let first = first.detached();
    first.end();
    let second = second.detached();
    first.call(&["ps", &first.id]).ok();
    first.call(&["kill", "--all", &first.id, "KILL"]).ok();
    assert_eq!(second.status(), "running");
    first.call(&["delete", "--force", &first.id]).ok();
    assert_eq!(second.status(), "running");
    second.call(&["delete", "--force", &second.id]).ok();
}

#[test]
fn a_container_of_before_a_restart_of_the_machine_is_deleted_without_whoever_has_its_cgroup_now() {
    only_ocicat!("the record is this runtime's");
    let (first, second) = two_in_one_cgroup();
    let first = first.detached();
    first.end();
    let record = first.root().join(&first.id).join("record");
    let text = std::fs::read_to_string(&record).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    std::fs::write(&record, text.replace(boot.trim(), "11111111-2222-3333-4444-555555555555")).unwrap();
    let second = second.detached();
    assert_eq!(first.status(), "stopped");
    first.call(&["delete", "--force", &first.id]).ok();
    assert_eq!(second.status(), "running");
}

#[test]
fn a_pause_that_a_kill_or_a_delete_overtakes_gives_up_at_once() {
    only_ocicat!("the words are this runtime's");
    for round in 0..24 {
        let container = Container::new().sleeping();
        let (mut said, id) = (outcome::scratch(), &container.id);
        let mut pause = container.command(&["pause", id]);
        let mut pause = pause.stdout(Stdio::null()).stderr(Stdio::from(said.try_clone().unwrap())).spawn().unwrap();
        // Each comes at another moment of the pause.
        outcome::ends_within(&pause, std::time::Duration::from_micros(round * 200));
        let other = if round % 2 == 0 { vec!["kill", id, "KILL"] } else { vec!["delete", "--force", id] };
        container.call(&other).ok();
        let code = outcome::code_of(&mut pause);
        let said = outcome::content(&mut said);
        assert!(code == 0 || !said.contains("after 5 s"), "round {round}: {said}");
    }
}

#[test]
fn calls_on_a_container_that_is_being_deleted_do_not_wait_for_its_poststop_hooks() {
    only_ocicat!("the words are this runtime's");
    let container = Container::new();
    let (mut begun, mut go) = (container.fifo("begun"), container.fifo("go"));
    let root = container.rootfs();
    let line = format!("echo begun > {0}/begun; read go < {0}/go", root.display());
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", line]}]);
    let container = container.set("/hooks", json!({"poststop": hook})).sleeping();
    let id = &container.id;
    let mut delete = quiet(&container, &["delete", "--force", id]);
    assert_eq!(begun.line(), "begun");
    for words in [&["pause", id][..], &["resume", id], &["start", id], &["update", "--pids-limit", "5", id]] {
        container.call(words).fails("container not running").fails("is stopped, and another call works on it");
    }
    container.call(&["exec", id, "true"]).fails("container not running");
    container.call(&["kill", id]).fails("container not running");
    go.tell("go\n");
    assert_eq!(outcome::code_of(&mut delete), 0);
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

#[test]
fn a_container_of_another_state_root_that_has_the_cgroup_now_is_left_alone() {
    only_ocicat!("the peers kill it");
    for made_anew in [false, true] {
        // Each with a state root of its own.
        let (first, second) = two_in_one_cgroup();
        let first = first.detached();
        first.end();
        if made_anew {
            for directory in host::cgroup_dirs(&first.cgroup) {
                rustix::fs::rmdir(&directory).unwrap();
            }
        }
        let second = second.detached();
        assert_eq!((first.status().as_str(), second.status().as_str()), ("stopped", "running"));
        assert_eq!(first.call(&["ps", "--format", "json", &first.id]).ok().json(), json!([]));
        assert_eq!(first.state()["exit"]["cpuTime"], Value::Null, "that is the second's");
        first.call(&["kill", "--all", &first.id, "KILL"]).ok();
        assert_eq!(second.status(), "running", "made anew: {made_anew}");
        first.call(&["delete", "--force", &first.id]).ok();
        assert_eq!(second.status(), "running", "made anew: {made_anew}");
        assert!(!host::cgroup_dirs(&second.cgroup).is_empty());
        second.call(&["delete", "--force", &second.id]).ok();
        assert_eq!(second.leftovers(), Vec::<String>::new());
    }
}

#[test]
fn what_a_container_left_in_its_cgroup_is_found_by_it_alone() {
    only_ocicat!("the words are this runtime's");
    let (first, second) = two_in_one_cgroup();
    let first = first.without_namespace("pid").shell("sleep 1000 & exec sleep 1000").detached();
    let pid = first.pid();
    first.end();
    assert!(!host::alive(pid) && first.status() == "stopped");
    // Another cannot be made there, and nothing that it does ends what is there.
    second.create().fails("has 1 process(es) already");
    second.call(&["delete", "--force", &second.id]).ok();
    assert!(!host::cgroup_dirs(&first.cgroup).is_empty());
    first.call(&["delete", "--force", &first.id]).ok();
    assert_eq!(first.leftovers(), Vec::<String>::new());
}
