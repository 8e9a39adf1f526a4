//! The options that say what of the outside may be kept, and how; each with what happens without it.

use crate::common::*;
use crate::*;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

/// A program of the machine in a namespace of the container's network.
fn in_network(container: &Container, words: &[&str]) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--target", &container.pid().to_string(), "--net"]).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The first checkpoint is refused with a word, which changes nothing; the second is given the option.
#[track_caller]
fn only_with(container: &Container, option: &str, words: &str) {
    let count = count_file(container);
    wait_for(&count, 1);
    let refused = checkpoint(container, &[]);
    assert!(refused.code != 0 && refused.err.contains(words), "without {option}: {refused}");
    assert_eq!(container.status(), "running");
    counts_on(&count);
    checkpoint(container, &[option]).ok();
}

#[test]
fn a_file_whose_name_is_gone_is_kept_by_another_name_of_it() {
    need_criu!();
    let line = format!("echo kept > /data/a; ln /data/a /data/b; exec 7</data/a; rm /data/a; {COUNT}");
    let container = start(counting(&line));
    only_with(&container, "--link-remap", "link-remap");
    restore(&container, &[]).ok();
    counts_on(&count_file(&container));
    let pid = container.pid();
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/fd/7")).unwrap(), "kept\n");
    assert_eq!(fs::read_to_string(container.rootfs().join("data/b")).unwrap(), "kept\n");
    delete(&container);
}

#[test]
fn a_datagram_socket_to_the_outside_is_connected_again() {
    need_criu!();
    // The socket has one path and one network for both sides: criu asks the container's network for its sockets.
    let container = counting(COUNT).without_namespace("network");
    let outside = container.dir.join("outside");
    fs::create_dir(&outside).unwrap();
    let server = UnixDatagram::bind(outside.join("socket")).unwrap();
    let client = UnixDatagram::unbound().unwrap();
    client.connect(outside.join("socket")).unwrap();
    let line = "n=0; while :; do n=$((n+1)); echo $n >> /data/count; echo $n >&3; sleep 0.05; done";
    let container = container.shell(line).mount(outside.to_str().unwrap(), "bind", &outside, &["bind"]);
    container.write();
    let log = container.dir.join("log");
    let words = ["--log", log.to_str().unwrap(), "run", "--detach", "--preserve-fds", "1", &container.id];
    let mut command = through_shell(&container.command(&words), "3<&0 </dev/null");
    let taken: OwnedFd = client.into();
    command.stdin(taken).stdout(container.null()).stderr(container.null());
    let code = command.status().unwrap();
    drop(command);
    assert!(code.success(), "{}", fs::read_to_string(&log).unwrap_or_default());
    let number = || {
        assert!(outcome::readable_within(&server, PATIENCE), "nothing is sent");
        let mut bytes = [0; 64];
        let length = server.recv(&mut bytes).unwrap();
        std::str::from_utf8(&bytes[..length]).unwrap().trim().parse::<usize>().unwrap()
    };
    assert_eq!(number(), 1);
    only_with(&container, "--ext-unix-sk", "ext-unix-sk");
    let last = numbers(&count_file(&container)).len();
    restore(&container, &["--ext-unix-sk"]).ok();
    while number() <= last {}
    counts_on(&count_file(&container));
    delete(&container);
}

#[test]
fn a_connection_that_nobody_has_accepted_is_left_out() {
    need_criu!();
    // It listens and accepts nothing.
    let line = format!(
        "nc -l -p 7000 -e cat & nc=$!; until cat /proc/net/tcp* | grep -q :1B58; do sleep 0.05; done; kill -STOP $nc; {COUNT}"
    );
    let container = start(counting(&line));
    let count = count_file(&container);
    wait_for(&count, 1);
    let (silent, _held) = pipe();
    let mut client = in_network(&container, &["busybox", "nc", "127.0.0.1", "7000"]).stdin(silent).spawn().unwrap();
    // 01 is "established", on the side that nobody has taken.
    let connected = "until grep -q '0100007F:1B58 01 ' /proc/net/tcp; do sleep 0.05; done";
    container.exec(&["sh", "-c", connected]).ok();
    only_with(&container, "--tcp-skip-in-flight", "n-flight connection");
    client.kill().unwrap();
    client.wait().unwrap();
    restore(&container, &[]).ok();
    counts_on(&count);
    // It listens as before.
    container.exec(&["sh", "-c", "kill -CONT $(ps -o pid,comm | awk '$2 == \"nc\" { print $1 }')"]).ok();
    container.exec(&["sh", "-c", "echo again | nc 127.0.0.1 7000 | head -n 1"]).says("again");
    delete(&container);
}

#[test]
fn a_network_is_empty_after_a_restore_whether_that_is_asked_for_or_not() {
    need_criu!();
    for option in [&[][..], &["--empty-ns", "network"]] {
        let container = start(counting(COUNT));
        let count = count_file(&container);
        wait_for(&count, 1);
        finish(in_network(&container, &["ip", "link", "add", "made", "type", "veth", "peer", "name", "there"])).ok();
        finish(in_network(&container, &["ip", "address", "add", "10.9.8.7/24", "dev", "made"])).ok();
        checkpoint(&container, option).ok();
        restore(&container, option).ok();
        counts_on(&count);
        let links = container.exec(&["ip", "address"]).ok().out;
        assert!(!links.contains("made") && links.contains("127.0.0.1/8") && links.contains("LOOPBACK,UP"), "{links}");
        delete(&container);
    }
}

