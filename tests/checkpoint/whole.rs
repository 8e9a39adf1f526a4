//! A container is written and made again: its processes, streams, mounts, hooks and cgroup.

use crate::common::socket::Receiver;
use crate::common::terminal::Terminal;
use crate::common::*;
use crate::*;
use std::fs::{self, File};
use std::path::Path;

#[test]
fn a_restored_container_counts_on_and_every_command_works_on_it() {
    need_criu!();
    let limits =
        json!({"memory": {"limit": 200 << 20}, "pids": {"limit": 77}, "devices": [{"allow": false, "access": "rwm"}]});
    let container = start(counting(COUNT).set("/linux/resources", limits));
    let count = count_file(&container);
    wait_for(&count, 3);
    let first = container.pid();
    checkpoint(&container, &[]).ok();
    assert_eq!((container.status().as_str(), container.state()["pid"].as_u64()), ("stopped", Some(0)));
    let again = checkpoint(&container, &[]);
    assert!(again.code != 0 && again.err.contains("container not running"), "{again}");
    container::wait_pid(first);
    let written = numbers(&count).len();

    restore(&container, &["--pid-file", "pid"]).ok();
    counts_on(&count);
    assert!(numbers(&count).len() > written);
    let pid = container.pid();
    assert_eq!(fs::read_to_string(container.dir.join("pid")).unwrap(), pid.to_string());
    assert_eq!(container.status(), "running");
    let memory = if host::v1("memory") { "memory.limit_in_bytes" } else { "memory.max" };
    assert_eq!(container.cgroup_file("memory", memory).as_deref(), Some("209715200"));
    assert_eq!(container.cgroup_file("pids", "pids.max").as_deref(), Some("77"));
    let listed = container.call(&["ps", "--format", "json", &container.id]).ok().json();
    assert!(listed.as_array().unwrap().contains(&json!(pid)), "{listed}");
    // In all namespaces of the container, also the one of time that CRIU makes.
    container.exec(&["sh", "-c", "echo $(hostname) $(cat /proc/1/comm)"]).ok().says("ocicat sh");
    let time = container.exec(&["readlink", "/proc/self/ns/time"]).ok().out;
    assert_eq!(time.trim(), host::namespace(pid, "time"));
    container.call(&["pause", &container.id]).ok();
    assert_eq!(container.status(), "paused");
    container.call(&["resume", &container.id]).ok();
    container.call(&["update", "--pids-limit", "78", &container.id]).ok();
    delete(&container);
}

#[test]
fn a_container_that_is_left_running_runs_on_and_its_images_start_where_it_was() {
    need_criu!();
    let container = counting("n=0; while :; do n=$((n+1)); echo $n; sleep 0.05; done").namespace("cgroup");
    container.write();
    let (read, write) = pipe();
    with_streams(&container, &["run", "--detach", &container.id], write.into(), container.null()).ok();
    let mut first = lines(read);
    assert_eq!(first.by_ref().take(3).collect::<Vec<_>>(), [1, 2, 3]);
    checkpoint(&container, &["--leave-running"]).ok();
    assert_eq!(container.status(), "running");
    assert_eq!(first.by_ref().take(3).collect::<Vec<_>>(), [4, 5, 6]);
    let taken = restore(&container, &[]);
    assert!(taken.code != 0 && taken.err.contains("already exists"), "{taken}");
    delete(&container);
    let end = first.last().unwrap_or(6);
    let (read, write) = pipe();
    let images = images(&container, "images");
    let again = ["restore", "--detach", "--image-path", &images, &container.id];
    with_streams(&container, &again, write.into(), container.null()).ok();
    let start = lines(read).next().unwrap();
    assert!(start > 3 && start <= end + 1, "{start} after {end}");
    delete(&container);
}

