//! The six kinds of hooks: order, place, environment, input, timeout, and what a failing one does (config.md, "POSIX-platform Hooks").

use crate::common::*;
use std::fs;
use std::path::PathBuf;

const KINDS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A hook of the host that runs a line of shell; `$LOG` is the test's log.
fn hook(container: &Container, line: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", line], "env": [format!("LOG={}", log(container).display()), "PATH=/usr/bin:/bin"]})
}

fn log(container: &Container) -> PathBuf {
    // The rootfs is bind mounted below itself in the container, so startContainer hooks find it too.
    container.dir.join("log")
}

fn logged(container: &Container) -> Vec<String> {
    fs::read_to_string(log(container)).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// A container in which every kind of hook writes its name to the log. A startContainer hook runs in the container's
/// root: the log is bind mounted there.
fn with_every_hook() -> Container {
    let container = Container::new();
    fs::write(log(&container), "").unwrap();
    let file = log(&container);
    let mut container = container.mount("/data/log", "bind", &file, &["bind"]);
    for kind in KINDS {
        let mut entry = hook(&container, &format!("echo {kind} >> $LOG"));
        if kind == "startContainer" {
            entry = json!({"path": "/bin/sh", "args": ["sh", "-c", "echo startContainer >> /data/log"]});
        }
        container = container.set(&format!("/hooks/{kind}"), json!([entry]));
    }
    container
}

#[test]
fn hooks_run_in_the_order_of_the_life_cycle() {
    only_ocicat!("runc 1.1 runs poststart hooks at create");
    let container = with_every_hook().shell("echo program >> /data/log; sleep 1000");
    container.create().ok();
    assert_eq!(logged(&container), ["prestart", "createRuntime", "createContainer"]);
    container.start().ok();
    let mut seen = logged(&container);
    assert!(seen.contains(&"poststart".to_owned()), "{seen:?}");
    seen.retain(|word| word != "program");
    assert_eq!(seen[3..], ["startContainer", "poststart"]);
    container.end();
    assert!(!logged(&container).contains(&"poststop".to_owned()));
    container.delete().ok();
    assert_eq!(logged(&container).last().unwrap(), "poststop");
}

#[test]
fn run_runs_every_hook_too() {
    only_ocicat!("runc 1.1 runs poststart hooks at create");
    let container = with_every_hook();
    container.run().ok();
    assert_eq!(logged(&container), KINDS);
}

#[test]
fn hooks_of_one_kind_run_in_their_order() {
    let container = Container::new();
    let list: Vec<Value> = (0..5).map(|number| hook(&container, &format!("echo {number} >> $LOG"))).collect();
    let container = container.set("/hooks/createRuntime", json!(list));
    container.run().ok();
    assert_eq!(logged(&container), ["0", "1", "2", "3", "4"]);
}

#[test]
fn each_hook_reads_the_state_with_the_status_of_its_moment() {
    only_ocicat!("runc 1.1 runs poststart hooks at create");
    let container = Container::new();
    fs::write(log(&container), "").unwrap();
    let file = log(&container);
    let mut container = container.mount("/data/log", "bind", &file, &["bind"]).set("/annotations", json!({"a": "b"}));
    for kind in KINDS {
        let mut entry = hook(&container, "cat >> $LOG; echo >> $LOG");
        if kind == "startContainer" {
            entry = json!({"path": "/bin/sh", "args": ["sh", "-c", "cat >> /data/log; echo >> /data/log"]});
        }
        container = container.set(&format!("/hooks/{kind}"), json!([entry]));
    }
    // Lives on while the poststart hook looks.
    let container = container.args(&["sleep", "1000"]).detached();
    container.call(&["delete", "--force", &container.id]).ok();
    let states: Vec<Value> = fs::read_to_string(log(&container))
        .unwrap()
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(states.len(), 6, "{states:?}");
    for (kind, state) in KINDS.iter().zip(&states) {
        assert_eq!(
            (&state["id"], &state["bundle"], &state["annotations"]["a"]),
            (&json!(container.id), &json!(container.dir), &json!("b")),
            "{kind}"
        );
        assert!(state["ociVersion"].is_string(), "{kind}: {state}");
        let allowed: &[&str] = match *kind {
            // "creating" or "created": the suite of runtime-tools and newer runc want created in prestart.
            "prestart" | "createRuntime" | "createContainer" => &["creating", "created"],
            "startContainer" => &["created"],
            "poststart" => &["running"],
            _ => &["stopped"],
        };
        assert!(allowed.contains(&state["status"].as_str().unwrap()), "{kind}: {state}");
        if *kind != "poststop" && *kind != "startContainer" && *kind != "createContainer" {
            assert!(state["pid"].as_u64().unwrap() > 1, "{kind}: {state}");
        }
    }
}

#[test]
fn a_hook_has_its_own_environment_and_arguments_only() {
    let container = Container::new();
    let file = container.dir.join("seen");
    let line = format!("env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= > {0}; echo $0 $1 >> {0}", file.display());
    let container = container.set(
        "/hooks/createRuntime",
        json!([{"path": "/bin/sh", "args": ["name", "-c", line, "zero", "one"], "env": ["A=1", "B=2"]}]),
    );
    container.write();
    let mut command = container.command(&["run", &container.id]);
    command.env("SECRET", "1");
    finish(command).ok();
    let seen = fs::read_to_string(file).unwrap();
    let mut lines: Vec<&str> = seen.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["A=1", "B=2", "zero one"]);
}

