//! kill, pause and resume.

use crate::common::*;
use std::fs;

/// A container that says on a fifo which of these signals came.
fn listening(signals: &[&str]) -> (Container, container::Fifo) {
    let container = Container::new();
    let fifo = container.fifo("heard");
    let mut line = String::from("exec 3<>/heard; ");
    for signal in signals {
        line += &format!("trap 'echo {signal} >&3' {signal}; ");
    }
    line += "echo ready >&3; while :; do sleep 1000 & wait $!; done";
    let container = container.shell(&line).detached();
    (container, fifo)
}

#[test]
fn signals_go_by_name_by_long_name_and_by_number() {
    let (container, mut heard) = listening(&["HUP", "USR1", "TERM"]);
    assert_eq!(heard.line(), "ready");
    for (given, wanted) in [
        ("HUP", "HUP"),
        ("SIGHUP", "HUP"),
        ("1", "HUP"),
        ("usr1", "USR1"),
        ("SIGUSR1", "USR1"),
        ("10", "USR1"),
        ("TERM", "TERM"),
        ("15", "TERM"),
    ] {
        container.kill(given).ok().silently();
        assert_eq!(heard.line(), wanted, "{given}");
    }
}

#[test]
fn without_a_signal_it_is_term() {
    let (container, mut heard) = listening(&["TERM"]);
    assert_eq!(heard.line(), "ready");
    container.call(&["kill", &container.id]).ok();
    assert_eq!(heard.line(), "TERM");
}

#[test]
fn the_stop_signal_of_the_image_is_the_default() {
    only_ocicat!("nobody else reads the annotation");
    let container = Container::new().set("/annotations", json!({"org.opencontainers.image.stopSignal": "SIGUSR2"}));
    let mut heard = container.fifo("heard");
    let container = container
        .shell("exec 3<>/heard; trap 'echo USR2 >&3' USR2; echo ready >&3; while :; do sleep 1000 & wait $!; done")
        .detached();
    assert_eq!(heard.line(), "ready");
    container.call(&["kill", &container.id]).ok();
    assert_eq!(heard.line(), "USR2");
}

#[test]
fn a_container_that_was_only_created_ends_by_the_signals_that_end_programs() {
    only_ocicat!("crun's init hears none of them");
    for signal in ["TERM", "INT", "HUP", "QUIT"] {
        let container = Container::new().args(&["sleep", "1000"]);
        container.create().ok();
        let pid = container.pid();
        container.kill("USR1").ok();
        assert_eq!(container.status(), "created");
        container.kill(signal).ok();
        container::wait_pid(pid);
        assert_eq!(container.status(), "stopped", "{signal}");
        container.delete().ok();
    }
}

#[test]
fn the_program_itself_has_no_handler_of_the_runtimes() {
    let (container, mut heard) = listening(&["USR1"]);
    assert_eq!(heard.line(), "ready");
    // A first process of a pid namespace that has no handler for it does not notice TERM.
    container.kill("TERM").ok();
    container.kill("USR1").ok();
    assert_eq!(heard.line(), "USR1");
}

#[test]
fn real_time_signals_are_known() {
    only_ocicat!("runc 1.1 does not know them");
    let container = Container::new().without_namespace("pid").sleeping();
    let pid = container.pid();
    container.kill("SIGRTMIN+3").ok();
    assert_eq!(container::wait_pid(pid), 128 + 37);
}

#[test]
fn an_unknown_signal_is_refused() {
    let container = Container::new().sleeping();
    for signal in ["BOGUS", "SIGBOGUS", "65", "-1", "99999999999999999999", "1x"] {
        let outcome = container.kill(signal);
        assert!(outcome.code != 0, "{signal:?}: {outcome}");
    }
    assert_eq!(container.status(), "running");
}

#[test]
fn signal_zero_only_looks() {
    only_ocicat!("runc 1.1 and crun differ");
    let container = Container::new().sleeping();
    container.kill("0").ok();
    assert_eq!(container.status(), "running");
}

#[test]
fn kill_works_on_a_created_container() {
    let container = Container::new();
    container.create().ok();
    let pid = container.pid();
    container.kill("KILL").ok();
    assert_eq!(container::wait_pid(pid), 128 + 9);
    assert_eq!(container.status(), "stopped");
}

#[test]
fn kill_refuses_a_stopped_container_in_words_that_managers_know() {
    let container = Container::new().sleeping();
    container.end();
    container.kill("TERM").fails("container not running");
}

