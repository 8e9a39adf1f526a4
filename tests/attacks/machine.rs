//! The host's side: state on disk, numbers of processes, unusual procfs, what is installed.

use crate::common::*;
use crate::decoy::*;
use crate::inside::apart;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

#[test]
fn a_state_directory_planted_by_somebody_is_not_followed() {
    only_ocicat!("each has its own state");
    let container = Container::new().sleeping();
    let dir = decoy(&container);
    symlink(&dir, container.root().join("planted")).unwrap();
    let _ = container.call(&["delete", "--force", "planted"]);
    untouched(&dir);
    let _ = fs::remove_file(container.root().join("planted"));
}

#[test]
fn an_id_of_dots_and_slashes_reaches_no_other_directory() {
    let container = Container::new().sleeping();
    let dir = decoy(&container);
    for id in ["../decoy", "..", "x/../../decoy", "/"] {
        let outcome = container.call(&["delete", "--force", id]);
        assert!(outcome.code != 0 || dir.join("file").exists(), "{id}: {outcome}");
    }
    untouched(&dir);
    assert_eq!(container.status(), "running");
}

#[test]
fn other_users_cannot_look_into_the_state() {
    let container = Container::new().sleeping();
    assert_eq!(fs::metadata(container.root()).unwrap().mode() & 0o77, 0);
    for entry in container::walk(&container.root().join(&container.id)) {
        assert_eq!(fs::symlink_metadata(&entry).unwrap().mode() & 0o77, 0, "{}", entry.display());
    }
}

#[test]
fn a_number_that_another_process_has_got_is_not_signalled() {
    need!(host::is_root() && host::has("unshare"), "needs root and unshare");
    need!(fs::exists("/proc/sys/kernel/ns_last_pid").unwrap(), "the kernel cannot be told the next pid");
    let container = Container::new().args(&["sleep", "1000"]);
    container.write();
    let script = r#"
        set -e
        ocicat="$1 --root $2"
        $ocicat run --detach $3 >/dev/null 2>&1
        pid=$($ocicat state $3 | tr -d ' ",' | sed -n 's/^pid://p')
        kill -KILL $pid
        while [ -d /proc/$pid ]; do /bin/true; done
        other=0
        until [ $other = $pid ]; do
            [ $other = 0 ] || kill $other
            echo $((pid - 1)) > /proc/sys/kernel/ns_last_pid
            sleep 1000 & other=$!
        done
        $ocicat state $3 | tr -d ' ",' | sed -n 's/^status://p'
        $ocicat kill $3 KILL 2>&1 && echo "kill succeeded"
        $ocicat exec $3 true 2>&1 && echo "exec succeeded"
        $ocicat delete --force $3
        kill -0 $other && echo "alive"
        kill $other
    "#;
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script, "sh"]);
    command.arg(runtime()).arg(container.root()).arg(&container.id).current_dir(&container.dir);
    let seen = finish(command).ok();
    assert!(seen.out.starts_with("stopped\n") && seen.out.ends_with("alive\n"), "{seen}");
    assert!(!seen.out.contains("succeeded"), "{seen}");
}

fn whole_life(container: Container) {
    let container = container.sleeping();
    container.exec(&["true"]).ok();
    assert_eq!(container.status(), "running");
    container.call(&["ps", "--format", "json", &container.id]).ok();
    container.call(&["pause", &container.id]).ok();
    container.call(&["resume", &container.id]).ok();
    container.end();
    container.delete().ok();
}

#[test]
fn a_procfs_of_the_host_that_hides_processes_is_enough() {
    need!(host::is_root() && host::has("unshare"), "needs root and unshare");
    if apart("machine::a_procfs_of_the_host_that_hides_processes_is_enough", &["--mount"]) {
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("proc", "/proc", "proc", flags, Some(c"hidepid=2")).unwrap();
        whole_life(Container::new());
        whole_life(Container::new().user_namespace());
    }
}

#[test]
fn a_procfs_of_the_host_with_processes_only_is_enough() {
    need!(host::is_root() && host::has("unshare"), "needs root and unshare");
    if apart("machine::a_procfs_of_the_host_with_processes_only_is_enough", &["--mount"]) {
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("proc", "/proc", "proc", flags, Some(c"subset=pid")).unwrap();
        whole_life(Container::new());
    }
}

