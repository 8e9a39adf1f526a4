//! Terminals: --console-socket, the foreground, sizes, SIGWINCH.

use crate::common::socket::Receiver;
use crate::common::terminal::Terminal;
use crate::common::*;

fn with_terminal(line: &str) -> Container {
    Container::new().set("/process/terminal", json!(true)).shell(line)
}

#[test]
fn a_console_socket_receives_the_master_of_the_terminal() {
    let container = with_terminal("tty; echo out; echo err >&2; read word; echo got $word");
    let socket = Receiver::new(&container.dir.join("console"));
    container.write();
    let outcome = container.detach(&["create", "--console-socket", socket.path(), &container.id]);
    outcome.ok().silently();
    let mut received = socket.take();
    assert_eq!(received.fds.len(), 1);
    assert!(!received.payload.is_empty() && received.payload.len() < 4096);
    let mut terminal = Terminal::from_master(received.fds.remove(0));
    let pid = container.pid();
    container.start().ok();
    terminal.expect("/dev/pts/0");
    terminal.expect("out\r\nerr\r\n");
    terminal.write("word\n");
    terminal.expect("got word");
    container::wait_pid(pid);
}

#[test]
fn the_terminal_is_the_controlling_one_of_the_program() {
    let container =
        with_terminal("echo via tty > /dev/tty; echo to console > /dev/console; cut -d' ' -f7,8 /proc/self/stat");
    let socket = Receiver::new(&container.dir.join("console"));
    container.write();
    container.detach(&["run", "--detach", "--console-socket", socket.path(), &container.id]).ok();
    let mut terminal = Terminal::from_master(socket.take().fds.remove(0));
    terminal.expect("via tty");
    terminal.expect("to console");
    terminal.expect("34816 ");
}

#[test]
fn the_size_of_the_console_is_the_one_asked_for() {
    let container =
        with_terminal("stty size; sleep 1000").set("/process/consoleSize", json!({"height": 33, "width": 111}));
    let socket = Receiver::new(&container.dir.join("console"));
    container.write();
    container.detach(&["run", "--detach", "--console-socket", socket.path(), &container.id]).ok();
    let mut terminal = Terminal::from_master(socket.take().fds.remove(0));
    terminal.expect("33 111");
    assert_eq!(terminal.size(), (33, 111));
}

#[test]
fn the_console_belongs_to_the_user_of_the_container() {
    let container = with_terminal("stat -Lc %u:%a /proc/self/fd/0; sleep 1000")
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let socket = Receiver::new(&container.dir.join("console"));
    container.write();
    container.detach(&["run", "--detach", "--console-socket", socket.path(), &container.id]).ok();
    Terminal::from_master(socket.take().fds.remove(0)).expect("1000:620");
}

#[test]
fn run_in_the_foreground_of_a_terminal_relays_it() {
    let container = with_terminal("tty; read word; echo got $word; exit 4");
    container.write();
    let mut terminal = Terminal::new();
    let child = terminal.spawn(&container.command(&["run", &container.id]));
    terminal.expect("/dev/pts/0");
    terminal.write("word\n");
    let seen = terminal.finish(child).exits(4).out;
    assert!(seen.contains("got word"), "{seen}");
}

#[test]
fn the_terminal_in_the_foreground_has_the_size_of_ours_and_follows_it() {
    let container =
        with_terminal("stty size; trap 'stty size; exit' WINCH; echo ready; while :; do sleep 1 & wait $!; done");
    container.write();
    let mut terminal = Terminal::new();
    terminal.resize(31, 97);
    let child = terminal.spawn(&container.command(&["run", &container.id]));
    terminal.expect("31 97");
    terminal.expect("ready");
    terminal.resize(22, 66);
    terminal.expect("22 66");
    terminal.finish(child);
}

#[test]
fn control_c_in_the_foreground_reaches_the_program() {
    let container =
        with_terminal("trap 'echo interrupted; exit 7' INT; echo ready; while :; do sleep 1000 & wait $!; done");
    container.write();
    let mut terminal = Terminal::new();
    let child = terminal.spawn(&container.command(&["run", &container.id]));
    terminal.expect("ready");
    terminal.write("\u{3}");
    terminal.expect("interrupted");
    terminal.finish(child).exits(7);
}

#[test]
fn exec_with_a_terminal_in_the_foreground() {
    let container = Container::new().sleeping();
    let mut terminal = Terminal::new();
    let child = terminal.spawn(&container.command(&[
        "exec",
        "--tty",
        &container.id,
        "sh",
        "-c",
        "tty; read word; echo got $word; exit 3",
    ]));
    terminal.expect("/dev/pts/");
    terminal.write("word\n");
    let outcome = terminal.finish(child).exits(3);
    assert!(outcome.out.contains("got word"), "{outcome}");
}

#[test]
fn exec_with_a_console_socket() {
    let container = Container::new().sleeping();
    let socket = Receiver::new(&container.dir.join("console"));
    let pid_file = container.dir.join("exec.pid");
    let words = [
        "exec",
        "--tty",
        "--detach",
        "--console-socket",
        socket.path(),
        "--pid-file",
        pid_file.to_str().unwrap(),
        &container.id,
        "sh",
        "-c",
        "tty; echo here",
    ];
    container.detach(&words).ok();
    let mut terminal = Terminal::from_master(socket.take().fds.remove(0));
    terminal.expect("/dev/pts/");
    terminal.expect("here");
    container::wait_pid(std::fs::read_to_string(pid_file).unwrap().parse().unwrap());
}