#[test]
fn a_dump_needs_only_what_changed_since_the_pre_dump() {
    need_criu!();
    let container = start(counting(COUNT));
    let count = count_file(&container);
    wait_for(&count, 3);
    let before = images(&container, "before");
    call(&container, &["checkpoint", "--pre-dump", "--image-path", &before, &container.id]).ok();
    assert_eq!(container.status(), "running");
    counts_on(&count);
    let refused = checkpoint(&container, &["--parent-path", &before]);
    assert!(refused.code != 0 && refused.err.contains("--parent-path"), "{refused}");
    checkpoint(&container, &["--parent-path", "../before"]).ok();
    assert_eq!(fs::read_link(container.dir.join("images/parent")).unwrap(), Path::new("../before"));
    restore(&container, &[]).ok();
    counts_on(&count);
    delete(&container);
}

#[test]
fn an_open_connection_is_kept_if_that_is_asked_for() {
    need_criu!();
    // 7000 is 0x1B58; a server without an address listens by IPv6 where there is one. Each number goes to the server and back.
    let line = "nc -l -p 7000 -e cat & until cat /proc/net/tcp* | grep -q :1B58; do sleep 0.05; done; \
                (n=0; while :; do n=$((n+1)); echo $n; sleep 0.05; done) | nc 127.0.0.1 7000 >> /data/count";
    let container = start(counting(line));
    let count = count_file(&container);
    wait_for(&count, 3);
    let refused = checkpoint(&container, &[]);
    assert!(refused.code != 0 && refused.err.contains("--tcp-established"), "{refused}");
    assert!(refused.err.contains("criu dump: ") && refused.err.contains("images/dump.log"), "{refused}");
    // A dump that fails changes nothing.
    assert_eq!(container.status(), "running");
    counts_on(&count);
    checkpoint(&container, &["--tcp-established"]).ok();
    restore(&container, &["--tcp-established"]).ok();
    counts_on(&count);
    // The loopback of the new network namespace is up.
    let links = container.exec(&["ip", "link", "show", "lo"]).ok().out;
    assert!(links.contains("LOOPBACK,UP"), "{links}");
    delete(&container);
}

#[test]
fn a_lock_is_held_again() {
    need_criu!();
    // busybox has no flock(1): the host's own, with its libraries.
    let container = counting(&format!("exec 9> /data/lock; /usr/bin/flock 9; {COUNT}"));
    for name in ["lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), container.rootfs().join(name)).unwrap();
    }
    let container = start(container.mount("/usr", "bind", "/usr", &["rbind", "ro"]));
    let count = count_file(&container);
    wait_for(&count, 1);
    let file = File::open(container.rootfs().join("data/lock")).unwrap();
    let try_lock = || rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
    assert_eq!(try_lock(), Err(rustix::io::Errno::WOULDBLOCK));
    let refused = checkpoint(&container, &[]);
    assert!(refused.code != 0 && refused.err.contains("lock"), "{refused}");
    checkpoint(&container, &["--file-locks"]).ok();
    restore(&container, &["--file-locks"]).ok();
    counts_on(&count);
    assert_eq!(try_lock(), Err(rustix::io::Errno::WOULDBLOCK));
    delete(&container);
}

#[test]
fn pipes_become_the_streams_of_the_restore_and_in_the_foreground_the_exit_code_is_the_programs() {
    need_criu!();
    let container = counting("n=0; until [ -e /data/end ]; do n=$((n+1)); echo $n; sleep 0.05; done; exit 42");
    container.write();
    let (read, write) = pipe();
    with_streams(&container, &["run", "--detach", &container.id], write.into(), container.null()).ok();
    let mut first = lines(read);
    assert_eq!(first.by_ref().take(3).collect::<Vec<_>>(), [1, 2, 3]);
    checkpoint(&container, &[]).ok();
    let last = first.last().unwrap_or(3);

    let (read, write) = pipe();
    let images = images(&container, "images");
    let mut command = container.command(&["restore", "--image-path", &images, &container.id]);
    command.stdout(write).stderr(container.null());
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut second = lines(read);
    assert_eq!(second.by_ref().take(3).collect::<Vec<_>>(), [last + 1, last + 2, last + 3]);
    assert_eq!(container.status(), "running");
    fs::write(container.rootfs().join("data/end"), "").unwrap();
    assert!(second.count() < 1000);
    assert_eq!(outcome::code_of(&mut child), 42);
    assert_eq!(container.leftovers(), [""; 0]);
}

