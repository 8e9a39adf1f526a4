//! Row by row: every form in which a manager writes a call, and what it reads from the answer.

use super::*;

/// The words of a line, with the places of one container filled in.
fn filled(line: &str, container: &Container, socket: &str) -> Vec<String> {
    let p = paths(container);
    let fill = |word: &str| {
        [("ROOT", &*p.root), ("BUNDLE", &p.bundle), ("LOG", &p.log), ("PID", &p.pid), ("SOCKET", socket)]
            .iter()
            .fold(word.to_owned(), |word, (name, value)| word.replace(&format!("{{{name}}}"), value))
            .replace("{ID}", &container.id)
    };
    line.split_whitespace().map(fill).collect()
}

fn words(line: &[String]) -> Vec<&str> {
    line.iter().map(String::as_str).collect()
}

/// A manager with descriptors that it means to pass on.
const fn passing(manager: &Manager, leaked: &'static str) -> Manager {
    Manager { env: manager.env, leaked, in_bundle: manager.in_bundle }
}

/// Who calls, how, and the descriptors that the program then has.
const CREATES: &[(&str, Manager, &str, &str)] = &[
    (
        "containerd 1.6",
        CONTAINERD,
        "--root {ROOT} --log {LOG} --log-format json create --bundle {BUNDLE} --pid-file {PID} {ID}",
        "0 1 2",
    ),
    (
        "containerd, debug",
        CONTAINERD,
        "--root {ROOT} --debug --log {LOG} --log-format json create --bundle {BUNDLE} --pid-file {PID} {ID}",
        "0 1 2",
    ),
    (
        "containerd on a ramdisk",
        CONTAINERD,
        "--root {ROOT} --log {LOG} --log-format json create --bundle {BUNDLE} --pid-file {PID} --no-pivot --no-new-keyring {ID}",
        "0 1 2",
    ),
    (
        "dockerd, rootless",
        CONTAINERD,
        "--root {ROOT} --log {LOG} --log-format json --rootless=false create --bundle {BUNDLE} --pid-file {PID} {ID}",
        "0 1 2",
    ),
    (
        "go-runc with descriptors",
        passing(&CONTAINERD, "3</ 4</proc 5</etc"),
        "--root {ROOT} --log {LOG} --log-format json create --bundle {BUNDLE} --pid-file {PID} --preserve-fds 2 {ID}",
        "0 1 2 3 4",
    ),
    (
        "one dash, as Go's flags allow",
        CONTAINERD,
        "-root {ROOT} -log {LOG} -log-format json create -bundle {BUNDLE} -pid-file {PID} -no-new-keyring {ID}",
        "0 1 2",
    ),
    (
        "conmon",
        PODMAN,
        "--root {ROOT} --log-format=json --log {LOG} create --bundle {BUNDLE} --pid-file {PID} {ID}",
        "0 1 2",
    ),
    (
        "conmon for an unknown name",
        PODMAN,
        "--root {ROOT} create --bundle {BUNDLE} --pid-file {PID} --no-pivot --no-new-keyring {ID}",
        "0 1 2",
    ),
    (
        "conmon with descriptors",
        passing(&PODMAN, "3</ 4</proc 9</etc"),
        "--root {ROOT} create --bundle {BUNDLE} --pid-file {PID} --preserve-fds 1 {ID}",
        "0 1 2 3",
    ),
    ("CRI-O's conmon", CRIO, "--root={ROOT} create --bundle {BUNDLE} --pid-file {PID} {ID}", "0 1 2"),
    ("conmon-rs", CRIO, "--root={ROOT} create --bundle={BUNDLE} --pid-file={PID} {ID}", "0 1 2"),
    (
        "buildah",
        BUILDAH,
        "--root {ROOT} create --bundle {BUNDLE} --pid-file {PID} --no-pivot --no-new-keyring {ID}",
        "0 1 2",
    ),
    (
        "buildah with descriptors",
        BUILDAH,
        "--root {ROOT} create --bundle {BUNDLE} --pid-file {PID} --preserve-fds 3 {ID}",
        "0 1 2 3 4 5",
    ),
];

#[test]
fn every_form_of_create_gives_a_pid_file_at_once_and_only_the_descriptors_it_names() {
    for (name, manager, line, descriptors) in CREATES {
        let container = Container::new().shell("ls /proc/$$/fd; exit 3");
        container.write();
        let line = filled(line, &container, "");
        let (out, err) = manager.creates(&container, &words(&line));
        let pid = pid_in(&paths(&container).pid);
        assert_eq!(container.status(), "created", "{name}");
        // No process of the runtime's is between: the next reaper is this test, as a shim or conmon would be.
        let parent = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        assert!(parent.contains(&format!("PPid:\t{}\n", std::process::id())), "{name}: {parent}");
        manager.silent(&container, &["--root", &paths(&container).root, "start", &container.id]);
        assert_eq!(container::wait_pid(pid), 3, "{name}");
        assert_eq!(all(out).trim_end().replace('\n', " "), *descriptors, "{name}");
        assert_eq!(all(err), "", "{name}");
        manager.silent(&container, &["--root", &paths(&container).root, "delete", &container.id]);
    }
}

