//! How the managers call a runtime, replayed without them: their exact arguments, environment, leaked descriptors and
//! parent-death signal, and what each of them reads from the answer. A break of the contract is found here in a second.
//!
//! Recorded from containerd 1.6 and 2.x, dockerd 20.10, podman 4.3 with conmon 2.1, CRI-O, buildah 1.28 and conmon-rs.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic, and its paths are its own"
)]

#[macro_use]
mod common;
#[path = "contract/rows.rs"]
mod rows;

use common::socket::Receiver;
use common::terminal::Terminal;
use common::*;
use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

/// How a manager's child process looks when it becomes the runtime.
struct Manager {
    /// The whole environment.
    env: &'static [(&'static str, &'static str)],
    /// Descriptors that are open by mistake.
    leaked: &'static str,
    /// The working directory is the bundle; otherwise it is /.
    in_bundle: bool,
}

const CONTAINERD: Manager = Manager {
    env: &[
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("TTRPC_ADDRESS", "/run/containerd/containerd.sock.ttrpc"),
        ("GOMAXPROCS", "2"),
        ("LD_LIBRARY_PATH", "/opt/containerd/lib:"),
        ("XDG_RUNTIME_DIR", "/run/user/0"),
    ],
    leaked: "3</",
    in_bundle: true,
};
/// conmon gives the numbers of pipes that are not open.
const PODMAN: Manager = Manager {
    env: &[("XDG_RUNTIME_DIR", ""), ("_OCI_SYNCPIPE", "3"), ("_OCI_STARTPIPE", "4"), ("_OCI_ATTACHPIPE", "5")],
    leaked: "",
    in_bundle: false,
};
const PODMAN_CLEANUP: Manager = Manager { env: &[("XDG_RUNTIME_DIR", "")], leaked: "", in_bundle: false };
const CRIO: Manager =
    Manager { env: &[("CRI_O_EXTERNAL", "1"), ("PATH", "/usr/bin:/bin")], leaked: "", in_bundle: false };
const BUILDAH: Manager = Manager {
    env: &[("PATH", "/usr/bin:/bin"), ("HOME", "/root")],
    leaked: "3</ 4</proc 5</etc/hostname 6</ 7</ 8</dev/null 9</",
    in_bundle: true,
};

impl Manager {
    /// The runtime with these arguments as this manager's child, to die with it.
    fn command(&self, container: &Container, words: &[&str]) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(format!("exec /usr/bin/setpriv --pdeathsig KILL -- \"$@\" {}", self.leaked)).arg("sh");
        command.arg(runtime()).args(words).stdin(container.null());
        command.env_clear().envs(self.env.iter().copied());
        command.current_dir(if self.in_bundle { container.dir.as_path() } else { std::path::Path::new("/") });
        command
    }

    /// A call whose output and error output are one pipe that is read to its end, as go-runc does.
    #[track_caller]
    fn call(&self, container: &Container, words: &[&str], input: &str) -> Outcome {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut command = self.command(container, words);
        if !input.is_empty() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
        drop(command);
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).unwrap();
        }
        let code = outcome::code_of(&mut child);
        // A process of the runtime's that holds the pipe would hang its caller.
        let mut text = Vec::new();
        while outcome::readable_within(&reader, std::time::Duration::from_secs(10)) {
            let mut part = [0; 4096];
            let count = reader.read(&mut part).unwrap();
            if count == 0 {
                let text = String::from_utf8(text).unwrap();
                return Outcome { code, out: text, err: String::new(), asked: words.join(" ") };
            }
            text.extend(&part[..count]);
        }
        panic!(
            "`{}` has ended and somebody still holds its output: {}",
            words.join(" "),
            String::from_utf8_lossy(&text)
        );
    }

    /// A call that succeeds and says nothing.
    #[track_caller]
    fn silent(&self, container: &Container, words: &[&str]) {
        let outcome = self.call(container, words, "").ok();
        assert_eq!(outcome.out, "", "a success has to be silent: {outcome}");
    }

    /// `create` or `exec` with the container's own pipes as output; what they carry is the container's.
    #[track_caller]
    fn creates(&self, container: &Container, words: &[&str]) -> (std::io::PipeReader, std::io::PipeReader) {
        let ((out, out_writer), (err, err_writer)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
        let mut command = self.command(container, words);
        let mut child = command.stdout(out_writer).stderr(err_writer).spawn().unwrap();
        drop(command);
        let code = outcome::code_of(&mut child);
        if code != 0 {
            let mut text = String::new();
            let mut err = err;
            err.read_to_string(&mut text).unwrap();
            panic!("`{}` ended with {code}: {text}", words.join(" "));
        }
        (out, err)
    }
}

