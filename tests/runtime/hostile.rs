//! What tries to break the runtime: images that reach for it, callers that leave it without descriptors, calls that meet each
//! other half-way, and hooks that never end.

use crate::common::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Starts a call that may take as long as it wants.
fn begin(container: &Container, args: &[&str]) -> Child {
    let mut command = container.command(args);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// A hook that tells that it has begun and then waits for ever.
fn endless(fifo: &container::Fifo) -> Value {
    let line = format!("echo here > {}; exec sleep 1000", fifo.path().display());
    json!({"path": "/bin/sh", "args": ["sh", "-c", line], "env": ["PATH=/usr/bin:/bin"]})
}

#[track_caller]
fn quickly(container: &Container, args: &[&str]) -> Outcome {
    finish_within(container.command(args), Duration::from_secs(20))
}

#[test]
fn a_program_that_is_the_runtime_itself_is_no_program_of_the_container() {
    only_ocicat!("peers run themselves there");
    let container = Container::new().file("/data/script", "#!/proc/self/exe\n", 0o755);
    symlink("/proc/self/exe", container.rootfs().join("data/link")).unwrap();
    let container = container.sleeping();
    let before = fs::read(runtime()).unwrap();
    for program in ["/data/script", "/data/link", "/proc/self/exe"] {
        quickly(&container, &["exec", &container.id, program]).exits(255).fails("names the runtime");
    }
    assert!(fs::read(runtime()).unwrap() == before);
}

#[test]
fn a_container_in_the_foreground_can_be_paused_updated_and_deleted() {
    let container = Container::new();
    let mut fifo = container.fifo("data/ready");
    let container = container.shell("echo ready > /data/ready; sleep 1000");
    container.write();
    let mut run = begin(&container, &["run", &container.id]);
    fifo.line();
    quickly(&container, &["pause", &container.id]).ok();
    quickly(&container, &["resume", &container.id]).ok();
    quickly(&container, &["delete", "--force", &container.id]).ok();
    assert_eq!(outcome::code_of(&mut run), 137);
}

#[test]
fn a_create_with_an_endless_hook_is_ended_by_delete_force_and_others_do_not_wait_for_it() {
    only_ocicat!("runc knows no such container yet");
    let container = Container::new();
    let mut fifo = container.fifo("data/ready");
    let container = container.set("/hooks/createRuntime", json!([endless(&fifo)]));
    container.write();
    let mut create = begin(&container, &["create", &container.id]);
    fifo.line();
    assert_eq!(quickly(&container, &["state", &container.id]).ok().json()["status"], "creating");
    quickly(&container, &["pause", &container.id]).fails("being created");
    quickly(&container, &["delete", &container.id]).fails("being created");
    quickly(&container, &["exec", &container.id, "true"]).exits(255).fails("container not running");
    quickly(&container, &["delete", "--force", &container.id]).ok();
    assert_eq!(outcome::code_of(&mut create), 137);
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

#[test]
fn a_start_with_an_endless_poststart_hook_keeps_nobody_waiting() {
    only_ocicat!("runc 1.1 runs poststart hooks at create");
    let container = Container::new();
    let mut fifo = container.fifo("data/ready");
    let container = container.set("/hooks/poststart", json!([endless(&fifo)])).args(&["sleep", "1000"]);
    container.create().ok();
    let mut start = begin(&container, &["start", &container.id]);
    fifo.line();
    quickly(&container, &["exec", &container.id, "true"]).ok();
    quickly(&container, &["delete", "--force", &container.id]).ok();
    start.kill().unwrap();
    start.wait().unwrap();
}

#[test]
fn a_created_container_that_is_paused_is_neither_started_nor_entered() {
    let container = Container::new().args(&["sleep", "1000"]);
    container.create().ok();
    quickly(&container, &["pause", &container.id]).ok();
    quickly(&container, &["start", &container.id]).fails("paused");
    quickly(&container, &["exec", &container.id, "true"]).fails("paused");
    quickly(&container, &["delete", "--force", &container.id]).ok();
}

#[test]
fn of_several_calls_at_once_one_wins_and_the_others_say_why() {
    let container = Container::new().args(&["sleep", "1000"]);
    container.write();
    for verb in ["create", "start"] {
        let mut all: Vec<Child> = (0..4).map(|_| begin(&container, &[verb, &container.id])).collect();
        let mut codes: Vec<i32> = all.iter_mut().map(outcome::code_of).collect();
        codes.sort_unstable();
        assert_eq!(codes, [0, 1, 1, 1], "{verb}");
    }
    let mut all: Vec<Child> = (0..4).map(|_| begin(&container, &["delete", "--force", &container.id])).collect();
    assert!(all.iter_mut().all(|child| outcome::code_of(child) == 0));
}

#[test]
fn a_descriptor_that_was_promised_and_not_given_is_never_one_of_ours() {
    only_ocicat!("peers pass on what they find");
    let container = Container::new();
    container.run_with(&["--preserve-fds", "1"]).fails("descriptor 3");
    let container = container.sleeping();
    container.call(&["exec", "--preserve-fds", "2", &container.id, "true"]).exits(255).fails("descriptor 3");
}

#[test]
fn a_caller_without_standard_streams_gives_the_container_the_null_device() {
    only_ocicat!("peers fail or pass on other files");
    let container = Container::new().shell("for fd in 0 2; do readlink /proc/self/fd/$fd; done > /data/seen");
    let container = container.set("/root/readonly", json!(false));
    container.write();
    finish(outcome::through_shell(&container.command(&["run", &container.id]), "<&- >&- 2>&-")).ok();
    let seen = fs::read_to_string(container.rootfs().join("data/seen")).unwrap();
    assert_eq!(seen.lines().next(), Some("/dev/null"), "{seen}");
    assert_eq!(seen.lines().last(), Some("/dev/null"), "{seen}");
}

#[test]
fn a_program_that_is_not_there_is_named_on_a_terminal_too() {
    let container = Container::new().sleeping();
    container.call(&["exec", "--tty", &container.id, "/no/such"]).fails("/no/such");
}

#[test]
fn failed_execs_do_not_keep_the_container_from_ending() {
    let container = Container::new().sleeping();
    for _ in 0..3 {
        container.call(&["exec", &container.id, "/no/such"]).fails("no such file or directory");
    }
    finish_within(container.command(&["delete", "--force", &container.id]), Duration::from_secs(8)).ok();
}

#[test]
fn a_filter_that_allows_only_the_program_does_not_keep_it_from_running() {
    only_ocicat!("peers need their own calls in the filter");
    let allowed = [
        "execve",
        "execveat",
        "exit_group",
        "brk",
        "mmap",
        "munmap",
        "mprotect",
        "arch_prctl",
        "set_tid_address",
        "capset",
        "prctl",
        "read",
        "write",
        "readlink",
        "readlinkat",
        "getuid",
        "set_robust_list",
        "rseq",
        "prlimit64",
        "getrandom",
        "rt_sigaction",
        "ioctl",
        "close",
        "fcntl",
        "newfstatat",
        "fstat",
    ];
    for no_new_privileges in [true, false] {
        let container = Container::new().args(&["true"]).set("/process/noNewPrivileges", json!(no_new_privileges)).set(
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": allowed, "action": "SCMP_ACT_ALLOW"}]}),
        );
        container.run().ok();
    }
}

#[test]
fn a_time_namespace_with_offsets_works_in_a_user_namespace() {
    let container = Container::new().user_namespace().namespace("time").shell("cut -d. -f1 /proc/uptime");
    let container = container.set("/linux/timeOffsets", json!({"boottime": {"secs": 5_000_000}}));
    assert!(container.run().ok().text().parse::<u64>().unwrap() > 5_000_000);
}

#[test]
fn a_namespace_path_that_is_a_fifo_is_refused_and_not_waited_for() {
    let container = Container::new();
    // Without anybody who has it open.
    let path = json!(container.fifo("data/fifo").path());
    let container =
        container.without_namespace("network").set("/linux/namespaces/-", json!({"type": "network", "path": path}));
    container.write();
    let outcome = quickly(&container, &["create", &container.id]);
    assert!(outcome.code != 0 && (outcome.err.contains("linux.namespaces[4]") || !ours()), "{outcome}");
}

#[test]
fn after_a_failing_create_container_hook_the_poststop_hooks_run() {
    only_ocicat!("runc does not run them there");
    let container = Container::new();
    let seen = container.dir.join("seen");
    let poststop = json!({"path": "/bin/sh", "args": ["sh", "-c", format!("echo poststop > {}", seen.display())]});
    let container = container
        .set("/hooks/createContainer", json!([{"path": "/bin/false"}]))
        .set("/hooks/poststop", json!([poststop]));
    container.create().fails("hooks.createContainer[0]");
    assert_eq!(fs::read_to_string(seen).unwrap(), "poststop\n");
}

#[test]
fn a_place_below_a_frozen_cgroup_is_refused_and_not_waited_for() {
    need!(host::is_root() && host::v1("freezer"), "needs the version 1 freezer");
    let container = Container::new();
    let place = json!(format!("/{0}-frozen/{0}", container.id));
    let parent = host::cgroup_dir("freezer", &format!("{}-frozen", container.id)).unwrap();
    fs::create_dir(&parent).unwrap();
    fs::write(parent.join("freezer.state"), "FROZEN").unwrap();
    let container = container.set("/linux/cgroupsPath", place);
    container.write();
    let outcome = quickly(&container, &["create", &container.id]);
    fs::write(parent.join("freezer.state"), "THAWED").unwrap();
    fs::remove_dir(&parent).unwrap();
    assert!(outcome.code != 0 && (outcome.err.contains("frozen") || !ours()), "{outcome}");
}

#[test]
fn cgroups_that_are_nested_deeper_than_a_path_is_long_keep_nobody_from_deleting() {
    only_ocicat!("runc and crun go by paths");
    let container = Container::new().namespace("cgroup").edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        let cgroup = mounts.iter_mut().find(|mount| mount["type"] == "cgroup").unwrap();
        cgroup["options"] = json!(["nosuid", "noexec", "nodev", "relatime"]);
    });
    let mut ready = container.fifo("ready");
    // Its own path is shorter than the host's, which has the container's cgroup in it.
    let nest = "cd /sys/fs/cgroup; test ! -d freezer || cd freezer; n=0; \
                while mkdir nested-in-others 2> /dev/null && cd nested-in-others 2> /dev/null; do n=$((n + 1)); done; \
                echo $n > /ready; exec sleep 1000";
    let container = container.shell(nest).detached();
    let depth = ready.line().parse::<u32>().unwrap();
    assert!(depth > 200, "{depth}");
    assert_eq!(container.call(&["ps", "--format", "json", &container.id]).ok().json(), json!([container.pid()]));
    container.call(&["delete", "--force", &container.id]).ok();
}
