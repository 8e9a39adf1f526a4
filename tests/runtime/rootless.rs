//! The runtime called by an ordinary user, who has a range of ids in /etc/subuid.

use crate::common::*;
use rustix::mount::MountFlags;
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
        program::copy(&runtime(), &binary);
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
fn check_and_plan_tell_an_ordinary_user_what_create_would_refuse() {
    need!(possible(), "needs root to become an ordinary user, setpriv and user namespaces");
    only_ocicat!("the peers have neither check nor plan");
    // As from a shell without a session: nothing says where states of containers could be.
    let call = |container: &Container, words: &[&str]| {
        let command = as_user(container, words);
        let all: Vec<_> = command.get_args().collect();
        let at = all.iter().position(|word| *word == "--root").unwrap();
        let mut without_root = Command::new(command.get_program());
        without_root.args(&all[..at]).args(&all[at + 2..]).current_dir(&container.dir).env_remove("XDG_RUNTIME_DIR");
        finish(without_root)
    };
    let good = of_a_user();
    good.write();
    call(&good, &["check"]).ok();
    call(&good, &["plan"]).ok();
    let wrong = of_a_user().without_namespace("user").edit(|config| {
        let linux = config["linux"].as_object_mut().unwrap();
        linux.remove("uidMappings");
        linux.remove("gidMappings");
    });
    wrong.write();
    let refusal = "without CAP_SYS_ADMIN a container needs a user namespace; hint: ocicat spec --rootless";
    assert!(call(&wrong, &["check"]).out.contains(refusal));
    call(&wrong, &["plan"]).fails(refusal);
    finish(as_user(&wrong, &["create", &wrong.id])).fails(refusal);
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
fn the_configuration_that_spec_writes_for_a_user_runs_and_can_be_looked_at() {
    need!(possible(), "needs root to become an ordinary user, setpriv and user namespaces");
    let container = of_a_user();
    finish(as_user(&container, &["spec", "--rootless"])).ok();
    let mut config: Value = serde_json::from_slice(&fs::read(container.dir.join("config.json")).unwrap()).unwrap();
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["sleep", "1000"]);
    fs::write(container.dir.join("config.json"), config.to_string()).unwrap();
    let mut run = as_user(&container, &["run", "--detach", &container.id]);
    run.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    assert!(run.status().unwrap().success());
    let call = |words: &[&str]| finish(as_user(&container, words)).ok();
    assert_eq!(call(&["list", "--quiet"]).text(), container.id);
    assert_eq!(call(&["ps", "--format", "json", &container.id]).json().as_array().unwrap().len(), 1);
    call(&["exec", &container.id, "sh", "-c", "echo $(id -u)"]).says("0");
    call(&["delete", "--force", &container.id]);
    assert_eq!(call(&["list", "--quiet"]).text(), "");
}

#[test]
fn a_directory_on_the_way_that_a_user_may_not_enter_is_named() {
    need!(possible(), "needs root to become an ordinary user, setpriv and user namespaces");
    only_ocicat!("peers say only permission denied");
    let container = of_a_user();
    let closed = container.dir.join("closed");
    fs::create_dir_all(closed.join("volume/below")).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let hint = format!("hint: this user may not enter {}", closed.display());
    let run = |container: &Container, words: &[&str]| {
        container.write();
        finish(as_user(container, &[&["run"], words, &[&container.id]].concat()))
    };
    let container = container.mount("/data", "bind", closed.join("volume/below"), &["rbind"]);
    run(&container, &[]).fails(&format!("mounts[5] (/data): bind source {}", closed.display())).fails(&hint);
    let container = container.edit(|config| drop(config["mounts"].as_array_mut().unwrap().pop()));
    let container = container.set("/root/path", json!(closed.join("volume")));
    run(&container, &[]).fails("root.path").fails(&hint);
    run(&container, &["--bundle", closed.join("volume").to_str().unwrap()]).fails("config.json").fails(&hint);
}

/// What the host mounted nosuid, nodev and noexec stays so: the kernel locks these flags for who has no rights over the mount
/// (mount_namespaces(7), "Restrictions on mount namespaces").
#[test]
fn flags_that_the_host_has_locked_stay_and_cannot_be_cleared() {
    need!(possible(), "needs root to become an ordinary user, setpriv and user namespaces");
    only_ocicat!("runc 1.1 forgets locked flags");
    let container = of_a_user();
    let dir = container.dir.join("locked");
    container.hold_tmpfs(&dir);
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount_remount(&dir, flags, "").unwrap();
    let seen = "grep ' /data ' /proc/self/mountinfo | cut -d' ' -f6";
    let rows: [(&[&str], Result<&str, &str>); 4] = [
        (&["rbind"], Ok("rw,nosuid,nodev,noexec,relatime")),
        (&["bind", "ro"], Ok("ro,nosuid,nodev,noexec,relatime")),
        (&["bind", "ro", "nosuid", "noexec"], Ok("ro,nosuid,nodev,noexec,relatime")),
        (&["bind", "exec"], Err("mounts[5] (/data)")),
    ];
    let mut container = container.shell(seen).mount("/data", "bind", &dir, &[]);
    for (options, expected) in rows {
        container = container.set("/mounts/5/options", json!(options));
        container.write();
        let outcome = finish(as_user(&container, &["run", &container.id]));
        match expected {
            Ok(flags) => outcome.says(flags),
            Err(place) => outcome.fails(place).fails("EPERM"),
        };
    }
}