#[test]
fn kill_all_reaches_every_process() {
    let container = Container::new().without_namespace("pid");
    let mut ready = container.fifo("ready");
    let container = container.shell("sleep 1000 & sleep 1000 & echo up > /ready; wait").detached();
    let pid = container.pid();
    assert_eq!(ready.line(), "up");
    for words in [vec!["kill", "--all", &container.id, "KILL"], vec!["kill", "-a", &container.id, "9"]] {
        let outcome = container.call(&words);
        assert!(outcome.code == 0 || outcome.err.contains("not running"), "{outcome}");
    }
    container::wait_pid(pid);
    container.no_process();
}

#[test]
fn killing_the_first_process_ends_all_of_its_pid_namespace() {
    let container = Container::new();
    let mut ready = container.fifo("ready");
    let container = container.shell("sleep 1000 & sleep 1000 & echo up > /ready; wait").detached();
    assert_eq!(ready.line(), "up");
    container.end();
    container.no_process();
}

#[test]
fn run_in_the_foreground_passes_signals_on() {
    let container = Container::new();
    let mut heard = container.fifo("heard");
    let container = container.shell("exec 3<>/heard; trap 'echo USR1 >&3' USR1; trap 'echo TERM >&3; exit 5' TERM; echo ready >&3; while :; do sleep 1000 & wait $!; done");
    container.write();
    let mut child = container.command(&["run", &container.id]).spawn().unwrap();
    assert_eq!(heard.line(), "ready");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
    assert_eq!(heard.line(), "USR1");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(heard.line(), "TERM");
    assert_eq!(outcome::code_of(&mut child), 5);
}

#[test]
fn exec_in_the_foreground_passes_signals_on() {
    need!(!runtime().ends_with("runc"), "runc 1.1 may miss the end of what it runs");
    let container = Container::new();
    let mut heard = container.fifo("heard");
    let container = container.sleeping();
    let line =
        "exec 3<>/heard; trap 'echo TERM >&3; exit 6' TERM; echo ready >&3; while :; do sleep 1000 & wait $!; done";
    let mut child = container.command(&["exec", &container.id, "sh", "-c", line]).spawn().unwrap();
    assert_eq!(heard.line(), "ready");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    assert_eq!(heard.line(), "TERM");
    assert_eq!(outcome::code_of(&mut child), 6);
}

#[test]
fn pause_stops_every_process_and_resume_lets_them_go_on() {
    let container = Container::new().sleeping();
    container.call(&["pause", &container.id]).ok().silently();
    assert_eq!(container.status(), "paused");
    assert!(frozen(&container));
    container.call(&["resume", &container.id]).ok().silently();
    assert_eq!(container.status(), "running");
    assert!(!frozen(&container));
    container.exec(&["true"]).ok();
}

/// Whether the kernel says so: in the version 1 hierarchy, or in cgroup2.
fn frozen(container: &Container) -> bool {
    host::cgroup_dirs(&container.cgroup).iter().any(|dir| {
        let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
        read("freezer.state").trim() == "FROZEN" || read("cgroup.events").contains("frozen 1")
    })
}

#[test]
fn pause_and_resume_refuse_what_they_cannot_do() {
    let container = Container::new().sleeping();
    assert_ne!(container.call(&["resume", &container.id]).code, 0, "resumed what was not paused");
    container.end();
    container.call(&["pause", &container.id]).fails("not running");
    assert_ne!(container.call(&["resume", &container.id]).code, 0);
}

#[test]
fn a_paused_container_can_be_killed() {
    let container = Container::new().sleeping();
    let pid = container.pid();
    container.call(&["pause", &container.id]).ok();
    container.kill("KILL").ok();
    if host::alive(pid) && !ours() {
        container.call(&["resume", &container.id]).ok();
    }
    container::wait_pid(pid);
    assert_eq!(container.status(), "stopped");
}

#[test]
fn kill_never_reaches_a_stranger_with_the_same_pid() {
    only_ocicat!("each runtime has its own record");
    let container = Container::new().sleeping();
    let pid = container.pid();
    container.end();
    // A stranger under the number that the record names.
    let mut stranger = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let file = container.root().join(&container.id).join("record");
    let record = fs::read_to_string(&file).unwrap();
    let planted = record.replace(&format!("\"pid\":{pid}"), &format!("\"pid\":{}", stranger.id()));
    assert_ne!(planted, record, "the record names the pid differently now");
    fs::write(&file, planted).unwrap();
    container.kill("KILL").fails("container not running");
    container.call(&["delete", "--force", &container.id]).ok();
    assert!(host::alive(stranger.id()), "the stranger was killed");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}
