//! The runtime called by an ordinary user: in a session, where a systemd of its own owns a part of the cgroups, and without.

use crate::common::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long a script with a dozen calls may take on an emulated machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// The user somebody of the machine, and its ranges in /etc/subuid.
const UID: u32 = 1000;

/// A bundle of the user's, as `spec --rootless` writes it, but for what the container runs.
pub(crate) fn of_somebody() -> Container {
    let mut container = Container::new();
    fs::set_permissions(&container.dir, fs::Permissions::from_mode(0o755)).unwrap();
    for entry in container::walk(&container.dir) {
        if !entry.ends_with("bin/busybox") && !entry.is_symlink() {
            chown(&entry, Some(UID), Some(UID)).unwrap();
        }
    }
    let binary = container.dir.join("ocicat");
    program::copy(&runtime(), &binary);
    finish(without_session(&container, &["./ocicat", "spec", "--rootless"])).ok();
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

/// A script as the user, in a unit of the user's own systemd.
fn in_session(container: &Container, script: &Path) -> Command {
    let mut command = Command::new("in-session");
    command.arg("sh").arg(script).current_dir(&container.dir).stdin(Stdio::null());
    command
}

/// The same as the user without a session: no systemd of its own, and root's cgroup.
fn without_session(container: &Container, words: &[&str]) -> Command {
    let id = UID.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--inh-caps=-all", "--"]);
    command.args(words).current_dir(&container.dir).stdin(Stdio::null());
    command.env_remove("XDG_RUNTIME_DIR").env_remove("DBUS_SESSION_BUS_ADDRESS").env("HOME", "/home/somebody");
    command
}

/// The whole life of a container as one script of the user's: every verb, and a look at the cgroup while it runs.
fn life(container: &Container, globals: &str, files: &str) -> PathBuf {
    write(container);
    let script = container.dir.join("life");
    let text = format!(
        r#"set -e
cd {dir}
ocicat() {{ ./ocicat --root root {globals} "$@"; }}
ocicat create --pid-file pid {id} </dev/null >/dev/null 2>errors || {{ cat errors >&2; exit 1; }}
ocicat start {id}
ocicat state {id} | grep -o '"status": *"[a-z]*"' | tr -d '" '
cgroup=$(sed -n s/^0:://p "/proc/$(cat pid)/cgroup")
echo "cgroup $cgroup"
for file in {files}; do echo "$file $(cat "/sys/fs/cgroup$cgroup/$file")"; done
echo "exec $(ocicat exec {id} id -u)"
echo "list $(ocicat list --quiet)"
echo "ps $(ocicat ps {id} | grep -c 'sleep 1000')"
ocicat kill {id} KILL
until ocicat state {id} | grep -q '"stopped"'; do :; done
ocicat delete {id}
echo "left $(ocicat list --quiet)"
"#,
        dir = container.dir.display(),
        id = container.id,
    );
    fs::write(&script, text).unwrap();
    script
}

/// What such a script says, but for the line of the cgroup, which is returned.
#[track_caller]
fn lived(container: &Container, outcome: Outcome, files: &[&str]) -> String {
    let outcome = outcome.ok();
    let (cgroups, rest): (Vec<&str>, Vec<&str>) = outcome.out.lines().partition(|line| line.starts_with("cgroup "));
    let list = format!("list {}", container.id);
    let mut wanted = vec!["status:running"];
    wanted.extend(files);
    wanted.extend(["exec 0", list.as_str(), "ps 1", "left "]);
    assert_eq!(rest, wanted, "{outcome}");
    cgroups[0].trim_start_matches("cgroup ").to_owned()
}

#[test]
#[ignore = "needs a user with a session: conformance/vm/run"]
fn a_user_with_a_session_has_scopes_of_its_own() {
    let container = of_somebody();
    let script = life(&container, "--systemd-cgroup", "");
    let cgroup = lived(&container, finish_within(in_session(&container, &script), PATIENCE), &[]);
    let scope = format!("ocicat-{}.scope", container.id);
    assert!(cgroup.contains("/user@1000.service/") && cgroup.ends_with(&scope), "{cgroup}");
}

#[test]
#[ignore = "needs a user with a session: conformance/vm/run"]
fn a_user_with_a_session_needs_no_systemd_driver() {
    let container = of_somebody();
    let script = life(&container, "", "");
    let cgroup = lived(&container, finish_within(in_session(&container, &script), PATIENCE), &[]);
    assert!(cgroup.contains("/user@1000.service/"), "{cgroup}");
}

#[test]
#[ignore = "needs a user with a session and all controllers: conformance/vm/run"]
fn the_limits_of_a_user_with_a_session_are_real() {
    need_controllers!("memory", "cpu", "pids");
    let limits =
        json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 37}, "cpu": {"quota": 20000, "shares": 512}});
    let wanted = ["memory.max 67108864", "pids.max 37", "cpu.max 20000 100000", "cpu.weight 59"];
    for globals in ["--systemd-cgroup", ""] {
        let container = of_somebody().set("/linux/resources", limits.clone());
        let script = life(&container, globals, "memory.max pids.max cpu.max cpu.weight");
        lived(&container, finish_within(in_session(&container, &script), PATIENCE), &wanted);
    }
}

#[test]
#[ignore = "needs the users of the machine: conformance/vm/run"]
fn a_user_without_a_session_has_containers_without_limits() {
    let container = of_somebody();
    let script = life(&container, "", "");
    let command = without_session(&container, &["sh", script.to_str().unwrap()]);
    lived(&container, finish_within(command, PATIENCE), &[]);
}

#[test]
#[ignore = "needs the users of the machine: conformance/vm/run"]
fn a_user_without_a_session_is_told_why_there_are_no_limits() {
    need_controllers!("pids");
    let container = of_somebody().set("/linux/resources/pids", json!({"limit": 37}));
    write(&container);
    let run = ["./ocicat", "--root", "root", "run", &container.id];
    let outcome = finish(without_session(&container, &run)).fails("may not make a cgroup here");
    assert!(outcome.err.contains("hint: delegate one"), "{outcome}");
    let run = ["./ocicat", "--root", "root", "--systemd-cgroup", "run", &container.id];
    finish(without_session(&container, &run)).fails("needs a session");
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
    let run = ["./ocicat", "--root", "root", "run", &container.id];
    finish(without_session(&container, &run)).says("0 1000 1\n 1 100000 65536");
}

/// A container of the user's that ends by itself, and what `wait` and then `state` say of it.
#[track_caller]
pub(crate) fn ended(container: &Container, globals: &str) -> Value {
    write(container);
    let script = container.dir.join("ended");
    let text = format!(
        r#"set -e
cd {dir}
ocicat() {{ ./ocicat --root root {globals} "$@"; }}
ocicat create {id} </dev/null >/dev/null 2>errors || {{ cat errors >&2; exit 1; }}
./ocicat --root root {globals} wait --format json {id} >waited &
# The wait holds a pidfd before the end can come.
until ls -l /proc/$!/fd 2>/dev/null | grep -q pidfd; do :; done
ocicat start {id}
wait $!
cat waited
ocicat state {id} >state
grep -q '"exitCode"' state
ocicat delete {id}
"#,
        dir = container.dir.display(),
        id = container.id,
    );
    std::fs::write(&script, text).unwrap();
    finish_within(in_session(container, &script), PATIENCE).ok().json()
}