/// Where only cgroup2 is mounted, the user has a cgroup of its own with this process in it.
const DELEGATED: &str = r#"
    [ "$(readlink /proc/self/ns/mnt)" != "$0" ]
    umount --recursive /sys/fs/cgroup
    mount -t cgroup2 none /sys/fs/cgroup
    own=/sys/fs/cgroup$1; user=$2; shift 2
    mkdir $own
    chown -R $user:$user $own
    echo 0 > $own/cgroup.procs
    for verb in "run --detach" "pause" "resume" "exec" "delete --force"; do
        last=; [ "$verb" != exec ] || last="cat /proc/self/cgroup"
        "$@" $verb $OCICAT_TEST_ID $last >$OCICAT_TEST_OUT 2>&1 </dev/null || { cat $OCICAT_TEST_OUT; echo "$verb failed"; exit 1; }
        grep ^0: $OCICAT_TEST_OUT || true
    done
    echo 0 > /sys/fs/cgroup/cgroup.procs
    rmdir $own
"#;

#[test]
fn a_user_with_a_delegated_cgroup_can_pause_its_containers() {
    need!(possible() && host::has("unshare"), "needs root to become an ordinary user, setpriv, and unshare");
    need!(fs::read_to_string("/proc/filesystems").unwrap().contains("\tcgroup2\n"), "the kernel has no cgroup2");
    let container = of_a_user();
    let own = format!("/{}-own", container.id);
    let inside = format!("{own}/{}", container.id);
    let container = container.args(&["sleep", "1000"]).set("/linux/cgroupsPath", json!(inside));
    container.write();
    let user = as_user(&container, &[]);
    let mut apart = Command::new("unshare");
    apart.args(["--mount", "--propagation", "private", "sh", "-euc", DELEGATED]);
    apart.arg(fs::read_link("/proc/self/ns/mnt").unwrap()).args([&own, &UID.to_string()]);
    apart.arg(user.get_program()).args(user.get_args()).current_dir(&container.dir);
    apart.env("OCICAT_TEST_ID", &container.id).env("OCICAT_TEST_OUT", container.dir.join("out"));
    finish(apart).says(&format!("0::{inside}"));
}

/// The command where the user has these ranges in /etc/subuid and /etc/subgid: bound over them in a mount namespace.
fn with_ranges(container: &Container, ranges: &str, command: &Command) -> Command {
    // newuidmap(1) looks for the user's name.
    let known = fs::read_to_string("/etc/passwd").unwrap() + &format!("ocicat-test:x:{UID}:{UID}::/:/bin/sh\n");
    fs::write(container.dir.join("passwd"), known).unwrap();
    fs::write(container.dir.join("ranges"), ranges).unwrap();
    let script = r#"mount --bind "$0/passwd" /etc/passwd
        for file in /etc/subuid /etc/subgid; do mount --bind "$0/ranges" $file; done
        exec "$@""#;
    let mut apart = Command::new("unshare");
    apart.args(["--mount", "--propagation", "private", "sh", "-euc", script]).arg(&container.dir);
    apart.arg(command.get_program()).args(command.get_args());
    apart.current_dir(&container.dir).stdin(std::process::Stdio::null()).env_remove("XDG_RUNTIME_DIR");
    apart
}

fn ranges_possible() -> bool {
    possible()
        && host::has("newuidmap")
        && host::has("unshare")
        && fs::exists("/etc/subuid").unwrap_or(false)
        && fs::exists("/etc/subgid").unwrap_or(false)
}

fn with_mappings(container: Container, ranges: &[(u32, u32, u32)]) -> Container {
    let map: Vec<_> = ranges
        .iter()
        .map(|(inside, outside, size)| json!({"containerID": inside, "hostID": outside, "size": size}))
        .collect();
    container.set("/linux/uidMappings", json!(map)).set("/linux/gidMappings", json!(map))
}

#[test]
fn a_user_with_ranges_of_ids_gets_all_of_them() {
    need!(ranges_possible(), "needs root to become an ordinary user, newuidmap, and /etc/subuid and /etc/subgid");
    let ranges = [(0, UID, 1), (1, 600_000, 1000), (1001, 700_000, 64_000), (65_001, 601_000, 535)];
    let container = with_mappings(of_a_user(), &ranges).shell(
        "tr -s ' ' < /proc/self/uid_map; cat /proc/self/setgroups; chown 65535:1001 /dev/shm; stat -c %u:%g /dev/shm",
    );
    let container = container.capabilities(&["CAP_CHOWN"]);
    container.write();
    let run = as_user(&container, &["run", &container.id]);
    let given = format!("{UID}:600000:2000\n{UID}:700000:64000\n");
    let lines: Vec<_> = ranges.iter().map(|(inside, outside, size)| format!(" {inside} {outside} {size}")).collect();
    let expected = format!("{}\nallow\n65535:1001", lines.join("\n"));
    finish(with_ranges(&container, &given, &run)).says(expected.trim());
}

