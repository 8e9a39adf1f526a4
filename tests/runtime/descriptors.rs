//! What a container inherits and what its maker gets: descriptors, pid files, sockets.

use crate::common::socket::Receiver;
use crate::common::*;
use std::fs;

#[test]
fn only_the_standard_descriptors_are_open() {
    let container = Container::new().shell("ls /proc/$$/fd; true");
    container.write();
    // A caller that leaks: a file, a directory of the host, a pipe.
    let command = container.command(&["run", &container.id]);
    finish(through_shell(&command, "3</etc/hostname 4</ 9</proc")).says("0\n1\n2");
}

#[test]
fn preserved_descriptors_are_passed_and_no_others() {
    let container = Container::new().shell("cat <&3; cat <&4; ls /proc/$$/fd; true");
    let (first, second) = (container.dir.join("first"), container.dir.join("second"));
    fs::write(&first, "first\n").unwrap();
    fs::write(&second, "second\n").unwrap();
    container.write();
    let command = container.command(&["run", "--preserve-fds", "2", &container.id]);
    finish(through_shell(&command, &format!("3<{} 4<{} 5</ 6</", first.display(), second.display())))
        .says("first\nsecond\n0\n1\n2\n3\n4");
}

#[test]
fn preserving_what_is_not_open_is_an_error() {
    let container = Container::new();
    let outcome = container.run_with(&["--preserve-fds", "7"]);
    assert!(outcome.code != 0, "{outcome}");
}

#[test]
fn what_is_wrong_with_the_callers_own_words_is_not_said_of_config_json() {
    only_ocicat!("other runtimes have other words");
    let container = Container::new();
    container.write();
    let rows = [
        ("exec \"$@\"", &["--preserve-fds", "1"][..], "--preserve-fds: descriptor 3 (of 3 to 3) is not open"),
        ("export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"", &[], "LISTEN_FDS: descriptor 3 (of 3 to 3) is not open"),
        (
            "export NOTIFY_SOCKET=here; exec \"$@\"",
            &[],
            "NOTIFY_SOCKET: \"here\" is neither an absolute path nor an abstract socket",
        ),
    ];
    for (line, options, expected) in rows {
        let call = container.command(&[&["run"], options, &[&container.id]].concat());
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", line, "sh"]).arg(call.get_program()).args(call.get_args());
        shell.current_dir(&container.dir).stdin(container.null());
        let outcome = finish(shell).exits(1);
        assert_eq!(outcome.err, format!("ocicat: {expected}\n"));
    }
}

#[test]
fn socket_activation_passes_its_descriptors_and_variables() {
    let container =
        Container::new().shell("echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES; cat <&3; ls /proc/$$/fd; true");
    let file = container.dir.join("given");
    fs::write(&file, "given\n").unwrap();
    container.write();
    let command = container.command(&["run", &container.id]);
    let mut shell = through_shell(&command, &format!("3<{} 4</", file.display()));
    let line = shell.get_args().nth(1).unwrap().to_str().unwrap().to_owned();
    let rest: Vec<_> = shell.get_args().skip(2).map(std::ffi::OsStr::to_os_string).collect();
    let mut with_pid = std::process::Command::new("/bin/sh");
    with_pid
        .arg("-c")
        .arg(format!("export LISTEN_PID=$$; {line}"))
        .args(rest)
        .current_dir(&container.dir)
        .stdin(container.null())
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", "web");
    shell = with_pid;
    let names = if ours() { "1 1 web" } else { "1 1" };
    finish(shell).says(&format!("{names}\ngiven\n0\n1\n2\n3"));
}

#[test]
fn the_variables_of_socket_activation_name_the_program_by_its_pid_in_its_own_pid_namespace() {
    only_ocicat!("other runtimes say 1 to every process");
    let line = "echo $LISTEN_FDS $(test $LISTEN_PID = $$ && echo own)";
    let (first, shared) = (Container::new().shell(line), Container::new().without_namespace("pid").shell(line));
    let (running, beside) = (Container::new().sleeping(), Container::new().without_namespace("pid").sleeping());
    let rows = [
        (&first, vec!["run", &first.id]),
        (&shared, vec!["run", &shared.id]),
        (&running, vec!["exec", &running.id, "sh", "-c", line]),
        (&beside, vec!["exec", &beside.id, "sh", "-c", line]),
    ];
    for (container, words) in rows {
        container.write();
        let call = container.command(&words);
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", "export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\" 3</", "sh"]).arg(call.get_program());
        shell.args(call.get_args()).current_dir(&container.dir).stdin(container.null());
        finish(shell).says("1 own");
    }
}