#[test]
fn a_fake_procfs_of_the_host_is_not_believed() {
    need!(host::is_root() && host::has("unshare"), "needs root and unshare");
    only_ocicat!("CVE-2025-52881: old peers write where it leads");
    if apart("machine::a_fake_procfs_of_the_host_is_not_believed", &["--mount"]) {
        let container = Container::new().set("/linux/sysctl", json!({"kernel.domainname": "moved"}));
        let dir = decoy(&container);
        container.write();
        let mut command = container.command(&["run", &container.id]);
        // What a process of the runtime finds at /proc/self/attr and /proc/sys is the attacker's.
        rustix::mount::mount("none", "/proc/sys", "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
        fs::create_dir("/proc/sys/kernel").unwrap();
        symlink(dir.join("file"), "/proc/sys/kernel/domainname").unwrap();
        command.stdin(std::process::Stdio::null());
        let outcome = finish(command);
        untouched(&dir);
        assert!(outcome.code == 0, "{outcome}");
    }
}

#[test]
fn nothing_that_is_installed_is_set_uid() {
    let makefile = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Makefile")).unwrap();
    let words: Vec<&str> = makefile.split_whitespace().collect();
    let mode = |pair: &&[&str]| pair[0].starts_with('-') && pair[0].ends_with('m') && pair[1].parse::<u32>().is_ok();
    let modes: Vec<&str> = words.windows(2).filter(mode).map(|pair| pair[1]).collect();
    assert!(!modes.is_empty() && modes.iter().all(|mode| ["755", "644"].contains(mode)), "{modes:?}");
    assert_eq!(fs::metadata(runtime()).unwrap().permissions().mode() & 0o6000, 0);
}

#[test]
fn calls_that_follow_or_truncate_are_forbidden() {
    let lints = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/clippy.toml")).unwrap();
    for call in ["std::fs::File::create", "std::fs::write", "std::fs::create_dir_all", "std::fs::canonicalize"] {
        assert!(lints.contains(&format!("path = \"{call}\"")), "{call}");
    }
}

/// As an ordinary user, with a newuidmap of the test's own that tells how it was called.
#[test]
fn the_helpers_for_mappings_get_numbers_only() {
    need!(host::is_root() && host::has("setpriv"), "needs root to become an ordinary user, and setpriv");
    let container = Container::new();
    let id = 54_321_u32;
    let map = json!([{"containerID": 0, "hostID": id, "size": 1}, {"containerID": 1, "hostID": 600_000, "size": 9}]);
    let container =
        container.namespace("user").set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map).edit(
            |config| {
                config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
                config["linux"].as_object_mut().unwrap().remove("resources");
                config["hostname"] = json!("$(touch stolen); --help");
            },
        );
    container.write();
    let told = container.dir.join("told");
    for name in ["newuidmap", "newgidmap"] {
        let script = format!("#!/bin/sh\necho {name} \"$@\" >> {}\nexit 1\n", told.display());
        program::write(&container.dir.join(name), &script);
    }
    let program = container.dir.join("ocicat");
    program::copy(&runtime(), &program);
    for entry in container::walk(&container.dir) {
        if !entry.ends_with("bin/busybox") {
            std::os::unix::fs::lchown(&entry, Some(id), Some(id)).unwrap();
        }
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "54321", "--regid", "54321", "--clear-groups", "--inh-caps=-all", "--"]).arg(&program);
    command.arg("--root").arg(container.root()).args(["run", &container.id]).current_dir(&container.dir);
    command.env("PATH", format!("{}:/usr/bin:/bin", container.dir.display())).stdin(std::process::Stdio::null());
    finish(command).fails("newuidmap");
    let told = fs::read_to_string(told).unwrap();
    let words: Vec<&str> = told.split_whitespace().collect();
    assert_eq!(words[0], "newuidmap");
    assert!(words[1..].iter().all(|word| word.parse::<u32>().is_ok()) && words.len() == 8, "{told}");
}
