//! What cannot be taken back stays in the record, so that `delete --force` can try again.

use crate::common::*;
use std::fs;
use std::process::Command;

/// A call in a mount namespace of its own.
fn apart(container: &Container, words: &[&str]) -> Outcome {
    let own = container.command(words);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--"]).arg(own.get_program()).args(own.get_args());
    command.current_dir(&container.dir).stdin(container.null());
    finish(command)
}

/// A hook that makes the cgroup filesystem read-only, in the mount namespace of [`apart`] and nowhere else.
fn that_locks_cgroups(code: i32) -> Value {
    let host = fs::read_link("/proc/self/ns/mnt").unwrap();
    let line = format!(
        "[ $(readlink /proc/self/ns/mnt) != '{}' ] || exit 7; \
         for point in $(awk '$3 ~ /^cgroup/ {{print $2}}' /proc/self/mounts); do mount -o remount,bind,ro $point || exit 8; done; \
         exit {code}",
        host.display()
    );
    json!([{"path": "/bin/sh", "args": ["sh", "-c", line], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}])
}

#[test]
fn a_failed_create_that_cannot_remove_its_cgroup_says_so_and_is_deleted_by_force() {
    only_ocicat!("the words are ocicat's own");
    need!(host::is_root() && host::has("unshare"), "needs root and unshare");
    for verb in ["create", "run"] {
        let container = Container::new().set("/hooks/createRuntime", that_locks_cgroups(1));
        container.write();
        let outcome = apart(&container, &[verb, &container.id]);
        let outcome = outcome.fails("not all of it could be taken back (cgroups: ").fails("(EROFS)), delete --force");
        let outcome = outcome.fails("config.json: hooks.createRuntime[0] /bin/sh: exit status 1");
        assert_eq!(container.status(), "stopped", "{outcome}");
        assert!(container.leftovers().iter().any(|left| left.starts_with("cgroup ")), "the test has lost its point");
        container.call(&["delete", "--force", &container.id]).ok().silently();
        assert_eq!(container.leftovers(), Vec::<String>::new());
    }
}

#[test]
fn a_foreground_run_whose_cgroup_cannot_be_removed_says_so_in_the_log_and_is_deleted_by_force() {
    only_ocicat!("the words are ocicat's own");
    need!(host::is_root() && host::has("unshare"), "needs root and unshare");
    let container = Container::new().shell("exit 3").set("/hooks/poststart", that_locks_cgroups(0));
    container.write();
    let log = container.dir.join("log.json");
    let words = ["--log", log.to_str().unwrap(), "--log-format", "json", "run", &container.id];
    apart(&container, &words).exits(3);
    let entry: Value = serde_json::from_str(&fs::read_to_string(&log).unwrap()).unwrap();
    let said = entry["msg"].as_str().unwrap();
    assert!(said.starts_with(&format!("container {} is not wholly removed: ", container.id)), "{said}");
    container.call(&["delete", "--force", &container.id]).ok().silently();
    assert_eq!(container.leftovers(), Vec::<String>::new());
}
