//! The runtime called by an ordinary user: in a session, where a systemd of its own owns a part of the cgroups, and without.

use crate::common::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Stdio};

/// The user somebody of the machine, and its ranges in /etc/subuid.
const UID: u32 = 1000;

/// A bundle of the user's, as `spec --rootless` writes it, but for what the container runs.
fn of_somebody() -> Container {
    let mut container = Container::new();
    fs::set_permissions(&container.dir, fs::Permissions::from_mode(0o755)).unwrap();
    for entry in container::walk(&container.dir) {
        if !entry.ends_with("bin/busybox") && !entry.is_symlink() {
            chown(&entry, Some(UID), Some(UID)).unwrap();
        }
    }
    let binary = container.dir.join("ocicat");
    fs::copy(runtime(), &binary).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    finish(without_session(&container, &["spec", "--rootless"])).ok();
    let text = fs::read_to_string(container.dir.join("config.json")).unwrap();
    container.config = serde_json::from_str(&text).unwrap();
    container.edit(|config| {
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sleep", "1000"]);
    })
}

fn write(container: &Container) {
    container.write();
    chown(container.dir.join("config.json"), Some(UID), Some(UID)).unwrap();
}

/// `--root` and what follows it, for the user's own copy of the runtime.
fn words(container: &Container, globals: &[&str], words: &[&str]) -> Vec<String> {
    let mut all = vec![container.dir.join("ocicat").display().to_string()];
    all.extend(["--root".to_owned(), container.root().display().to_string()]);
    all.extend(globals.iter().chain(words).map(|word| (*word).to_owned()));
    all
}

/// The runtime as the user, in a unit of the user's own systemd.
fn in_session(container: &Container, globals: &[&str], verb: &[&str]) -> Command {
    let mut command = Command::new("in-session");
    command.arg("sh").arg("-c").arg("cd \"$0\" && exec \"$@\"").arg(&container.dir);
    command.args(words(container, globals, verb)).stdin(Stdio::null());
    command
}

/// The runtime as the user, with no session: no systemd of its own, and root's cgroup.
fn without_session(container: &Container, verb: &[&str]) -> Command {
    let id = UID.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--inh-caps=-all", "--"]);
    command.args(words(container, &[], verb)).current_dir(&container.dir).stdin(Stdio::null());
    command.env_remove("XDG_RUNTIME_DIR").env_remove("DBUS_SESSION_BUS_ADDRESS").env("HOME", "/home/somebody");
    command
}

/// The whole life of a container, called through `call`; `check` looks at it while it runs.
fn life(container: &Container, call: &dyn Fn(&[&str]) -> Command, check: &dyn Fn(u32)) {
    write(container);
    let id = container.id.as_str();
    let quiet = |words: &[&str]| {
        let mut command = call(words);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command.output().unwrap()
    };
    let created = container.dir.join("errors");
    let log = created.to_str().unwrap();
    let mut create = call(&["create", "--pid-file", "pid", id]);
    create.stdout(Stdio::null()).stderr(fs::File::create(&created).unwrap());
    let status = create.status().unwrap();
    assert!(status.success(), "create: {}", fs::read_to_string(log).unwrap());
    finish(call(&["start", id])).ok();
    let state = finish(call(&["state", id])).ok().json();
    assert_eq!(state["status"], "running");
    let pid = u32::try_from(state["pid"].as_u64().unwrap()).unwrap();
    check(pid);
    finish(call(&["exec", id, "id", "-u"])).says("0");
    finish(call(&["list", "--quiet"])).says(id);
    finish(call(&["ps", id])).mentions("sleep 1000");
    assert!(quiet(&["kill", id, "KILL"]).status.success());
    rustix_wait(pid);
    finish(call(&["delete", id])).ok();
    finish(call(&["list", "--quiet"])).says("");
}

/// Waits for a process that need not be a child.
fn rustix_wait(pid: u32) {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    if let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) {
        assert!(outcome::readable_within(&fd, std::time::Duration::from_secs(30)));
    }
    let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG);
}

fn cgroup_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cgroup"))
        .unwrap()
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap()
        .to_owned()
}

#[test]
#[ignore = "needs a user with a session: conformance/vm/run"]
fn a_user_with_a_session_has_scopes_of_its_own() {
    let container = of_somebody();
    let scope = format!("ocicat-{}.scope", container.id);
    life(&container, &|verb| in_session(&container, &["--systemd-cgroup"], verb), &|pid| {
        let cgroup = cgroup_of(pid);
        assert!(cgroup.contains("/user@1000.service/") && cgroup.ends_with(&scope), "{cgroup}");
    });
}

#[test]
#[ignore = "needs a user with a session: conformance/vm/run"]
fn a_user_with_a_session_needs_no_systemd_driver() {
    let container = of_somebody();
    life(&container, &|verb| in_session(&container, &[], verb), &|pid| {
        assert!(cgroup_of(pid).contains("/user@1000.service/"), "{}", cgroup_of(pid));
    });
}

#[test]
#[ignore = "needs a user with a session and all controllers: conformance/vm/run"]
fn the_limits_of_a_user_with_a_session_are_real() {
    let limits =
        json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 37}, "cpu": {"quota": 20000, "shares": 512}});
    for globals in [&["--systemd-cgroup"][..], &[]] {
        let container = of_somebody().set("/linux/resources", limits.clone());
        life(&container, &|verb| in_session(&container, globals, verb), &|pid| {
            let directory = format!("/sys/fs/cgroup{}", cgroup_of(pid));
            for (file, wanted) in
                [("memory.max", "67108864"), ("pids.max", "37"), ("cpu.max", "20000 100000"), ("cpu.weight", "59")]
            {
                assert_eq!(
                    fs::read_to_string(format!("{directory}/{file}")).unwrap().trim(),
                    wanted,
                    "{file} {globals:?}"
                );
            }
        });
    }
}

#[test]
#[ignore = "needs the users of the machine: conformance/vm/run"]
fn a_user_without_a_session_has_containers_without_limits() {
    let container = of_somebody();
    life(&container, &|verb| without_session(&container, verb), &|_| {});
}

#[test]
#[ignore = "needs the users of the machine: conformance/vm/run"]
fn a_user_without_a_session_is_told_why_there_are_no_limits() {
    let container = of_somebody().set("/linux/resources/pids", json!({"limit": 37}));
    write(&container);
    let outcome = finish(without_session(&container, &["run", &container.id])).fails("may not make a cgroup here");
    assert!(outcome.err.contains("hint: delegate one"), "{outcome}");
    let mut systemd = without_session(&container, &[]);
    systemd.args(["--systemd-cgroup", "run", &container.id]);
    finish(systemd).fails("needs a session");
}

#[test]
#[ignore = "needs the users of the machine: conformance/vm/run"]
fn a_user_with_a_range_has_all_ids_of_it_inside() {
    let map = |host: u32| json!([{"containerID": 0, "hostID": host, "size": 1}, {"containerID": 1, "hostID": 100_000, "size": 65536}]);
    let container = of_somebody()
        .set("/linux/uidMappings", map(UID))
        .set("/linux/gidMappings", map(UID))
        .shell("tr -s ' ' < /proc/self/uid_map");
    write(&container);
    finish(without_session(&container, &["run", &container.id])).says("0 1000 1\n 1 100000 65536");
}