#[test]
fn a_hook_without_environment_has_the_callers_on_the_host_and_none_in_the_container() {
    only_ocicat!("other runtimes clear their environment before the last of these hooks or not");
    let container = Container::new();
    let seen = |name: &str| container.dir.join(name);
    let hook = |name: &str| {
        let line = format!("echo [$CALLER] > {}", seen(name).display());
        json!([{"path": "/bin/sh", "args": ["sh", "-c", line]}])
    };
    let kinds = ["createRuntime", "createContainer", "poststop"];
    let hooks: serde_json::Map<String, Value> = kinds.iter().map(|kind| ((*kind).to_owned(), hook(kind))).collect();
    let files = kinds.map(seen);
    let container = container.set("/hooks", json!(hooks));
    container.write();
    let mut command = container.command(&["run", &container.id]);
    command.env("CALLER", "here");
    finish(command).ok();
    assert_eq!(files.map(|file| fs::read_to_string(file).unwrap()), ["[here]\n", "[]\n", "[here]\n"]);
}

#[test]
fn hooks_of_the_runtime_run_in_the_hosts_namespaces_and_those_of_the_container_in_its() {
    let container = Container::new();
    let line = "readlink /proc/self/ns/mnt >> $LOG";
    let (outside, inside) = (hook(&container, line), hook(&container, line));
    let container = container
        .set("/hooks/createRuntime", json!([outside]))
        .set("/hooks/createContainer", json!([inside]))
        .args(&["sleep", "1000"]);
    container.create().ok();
    let seen = logged(&container);
    assert_eq!(seen[0], host::namespace(std::process::id(), "mnt"));
    assert_eq!(seen[1], host::namespace(container.pid(), "mnt"));
}

#[test]
fn a_start_container_hook_runs_in_the_root_of_the_container() {
    let container = Container::new()
        .file("/data/hook", "#!/bin/sh\necho $(hostname) > /data/seen\n", 0o755)
        .set("/root/readonly", json!(false));
    let container = container.set("/hooks/startContainer", json!([{"path": "/data/hook"}]));
    container.run().ok();
    assert_eq!(fs::read_to_string(container.rootfs().join("data/seen")).unwrap(), "ocicat\n");
}