#[test]
fn a_terminal_is_sent_to_the_console_socket_again() {
    need_criu!();
    let line = "while read word; do n=$((n+1)); echo got $n $word; done";
    let container = counting(line).set("/process/terminal", json!(true));
    let socket = Receiver::new(&container.dir.join("s"));
    container.write();
    quietly(&container, &["run", "--detach", "--console-socket", socket.path(), &container.id]).ok();
    let mut terminal = Terminal::from_master(socket.take().fds.remove(0));
    terminal.write("one\n");
    terminal.expect("got 1 one");
    checkpoint(&container, &[]).ok();
    drop(terminal);
    let nobody = restore(&container, &[]);
    assert!(nobody.code != 0 && nobody.err.contains("--console-socket"), "{nobody}");
    restore(&container, &["--console-socket", socket.path()]).ok();
    let mut terminal = Terminal::from_master(socket.take().fds.remove(0));
    terminal.write("two\n");
    terminal.expect("got 2 two");
    delete(&container);
}

#[test]
fn mounts_from_outside_are_mounted_again_and_what_is_covered_stays_covered() {
    need_criu!();
    let container = counting("n=0; while :; do n=$((n+1)); echo $n >> /outside/count; sleep 0.05; done");
    let outside = container.dir.join("out side");
    fs::create_dir_all(outside.join("inner")).unwrap();
    fs::write(container.dir.join("file"), "of the host\n").unwrap();
    // The image leads /outside somewhere else.
    std::os::unix::fs::symlink("/data/real", container.rootfs().join("outside")).unwrap();
    fs::create_dir(container.rootfs().join("data/real")).unwrap();
    let file = container.dir.join("file");
    let container = container
        .mount("/outside", "bind", &outside, &["bind"])
        .mount("/data/file", "bind", &file, &["bind", "ro"])
        .mount("/tmp", "tmpfs", "tmpfs", &["size=1m"]);
    let container = start(container);
    let count = outside.join("count");
    wait_for(&count, 3);
    container.exec(&["sh", "-c", "echo kept > /tmp/kept"]).ok();
    let covered = "cat /tmp/kept /data/file; cat /proc/kcore | wc -c; ls /sys/firmware /proc/acpi 2>/dev/null | grep -vc :; \
                   echo x 2>/dev/null > /proc/sys/kernel/domainname || echo read-only; \
                   echo x 2>/dev/null > /data/file || echo read-only; ls /sys/fs/cgroup | grep -c procs";
    let before = container.exec(&["sh", "-c", covered]).out;
    checkpoint(&container, &[]).ok();
    // A root filesystem that was unpacked anew lacks the mountpoints.
    fs::remove_file(container.rootfs().join("data/file")).unwrap();
    restore(&container, &[]).ok();
    counts_on(&count);
    let after = container.exec(&["sh", "-c", covered]).out;
    assert_eq!(after, before);
    assert!(after.starts_with("kept\nof the host\n0\n") && after.contains("read-only\nread-only\n"), "{after}");
    // What covers a file is the container's own device, not the host's.
    let null = || fs::metadata("/dev/null").map(|meta| std::os::unix::fs::MetadataExt::mode(&meta)).unwrap();
    let mode = null();
    container.exec(&["chmod", "0600", "/proc/kcore"]);
    assert_eq!(null(), mode);
    delete(&container);
}