#[test]
fn the_pid_file_is_written_by_create_and_run_with_digits_only() {
    for verb in [&["create"][..], &["run", "--detach"]] {
        let container = Container::new().args(&["sleep", "1000"]);
        let file = container.dir.join("pid");
        container.write();
        container.detach(&[verb, &["--pid-file", file.to_str().unwrap(), &container.id]].concat()).ok();
        assert_eq!(fs::read_to_string(file).unwrap(), container.pid().to_string());
    }
}

#[test]
fn a_pid_file_that_cannot_be_written_is_an_error_and_leaves_nothing() {
    let container = Container::new();
    let outcome = container.create_with(&["--pid-file", "/no/such/dir/pid"]);
    assert!(outcome.code != 0 && outcome.err.contains("no such file or directory"), "{outcome}");
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

#[test]
fn a_pid_file_takes_the_place_of_no_device_fifo_socket_or_directory_and_nothing_is_made() {
    only_ocicat!("runc and crun replace whatever has the name");
    use std::os::unix::fs::FileTypeExt;
    let running = Container::new().sleeping();
    let container = Container::new().args(&["touch", "/data/ran"]).set("/root/readonly", json!(false));
    let at = |name: &str| container.dir.join(name).to_str().unwrap().to_owned();
    drop(container.null());
    rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), rustix::fs::Mode::RUSR).unwrap();
    fs::create_dir(at("directory")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    std::os::unix::fs::symlink("null", at("link")).unwrap();
    let ran = container.rootfs().join("data/ran");
    for name in ["null", "fifo", "directory", "socket", "link"] {
        let file = at(name);
        let before = fs::symlink_metadata(&file).unwrap().file_type();
        for verb in [&["create"][..], &["run"], &["run", "--detach"]] {
            container.write();
            let outcome = container.detach(&[verb, &["--pid-file", &file, &container.id]].concat());
            outcome.fails("is not replaced");
            assert_eq!(container.leftovers(), Vec::<String>::new());
        }
        let exec = ["exec", "--pid-file", &file, &running.id, "touch", "/tmp/ran"];
        running.call(&exec).fails("is not replaced");
        assert_eq!(fs::symlink_metadata(&file).unwrap().file_type(), before, "{name}");
        assert!(before.is_char_device() || name != "null");
    }
    assert!(!ran.exists());
    running.exec(&["test", "!", "-e", "/tmp/ran"]).ok();
}

#[test]
fn a_pidfd_socket_receives_the_pidfd_of_the_first_process() {
    only_ocicat!("--pidfd-socket came with runc 1.2");
    let container = Container::new().args(&["sleep", "1000"]);
    let socket = Receiver::new(&container.dir.join("pidfd"));
    container.write();
    container.detach(&["create", "--pidfd-socket", socket.path(), &container.id]).ok();
    let received = socket.take();
    assert_eq!(received.fds.len(), 1);
    let pid = container.pid();
    container.kill("KILL").ok();
    assert!(
        outcome::readable_within(&received.fds[0], std::time::Duration::from_secs(10)),
        "the pidfd is somebody else's"
    );
    container::wait_pid(pid);
}

#[test]
fn exec_sends_its_pidfd_too() {
    only_ocicat!("--pidfd-socket came with runc 1.2");
    let container = Container::new().sleeping();
    let socket = Receiver::new(&container.dir.join("pidfd"));
    let pid_file = container.dir.join("exec.pid");
    container
        .detach(&[
            "exec",
            "--detach",
            "--pid-file",
            pid_file.to_str().unwrap(),
            "--pidfd-socket",
            socket.path(),
            &container.id,
            "true",
        ])
        .ok();
    let received = socket.take();
    assert!(outcome::readable_within(&received.fds[0], std::time::Duration::from_secs(10)));
    container::wait_pid(fs::read_to_string(pid_file).unwrap().parse().unwrap());
}