#[test]
fn a_prestart_hook_can_reach_the_network_of_the_container() {
    need!(host::has("ip") && host::has("nsenter"), "needs ip and nsenter");
    let container = Container::new();
    let line = "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); nsenter -t $pid -n ip link add inside0 type dummy 2>/dev/null || nsenter -t $pid -n ip link set lo alias marked";
    let entry = json!({"path": "/bin/sh", "args": ["sh", "-c", line], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]});
    let container =
        container.set("/hooks/prestart", json!([entry])).shell("ls /sys/class/net; cat /sys/class/net/lo/ifalias");
    let seen = container.run().ok();
    assert!(seen.out.contains("inside0") || seen.out.contains("marked"), "{seen}");
}

#[test]
fn a_failing_hook_before_the_start_ends_the_creation_and_leaves_nothing() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let container = Container::new();
        let entry = hook(&container, "echo told why >&2; exit 3");
        let container = container.set(&format!("/hooks/{kind}"), json!([entry]));
        let outcome = container.create();
        assert!(outcome.code != 0, "{kind}: {outcome}");
        assert_eq!(container.leftovers(), Vec::<String>::new(), "{kind}");
        if ours() {
            assert!(
                outcome.err.contains(kind) && outcome.err.contains("told why") && outcome.err.contains('3'),
                "{kind}: {outcome}"
            );
        }
    }
}

#[test]
fn a_failing_start_container_hook_keeps_the_program_from_running() {
    let container = Container::new().set("/root/readonly", json!(false)).shell("echo ran > /data/ran");
    let container = container.set("/hooks/startContainer", json!([{"path": "/bin/false"}]));
    container.create().ok();
    let outcome = container.start();
    assert!(outcome.code != 0 || !ours(), "{outcome}");
    assert!(!container.rootfs().join("data/ran").exists());
}

#[test]
fn a_failing_poststart_hook_ends_the_container() {
    only_ocicat!("runc 1.1 runs poststart hooks at create");
    let container = Container::new().args(&["sleep", "1000"]);
    let entry = hook(&container, "exit 1");
    let container = container.set("/hooks/poststart", json!([entry]));
    container.create().ok();
    let pid = container.pid();
    let outcome = container.start();
    assert!(outcome.code != 0, "{outcome}");
    container::wait_pid(pid);
    assert!(!host::alive(pid));
}