#[test]
fn every_form_of_exec_is_understood() {
    let rows: &[(&str, &Manager, &str)] = &[
        (
            "containerd",
            &CONTAINERD,
            "--root {ROOT} --log {LOG} --log-format json exec --process PROCESS --detach --pid-file EXEC {ID}",
        ),
        (
            "conmon",
            &PODMAN,
            "--root {ROOT} --log-format=json --log {LOG} exec --pid-file EXEC --process PROCESS --detach {ID}",
        ),
        (
            "conmon for an unknown name",
            &PODMAN,
            "--root {ROOT} exec --pid-file EXEC --process PROCESS --detach --preserve-fds 0 {ID}",
        ),
        ("CRI-O's conmon", &CRIO, "--root={ROOT} exec --pid-file EXEC --process PROCESS --detach {ID}"),
        ("CRI-O itself", &CRIO, "--root {ROOT} exec --process PROCESS {ID}"),
        ("conmon-rs", &CRIO, "--root={ROOT} exec -d --pid-file=EXEC {ID} sh -c env"),
        ("kubectl's way of options after the id", &CRIO, "--root={ROOT} exec -d --pid-file=EXEC {ID} env -u NOTHING"),
    ];
    let container = Container::new().sleeping();
    let process = process_file(&container, &["sh", "-c", "env"], false);
    for (name, manager, line) in rows {
        let file = container.dir.join("exec.pid");
        let file = file.to_str().unwrap();
        let line = filled(&line.replace("PROCESS", &process).replace("EXEC", file), &container, "");
        let (out, err) = manager.creates(&container, &words(&line));
        if line.iter().any(|word| word.contains("exec.pid")) {
            assert_eq!(container::wait_pid(pid_in(file)), 0, "{name}");
            fs::remove_file(file).unwrap();
        }
        let (out, err) = (all(out), all(err));
        assert!(out.contains("PATH=") && err.is_empty(), "{name}: {out}{err}");
        for variable in ["_OCI_", "TTRPC_ADDRESS", "CRI_O_EXTERNAL", "XDG_RUNTIME_DIR", "LD_LIBRARY_PATH"] {
            assert!(!out.contains(variable), "{name}: {variable} of the caller is inside: {out}");
        }
    }
}

#[test]
fn every_form_of_exec_with_a_terminal_is_understood() {
    let container = Container::new().sleeping();
    let process = process_file(&container, &["sh", "-c", "tty; exit 3"], true);
    for (name, manager, line) in [
        (
            "conmon",
            &PODMAN,
            "--root {ROOT} exec --pid-file EXEC --process PROCESS --detach --tty --console-socket {SOCKET} {ID}",
        ),
        (
            "CRI-O's conmon",
            &CRIO,
            "--root={ROOT} exec --pid-file EXEC --process PROCESS --detach --console-socket {SOCKET} {ID}",
        ),
        (
            "conmon-rs",
            &CRIO,
            "--root={ROOT} exec -d --console-socket={SOCKET} --tty --pid-file=EXEC {ID} sh -c tty;exit${IFS}3",
        ),
    ] {
        let (socket, file) = (container.dir.join("exec.sock"), container.dir.join("exec.pid"));
        let receiver = Receiver::new(&socket);
        let file = file.to_str().unwrap();
        let line = filled(&line.replace("PROCESS", &process).replace("EXEC", file), &container, receiver.path());
        manager.silent(&container, &words(&line));
        let mut received = receiver.take();
        assert!(received.fds.len() == 1 && (1..4096).contains(&received.payload.len()), "{name}");
        let mut terminal = Terminal::from_master(received.fds.remove(0));
        terminal.expect("/dev/pts/");
        assert_eq!(container::wait_pid(pid_in(file)), 3, "{name}");
        for file in [socket.to_str().unwrap(), file] {
            fs::remove_file(file).unwrap();
        }
    }
}

