//! Containers with a user namespace, and with namespaces that were there before them.

use crate::common::*;
use crate::*;
use std::process::{Child, Command};

/// A process that holds a new namespace, by the option of unshare(1), and a new pid namespace whose first process reaps
/// the others.
struct Holder(Child);

impl Holder {
    fn of(option: &str) -> Holder {
        let (read, write) = pipe();
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", option]);
        command.args(["sh", "-c", "echo up; sleep 100000 >/dev/null & wait"]);
        command.stdin(Stdio::null()).stdout(write).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        drop(command);
        assert!(outcome::readable_within(&read, PATIENCE), "no namespaces");
        Holder(child)
    }

    fn path(&self, kind: &str) -> String {
        format!("/proc/{}/ns/{kind}", self.0.id())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_container_with_a_user_namespace_keeps_its_ids() {
    need_criu!();
    let container = start(counting(COUNT).user_namespace());
    let count = count_file(&container);
    wait_for(&count, 3);
    let map = || fs::read_to_string(format!("/proc/{}/uid_map", container.pid())).unwrap();
    let before = map();
    checkpoint(&container, &[]).ok();
    // Images are their owner's alone, and the processes read them as another user.
    restore(&container, &[]).ok();
    counts_on(&count);
    assert_eq!(map(), before);
    container.exec(&["sh", "-c", "id -u; cat /proc/1/comm"]).says("0\nsh");
    delete(&container);
}

#[test]
fn a_container_enters_the_namespaces_again_that_config_json_names() {
    need_criu!();
    for (kind, word, option) in
        [("network", "net", "--net"), ("ipc", "ipc", "--ipc"), ("uts", "uts", "--uts"), ("pid", "pid", "--pid")]
    {
        let holder = Holder::of(option);
        let path = match kind {
            "pid" => holder.path("pid_for_children"),
            _ => holder.path(word),
        };
        let base = counting(COUNT).without_namespace(kind);
        let base = if kind == "uts" {
            base.edit(|config| drop(config.as_object_mut().unwrap().remove("hostname")))
        } else {
            base
        };
        let container = start(base.set("/linux/namespaces/-", json!({"type": kind, "path": path})));
        let count = count_file(&container);
        wait_for(&count, 3);
        let pid = container.pid();
        let expected = host::namespace(pid, word);
        checkpoint(&container, &[]).ok();
        // Its number is free again in a pid namespace that goes on.
        container::wait_pid(pid);
        restore(&container, &[]).ok();
        counts_on(&count);
        assert_eq!(host::namespace(container.pid(), word), expected, "{kind}");
        delete(&container);
    }
}

#[test]
fn a_container_without_a_network_of_its_own_stays_in_the_hosts() {
    need_criu!();
    let container = start(counting(COUNT).without_namespace("network"));
    let count = count_file(&container);
    wait_for(&count, 3);
    checkpoint(&container, &[]).ok();
    restore(&container, &[]).ok();
    counts_on(&count);
    assert_eq!(host::namespace(container.pid(), "net"), host::namespace(std::process::id(), "net"));
    delete(&container);
}