#[test]
fn each_mode_of_cgroups_does_what_its_word_says() {
    need_criu!();
    need!(!host::v1("pids"), "the rows are of version 2");
    // Each row: the mode, and whether a cgroup inside of the container's and its limits are there again.
    let rows = [("soft", true), ("full", true), ("strict", true), ("ignore", false)];
    for (mode, again) in rows {
        let container = start(counting(COUNT).namespace("cgroup"));
        let count = count_file(&container);
        wait_for(&count, 1);
        let inner = host::cgroup_dir("pids", &container.cgroup).unwrap().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("cgroup.max.descendants"), "7").unwrap();
        fs::write(inner.join("cgroup.procs"), container.pid().to_string()).unwrap();
        let option = ["--manage-cgroups-mode", mode];
        checkpoint(&container, &option).ok();
        restore(&container, &option).ok();
        counts_on(&count);
        let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
        let limit = fs::read_to_string(inner.join("cgroup.max.descendants")).ok();
        let wanted = if again {
            (format!("0::{}/inner", container.cgroup), Some("7\n"))
        } else {
            (format!("0::{}", container.cgroup), None)
        };
        assert_eq!((cgroup.trim(), limit.as_deref()), (wanted.0.as_str(), wanted.1), "{mode:?}");
        delete(&container);
    }
}

#[test]
fn options_of_criu_come_from_the_file_that_the_annotation_names() {
    need_criu!();
    let line = format!("echo kept > /data/a; ln /data/a /data/b; exec 7</data/a; rm /data/a; {COUNT}");
    let container = counting(&line);
    let file = container.dir.join("criu.conf");
    fs::write(&file, "# of this container\nlink-remap\n").unwrap();
    let container = start(container.set("/annotations/org.criu.config", json!(file)));
    wait_for(&count_file(&container), 1);
    checkpoint(&container, &[]).ok();
    restore(&container, &[]).ok();
    counts_on(&count_file(&container));
    delete(&container);
}

/// A profile of AppArmor that allows everything.
fn load_profile(name: &str) {
    let text = format!(
        "profile {name} flags=(attach_disconnected,mediate_deleted) {{ file, capability, signal, unix, network, mount, ptrace, change_profile,\n}}\n"
    );
    let file = std::env::temp_dir().join(name);
    fs::write(&file, text).unwrap();
    let mut command = Command::new("apparmor_parser");
    command.args(["--replace", "--skip-cache"]).arg(&file).stdin(Stdio::null());
    finish(command).ok();
    fs::remove_file(file).unwrap();
}

#[test]
fn the_processes_get_their_profile_of_apparmor_again_or_the_one_that_is_named() {
    need_criu!();
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'));
    need!(enabled, "the kernel has no AppArmor");
    load_profile("ocicat-before");
    load_profile("ocicat-after");
    let container = start(counting(COUNT).set("/process/apparmorProfile", json!("ocicat-before")));
    let count = count_file(&container);
    wait_for(&count, 1);
    let label = || fs::read_to_string(format!("/proc/{}/attr/current", container.pid())).unwrap().trim().to_owned();
    assert_eq!(label(), "ocicat-before (enforce)");
    for (option, expected) in
        [(&[][..], "ocicat-before (enforce)"), (&["--lsm-profile", "apparmor:ocicat-after"], "ocicat-after (enforce)")]
    {
        checkpoint(&container, &[]).ok();
        restore(&container, option).ok();
        counts_on(&count);
        assert_eq!(label(), expected);
    }
    checkpoint(&container, &[]).ok();
    for (profile, words) in [
        ("apparmor:no-such-profile", "no AppArmor profile of the name \"no-such-profile\" is loaded"),
        ("selinux:a:b:c", "criu restore: selinux LSM specified but selinux not supported by kernel"),
    ] {
        let refused = restore(&container, &["--lsm-profile", profile]);
        assert!(refused.code != 0 && refused.err.contains(&words.replace('"', "\\\"")), "{refused}");
    }
    restore(&container, &[]).ok();
    counts_on(&count);
    delete(&container);
}

#[test]
fn a_context_for_mounts_is_taken_where_no_mount_has_one() {
    need_criu!();
    // SELinux itself is not here: what has a context is given the other one by criu.
    let container = start(counting(COUNT));
    let count = count_file(&container);
    wait_for(&count, 1);
    checkpoint(&container, &[]).ok();
    restore(&container, &["--lsm-mount-context", "system_u:object_r:container_file_t:s0"]).ok();
    counts_on(&count);
    delete(&container);
}

#[test]
fn the_socket_of_a_service_manager_is_mounted_again() {
    need_criu!();
    let container = counting(COUNT).file("/run/notify/notify.sock", "", 0o600);
    let manager = container.dir.join("manager");
    let server = UnixDatagram::bind(&manager).unwrap();
    container.write();
    let log = container.dir.join("log");
    let with_manager = |words: &[&str]| {
        let mut command = container.command(&[&["--log", log.to_str().unwrap()], words].concat());
        command.env("NOTIFY_SOCKET", &manager).stdout(container.null()).stderr(container.null());
        let code = command.status().unwrap();
        assert!(code.success(), "{words:?}: {}", fs::read_to_string(&log).unwrap_or_default());
    };
    with_manager(&["run", "--detach", &container.id]);
    let count = count_file(&container);
    let written = images(&container, "images");
    let inside = || fs::metadata(format!("/proc/{}/root/run/notify/notify.sock", container.pid())).unwrap().file_type();
    wait_for(&count, 1);
    checkpoint(&container, &[]).ok();
    with_manager(&["restore", "--detach", "--image-path", &written, &container.id]);
    counts_on(&count);
    use std::os::unix::fs::FileTypeExt;
    assert!(inside().is_socket());
    // Without a manager nobody listens there any more.
    checkpoint(&container, &[]).ok();
    restore(&container, &[]).ok();
    counts_on(&count);
    assert!(!inside().is_socket());
    drop(server);
    delete(&container);
}