#[test]
fn a_failing_poststop_hook_is_only_a_warning_and_the_next_ones_run() {
    only_ocicat!("runc stops there with an error, against the spec");
    let container = Container::new();
    let (first, second) = (hook(&container, "exit 1"), hook(&container, "echo second >> $LOG"));
    let container = container.set("/hooks/poststop", json!([first, second]));
    container.create().ok();
    let log = container.dir.join("log.txt");
    let outcome = container.call(&["--log", log.to_str().unwrap(), "delete", "--force", &container.id]).ok();
    let told = fs::read_to_string(log).unwrap_or_default() + &outcome.err;
    assert!(told.contains("poststop") && told.contains("warn"), "{told:?}");
    assert_eq!(logged(&container), ["second"]);
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

#[test]
fn after_a_failing_hook_no_later_one_of_its_kind_runs() {
    let container = Container::new();
    let (first, second) = (hook(&container, "exit 1"), hook(&container, "echo second >> $LOG"));
    let container = container.set("/hooks/createRuntime", json!([first, second]));
    assert_ne!(container.create().code, 0);
    assert_eq!(logged(&container), Vec::<String>::new());
}

#[test]
fn a_hook_that_takes_too_long_is_killed() {
    let container = Container::new();
    let mut entry = hook(&container, "exec sleep 1000");
    entry["timeout"] = json!(1);
    let container = container.set("/hooks/createRuntime", json!([entry]));
    let outcome = container.create();
    assert!(outcome.code != 0, "{outcome}");
    if ours() {
        assert!(
            outcome.err.contains("timeout") || outcome.err.contains("timed out") || outcome.err.contains("1 s"),
            "{outcome}"
        );
    }
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

#[test]
fn a_hook_that_reads_nothing_harms_nobody() {
    let container = Container::new().set("/annotations", json!({"long": "x".repeat(200_000)}));
    let entry = json!({"path": "/bin/true"});
    container.set("/hooks/createRuntime", json!([entry])).run().ok();
}

#[test]
fn a_hook_that_says_much_harms_nobody() {
    let container = Container::new();
    let entry =
        hook(&container, "head -c 300000 /dev/zero | tr '\\\\0' x; head -c 300000 /dev/zero | tr '\\\\0' y >&2");
    let outcome = container.set("/hooks/createRuntime", json!([entry])).shell("echo program").run().ok();
    assert!(outcome.out.contains("program"));
}

#[test]
fn the_output_of_hooks_goes_to_the_files_that_annotations_name() {
    only_ocicat!("of the peers only crun knows these annotations");
    let container = Container::new();
    let (out, err) = (container.dir.join("hooks.out"), container.dir.join("hooks.err"));
    let entry = hook(&container, "echo told; echo warned >&2");
    let annotations = json!({"run.oci.hooks.stdout": out, "run.oci.hooks.stderr": err});
    // Inside of the container there are no such files, and they must not be made there.
    let inside = json!({"path": "/bin/sh", "args": ["sh", "-c", "echo told; echo warned >&2"]});
    let hooks =
        json!({"createRuntime": [entry], "startContainer": [inside], "poststart": [entry], "poststop": [entry]});
    let container = container.set("/hooks", hooks).set("/annotations", annotations).shell("echo program");
    container.run().says("program");
    assert_eq!(std::fs::read_to_string(out).unwrap(), "told\n".repeat(4));
    assert_eq!(std::fs::read_to_string(err).unwrap(), "warned\n".repeat(4));
}

#[test]
fn a_fifo_that_nobody_reads_is_an_error_as_a_file_for_output_and_not_waited_for() {
    only_ocicat!("of the peers only crun knows these annotations");
    let container = Container::new();
    let path = container.dir.join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    let said = "told\n".repeat(20_000);
    let line = "i=0; while [ $i -lt 20000 ]; do echo told; i=$((i+1)); done";
    let entry = hook(&container, line);
    let container = container
        .set("/hooks/createRuntime", json!([entry]))
        .set("/annotations", json!({"run.oci.hooks.stdout": path}));
    let expected = "nobody reads from this fifo: no such device or address (ENXIO)";
    let place = format!("annotations[run.oci.hooks.stdout]: open {}: {expected}", path.display());
    container.run().fails(&format!("config.json: {place}"));
    let call = ["--log", path.to_str().unwrap(), "state", &container.id];
    container.call(&call).fails(&format!("log: open {}: {expected}", path.display()));
    // One that reads gets all, also more than the fifo holds.
    let reader = std::process::Command::new("cat").arg(&path).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let held = fs::OpenOptions::new().write(true).open(&path).unwrap();
    container.run().ok();
    drop(held);
    let read = reader.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(read.stdout).unwrap(), said);
}

#[test]
fn a_hook_must_exist_and_have_an_absolute_path() {
    for (path, word) in [("/no/such/hook", "no such file or directory"), ("bin/true", "absolute")] {
        let container = Container::new().set("/hooks/createRuntime", json!([{"path": path}]));
        let outcome = container.create();
        assert!(outcome.code != 0 && (outcome.err.contains(word) || !ours()), "{path}: {outcome}");
    }
}

#[test]
fn hooks_have_no_descriptors_of_the_runtime() {
    let container = Container::new();
    let entry = hook(&container, "exec >> $LOG; ls /proc/$$/fd; true");
    let container = container.set("/hooks/createRuntime", json!([entry]));
    container.run().ok();
    assert_eq!(logged(&container), ["0", "1", "2"]);
}

#[test]
fn a_signal_ends_the_hook_that_runs_and_the_run_that_waits_for_it() {
    only_ocicat!("runc and crun are ended by the signal and leave the container behind");
    use rustix::process::Signal;
    let signals = [
        (Signal::INT, "SIGINT"),
        (Signal::TERM, "SIGTERM"),
        (Signal::HUP, "SIGHUP"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::INT, "SIGINT"),
        (Signal::TERM, "SIGTERM"),
    ];
    for (kind, (signal, name)) in KINDS.into_iter().zip(signals) {
        let container = Container::new().args(&["sleep", if kind == "poststart" { "1000" } else { "0" }]);
        let mut began = container.fifo("data/began");
        // Held open by all that the hook has started.
        let held = container.rootfs().join("data/held");
        rustix::fs::mkfifoat(rustix::fs::CWD, &held, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
        let held = rustix::fs::open(&held, flags, rustix::fs::Mode::empty()).unwrap();
        let line = |root: &std::path::Path| {
            let data = root.join("data");
            format!("cd {}; exec 9>held; echo began >began; sleep 1000 & sleep 1000; true", data.display())
        };
        let entry = match kind {
            "startContainer" => json!({"path": "/bin/sh", "args": ["sh", "-c", line("/".as_ref())]}),
            _ => hook(&container, &line(&container.rootfs())),
        };
        let stopped = hook(&container, "echo stopped >> $LOG");
        let mut container = container.set(&format!("/hooks/{kind}"), json!([entry]));
        container = container.set("/hooks/poststop/-", stopped);
        container.write();
        let mut command = heeding_signals(&container.command(&["run", &container.id]));
        let null = container.null();
        let mut child = command.stdin(null).stderr(std::process::Stdio::piped()).spawn().unwrap();
        assert_eq!(began.line(), "began", "{kind}");
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        let code = outcome::code_of(&mut child);
        let mut said = String::new();
        std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut said).unwrap();
        match kind {
            // The program had ended, and nothing is left to be taken back.
            "poststop" => assert_eq!((code, said.as_str()), (0, "")),
            _ => {
                let place = format!("ocicat: config.json: hooks.{kind}");
                assert!(
                    said.starts_with(&place) && said.contains(&format!(": interrupted by {name}")),
                    "{kind}: {said}"
                );
                assert_eq!(code, 1, "{kind}: {said}");
            }
        }
        assert_eq!(logged(&container), ["stopped"], "{kind}");
        assert_eq!(container.leftovers(), Vec::<String>::new(), "{kind}");
        assert!(
            outcome::readable_within(&held, std::time::Duration::from_secs(10)),
            "{kind}: the hook's children live"
        );
        assert_eq!(rustix::io::read(&held, &mut [0_u8; 1][..]), Ok(0), "{kind}");
    }
}

/// The same command without the ignored signals that a test may have inherited from whoever runs it in the background.
fn heeding_signals(command: &std::process::Command) -> std::process::Command {
    let mut env = std::process::Command::new("env");
    env.arg("--default-signal=HUP,INT,QUIT,TERM").arg(command.get_program()).args(command.get_args());
    env.current_dir(command.get_current_dir().unwrap());
    env
}

#[test]
fn a_signal_that_the_caller_ignores_does_not_end_a_hook() {
    only_ocicat!("runc and crun do as they like");
    let container = Container::new();
    let (mut began, mut go_on) = (container.fifo("data/began"), container.fifo("data/go-on"));
    let line = format!(
        "cd {}; echo began >began; read word <go-on; echo $word >> $LOG",
        container.rootfs().join("data").display()
    );
    let entry = hook(&container, &line);
    let container = container.set("/hooks/createRuntime", json!([entry]));
    container.write();
    let run = container.command(&["run", &container.id]);
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(run.get_program()).args(run.get_args());
    let mut child = shell.current_dir(&container.dir).stdin(container.null()).spawn().unwrap();
    assert_eq!(began.line(), "began");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    go_on.tell("went-on\n");
    assert_eq!(outcome::code_of(&mut child), 0);
    assert_eq!(logged(&container), ["went-on"]);
}