#[test]
fn a_terminal_and_detach_need_a_console_socket() {
    let container = with_terminal("true");
    container.write();
    let outcome = container.detach(&["create", &container.id]);
    assert!(outcome.code != 0 && outcome.err.contains("console"), "{outcome}");
    let outcome = container.detach(&["run", "--detach", &container.id]);
    assert!(outcome.code != 0 && outcome.err.contains("console"), "{outcome}");
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

#[test]
fn a_console_socket_needs_a_terminal() {
    let container = Container::new();
    let socket = Receiver::new(&container.dir.join("console"));
    container.write();
    let outcome = container.detach(&["create", "--console-socket", socket.path(), &container.id]);
    assert!(outcome.code != 0 && outcome.err.contains("console"), "{outcome}");
}

#[test]
fn a_console_socket_whose_queue_is_full_is_an_error_at_once_and_leaves_nothing() {
    only_ocicat!("crun waits");
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let container = with_terminal("true");
    container.write();
    let path = container.dir.join("console");
    let address = SocketAddrUnix::new(&path).unwrap();
    let socket =
        || rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    let (listener, waiting) = (socket(), socket());
    rustix::net::bind(&listener, &address).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    rustix::net::connect(&waiting, &address).unwrap();
    for verb in [&["create"][..], &["run", "--detach"]] {
        let outcome = container.detach(&[verb, &["--console-socket", path.to_str().unwrap(), &container.id]].concat());
        outcome.fails("resource temporarily unavailable (EAGAIN)");
        assert_eq!(container.leftovers(), Vec::<String>::new());
    }
}

#[test]
fn a_console_socket_that_nobody_listens_to_is_an_error_and_leaves_nothing() {
    let container = with_terminal("true");
    container.write();
    let outcome = container.detach(&["create", "--console-socket", "/no/such/socket", &container.id]);
    assert!(outcome.code != 0 && outcome.err.contains("no such file or directory"), "{outcome}");
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

/// Whoever reads commands with job control, calls the runtime as its first job, and says how it went.
fn with_jobs(container: &Container, call: &[&str], line: &str) -> std::process::Command {
    let call = container.command(call);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &format!("set -m; {line}"), "sh"]).arg(call.get_program()).args(call.get_args());
    shell.current_dir(&container.dir);
    shell
}

#[test]
fn in_the_background_of_a_shell_it_stops_leaves_the_terminal_alone_and_goes_on_in_the_foreground() {
    only_ocicat!("runc and crun change the terminal's mode from the background");
    let program = "echo ready; read word; echo got $word; exit 4";
    let line = "\"$@\" & wait $!; echo stopped with $?; stty -a | grep -o '.icanon'; fg; echo ended with $?; stty -a | grep -o '.echo '";
    let (bundle, running) = (with_terminal(program), Container::new().sleeping());
    bundle.write();
    let rows = [(&bundle, vec!["run", &bundle.id]), (&running, vec!["exec", "-t", &running.id, "sh", "-c", program])];
    for (container, call) in rows {
        let mut terminal = Terminal::new();
        let child = terminal.spawn(&with_jobs(container, &call, line));
        // 128 and SIGTTIN.
        terminal.expect("stopped with 149");
        terminal.expect("\n icanon");
        terminal.expect("ready");
        terminal.write("word\r");
        terminal.expect("got word");
        terminal.expect("ended with 4");
        let seen = terminal.finish(child).out;
        assert!(seen.contains("\n echo "), "{seen}");
    }
}

#[test]
fn a_job_that_was_stopped_is_ended_by_a_signal_and_the_words_for_the_shell_stay_the_shells() {
    only_ocicat!("runc and crun change the terminal's mode from the background");
    let container =
        with_terminal("trap 'exit 5' TERM; echo ready > /data/ready; while :; do sleep 1000 & wait $!; done");
    let mut ready = container.fifo("data/ready");
    container.write();
    let line =
        "\"$@\" & wait $!; echo stopped with $?; read word; kill -TERM $!; kill -CONT $!; echo $word to $!.; read word";
    let mut terminal = Terminal::new();
    let child = terminal.spawn(&with_jobs(&container, &["run", &container.id], line));
    terminal.expect("stopped with 149");
    assert_eq!(ready.line(), "ready");
    terminal.write("said\n");
    terminal.expect("said to ");
    terminal.expect(".\r\n");
    let pid = terminal.seen.split_once("said to ").and_then(|(_, rest)| rest.split_once('.')).unwrap().0;
    // The shell waits for another word; one that has reaped it already has seen its end.
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    if let Ok(ended) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
        assert!(outcome::readable_within(&ended, std::time::Duration::from_secs(20)), "the signal did not end it");
    }
    terminal.write("word\n");
    terminal.finish(child).ok();
}

#[test]
fn a_program_whose_output_nobody_reads_any_more_is_hung_up_on() {
    let container = Container::new().sleeping();
    let call = container.command(&["exec", "-t", &container.id, "yes"]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "{ \"$@\"; echo ended with $? >&2; } | head -n 2", "sh"]).arg(call.get_program());
    shell.args(call.get_args()).current_dir(&container.dir).stdin(container.null());
    let outcome = finish(shell).ok();
    // 128 and SIGHUP.
    assert_eq!((outcome.out.replace('\r', "").as_str(), outcome.err.as_str()), ("y\ny\n", "ended with 129\n"));
}

#[test]
fn a_program_is_hung_up_on_when_the_users_terminal_is_closed() {
    only_ocicat!("runc and crun leave it to the program's own handling of SIGHUP");
    // It takes keys one by one, so no key tells it of an end.
    let container = with_terminal("trap '' HUP; stty -icanon; echo ready; read word; echo ended > /data/ended");
    let mut ended = container.fifo("data/ended");
    container.write();
    let mut terminal = Terminal::new();
    let mut child = terminal.spawn(&container.command(&["run", &container.id]));
    terminal.expect("ready");
    drop(terminal);
    assert_eq!(ended.line(), "ended");
    outcome::code_of(&mut child);
}
