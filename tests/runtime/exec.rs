//! exec: another process in a running container.

use crate::common::*;
use std::fs;

fn running() -> Container {
    Container::new().sleeping()
}

/// A process.json for `--process`.
fn process(container: &Container, process: Value) -> String {
    let file = container.dir.join("process.json");
    fs::write(&file, process.to_string()).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn exec_runs_in_all_namespaces_and_the_root_of_the_container() {
    let container = running();
    let init = container.pid();
    let seen = container
        .exec(&[
            "sh",
            "-c",
            "cd /proc/self/ns; for n in ipc mnt net pid uts; do echo $n=$(readlink $n); done; hostname; ls /data",
        ])
        .ok();
    for kind in ["ipc", "mnt", "net", "pid", "uts"] {
        assert_eq!(seen.field(kind), host::namespace(init, kind));
    }
    assert!(seen.out.ends_with("ocicat\n"), "{seen}");
}

#[test]
fn exec_gives_the_exit_code_of_the_program() {
    let container = running();
    for code in [0, 1, 42, 126, 255] {
        container.exec(&["sh", "-c", &format!("exit {code}")]).exits(code);
    }
}

#[test]
fn exec_ends_with_128_and_the_signal() {
    running().exec(&["sh", "-c", "kill -TERM $$"]).exits(128 + 15);
}

#[test]
fn exec_ends_with_255_when_the_runtime_fails() {
    only_ocicat!("crun ends with 1");
    let container = running();
    container.exec(&["/no/such/program"]).exits(255).fails("no such file or directory");
    container
        .exec_with(&["--cwd", "/no/such/dir/at/all"], &["true"])
        .exits(255)
        .fails("/no/such/dir/at/all: no such file");
    assert!(!container.rootfs().join("no").exists(), "a directory was made in the container");
    container.call(&["exec", "nobody-has-this-id", "true"]).exits(255).fails("does not exist");
}

#[test]
fn exec_passes_input_and_output_and_says_nothing_itself() {
    let container = running();
    let input = container.dir.join("input");
    fs::write(&input, "line\n").unwrap();
    let mut command = container.command(&["exec", &container.id, "sh", "-c", "cat; echo wrong >&2"]);
    command.stdin(fs::File::open(input).unwrap());
    let outcome = finish(command).ok();
    assert_eq!((outcome.out.as_str(), outcome.err.as_str()), ("line\n", "wrong\n"));
}

#[test]
fn exec_has_the_environment_of_the_container_and_what_is_added() {
    let container = Container::new().set("/process/env", json!(["PATH=/bin", "A=container", "B=container"])).sleeping();
    let mut command = container.command(&["exec", "--env", "B=exec", "--env", "C=exec", &container.id, "env"]);
    command.env("HOST_SECRET", "leaks");
    let seen = finish(command).ok();
    assert_eq!((seen.field("A"), seen.field("B"), seen.field("C")), ("container".into(), "exec".into(), "exec".into()));
    assert!(!seen.out.contains("HOST_SECRET"), "{seen}");
}

#[test]
fn exec_has_the_working_directory_of_the_container_or_the_one_asked_for() {
    let container = Container::new().set("/process/cwd", json!("/tmp")).sleeping();
    container.exec(&["pwd"]).says("/tmp");
    container.exec_with(&["--cwd", "/data"], &["pwd"]).says("/data");
    container.exec_with(&["--cwd=/data"], &["pwd"]).says("/data");
}

#[test]
fn exec_as_another_user_and_group() {
    let container = running();
    container.exec_with(&["--user", "1000"], &["sh", "-c", "id -u; id -g"]).says("1000\n0");
    container.exec_with(&["-u", "1000:1001"], &["sh", "-c", "id -u; id -g"]).says("1000\n1001");
    container.exec_with(&["--user=1:2"], &["sh", "-c", "id -u; id -g"]).says("1\n2");
}

#[test]
fn exec_with_additional_groups() {
    let container = running();
    let seen = container
        .exec_with(&["--user", "1000:1000", "-g", "2000", "-g", "3000"], &["grep", "Groups", "/proc/self/status"])
        .ok();
    assert_eq!(seen.field("Groups"), "2000 3000");
}

#[test]
fn exec_as_a_user_without_root_has_no_effective_capabilities() {
    let seen = running().exec_with(&["--user", "1000"], &["cat", "/proc/self/status"]).ok();
    assert_eq!(
        (seen.field("CapEff"), seen.field("CapAmb"), seen.field("CapInh")),
        ("0".repeat(16), "0".repeat(16), "0".repeat(16))
    );
}

#[test]
fn exec_has_the_capabilities_of_the_container() {
    let container = running();
    let first = fs::read_to_string(format!("/proc/{}/status", container.pid())).unwrap();
    let seen = container.exec(&["cat", "/proc/self/status"]).ok();
    for set in ["CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"] {
        let wanted = first.lines().find_map(|line| line.strip_prefix(set)?.strip_prefix(':')).unwrap().trim();
        assert_eq!(seen.field(set), wanted, "{set}");
    }
}

#[test]
fn exec_adds_a_capability() {
    let container = running();
    let seen = container.exec_with(&["--cap", "CAP_SYS_PTRACE"], &["cat", "/proc/self/status"]).ok();
    let effective = u64::from_str_radix(&seen.field("CapEff"), 16).unwrap();
    assert!(effective >> 19 & 1 == 1 && (!ours() || effective >> 5 & 1 == 1), "{effective:x}");
}

#[test]
fn exec_sets_no_new_privileges_when_asked_or_when_the_container_has_it() {
    let container = Container::new().set("/process/noNewPrivileges", json!(false)).sleeping();
    assert_eq!(container.exec(&["cat", "/proc/self/status"]).ok().field("NoNewPrivs"), "0");
    assert_eq!(container.exec_with(&["--no-new-privs"], &["cat", "/proc/self/status"]).ok().field("NoNewPrivs"), "1");
    assert_eq!(running().exec(&["cat", "/proc/self/status"]).ok().field("NoNewPrivs"), "1");
}

#[test]
fn exec_has_the_limits_of_the_container() {
    // Go raises the soft limit of runc 1.1.
    let container = Container::new()
        .set(
            "/process/rlimits",
            json!([{"type": "RLIMIT_NOFILE", "soft": if ours() { 321 } else { 654 }, "hard": 654}]),
        )
        .sleeping();
    container.exec(&["sh", "-c", "ulimit -Sn; ulimit -Hn"]).says(if ours() { "321\n654" } else { "654\n654" });
}

#[test]
fn exec_takes_a_process_from_a_file() {
    // runc 1.1 ignores the umask here.
    let wanted = if ours() { "given\n/tmp\n7\n8\n0027" } else { "given\n/tmp\n7\n8\n0022" };
    let container = running();
    let file = process(
        &container,
        json!({"args": ["sh", "-c", "echo $A; pwd; id -u; id -g; umask"], "cwd": "/tmp", "env": ["PATH=/bin", "A=given"], "user": {"uid": 7, "gid": 8, "umask": if ours() { 0o27 } else { 0o22 }}}),
    );
    container.call(&["exec", "--process", &file, &container.id]).says(wanted);
    container.call(&["exec", &format!("--process={file}"), &container.id]).says(wanted);
    container.call(&["exec", "-p", &file, &container.id]).says(wanted);
}

#[test]
fn a_process_from_a_file_has_only_what_the_file_gives_it() {
    let container = running();
    let file = process(
        &container,
        json!({"args": ["cat", "/proc/self/status"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}, "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]}}),
    );
    let seen = container.call(&["exec", "--process", &file, &container.id]).ok();
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        assert_eq!(seen.field(set), format!("{:016x}", 1 << 5), "{set}");
    }
    assert_eq!(seen.field("NoNewPrivs"), "0");
}

#[test]
fn exec_refuses_a_process_that_is_no_process() {
    let container = running();
    let file = container.dir.join("broken.json");
    fs::write(&file, "{\"args\": [").unwrap();
    assert_ne!(container.call(&["exec", "--process", file.to_str().unwrap(), &container.id]).code, 0);
    let file = process(&container, json!({"cwd": "/", "args": []}));
    assert_ne!(container.call(&["exec", "--process", &file, &container.id]).code, 0);
    assert_ne!(container.call(&["exec", &container.id]).code, 0);
}

#[test]
fn exec_detached_returns_at_once_with_a_pid_file() {
    let container = running();
    let mut ready = container.fifo("ready");
    let pid_file = container.dir.join("exec.pid");
    container
        .detach(&[
            "exec",
            "--detach",
            "--pid-file",
            pid_file.to_str().unwrap(),
            &container.id,
            "sh",
            "-c",
            "echo here > /ready; exit 9",
        ])
        .ok();
    let pid: u32 = fs::read_to_string(&pid_file).unwrap().parse().expect("digits and nothing else");
    assert_eq!(ready.line(), "here");
    assert_eq!(container::wait_pid(pid), 9, "the process is not a child of its caller's subreaper");
}

#[test]
fn exec_writes_a_pid_file_in_the_foreground_too() {
    let container = running();
    let pid_file = container.dir.join("exec.pid");
    container.exec_with(&["--pid-file", pid_file.to_str().unwrap()], &["true"]).ok();
    assert!(fs::read_to_string(&pid_file).unwrap().parse::<u32>().is_ok());
}

#[test]
fn exec_refuses_a_stopped_container() {
    let container = running();
    container.end();
    let outcome = container.exec(&["true"]);
    assert!(outcome.code != 0 && (outcome.err.contains("not running") || outcome.err.contains("stopped")), "{outcome}");
}

#[test]
fn exec_works_in_a_created_container() {
    let container = Container::new();
    container.create().ok();
    container.exec(&["hostname"]).says("ocicat");
    assert_eq!(container.status(), "created");
}

#[test]
fn exec_refuses_a_paused_container_unless_told_to_ignore_that() {
    only_ocicat!("--ignore-paused came with runc 1.1.6");
    let container = running();
    container.call(&["pause", &container.id]).ok();
    container.exec(&["true"]).exits(255).fails("paused");
    // What enters a frozen cgroup freezes: it goes on when the container does.
    let mut child = container.command(&["exec", "--ignore-paused", &container.id, "true"]).spawn().unwrap();
    container.call(&["resume", &container.id]).ok();
    assert_eq!(outcome::code_of(&mut child), 0);
}

#[test]
fn exec_is_in_the_cgroups_of_the_container() {
    let container = running();
    let lines = |pid: &str| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let pid_file = container.dir.join("exec.pid");
    container
        .detach(&["exec", "--detach", "--pid-file", pid_file.to_str().unwrap(), &container.id, "sleep", "1000"])
        .ok();
    let pid = fs::read_to_string(pid_file).unwrap();
    assert_eq!(lines(&pid), lines(&container.pid().to_string()));
    container::end_pid(pid.parse().unwrap());
}

#[test]
fn exec_into_a_cgroup_below_the_containers() {
    need!(host::v1("pids"), "needs a version 1 hierarchy of pids");
    let container = running();
    for dir in host::cgroup_dirs(&container.cgroup) {
        fs::create_dir(dir.join("below")).unwrap();
        if dir.join("below/cpuset.cpus").exists() {
            for name in ["cpuset.cpus", "cpuset.mems"] {
                fs::write(dir.join("below").join(name), fs::read(dir.join(name)).unwrap()).unwrap();
            }
        }
    }
    let seen = container.exec_with(&["--cgroup", "pids:below"], &["cat", "/proc/self/cgroup"]).ok();
    let of =
        |controller: &str| seen.out.lines().find(|line| line.split(':').nth(1) == Some(controller)).unwrap().to_owned();
    assert!(of("pids").ends_with("/below"), "{seen}");
    assert!(!of("memory").ends_with("/below"), "{seen}");
}

#[test]
fn exec_refuses_a_cgroup_outside_of_the_containers() {
    let container = running();
    assert_ne!(container.exec_with(&["--cgroup", "../.."], &["true"]).code, 0);
    assert_ne!(container.exec_with(&["--cgroup", "/no/such/cgroup"], &["true"]).code, 0);
}

#[test]
fn exec_leaves_only_the_standard_descriptors_open() {
    let container = running();
    let seen = container.exec(&["sh", "-c", "ls /proc/$$/fd; true"]).ok();
    assert_eq!(seen.text(), "0\n1\n2");
}

#[test]
fn exec_passes_preserved_descriptors() {
    let container = running();
    let file = container.dir.join("given");
    fs::write(&file, "given\n").unwrap();
    let command =
        container.command(&["exec", "--preserve-fds", "1", &container.id, "sh", "-c", "cat <&3; ls /proc/$$/fd; true"]);
    let outcome = finish(through_shell(&command, &format!("3<{} 4</dev/null", file.display()))).ok();
    assert_eq!(outcome.text(), "given\n0\n1\n2\n3");
}

#[test]
fn exec_finds_the_program_in_the_path_of_the_container() {
    let container = Container::new()
        .file("/data/tool", "#!/bin/sh\necho found $0\n", 0o755)
        .set("/process/env", json!(["PATH=/bin:/data"]))
        .sleeping();
    container.exec(&["tool"]).says("found /data/tool");
    container.exec(&["no-such-tool"]).fails("executable file not found in $PATH");
}

#[test]
fn exec_tells_what_is_wrong_with_the_program() {
    let container = Container::new()
        .file("/data/plain", "text", 0o644)
        .file("/data/script", "#!/no/such/interpreter\n", 0o755)
        .sleeping();
    container.exec(&["/data/plain"]).fails("permission denied");
    container.exec(&["/data/script"]).fails("no such file or directory");
    container.exec(&["/data"]).exits(255).fails(if ours() { "is a directory" } else { "" });
    container.exec(&["/data/plain/below"]).fails("not a directory");
}

#[test]
fn fifty_execs_one_after_another_leave_nothing() {
    let container = running();
    for number in 0..50 {
        container.exec(&["echo", &number.to_string()]).says(&number.to_string());
    }
    assert_eq!(container.exec(&["ls", "/proc"]).ok().out.lines().filter(|name| name.parse::<u32>().is_ok()).count(), 2);
}

#[test]
fn execs_run_side_by_side() {
    let container = running();
    let mut children = Vec::new();
    for number in 0..10 {
        let mut command = container.command(&["exec", &container.id, "echo", &number.to_string()]);
        children.push(command.stdout(std::process::Stdio::piped()).spawn().unwrap());
    }
    for (number, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{number}\n"));
    }
}
