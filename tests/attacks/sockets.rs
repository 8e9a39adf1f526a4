//! Peers at the other end of a socket that go away, say nothing, or send what nobody asked for.

use crate::common::*;
use crate::decoy::*;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::fs;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(30);

fn accepted(listener: &UnixListener) -> UnixStream {
    assert!(outcome::readable_within(listener, DEADLINE), "nobody connected");
    listener.accept().unwrap().0
}

/// Sends two descriptors that lead out of the container.
fn smuggle(peer: &UnixStream, host: &fs::File) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [host.as_fd(), host.as_fd()];
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
    let _ = sendmsg(peer, &[IoSlice::new(b"done")], &mut ancillary, SendFlags::NOSIGNAL);
}

fn with_terminal() -> Container {
    Container::new().set("/process/terminal", json!(true)).args(&["sleep", "1000"])
}

/// A profile that asks an agent about mkdir.
fn with_agent(container: Container) -> (Container, UnixListener) {
    with_agent_of(container, &["mkdir", "mkdirat"])
}

/// A profile that asks an agent about these system calls.
pub fn with_agent_of(container: Container, calls: &[&str]) -> (Container, UnixListener) {
    let path = container.dir.join("agent");
    let listener = UnixListener::bind(&path).unwrap();
    let container = container.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "m",
            "syscalls": [{"names": calls, "action": "SCMP_ACT_NOTIFY"}]}),
    );
    (container, listener)
}

fn spawn(container: &Container, words: &[&str]) -> std::process::Child {
    let mut command = container.command(words);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    command.spawn().unwrap()
}

#[test]
fn a_console_peer_that_goes_away_is_an_error_and_leaves_nothing() {
    let container = with_terminal();
    container.write();
    let path = container.dir.join("console");
    let listener = UnixListener::bind(&path).unwrap();
    let mut create = spawn(&container, &["create", "--console-socket", path.to_str().unwrap(), &container.id]);
    drop((accepted(&listener), listener));
    // Sent before or after the end: it succeeds or not, and ends in any case.
    outcome::code_of(&mut create);
    finish_within(container.command(&["delete", "--force", &container.id]), DEADLINE).ok();
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

#[test]
fn what_a_console_peer_sends_reaches_nobody() {
    let container = with_terminal();
    container.write();
    let path = container.dir.join("console");
    let listener = UnixListener::bind(&path).unwrap();
    let mut create = spawn(&container, &["create", "--console-socket", path.to_str().unwrap(), &container.id]);
    let peer = accepted(&listener);
    let dir = decoy(&container);
    smuggle(&peer, &fs::File::open(dir.join("file")).unwrap());
    assert_eq!(outcome::code_of(&mut create), 0);
    container.start().ok();
    container.exec(&["sh", "-c", "ls /proc/1/fd"]).says("0\n1\n2");
    untouched(&dir);
}

#[test]
fn an_agent_that_goes_away_is_no_way_around_the_filter() {
    let (container, listener) = with_agent(Container::new());
    let container = container.set("/root/readonly", json!(false)).shell("mkdir /data/made; sleep 1000");
    container.write();
    let mut run = spawn(&container, &["run", "--detach", &container.id]);
    // It takes the descriptor along.
    drop((accepted(&listener), listener));
    outcome::code_of(&mut run);
    finish_within(container.command(&["delete", "--force", &container.id]), DEADLINE).ok();
    assert!(!container.rootfs().join("data/made").exists());
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

#[test]
fn an_agent_that_never_answers_keeps_nobody_from_deleting() {
    let (container, listener) = with_agent(Container::new());
    let container = container.set("/root/readonly", json!(false)).shell("mkdir /data/made");
    container.write();
    let mut run = spawn(&container, &["run", "--detach", &container.id]);
    let peer = accepted(&listener);
    outcome::code_of(&mut run);
    finish_within(container.command(&["delete", "--force", &container.id]), DEADLINE).ok();
    assert!(!container.rootfs().join("data/made").exists());
    drop(peer);
}

#[test]
fn what_an_agent_sends_reaches_nobody() {
    let (container, listener) = with_agent(Container::new().args(&["sleep", "1000"]));
    container.write();
    let mut run = spawn(&container, &["run", "--detach", &container.id]);
    let peer = accepted(&listener);
    let dir = decoy(&container);
    smuggle(&peer, &fs::File::open(dir.join("file")).unwrap());
    assert_eq!(outcome::code_of(&mut run), 0);
    let fds = fs::read_dir(format!("/proc/{}/fd", container.pid())).unwrap();
    assert_eq!(fds.count(), 3);
    untouched(&dir);
}

#[test]
fn the_runtime_has_no_socket_that_a_container_could_reach_by_name() {
    // While it waits for a hook, all that it has open is looked at: no socket of it has a name.
    let container = Container::new();
    let mut fifo = container.fifo("data/ready");
    let line = format!("echo $PPID > {}; exec sleep 1000", fifo.path().display());
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", line], "env": ["PATH=/usr/bin:/bin"]}]);
    let container = container.without_namespace("network").set("/hooks/createRuntime", hook);
    container.write();
    let mut create = spawn(&container, &["create", &container.id]);
    let runtime = fifo.line();
    let links = fs::read_dir(format!("/proc/{runtime}/fd")).unwrap();
    let links = links.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()?.into_os_string().into_string().ok());
    let sockets: Vec<String> =
        links.filter_map(|link| Some(link.strip_prefix("socket:[")?.trim_end_matches(']').to_owned())).collect();
    let table = fs::read_to_string("/proc/net/unix").unwrap();
    for line in table.lines().skip(1) {
        let mut words = line.split_whitespace().skip(6);
        let (inode, name) = (words.next().unwrap_or_default(), words.next());
        assert!(!sockets.iter().any(|socket| socket == inode) || name.is_none(), "{line}");
    }
    assert!(!sockets.is_empty(), "it talks to its child by a socket pair");
    container.call(&["delete", "--force", &container.id]);
    let _ = create.kill();
    create.wait().unwrap();
}