#[test]
fn every_form_of_update_is_understood() {
    let container = Container::new().sleeping();
    need!(container.cgroup_file("pids", "pids.max").is_some(), "no controller pids");
    let (p, file) = (paths(&container), container.dir.join("limits.json"));
    let file = file.to_str().unwrap();
    let equals = format!("--resources={file}");
    let rows: &[(&str, &Manager, &[&str])] = &[
        ("containerd 1.6", &CONTAINERD, &["--resources", "-"]),
        ("containerd 2.x", &CONTAINERD, &["--resources=-"]),
        ("podman", &PODMAN, &[&equals]),
        ("CRI-O", &CRIO, &["--resources", "-"]),
        ("the short option", &CRIO, &["-r", file]),
        ("one dash", &CONTAINERD, &["-resources", file]),
    ];
    for (number, (name, manager, option)) in rows.iter().enumerate() {
        let limit = 100 + number;
        // What is empty is not asked for. (runc 1.1 ends in a panic on a blockIO without a weight.)
        let limits = json!({"pids": {"limit": limit}, "memory": {}, "cpu": {}}).to_string();
        fs::write(file, &limits).unwrap();
        let from_stdin = option.iter().any(|word| word.ends_with('-'));
        let line = [&["--root", &p.root, "update"], *option, &[&container.id]].concat();
        let outcome = manager.call(&container, &line, if from_stdin { &limits } else { "" }).ok();
        assert_eq!(outcome.out, "", "{name}");
        assert_eq!(container.cgroup_file("pids", "pids.max").unwrap(), limit.to_string(), "{name}");
    }
    let outcome =
        CONTAINERD.call(&container, &["--root", &p.root, "update", "--resources", "-", &container.id], "{\"pids\": ");
    assert!(outcome.code != 0 && !outcome.out.is_empty(), "{outcome}");
}

#[test]
fn every_form_of_kill_sends_its_signal() {
    let rows: &[(&str, &Manager, &[&str], i32)] = &[
        ("containerd", &CONTAINERD, &["{ID}", "15"], 143),
        ("containerd, all", &CONTAINERD, &["--all", "{ID}", "9"], 137),
        ("conmon", &PODMAN, &["{ID}", "9"], 137),
        ("podman's stop signal", &PODMAN, &["{ID}", "10"], 138),
        ("CRI-O, short name", &CRIO, &["{ID}", "KILL"], 137),
        ("buildah, no signal", &BUILDAH, &["{ID}"], 143),
        ("buildah, whole name", &BUILDAH, &["{ID}", "SIGKILL"], 137),
        ("an operator, small letters", &CRIO, &["{ID}", "term"], 143),
        ("an operator, short option", &CRIO, &["-a", "{ID}", "SIGTERM"], 143),
    ];
    for (name, manager, kill, code) in rows {
        // Without a pid namespace of its own: a first process would ignore what it does not handle.
        let container = Container::new().without_namespace("pid").sleeping();
        let p = paths(&container);
        let pid = container.pid();
        let line: Vec<String> = kill.iter().map(|word| word.replace("{ID}", &container.id)).collect();
        manager.silent(&container, &[&["--root", &p.root, "kill"][..], &words(&line)].concat());
        assert_eq!(container::wait_pid(pid), *code, "{name}");
    }
}

#[test]
fn the_words_of_a_failure_decide_the_exit_code_that_a_user_sees() {
    // docker's command line and podman look for these, the first letter by letter.
    let code = |message: &str| match message {
        message if message.contains("permission denied") || message.contains("is a directory") => 126,
        message
            if message.contains("executable file not found")
                || message.contains("no such file or directory")
                || message.contains("not a directory") =>
        {
            127
        }
        _ => 125,
    };
    for (args, wanted) in [
        (&["/no/such/program"][..], 127),
        (&["no-such-program"], 127),
        (&["/data/plain"], 126),
        (&["/data/plain/below"], 127),
        (&["/data"], 126),
    ] {
        let container = Container::new().file("/data/plain", "text", 0o644).args(args);
        container.write();
        let p = paths(&container);
        let line = "--root {ROOT} --log {LOG} --log-format json create --bundle {BUNDLE} --pid-file {PID} {ID}";
        let outcome = CONTAINERD.call(&container, &words(&filled(line, &container, "")), "");
        assert_eq!(outcome.code, 1, "{args:?}: {outcome}");
        let message = only_entry(&p.log)["msg"].as_str().unwrap().to_owned();
        assert_eq!(code(&message), wanted, "{args:?}: {message}");
        assert!(!std::path::Path::new(&p.pid).exists(), "a pid file is a success: {args:?}");

        let container = Container::new().file("/data/plain", "text", 0o644).sleeping();
        let (p, process) = (paths(&container), process_file(&container, args, false));
        let line = format!(
            "--root {{ROOT}} --log {{LOG}} --log-format json exec --process {process} --detach --pid-file {{PID}} {{ID}}"
        );
        let outcome = CONTAINERD.call(&container, &words(&filled(&line, &container, "")), "");
        assert_eq!(outcome.code, 255, "{args:?}: {outcome}");
        let message = only_entry(&p.log)["msg"].as_str().unwrap().to_owned();
        assert_eq!(code(&message), wanted, "exec {args:?}: {message}");
    }
}

