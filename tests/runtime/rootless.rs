//! The runtime called by an ordinary user, who has a range of ids in /etc/subuid.

use crate::common::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

/// An id that is nobody's: no passwd entry is needed to be an ordinary user.
const UID: u32 = 54_321;

/// A container of that user, its bundle handed to it, with a user namespace in which only it exists.
fn of_a_user() -> Container {
    let container = Container::new();
    let map = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
    let container =
        container.namespace("user").set("/linux/uidMappings", map(UID)).set("/linux/gidMappings", map(UID)).edit(
            |config| {
                config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
                config["linux"].as_object_mut().unwrap().remove("resources");
                let mounts = config["mounts"].as_array_mut().unwrap();
                mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup" && mount["destination"] != "/sys");
                for mount in mounts.iter_mut() {
                    if let Some(options) = mount["options"].as_array_mut() {
                        options.retain(|option| !option.as_str().unwrap().starts_with("gid="));
                    }
                }
            },
        );
    for entry in container::walk(&container.dir) {
        if !entry.ends_with("bin/busybox") && !entry.is_symlink() {
            chown(&entry, Some(UID), Some(UID)).unwrap();
        }
    }
    fs::set_permissions(&container.dir, fs::Permissions::from_mode(0o755)).unwrap();
    container
}

/// The runtime called as that user. The binary must be reachable for everybody: it is copied next to the bundle.
fn as_user(container: &Container, words: &[&str]) -> Command {
    let binary = container.dir.join(runtime().file_name().unwrap());
    if !binary.exists() {
        fs::copy(runtime(), &binary).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new("setpriv");
    let id = UID.to_string();
    command
        .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--inh-caps=-all", "--"])
        .arg(binary)
        .arg("--root")
        .arg(container.root())
        .args(words);
    command
        .current_dir(&container.dir)
        .stdin(std::process::Stdio::null())
        .env_remove("XDG_RUNTIME_DIR")
        .env("HOME", &container.dir);
    command
}

fn possible() -> bool {
    host::is_root()
        && host::has("setpriv")
        && fs::read_to_string("/proc/sys/user/max_user_namespaces").is_ok_and(|text| text.trim() != "0")
}

#[test]
fn an_ordinary_user_runs_a_container() {
    need!(possible(), "needs root to become an ordinary user, setpriv and user namespaces");
    let container = of_a_user().shell("id -u; hostname; cat /proc/self/uid_map | tr -s ' '");
    container.write();
    finish(as_user(&container, &["run", &container.id])).says(&format!("0\nocicat\n 0 {UID} 1"));
}

#[test]
fn an_ordinary_user_has_the_whole_life_cycle() {
    need!(possible(), "needs root to become an ordinary user, setpriv and user namespaces");
    let container = of_a_user().args(&["sleep", "1000"]);
    container.write();
    let call = |words: &[&str]| {
        let mut command = as_user(&container, words);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        command.status().unwrap().success()
    };
    assert!(call(&["create", &container.id]));
    assert!(call(&["start", &container.id]));
    finish(as_user(&container, &["exec", &container.id, "id", "-u"])).says("0");
    assert_eq!(finish(as_user(&container, &["state", &container.id])).ok().json()["status"], "running");
    let pid =
        u32::try_from(finish(as_user(&container, &["state", &container.id])).ok().json()["pid"].as_u64().unwrap())
            .unwrap();
    assert!(call(&["kill", &container.id, "KILL"]));
    container::wait_pid(pid);
    assert!(call(&["delete", &container.id]));
}

#[test]
fn the_states_of_an_ordinary_user_are_in_its_runtime_directory() {
    need!(possible(), "needs root to become an ordinary user, setpriv and user namespaces");
    only_ocicat!("the name of the directory is the runtime's");
    let container = of_a_user().args(&["sleep", "1000"]);
    container.write();
    let run_dir = container.dir.join("run");
    fs::create_dir(&run_dir).unwrap();
    chown(&run_dir, Some(UID), Some(UID)).unwrap();
    let with_root = as_user(&container, &["run", "--detach", &container.id]);
    let mut command = Command::new(with_root.get_program());
    let mut words: Vec<_> = with_root.get_args().map(std::ffi::OsStr::to_os_string).collect();
    let at = words.iter().position(|word| word == "--root").unwrap();
    words.drain(at..at + 2);
    command
        .args(&words)
        .current_dir(&container.dir)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .env("XDG_RUNTIME_DIR", &run_dir);
    assert!(command.status().unwrap().success());
    assert!(run_dir.join("ocicat").join(&container.id).is_dir());
    let mut delete = Command::new(command.get_program());
    let upto = words.iter().position(|word| word == "run").unwrap();
    delete.args(&words[..upto]).args(["delete", "--force", &container.id]).env("XDG_RUNTIME_DIR", &run_dir);
    assert!(delete.status().unwrap().success());
}

#[test]
fn a_user_with_a_range_of_ids_gets_all_of_it() {
    need!(possible() && host::has("newuidmap"), "needs root to become an ordinary user and newuidmap");
    let line = |file: &str| {
        fs::read_to_string(file).unwrap_or_default().lines().any(|line| line.starts_with(&format!("{UID}:")))
    };
    need!(
        line("/etc/subuid") && line("/etc/subgid"),
        "/etc/subuid and /etc/subgid have no range for the user of this test, 54321"
    );
    let container = of_a_user();
    let map =
        json!([{"containerID": 0, "hostID": UID, "size": 1}, {"containerID": 1, "hostID": 600_000, "size": 1000}]);
    let container = container
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .shell("tr -s ' ' < /proc/self/uid_map");
    container.write();
    finish(as_user(&container, &["run", &container.id])).says(&format!("0 {UID} 1\n 1 600000 1000"));
}

#[test]
fn an_ordinary_user_who_asks_for_the_impossible_is_told_so() {
    need!(possible(), "needs root to become an ordinary user, setpriv and user namespaces");
    only_ocicat!("each has its own words");
    let container = of_a_user().edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|entry| entry["type"] != "user");
        config["linux"].as_object_mut().unwrap().remove("uidMappings");
        config["linux"].as_object_mut().unwrap().remove("gidMappings");
    });
    container.write();
    let outcome = finish(as_user(&container, &["run", &container.id]));
    assert!(
        outcome.code != 0 && (outcome.err.contains("user namespace") || outcome.err.contains("not permitted")),
        "{outcome}"
    );
}