#[test]
fn the_notify_socket_is_relayed() {
    use std::os::unix::net::UnixDatagram;
    need!(ours(), "runc 1.1 relays too, but as a long-lived process whose timing differs");
    let container = Container::new().shell("echo $NOTIFY_SOCKET; test -S $NOTIFY_SOCKET && echo there");
    container.write();
    let path = container.dir.join("notify");
    let _socket = UnixDatagram::bind(&path).unwrap();
    let mut command = container.command(&["run", &container.id]);
    command.env("NOTIFY_SOCKET", &path);
    let seen = finish(command).ok();
    assert!(seen.out.contains("there") && !seen.out.contains(container.dir.to_str().unwrap()), "{seen}");
}

#[test]
fn a_notify_socket_that_is_not_there_is_left_out_with_a_warning() {
    only_ocicat!("runc and crun warn of nothing");
    let container = Container::new().shell("echo [$NOTIFY_SOCKET]; test -e /run/notify || echo none");
    container.write();
    let (log, missing) = (container.dir.join("log"), container.dir.join("left-over"));
    let mut command = container.command(&["--log", log.to_str().unwrap(), "run", &container.id]);
    command.env("NOTIFY_SOCKET", &missing);
    finish(command).says("[]\nnone").silently();
    let said = fs::read_to_string(log).unwrap();
    let expected = format!("NOTIFY_SOCKET: {} does not exist", missing.display());
    assert!(said.contains("level=warning") && said.contains(&expected), "{said}");
}

#[test]
fn a_limit_of_file_sizes_that_the_caller_has_is_an_error_of_exec_and_no_silent_end() {
    only_ocicat!("runc and crun write no file");
    let container = Container::new().sleeping();
    let call = container.command(&["exec", &container.id, "true"]);
    let mut shell = std::process::Command::new("/bin/sh");
    // The test's own output would be limited too.
    shell.args(["-c", "{ (ulimit -f 0; \"$@\"); echo $?; } 2>&1 | cat", "sh"]).arg(call.get_program());
    shell.args(call.get_args()).current_dir(&container.dir).stdin(container.null());
    let said = finish(shell).ok().out;
    assert!(said.contains("file too large (EFBIG)") && said.ends_with("\n255\n"), "{said}");
}

#[test]
fn create_does_not_hold_the_pipes_of_its_caller() {
    let container = Container::new().shell("echo output");
    container.write();
    let mut child = container
        .command(&["create", &container.id])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    assert!(child.wait().unwrap().success());
    // The container holds its output; when it has ended nobody else does.
    let pid = container.pid();
    container.start().ok();
    container::wait_pid(pid);
    let mut text = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut().unwrap(), &mut text).unwrap();
    assert_eq!(text, "output\n");
}

#[test]
fn start_state_and_kill_hold_no_pipe_of_their_caller() {
    let container = Container::new().args(&["sleep", "1000"]);
    container.create().ok();
    for words in [["start", &container.id], ["state", &container.id]] {
        let mut command = container.command(&words);
        let output = command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap();
        assert!(output.status.success());
    }
}

#[test]
fn a_null_device_as_input_keeps_its_owner() {
    use std::os::unix::fs::MetadataExt;
    only_ocicat!("crun 1.8 gives it to the container's user");
    let container = Container::new().set("/process/user", json!({"uid": 1000, "gid": 1000}));
    container.run().ok();
    assert_eq!(fs::metadata(container.dir.join("null")).unwrap().uid(), 0);
}

#[test]
fn the_program_can_open_its_standard_descriptors_again() {
    let container = Container::new()
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .shell("echo one > /dev/stdout; echo two > /proc/self/fd/2");
    container.write();
    let mut command = container.command(&["run", &container.id]);
    let output = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"one\n"[..], &b"two\n"[..]));
}