#[test]
fn crio_resumes_a_paused_container_before_it_stops_it() {
    let container = Container::new().sleeping();
    let root = ["--root", &paths(&container).root];
    let status = || {
        let state: Value =
            serde_json::from_str(&CRIO.call(&container, &[&root[..], &["state", &container.id]].concat(), "").ok().out)
                .unwrap();
        state["status"].as_str().unwrap().to_owned()
    };
    CRIO.silent(&container, &[&root[..], &["pause", &container.id]].concat());
    assert_eq!(status(), "paused");
    CRIO.silent(&container, &[&root[..], &["resume", &container.id]].concat());
    assert_eq!(status(), "running");
    let pid = container.pid();
    CRIO.silent(&container, &[&root[..], &["kill", &container.id, "KILL"]].concat());
    assert_eq!(container::wait_pid(pid), 137);
    assert_eq!(status(), "stopped");
    CRIO.silent(&container, &[&root[..], &["delete", "--force", &container.id]].concat());
}

#[test]
fn go_runc_reads_statistics() {
    let container = Container::new().sleeping();
    let root = ["--root", &paths(&container).root];
    let outcome = CONTAINERD.call(&container, &[&root[..], &["events", "--stats", &container.id]].concat(), "").ok();
    let event: Value = serde_json::from_str(&outcome.out).unwrap();
    assert!(event["type"] == "stats" && event["id"] == container.id.as_str(), "{event}");
    for field in [
        "/data/cpu/usage/total",
        "/data/cpu/usage/kernel",
        "/data/cpu/usage/user",
        "/data/memory/usage/usage",
        "/data/pids/current",
    ] {
        assert!(event.pointer(field).is_some_and(Value::is_number), "no {field} in {event}");
    }
}

#[test]
fn an_empty_list_is_read_as_one() {
    let container = Container::new();
    let outcome = CONTAINERD.call(&container, &["--root", &paths(&container).root, "list", "--format=json"], "").ok();
    let list: Option<Vec<Value>> = serde_json::from_str(&outcome.out).unwrap();
    assert!(list.unwrap_or_default().is_empty());
}

#[test]
fn containerd_and_crio_read_what_the_runtime_can_do() {
    let container = Container::new();
    let outcome = CRIO.call(&container, &["features"], "");
    need!(outcome.code == 0, "this runtime has no command features");
    // Output and error output are one pipe here: a warning would break the object.
    let features: Value = serde_json::from_str(&outcome.out).unwrap();
    let names = |pointer: &str| -> Vec<String> {
        let list = features.pointer(pointer).and_then(Value::as_array).unwrap_or_else(|| panic!("no {pointer}"));
        list.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    assert!(features["ociVersionMin"].is_string() && features["ociVersionMax"].is_string(), "{features}");
    assert!(names("/hooks").contains(&"createRuntime".to_owned()));
    assert!(names("/linux/namespaces").contains(&"user".to_owned()));
    assert!(names("/linux/capabilities").contains(&"CAP_SYS_ADMIN".to_owned()));
    assert_eq!(features.pointer("/linux/cgroup/v1"), Some(&json!(true)));
    assert_eq!(features.pointer("/linux/seccomp/enabled"), Some(&json!(true)));
    only_ocicat!("runc 1.1 has neither recursive read-only mounts nor mappings of a mount");
    // CRI: RuntimeHandlerFeatures.recursive_read_only_mounts, and user namespaces of pods.
    assert!(names("/mountOptions").contains(&"rro".to_owned()));
    assert_eq!(features.pointer("/linux/mountExtensions/idmap/enabled"), Some(&json!(true)));
}

#[test]
fn sockets_that_conmon_announces_reach_the_container() {
    let container = Container::new().shell("echo $LISTEN_FDS $LISTEN_PID; ls /proc/$$/fd; true");
    container.write();
    let line = filled("--root {ROOT} create --bundle {BUNDLE} --pid-file {PID} {ID}", &container, "");
    let ((out, writer), mut command) = (std::io::pipe().unwrap(), Command::new("/bin/sh"));
    // The pid stays the same through the execve calls: conmon writes that of its child.
    command.args(["-c", "export LISTEN_PID=$$; exec /usr/bin/setpriv --pdeathsig KILL -- \"$@\" 3</ 9</", "sh"]);
    command
        .arg(runtime())
        .args(&line)
        .env("LISTEN_FDS", "1")
        .stdin(container.null())
        .stderr(writer.try_clone().unwrap());
    let mut child = command.stdout(writer).spawn().unwrap();
    drop(command);
    assert_eq!(outcome::code_of(&mut child), 0);
    PODMAN.silent(&container, &["--root", &paths(&container).root, "start", &container.id]);
    assert_eq!(container::wait_pid(pid_in(&paths(&container).pid)), 0);
    assert_eq!(all(out), "1 1\n0\n1\n2\n3\n");
}