/// All that comes through a pipe until its last writer has closed it.
fn all(mut pipe: std::io::PipeReader) -> String {
    let mut text = String::new();
    pipe.read_to_string(&mut text).unwrap();
    text
}

/// As go-runc and conmon read a pid file: digits, and nothing else.
#[track_caller]
fn pid_in(file: &str) -> u32 {
    let text = fs::read_to_string(file).unwrap();
    assert!(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()), "{text:?}");
    text.parse().unwrap()
}

/// As podman reads a log: the whole file is one object.
#[track_caller]
fn only_entry(file: &str) -> Value {
    let text = fs::read_to_string(file).unwrap_or_default();
    let entry: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: not one object: {text:?}"));
    assert_eq!(entry["level"], "error", "{text}");
    let time = entry["time"].as_str().unwrap();
    assert!(time.len() >= 20 && time.as_bytes()[10] == b'T', "not RFC 3339: {time}");
    entry
}

struct Paths {
    root: String,
    bundle: String,
    log: String,
    pid: String,
}

fn paths(container: &Container) -> Paths {
    let at = |name: &str| container.dir.join(name).to_str().unwrap().to_owned();
    Paths { root: at("root"), bundle: at(""), log: at("log.json"), pid: at("init.pid") }
}

fn process_file(container: &Container, args: &[&str], terminal: bool) -> String {
    let file = container.dir.join("process.json");
    let process =
        json!({"terminal": terminal, "user": {"uid": 0, "gid": 0}, "args": args, "env": ["PATH=/bin"], "cwd": "/"});
    fs::write(&file, process.to_string()).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn containerd_and_docker_lead_a_container_through_its_life() {
    let container = Container::new()
        .shell("echo to output; echo to errors >&2; trap 'exit 9' TERM; while :; do sleep 1000 & wait $!; done");
    container.write();
    let (id, p) = (container.id.clone(), paths(&container));
    let g = ["--root", &p.root, "--log", &p.log, "--log-format", "json"];
    let call = |words: &[&str], input: &str| CONTAINERD.call(&container, &[&g, words].concat(), input);
    let silent = |words: &[&str]| CONTAINERD.silent(&container, &[&g, words].concat());

    let (out, err) = CONTAINERD
        .creates(&container, &[&g[..], &["create", "--bundle", &p.bundle, "--pid-file", &p.pid, &id]].concat());
    let pid = pid_in(&p.pid);
    // The shim finds the cgroup by itself and at once.
    assert!(fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().contains(&container.cgroup));
    silent(&["start", &id]);

    let process = process_file(&container, &["sh", "-c", "echo from exec; exit 5"], false);
    let exec_pid = container.dir.join("exec.pid");
    let exec_pid = exec_pid.to_str().unwrap();
    let (exec_out, _) = CONTAINERD.creates(
        &container,
        &[&g[..], &["exec", "--process", &process, "--detach", "--pid-file", exec_pid, &id]].concat(),
    );
    assert_eq!(container::wait_pid(pid_in(exec_pid)), 5);
    assert_eq!(all(exec_out), "from exec\n");

    let pids: Vec<u32> = serde_json::from_str(&call(&["ps", "--format", "json", &id], "").ok().out).unwrap();
    assert!(pids.contains(&pid), "{pids:?}");
    silent(&["pause", &id]);
    silent(&["resume", &id]);
    for flag in [&["--resources", "-"][..], &["--resources=-"]] {
        let outcome = call(&[&["update"], flag, &[&id]].concat(), "{\"pids\": {\"limit\": 123}}");
        if outcome.code != 0 && outcome.out.contains("not implemented yet") {
            skip("update is not there yet");
            break;
        }
        assert_eq!(outcome.ok().out, "");
    }
    silent(&["kill", &id, "15"]);
    assert_eq!(container::wait_pid(pid), 9);
    silent(&["delete", &id]);
    // The shim's own clean-up comes after, always.
    silent(&["delete", "--force", &id]);
    assert_eq!((all(out).as_str(), all(err).as_str()), ("to output\n", "to errors\n"));
    only_ocicat!("runc writes a warning to the log");
    assert_eq!(fs::read_to_string(&p.log).unwrap_or_default(), "", "a success is logged");
}

#[test]
fn containerd_kills_all_and_understands_that_it_is_over() {
    let container = Container::new().without_namespace("pid");
    let mut ready = container.fifo("ready");
    let container = container.shell("sleep 1000 & echo up > /ready; wait");
    container.write();
    let (id, p) = (container.id.clone(), paths(&container));
    let g = ["--root", &p.root, "--log", &p.log, "--log-format", "json"];
    drop(CONTAINERD.creates(
        &container,
        &[&g[..], &["create", "--bundle", &p.bundle, "--pid-file", &p.pid, "--no-pivot", &id]].concat(),
    ));
    CONTAINERD.silent(&container, &[&g[..], &["start", &id]].concat());
    assert_eq!(ready.line(), "up");
    CONTAINERD.silent(&container, &[&g[..], &["kill", "--all", &id, "9"]].concat());
    container::wait_pid(pid_in(&p.pid));
    let outcome = CONTAINERD.call(&container, &[&g[..], &["kill", "--all", &id, "9"]].concat(), "");
    let known = ["os: process already finished", "container not running", "no such process"];
    assert!(outcome.code == 0 || known.iter().any(|words| outcome.out.to_lowercase().contains(words)), "{outcome}");
    let outcome = CONTAINERD.call(&container, &[&g[..], &["kill", &id, "9"]].concat(), "");
    assert!(known.iter().any(|words| outcome.out.to_lowercase().contains(words)), "{outcome}");
}

#[test]
fn containerd_gives_a_terminal_to_create_and_exec() {
    let container = Container::new().set("/process/terminal", json!(true)).shell("echo hello; sleep 1000");
    container.write();
    let (id, p) = (container.id.clone(), paths(&container));
    let socket = Receiver::new(&container.dir.join("pty.sock"));
    let g = ["--root", &p.root, "--log", &p.log, "--log-format", "json"];
    let words = ["create", "--bundle", &p.bundle, "--pid-file", &p.pid, "--console-socket", socket.path(), &id];
    CONTAINERD.silent(&container, &[&g[..], &words].concat());
    let mut received = socket.take();
    // conmon and containerd: exactly one descriptor, a name that is not empty and shorter than 4096.
    assert!(received.fds.len() == 1 && (1..4096).contains(&received.payload.len()));
    let mut terminal = Terminal::from_master(received.fds.remove(0));
    CONTAINERD.silent(&container, &[&g[..], &["start", &id]].concat());
    terminal.expect("hello");

    let process = process_file(&container, &["sh", "-c", "tty; exit 3"], true);
    let socket = Receiver::new(&container.dir.join("exec.sock"));
    let exec_pid = container.dir.join("exec.pid");
    let words = [
        "exec",
        "--process",
        &process,
        "--console-socket",
        socket.path(),
        "--detach",
        "--pid-file",
        exec_pid.to_str().unwrap(),
        &id,
    ];
    CONTAINERD.silent(&container, &[&g[..], &words].concat());
    let mut second = Terminal::from_master(socket.take().fds.remove(0));
    second.expect("/dev/pts/");
    assert_eq!(container::wait_pid(pid_in(exec_pid.to_str().unwrap())), 3);
}

#[test]
fn containerd_finds_the_reason_of_a_failure_in_the_log() {
    let container = Container::new().args(&["/no/such/program"]);
    container.write();
    let (id, p) = (container.id.clone(), paths(&container));
    let g = ["--root", &p.root, "--log", &p.log, "--log-format", "json"];
    let outcome = CONTAINERD.call(
        &container,
        &[&g[..], &["create", "--bundle", &p.bundle, "--pid-file", &p.pid, &id]].concat(),
        "",
    );
    assert_eq!(outcome.code, 1, "{outcome}");
    let text = fs::read_to_string(&p.log).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    // docker's command line compares these words letter by letter: 127.
    assert!(last["level"] == "error" && last["msg"].as_str().unwrap().contains("no such file or directory"), "{last}");
    let outcome = CONTAINERD.call(&container, &[&g[..], &["delete", &id]].concat(), "");
    assert!(outcome.code != 0 && outcome.out.contains("does not exist"), "{outcome}");
    CONTAINERD.silent(&container, &[&g[..], &["delete", "--force", &id]].concat());
}

#[test]
fn docker_asks_for_the_version() {
    let container = Container::new();
    let outcome = CONTAINERD.call(&container, &["--version"], "").ok();
    // go-runc and dockerd: the first line is "NAME version X", a line begins with "commit:", one with "spec:".
    let name = runtime().file_name().unwrap().to_string_lossy().into_owned();
    assert!(outcome.out.starts_with(&format!("{name} version ")), "{outcome}");
    assert!(
        outcome.out.lines().any(|line| line.starts_with("commit:"))
            && outcome.out.lines().any(|line| line.starts_with("spec:")),
        "{outcome}"
    );
}

#[test]
fn the_version_of_the_newest_containerd_is_accepted() {
    only_ocicat!("crun 1.8 refuses it");
    Container::new().set("/ociVersion", json!("1.3.0")).run().ok();
}

#[test]
fn podman_leads_a_container_through_its_life() {
    let container = Container::new().shell("trap 'exit 7' TERM; env; while :; do sleep 1000 & wait $!; done");
    container.write();
    let (id, p) = (container.id.clone(), paths(&container));
    let root = ["--root", &p.root];
    let logged = ["--log-format=json", "--log", &p.log];
    let words = ["create", "--bundle", &p.bundle, "--pid-file", &p.pid, &id];
    let (out, _err) = PODMAN.creates(&container, &[&root[..], &logged, &words].concat());
    let pid = pid_in(&p.pid);
    PODMAN.silent(&container, &[&root[..], &["start", &id]].concat());

    let process = process_file(&container, &["sh", "-c", "echo checked"], false);
    let exec_pid = container.dir.join("exec.pid");
    let exec_pid = exec_pid.to_str().unwrap();
    let (exec_out, _) = PODMAN.creates(
        &container,
        &[&root[..], &logged, &["exec", "--pid-file", exec_pid, "--process", &process, "--detach", &id]].concat(),
    );
    container::wait_pid(pid_in(exec_pid));
    assert_eq!(all(exec_out), "checked\n");

    PODMAN.silent(&container, &[&root[..], &["pause", &id]].concat());
    PODMAN.silent(&container, &[&root[..], &["resume", &id]].concat());
    PODMAN.silent(&container, &[&root[..], &["kill", &id, "15"]].concat());
    assert_eq!(container::wait_pid(pid), 7);
    // `podman container cleanup` has no PATH.
    PODMAN_CLEANUP.silent(&container, &[&root[..], &["delete", "--force", &id]].concat());
    let seen = all(out);
    assert!(!seen.contains("_OCI_") && !seen.contains("XDG_RUNTIME_DIR"), "the caller's variables are inside: {seen}");
}

#[test]
fn podman_reads_one_object_of_a_failed_exec() {
    let container = Container::new().sleeping();
    let p = paths(&container);
    let process = process_file(&container, &["/no/such/program"], false);
    let words = [
        "--root",
        &p.root,
        "--log-format=json",
        "--log",
        &p.log,
        "exec",
        "--pid-file",
        &p.pid,
        "--process",
        &process,
        "--detach",
        &container.id,
    ];
    let outcome = PODMAN.call(&container, &words, "");
    assert!(outcome.code != 0, "{outcome}");
    assert!(!std::path::Path::new(&p.pid).exists(), "conmon takes a pid file for a success");
    let entry = only_entry(&p.log);
    assert!(entry["msg"].as_str().unwrap().contains("no such file or directory"), "{entry}");
}

#[test]
fn podman_without_a_log_reads_the_error_output() {
    let container = Container::new().file("/data/plain", "text", 0o644).args(&["/data/plain"]);
    container.write();
    let p = paths(&container);
    let outcome = PODMAN.call(
        &container,
        &["--root", &p.root, "create", "--bundle", &p.bundle, "--pid-file", &p.pid, &container.id],
        "",
    );
    assert!(outcome.code != 0 && outcome.out.contains("permission denied"), "{outcome}");
}

#[test]
fn podman_lists_nothing_without_a_runtime_directory_or_a_path() {
    let container = Container::new();
    let p = paths(&container);
    PODMAN_CLEANUP.call(&container, &["--root", &p.root, "list", "--format=json"], "").ok();
}

#[test]
fn crio_leads_a_container_through_its_life() {
    let container = Container::new()
        .set("/annotations", json!({"io.kubernetes.cri-o.Name": "x"}))
        .shell("trap 'exit 4' TERM; while :; do sleep 1000 & wait $!; done");
    container.write();
    let (id, p) = (container.id.clone(), paths(&container));
    let equals = format!("--root={}", p.root);
    drop(CRIO.creates(&container, &[&equals, "create", "--bundle", &p.bundle, "--pid-file", &p.pid, &id]));
    let pid = pid_in(&p.pid);
    CRIO.silent(&container, &["--root", &p.root, "start", &id]);
    for _ in 0..3 {
        let state: Value =
            serde_json::from_str(&CRIO.call(&container, &["--root", &p.root, "state", &id], "").ok().out).unwrap();
        assert!(state["status"] == "running" && state["pid"] == json!(pid) && state["created"].is_string(), "{state}");
        assert_eq!(state["annotations"]["io.kubernetes.cri-o.Name"], "x");
    }
    // ExecSync by conmon, then a streaming exec in the foreground.
    let process = process_file(&container, &["sh", "-c", "echo synced"], false);
    let exec_pid = container.dir.join("exec.pid");
    let (out, _) = CRIO.creates(
        &container,
        &[&equals, "exec", "--pid-file", exec_pid.to_str().unwrap(), "--process", &process, "--detach", &id],
    );
    container::wait_pid(pid_in(exec_pid.to_str().unwrap()));
    assert_eq!(all(out), "synced\n");
    let (out, _) = CRIO.creates(&container, &["--root", &p.root, "exec", "--process", &process, &id]);
    assert_eq!(all(out), "synced\n");
    // Number and name.
    CRIO.silent(&container, &["--root", &p.root, "kill", &id, "15"]);
    assert_eq!(container::wait_pid(pid), 4);
    let outcome = CRIO.call(&container, &["--root", &p.root, "kill", &id, "KILL"], "");
    assert!(
        ["no such process", "container not running", "invalid process"].iter().any(|words| outcome.out.contains(words)),
        "{outcome}"
    );
    CRIO.silent(&container, &["--root", &p.root, "delete", "--force", &id]);
    assert_ne!(CRIO.call(&container, &["--root", &p.root, "state", &id], "").code, 0);
}

#[test]
fn crio_has_a_terminal_relayed_by_an_exec_in_the_foreground() {
    let container = Container::new().sleeping();
    let p = paths(&container);
    let process = process_file(&container, &["sh", "-c", "tty; read word; echo got $word"], true);
    let mut terminal = Terminal::new();
    let mut command = Command::new(runtime());
    command.args(["--root", &p.root, "exec", "--process", &process, &container.id]).current_dir("/");
    let child = terminal.spawn(&command);
    terminal.expect("/dev/pts/");
    terminal.write("word\n");
    terminal.expect("got word");
    terminal.finish(child).exits(0);
}

#[test]
fn buildah_leads_a_container_through_its_life() {
    let container = Container::new().shell("ls /proc/$$/fd; exit 6");
    container.write();
    let (id, p) = (container.id.clone(), paths(&container));
    let root = ["--root", &p.root];
    let (out, err) = BUILDAH.creates(
        &container,
        &[&root[..], &["create", "--bundle", &p.bundle, "--pid-file", &p.pid, "--no-new-keyring", &id]].concat(),
    );
    let pid = pid_in(&p.pid);
    let status = || {
        let state: Value =
            serde_json::from_str(&BUILDAH.call(&container, &[&root[..], &["state", &id]].concat(), "").ok().out)
                .unwrap();
        state["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status(), "created");
    BUILDAH.silent(&container, &[&root[..], &["start", &id]].concat());
    assert_eq!(container::wait_pid(pid), 6);
    assert_eq!(status(), "stopped");
    BUILDAH.silent(&container, &[&root[..], &["delete", &id]].concat());
    // A warning here would be taken for the output of a RUN step.
    assert_eq!((all(out).as_str(), all(err).as_str()), ("0\n1\n2\n", ""));
}

#[test]
fn buildah_kills_with_and_without_a_signal() {
    for signal in [None, Some("KILL"), Some("SIGTERM")] {
        let container = Container::new().without_namespace("pid").args(&["sleep", "1000"]);
        container.write();
        let (id, p) = (container.id.clone(), paths(&container));
        drop(
            BUILDAH
                .creates(&container, &["--root", &p.root, "create", "--bundle", &p.bundle, "--pid-file", &p.pid, &id]),
        );
        BUILDAH.silent(&container, &["--root", &p.root, "start", &id]);
        let words: Vec<&str> = ["--root", &p.root, "kill", &id].into_iter().chain(signal).collect();
        BUILDAH.silent(&container, &words);
        assert_eq!(container::wait_pid(pid_in(&p.pid)), if signal == Some("KILL") { 137 } else { 143 });
    }
}

#[test]
fn conmon_rs_writes_every_option_in_its_own_way() {
    let container = Container::new().set("/process/terminal", json!(true)).args(&["sleep", "1000"]);
    container.write();
    let (id, p) = (container.id.clone(), paths(&container));
    let socket = Receiver::new(&container.dir.join("attach"));
    let (root, console) = (format!("--root={}", p.root), format!("--console-socket={}", socket.path()));
    CRIO.silent(&container, &[&root, "create", "--bundle", &p.bundle, "--pid-file", &p.pid, &console, &id]);
    let _terminal = socket.take();
    CRIO.silent(&container, &[&root, "start", &id]);
    let exec_pid = container.dir.join("exec.pid");
    let flag = format!("--pid-file={}", exec_pid.display());
    let (out, _) = CRIO.creates(&container, &[&root, "exec", "-d", &flag, &id, "echo", "-n", "--words"]);
    container::wait_pid(pid_in(exec_pid.to_str().unwrap()));
    assert_eq!(all(out), "--words");
}

#[test]
fn go_runc_lists_and_reads_tables() {
    let container = Container::new().sleeping();
    let p = paths(&container);
    let list: Value =
        serde_json::from_str(&CONTAINERD.call(&container, &["--root", &p.root, "list", "--format=json"], "").ok().out)
            .unwrap();
    for field in ["id", "pid", "status", "bundle", "rootfs", "created"] {
        assert!(!list[0][field].is_null(), "no {field} in {list}");
    }
    need!(host::has("ps"), "needs ps of procps");
    let table =
        CONTAINERD.call(&container, &["--root", &p.root, "ps", "--format", "table", &container.id], "").ok().out;
    let mut lines = table.lines();
    let column = lines.next().unwrap().split_whitespace().position(|word| word == "PID").expect("no column PID");
    assert_eq!(lines.next().unwrap().split_whitespace().nth(column).unwrap(), container.pid().to_string());
}

#[test]
fn an_unknown_id_is_answered_as_each_manager_expects() {
    let container = Container::new();
    let p = paths(&container);
    for verb in ["state", "kill", "start", "ps", "delete"] {
        let log = format!("{}.{verb}", p.log);
        let outcome = CONTAINERD.call(
            &container,
            &["--root", &p.root, "--log", &log, "--log-format", "json", verb, "nobody-has-this-id"],
            "",
        );
        assert!(outcome.code == 1 && outcome.out.contains("does not exist"), "{outcome}");
        let entry = only_entry(&log);
        assert!(entry["msg"].as_str().unwrap().contains("does not exist"), "{entry}");
    }
    CONTAINERD.silent(&container, &["--root", &p.root, "delete", "--force", "nobody-has-this-id"]);
}

#[test]
fn the_runtime_dies_with_its_manager_and_the_container_does_not() {
    let container = Container::new().args(&["sleep", "1000"]);
    container.write();
    let (id, p) = (container.id.clone(), paths(&container));
    drop(
        CONTAINERD
            .creates(&container, &["--root", &p.root, "create", "--bundle", &p.bundle, "--pid-file", &p.pid, &id]),
    );
    CONTAINERD.silent(&container, &["--root", &p.root, "start", &id]);
    // Every call had a parent that has ended since; the container lives.
    assert_eq!(container.status(), "running");
    assert!(host::alive(pid_in(&p.pid)));
}
