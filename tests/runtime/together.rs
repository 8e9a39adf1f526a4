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

/// A poststop hook of `container` that tells its begin in the log and in one fifo, and ends once the other says so or a file `free`
/// is there.
fn waiting_hook(container: &Container) -> Value {
    let at = |name: &str| container.rootfs().join(name).display().to_string();
    let (log, begun, go, free) = (at("log"), at("begun"), at("go"), at("free"));
    let line = format!("echo ran >> {log}; test -e {free} && exit; echo begun > {begun}; read go < {go}");
    json!({"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", line]}]})
}

#[test]
fn when_the_poststop_hooks_run_the_container_is_gone_and_no_call_waits_for_them() {
    only_ocicat!("the words are this runtime's");
    let container = Container::new();
    let (mut begun, mut go) = (container.fifo("begun"), container.fifo("go"));
    let hook = waiting_hook(&container);
    let container = container.set("/hooks", hook).sleeping();
    let id = &container.id;
    let mut delete = quiet(&container, &["delete", "--force", id]);
    assert_eq!(begun.line(), "begun");
    for words in [
        &["state", id][..],
        &["pause", id],
        &["resume", id],
        &["start", id],
        &["update", "--pids-limit", "5", id],
        &["exec", id, "true"],
        &["kill", id],
        &["delete", id],
    ] {
        container.call(words).fails("container does not exist");
    }
    assert_eq!(container.call(&["list", "--quiet"]).ok().out, "");
    container.call(&["delete", "--force", id]).ok();
    // The id is free; this one has no hooks.
    let mut anew = container.config.clone();
    anew.as_object_mut().unwrap().remove("hooks");
    std::fs::write(container.dir.join("config.json"), anew.to_string()).unwrap();
    container.detach(&["create", id]).ok();
    assert_eq!(container.status(), "created");
    container.delete().ok();
    go.tell("go\n");
    assert_eq!(outcome::code_of(&mut delete), 0);
    assert_eq!(std::fs::read_to_string(container.rootfs().join("log")).unwrap(), "ran\n");
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

#[test]
fn poststop_hooks_of_a_delete_that_was_killed_run_when_it_is_called_again() {
    only_ocicat!("others leave the hooks out, or the container");
    for again in [&["delete"][..], &["delete", "--force"]] {
        let container = Container::new();
        let (mut begun, _go) = (container.fifo("begun"), container.fifo("go"));
        let hook = waiting_hook(&container);
        let container = container.set("/hooks", hook).sleeping();
        let words = [again, &[&container.id]].concat();
        let mut delete = quiet(&container, &["delete", "--force", &container.id]);
        assert_eq!(begun.line(), "begun");
        delete.kill().unwrap();
        delete.wait().unwrap();
        container.call(&["state", &container.id]).fails("container does not exist");
        let listed = container.call(&["list", "--quiet"]).ok();
        assert!(listed.out.is_empty() && listed.err.contains("hint: delete it again"), "{listed}");
        std::fs::write(container.rootfs().join("free"), "").unwrap();
        container.call(&words).ok();
        assert_eq!(std::fs::read_to_string(container.rootfs().join("log")).unwrap(), "ran\nran\n", "{again:?}");
        assert_eq!(container.leftovers(), Vec::<String>::new());
        container.delete().fails("container does not exist");
    }
}

/// A hook that calls the runtime for its own container and writes what that said, with the exit code, to a file of the bundle.
fn calling_hook(container: &Container, calls: &[&[&str]]) -> Value {
    let lines = calls.iter().enumerate().map(|(number, words)| {
        let call = container.command(words);
        let words: Vec<&str> = call.get_args().map(|word| word.to_str().unwrap()).collect();
        let (program, words) = (call.get_program().to_str().unwrap(), words.join(" "));
        format!(
            "{program} {words} {} > {}/said{number} 2>&1; echo code $? >> {1}/said{number};",
            container.id,
            container.dir.display()
        )
    });
    json!([{"path": "/bin/sh", "args": ["sh", "-c", lines.collect::<String>()], "env": ["PATH=/usr/bin:/bin"], "timeout": 60}])
}

#[test]
fn a_hook_that_calls_the_runtime_for_its_own_container_is_answered_at_once() {
    only_ocicat!("the words are this runtime's");
    const CREATING: &str = "container is being created";
    const GONE: &str = "container does not exist";
    type Row = (&'static str, &'static [(&'static [&'static str], &'static str)]);
    let rows: &[Row] = &[
        (
            "createRuntime createContainer",
            &[
                (&["state"], "\"status\": \"creating\""),
                (&["pause"], CREATING),
                (&["resume"], CREATING),
                (&["update", "--pids-limit", "5"], CREATING),
                (&["start"], CREATING),
                (&["delete"], "that is not stopped: it is being created"),
                (&["kill"], "container not running"),
            ],
        ),
        ("createContainer", &[(&["ps"], "are out of sight")]),
        (
            "poststop",
            &[(&["state"], GONE), (&["delete"], GONE), (&["delete", "--force"], "code 0"), (&["pause"], GONE)],
        ),
    ];
    for (kinds, calls) in rows {
        for kind in kinds.split(' ') {
            let container = Container::new();
            let words: Vec<&[&str]> = calls.iter().map(|(words, _)| *words).collect();
            let hook = calling_hook(&container, &words);
            let container = container.set(&format!("/hooks/{kind}"), hook);
            container.run().ok();
            for (number, (words, expected)) in calls.iter().enumerate() {
                let said = std::fs::read_to_string(container.dir.join(format!("said{number}"))).unwrap();
                assert!(said.contains(expected), "{kind} {words:?}: {said}");
            }
            assert_eq!(container.leftovers(), Vec::<String>::new(), "{kind}");
        }
    }
}

#[test]
fn a_hook_that_deletes_its_own_container_by_force_ends_the_creation() {
    only_ocicat!("others delete it under the hands of the creator, or wait for ever");
    for kind in ["createRuntime", "createContainer"] {
        let container = Container::new();
        let hook = calling_hook(&container, &[&["delete", "--force"]]);
        let container = container.set(&format!("/hooks/{kind}"), hook);
        assert_ne!(container.create().code, 0, "{kind}");
        container.call(&["delete", "--force", &container.id]).ok();
        // The hook's own call lives on, and may be at its end only.
        container.no_process();
        assert_eq!(container.leftovers(), Vec::<String>::new(), "{kind}");
    }
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