#[test]
fn a_paused_container_can_be_checkpointed() {
    need_criu!();
    let container = start(counting(COUNT));
    let count = count_file(&container);
    wait_for(&count, 3);
    container.call(&["pause", &container.id]).ok();
    checkpoint(&container, &["--leave-running"]).ok();
    assert_eq!(container.status(), "paused");
    checkpoint(&container, &[]).ok();
    assert_eq!(container.status(), "stopped");
    restore(&container, &[]).ok();
    assert_eq!(container.status(), "running");
    counts_on(&count);
    delete(&container);
}

#[test]
fn hooks_of_the_runtimes_namespace_run_before_the_processes_are_made() {
    need_criu!();
    let container = counting(COUNT);
    let told = container.dir.join("told");
    let hook = |name: &str| {
        let line = format!("echo {name} >> '{}'; cat >> '{}'; echo >> '{0}'", told.display(), told.display());
        json!([{"path": "/bin/sh", "args": ["sh", "-c", line.replace("{0}", told.to_str().unwrap())]}])
    };
    let container = container.set(
        "/hooks",
        json!({"prestart": hook("prestart"), "createRuntime": hook("createRuntime"), "poststop": hook("poststop")}),
    );
    let container = start(container);
    let count = count_file(&container);
    wait_for(&count, 1);
    checkpoint(&container, &[]).ok();
    container.delete().ok();
    fs::remove_file(&told).unwrap();
    restore(&container, &[]).ok();
    counts_on(&count);
    let text = fs::read_to_string(&told).unwrap();
    let pid = format!("\"pid\":{}", container.pid());
    assert!(text.starts_with("prestart\n") && text.contains("createRuntime\n") && text.contains(&pid), "{text}");
    assert!(text.contains("\"status\":\"creating\"") && !text.contains("poststop"), "{text}");
    delete(&container);
}

#[test]
fn a_restore_that_fails_says_why_and_leaves_nothing() {
    need_criu!();
    let container = start(counting(COUNT));
    wait_for(&count_file(&container), 1);
    checkpoint(&container, &[]).ok();
    container.delete().ok();
    let pstree = container.dir.join("images/pstree.img");
    let whole = fs::read(&pstree).unwrap();
    fs::write(&pstree, &whole[..whole.len() / 2]).unwrap();
    let work = images(&container, "work");
    let failed = restore(&container, &["--work-path", &work]);
    assert!(failed.code != 0 && failed.err.contains("criu restore: "), "{failed}");
    assert!(failed.err.contains("work/restore.log") && Path::new(&work).join("restore.log").exists(), "{failed}");
    assert_eq!(container.leftovers(), [""; 0]);
    fs::write(&pstree, &whole).unwrap();
    restore(&container, &[]).ok();
    counts_on(&count_file(&container));
    delete(&container);
}

#[test]
fn a_scope_of_systemds_is_made_anew() {
    need_criu!();
    need!(Path::new("/run/systemd/private").exists(), "systemd does not run here");
    let mut container = counting(COUNT);
    let name = format!("{}.scope", container.id);
    container.cgroup = format!("/system.slice/ocicat-{name}");
    let container = container.edit(|config| {
        let id = name.trim_end_matches(".scope");
        config["linux"]["cgroupsPath"] = json!(format!("system.slice:ocicat:{id}"));
        config["linux"]["resources"]["pids"] = json!({"limit": 55});
    });
    container.write();
    quietly(&container, &["--systemd-cgroup", "run", "--detach", &container.id]).ok();
    let count = count_file(&container);
    wait_for(&count, 3);
    checkpoint(&container, &[]).ok();
    let images = images(&container, "images");
    let again = ["--systemd-cgroup", "restore", "--detach", "--image-path", &images, &container.id];
    quietly(&container, &again).ok();
    counts_on(&count);
    assert_eq!(container.cgroup_file("pids", "pids.max").as_deref(), Some("55"));
    delete(&container);
}