#[test]
fn a_user_of_the_container_with_other_groups_can_be_chosen_where_there_are_ranges() {
    need!(ranges_possible(), "needs root to become an ordinary user, newuidmap, and /etc/subuid and /etc/subgid");
    let user = json!({"uid": 1000, "gid": 1000, "additionalGids": [7, 8]});
    let container = with_mappings(of_a_user(), &[(0, UID, 1), (1, 600_000, 2000)]).set("/process/user", user);
    let container = container.args(&["id", "-G"]);
    container.write();
    let run = as_user(&container, &["run", &container.id]);
    finish(with_ranges(&container, &format!("{UID}:600000:2000\n"), &run)).says("1000 7 8");
}

#[test]
fn a_range_that_the_user_does_not_have_is_named_with_its_file() {
    need!(ranges_possible(), "needs root to become an ordinary user, newuidmap, and /etc/subuid and /etc/subgid");
    only_ocicat!("each has its own words");
    let container = with_mappings(of_a_user(), &[(0, UID, 1), (1, 600_000, 1000)]);
    container.write();
    let run = as_user(&container, &["run", &container.id]);
    finish(with_ranges(&container, &format!("{UID}:900000:1000\n"), &run)).fails("/etc/subuid");
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

#[test]
fn an_ordinary_user_whose_umask_takes_everything_has_containers_all_the_same() {
    need!(possible(), "needs root to become an ordinary user, setpriv and user namespaces");
    only_ocicat!("runc cannot open the state that it has made");
    let container = of_a_user().args(&["sleep", "1000"]);
    container.write();
    let masked = |words: &[&str]| {
        let call = as_user(&container, words);
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "umask 0777; exec \"$@\"", "sh"]).arg(call.get_program()).args(call.get_args());
        shell.current_dir(&container.dir).stdin(container.null()).env_remove("XDG_RUNTIME_DIR");
        shell
    };
    let id = &container.id;
    finish(masked(&["run", "--detach", id])).ok();
    finish(masked(&["exec", id, "sh", "-c", "umask"])).says("0022");
    finish(masked(&["delete", "--force", id])).ok();
    finish(masked(&["list", "--quiet"])).says("");
}

#[test]
fn kill_all_and_ps_reach_every_process_of_a_container_that_has_only_a_pid_namespace() {
    need!(possible(), "needs root to become an ordinary user, setpriv and user namespaces");
    only_ocicat!("the peers reach the first process, and say nothing");
    let container = of_a_user();
    let mut told = container.fifo("told");
    chown(told.path(), Some(UID), Some(UID)).unwrap();
    let line = "trap 'echo first > /told' USR1; (trap 'echo second > /told; exit' USR1; echo begun > /told; while :; do sleep 0.1; done) & \
                while :; do wait; done";
    let container = container.shell(line);
    container.write();
    let id = &container.id;
    // Without a manager of cgroups it has none of its own, wherever the user is.
    let call = |words: &[&str]| as_user(&container, &[&["--cgroup-manager", "disabled"], words].concat());
    let mut begin = call(&["run", "--detach", id]);
    begin.stdout(std::process::Stdio::null());
    assert_eq!(outcome::code_of(&mut begin.spawn().unwrap()), 0);
    assert_eq!(told.line(), "begun");
    let pids = finish(call(&["ps", "--format", "json", id])).ok().json();
    assert!(pids.as_array().unwrap().len() >= 2, "{pids}");
    finish(call(&["kill", "--all", id, "USR1"])).ok();
    let mut heard = [told.line(), told.line()];
    heard.sort();
    assert_eq!(heard, ["first", "second"]);
    finish(call(&["delete", "--force", id])).ok();
    // Where there is no such namespace either, it is told who was reached.
    let container = of_a_user().without_namespace("pid").args(&["sleep", "1000"]);
    let container = container.edit(|config| {
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/proc");
        config["linux"].as_object_mut().unwrap().remove("maskedPaths");
        config["linux"].as_object_mut().unwrap().remove("readonlyPaths");
    });
    container.write();
    let id = &container.id;
    let call = |words: &[&str]| as_user(&container, &[&["--cgroup-manager", "disabled"], words].concat());
    let mut begin = call(&["run", "--detach", id]);
    begin.stdout(std::process::Stdio::null());
    assert_eq!(outcome::code_of(&mut begin.spawn().unwrap()), 0);
    finish(call(&["kill", "--all", id, "KILL"])).fails("only the first process of");
    finish(call(&["delete", "--force", id])).ok();
}
