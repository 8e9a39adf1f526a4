//! The commands of ocicat-image as a person or a program calls them: what the options of `run` make of the container, what is
//! shown on a terminal and said to machines, and what is left of a run that was killed.
#![cfg(feature = "image")]
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic, and its paths are its own"
)]

#[path = "common/mod.rs"]
#[macro_use]
#[allow(unused_imports, reason = "each test crate uses its part of this")]
mod common;

use common::registry::{Registry, fails, have, ok, proxy, put_image};
use common::terminal::Terminal;
use common::{Value, json};
use ocicat::image::manifest::{Descriptor, media};
use ocicat::image::store::Store;
use ocicat::image::tar::{Entry, Kind, Writer};
use ocicat::registry::Digest;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

const IMAGE: &str = "localhost/x:1";

/// A store with one image of two layers: busybox, accounts, and a volume that belongs to one of them.
struct Place {
    directory: tempfile::TempDir,
}

fn layers() -> Vec<Vec<u8>> {
    let busybox = std::fs::read("/bin/busybox").unwrap();
    let directory = |path: &str, id: u32| Entry {
        path: path.as_bytes().to_vec(),
        kind: Kind::Directory,
        mode: 0o755,
        uid: id,
        gid: id,
        ..Entry::default()
    };
    let file = |path: &str, mode: u32, id: u32, size: usize| Entry {
        path: path.as_bytes().to_vec(),
        mode,
        uid: id,
        gid: id,
        size: size as u64,
        ..Entry::default()
    };
    let mut one = Writer::new(Vec::new());
    for name in ["bin", "etc", "proc", "sys", "dev", "tmp"] {
        one.entry(&directory(name, 0)).unwrap();
    }
    one.entry(&file("bin/busybox", 0o755, 0, busybox.len())).unwrap();
    one.data(&busybox).unwrap();
    for name in ["bin/sh", "bin/cat", "bin/stat", "bin/unshare", "bin/mkdir"] {
        let link = Entry { kind: Kind::Symlink, link: b"busybox".to_vec(), ..file(name, 0o777, 0, 0) };
        one.entry(&link).unwrap();
    }
    let mut two = Writer::new(Vec::new());
    for (name, text) in
        [("etc/passwd", "root:x:0:0::/:/bin/sh\nweb:x:33:44::/data:/bin/sh\n"), ("etc/group", "log:x:55:web\n")]
    {
        two.entry(&file(name, 0o644, 0, text.len())).unwrap();
        two.data(text.as_bytes()).unwrap();
    }
    two.entry(&directory("data", 33)).unwrap();
    two.entry(&file("data/kept", 0o640, 33, 4)).unwrap();
    two.data(b"kept").unwrap();
    [one, two].into_iter().map(|tar| tar.finish().unwrap()).collect()
}

impl Place {
    fn new() -> Place {
        let place = Place { directory: tempfile::tempdir().unwrap() };
        let store = Store::open(&place.path("store")).unwrap();
        let layers = layers();
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let pack = |layer: &Vec<u8>| zstd::stream::encode_all(&layer[..], 1).unwrap();
        let blobs: Vec<Vec<u8>> = layers.iter().map(pack).collect();
        let config = json!({"architecture": std::env::consts::ARCH.replace("x86_64", "amd64").replace("aarch64", "arm64"),
            "os": "linux",
            "config": {"Cmd": ["sh"], "User": "web", "Env": ["PATH=/bin", "A=b"], "Volumes": {"/data": {}},
                "StopSignal": "SIGUSR1", "ExposedPorts": {"80/tcp": {}}, "Labels": {"who": "me"}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        for blob in &blobs {
            store.put(blob).unwrap();
        }
        let descriptors: Vec<_> = blobs.iter().map(|blob| Descriptor::of(media::LAYER_ZSTD, blob)).collect();
        store.tag(IMAGE, &put_image(&store, &config, &descriptors)).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn image(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ocicat-image"));
        command.arg("--store").arg(self.path("store")).args(words).current_dir(self.directory.path());
        command.stdin(Stdio::null()).env("REGISTRY_AUTH_FILE", self.path("auth.json"));
        command
    }

    /// What a shell in a container of the image prints, run with these options.
    fn shell(&self, options: &[&str], script: &str) -> String {
        let words = [&["-q", "run"], options, &[IMAGE, "sh", "-c", script]].concat();
        ok(&mut self.image(&words)).trim_end().to_owned()
    }

    /// How many bundles `gc` takes.
    fn collected(&self) -> u64 {
        let told: Value = serde_json::from_str(&ok(&mut self.image(&["gc", "--format", "json"]))).unwrap();
        told["bundles"].as_u64().unwrap()
    }

    fn count(&self, path: &str) -> usize {
        std::fs::read_dir(self.path(path)).map_or(0, Iterator::count)
    }

    /// Mounts below the directory of the test.
    fn mounts(&self) -> usize {
        let all = std::fs::read_to_string("/proc/self/mounts").unwrap();
        all.lines().filter(|line| line.contains(self.directory.path().to_str().unwrap())).count()
    }
}

macro_rules! need_containers {
    () => {
        need!(rustix::process::geteuid().is_root(), "not root: a container's owners and limits are root's to give");
        need!(Path::new("/bin/busybox").exists(), "busybox is not installed");
    };
}

#[test]
fn the_options_of_run_reach_the_container() {
    need_containers!();
    let place = Place::new();
    std::fs::create_dir(place.path("shared")).unwrap();
    std::fs::write(place.path("shared/file"), "of the host").unwrap();
    let cases: [(&str, &[&str], &str, &str); 17] = [
        (
            "the image's user, by name, with the groups of its files",
            &[],
            "busybox id",
            "uid=33(web) gid=44 groups=44,55(log)",
        ),
        ("another user by name", &["--user", "root"], "busybox id -u", "0"),
        ("numbers", &["-u", "7:8"], "echo $(busybox id -u):$(busybox id -g)", "7:8"),
        ("the image's environment, and the home of the user", &[], "echo $A $HOME", "b /data"),
        ("environment", &["-e", "A=c", "--env", "B=d"], "echo $A $B", "c d"),
        ("working directory", &["--workdir", "/tmp"], "busybox pwd", "/tmp"),
        ("host name", &["--hostname", "cat"], "busybox hostname", "cat"),
        (
            "a volume of the image has its content and owner, and can be written",
            &[],
            "cat /data/kept; echo x > /data/new; stat -c :%u:%g /data/new",
            "kept:33:44",
        ),
        (
            "a bind mount",
            &["-v", "./shared:/v:ro"],
            "cat /v/file; echo x > /v/new || echo ' read-only'",
            "of the host read-only",
        ),
        (
            "a tmpfs",
            &["--mount", "type=tmpfs,dst=/t,tmpfs-size=1m", "-u", "0"],
            "busybox df -k /t | busybox awk 'END { print $2 }'",
            "1024",
        ),
        ("read-only", &["--read-only", "-u", "0"], "mkdir /new 2>/dev/null || echo refused", "refused"),
        ("writable otherwise", &["-u", "0"], "mkdir /new && echo made", "made"),
        ("a network of its own", &[], "echo $(busybox ls /sys/class/net)", "lo"),
        (
            "no capability",
            &["-u", "0", "--cap-drop", "ALL"],
            "busybox grep CapBnd /proc/self/status",
            "CapBnd:\t0000000000000000",
        ),
        (
            "one capability",
            &["-u", "0", "--cap-drop", "ALL", "--cap-add", "CHOWN"],
            "busybox grep CapEff /proc/self/status",
            "CapEff:\t0000000000000001",
        ),
        ("Docker's seccomp profile", &[], "unshare -U sh -c : 2>/dev/null || echo refused", "refused"),
        ("no seccomp", &["--seccomp", "unconfined"], "busybox grep ^Seccomp: /proc/self/status", "Seccomp:\t0"),
    ];
    for (name, options, script, expected) in cases {
        assert_eq!(place.shell(options, script), expected, "{name}");
    }
    let said = ok(&mut place.image(&["run", "-q", "--entrypoint", "busybox", IMAGE, "echo", "instead"]));
    assert_eq!(said, "instead\n");
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]});
    std::fs::write(place.path("profile.json"), profile.to_string()).unwrap();
    let said = place.shell(&["-u", "0", "--seccomp", "profile.json"], "mkdir /new 2>&1 || true");
    assert!(said.contains("not supported"), "{said}");
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    let shown = place.shell(&["--network", "host"], "busybox readlink /proc/self/ns/net");
    assert_eq!(Path::new(&shown), own);
    assert_eq!((place.count("store/ocicat/run"), place.mounts()), (0, 0));
}

#[test]
fn the_exit_code_of_run_tells_the_end_of_the_program_from_a_failure_to_run_it() {
    need_containers!();
    let place = Place::new();
    for (words, code, reason) in [
        (&[IMAGE, "sh", "-c", "exit 3"] as &[&str], 3, ""),
        (&[IMAGE, "sh", "-c", "exit 1"], 1, ""),
        (&[IMAGE, "sh", "-c", "nope"], 127, "nope: not found"),
        (&[IMAGE, "nope"], 127, "executable file not found"),
        (&[IMAGE, "/nope"], 127, "no such file or directory"),
        (&[IMAGE, "/etc/passwd"], 126, "permission denied"),
        (&[IMAGE, "/etc"], 126, "is a directory"),
        (&["-u", "nobody", IMAGE], 125, "nobody"),
        (&["--workdir", "/etc/passwd", IMAGE], 125, "/etc/passwd"),
        (&["--memory", "nope", IMAGE], 125, "nope"),
        (&["--runtime", "/no/such", IMAGE], 125, "/no/such"),
        (&["localhost:1/nope"], 125, "localhost:1"),
        (&["--nope", IMAGE], 125, "not defined: -nope"),
        (&[], 125, "requires an argument"),
    ] {
        let out = place.image(&["-q", "run"]).args(words).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(reason), "{words:?}: {said}");
    }
    assert_eq!((place.count("store/ocicat/run"), place.mounts()), (0, 0));
}

#[test]
fn limits_are_those_of_the_cgroup() {
    need_containers!();
    let place = Place::new();
    // The names of cgroup v1 and v2; what is not there says nothing.
    for (option, value, files, expected) in [
        ("--memory", "64m", "memory/memory.limit_in_bytes memory.max", "67108864"),
        ("--pids", "50", "pids/pids.max pids.max", "50"),
        ("--cpus", "0.5", "cpu/cpu.cfs_quota_us cpu.max", "50000"),
    ] {
        let script = format!("cd /sys/fs/cgroup && cat {files} 2>/dev/null");
        let said = place.shell(&[option, value], &format!("{script}; true"));
        let said = said.split(' ').next().unwrap_or_default();
        if said.is_empty() {
            common::skip(&format!("no controller for {option} in this place"));
            continue;
        }
        assert_eq!(said, expected, "{option} {value}");
    }
}

#[test]
fn a_user_namespace_shows_the_owners_of_the_image_on_an_overlay_and_on_a_tree() {
    need_containers!();
    let place = Place::new();
    let script =
        "busybox awk '{ print $1, $2, $3 }' /proc/self/uid_map; stat -c '%u:%g' /bin /data /data/kept /etc/passwd";
    let expected = "0 300000 65536\n0:0\n33:33\n33:33\n0:0";
    for rootfs in ["--copy", "--overlay"] {
        // Somebody else of the host must be able to come in.
        std::fs::set_permissions(place.directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let said = place.shell(&[rootfs, "--userns", "300000:65536", "-u", "0"], script);
        assert_eq!(said, expected, "{rootfs}");
        // A plain tree is made of the blobs, with its owners shifted.
        assert_eq!(place.count("store/ocicat/layers"), if rootfs == "--copy" { 0 } else { 2 });
    }
    ok(&mut place.image(&["-q", "bundle", "--copy", "--userns", "300000:65536", IMAGE, "b"]));
    let owner = |path: &str| {
        let of = std::fs::metadata(place.path(path)).unwrap();
        (std::os::unix::fs::MetadataExt::uid(&of), std::os::unix::fs::MetadataExt::gid(&of))
    };
    assert_eq!((owner("b/rootfs"), owner("b/rootfs/data/kept")), ((300_000, 300_000), (300_033, 300_033)));
    assert_eq!(owner("b/volumes/0/kept"), (300_033, 300_033));
}

#[test]
fn a_plain_tree_leaves_no_unpacked_layers() {
    need_containers!();
    let place = Place::new();
    assert_eq!(place.shell(&["--copy"], "cat /data/kept"), "kept");
    ok(&mut place.image(&["-q", "bundle", "--copy", IMAGE, "b"]));
    assert_eq!(std::fs::read_to_string(place.path("b/rootfs/data/kept")).unwrap(), "kept");
    assert_eq!((place.count("store/ocicat/layers"), place.count("store/ocicat/run")), (0, 0));
    ok(&mut place.image(&["remove", "b"]));

    // The same of an image that must be pulled first.
    need!(have(&["docker-registry"]), "docker-registry is not installed");
    let registry = Registry::start(place.directory.path(), "");
    let name = format!("{}/x:1", registry.address);
    ok(&mut place.image(&["-q", "push", IMAGE, &name]));
    let fresh = |words: &[&str]| ok(place.image(&["-q"]).arg("--store").arg(place.path("fresh")).args(words));
    assert_eq!(fresh(&["run", "--copy", &name, "cat", "/data/kept"]), "kept");
    assert_eq!((place.count("fresh/ocicat/layers"), place.count("fresh/ocicat/run")), (0, 0));
    fresh(&["check"]);
}

#[test]
fn the_bundle_of_a_killed_run_stays_while_its_container_runs_and_goes_with_gc() {
    need_containers!();
    let place = Place::new();
    let id = format!("killed-{}", std::process::id());
    let (mut run, mut out) = running(&place, &id);
    // It does not wait for the container, and takes nothing of it.
    assert_eq!(place.collected(), 0);
    run.kill().unwrap();
    run.wait().unwrap();
    assert_eq!(place.collected(), 0);
    assert_eq!((place.count("store/ocicat/run"), place.mounts()), (1, 1));
    ok(Command::new(env!("CARGO_BIN_EXE_ocicat")).args(["delete", "--force", &id]));
    // The runtime has ended when nobody has our pipe any more.
    out.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(place.collected(), 1);
    assert_eq!((place.count("store/ocicat/run"), place.mounts()), (0, 0));
}

/// A run whose container is up and stays, and the pipe that it holds until its end.
fn running(place: &Place, id: &str) -> (Child, BufReader<ChildStdout>) {
    let script = "echo up; exec busybox sleep 1000";
    let words = ["-q", "run", "--name", id, IMAGE, "sh", "-c", script];
    let mut run = place.image(&words).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(run.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    (run, out)
}

#[test]
fn a_container_that_outlives_run_and_the_runtime_keeps_its_bundle() {
    need_containers!();
    let place = Place::new();
    let id = format!("outlives-{}", std::process::id());
    let (mut run, mut out) = running(&place, &id);
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", run.id())).unwrap();
    let runtime: i32 = children.trim().parse().unwrap();
    let watched = ocicat::sys::pidfd::open(runtime).unwrap();
    run.kill().unwrap();
    run.wait().unwrap();
    ocicat::sys::pidfd::send_signal(&watched, 9).unwrap();
    assert!(ocicat::sys::pidfd::wait_end(&watched, 20_000).unwrap());
    assert_eq!(place.collected(), 0);
    assert_eq!((place.count("store/ocicat/run"), place.mounts()), (1, 1));
    ok(Command::new(env!("CARGO_BIN_EXE_ocicat")).args(["delete", "--force", &id]));
    out.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(place.collected(), 1);
    assert_eq!((place.count("store/ocicat/run"), place.mounts()), (0, 0));
}

#[test]
fn a_signal_that_comes_while_the_bundle_is_made_ends_run_before_the_container() {
    need_containers!();
    need!(have(&["env"]), "coreutils are not installed");
    let place = Place::new();
    // The work is not even begun: that a layer is damaged is not noticed.
    let layer = std::fs::read_dir(place.path("store/blobs/sha256")).unwrap().map(|blob| blob.unwrap().path());
    let layer = layer.max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap();
    std::fs::write(layer, "damaged").unwrap();
    for rootfs in ["--overlay", "--copy"] {
        // It waits until it is let in, and nobody lets it in before there is a bundle.
        let script = "kill -INT $$; exec \"$@\"";
        let mut run = Command::new("env");
        run.args(["--block-signal=INT", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_ocicat-image"), "-q", "--store"]);
        run.arg(place.path("store")).args(["run", rootfs, IMAGE, "sh", "-c", "echo ran"]);
        let out = run.stdin(Stdio::null()).output().unwrap();
        let said = [out.stdout, out.stderr].concat();
        assert_eq!((out.status.code(), String::from_utf8_lossy(&said).as_ref()), (Some(130), ""), "{rootfs}");
        assert_eq!((place.count("store/ocicat/run"), place.mounts()), (0, 0), "{rootfs}");
    }
}

/// What was unpacked and never synced is not believed after a reboot; the writable layer of a bundle still needs it.
#[test]
fn a_bundle_is_mounted_again_after_a_reboot() {
    need_containers!();
    let place = Place::new();
    ok(&mut place.image(&["-q", "bundle", IMAGE, "b"]));
    std::fs::write(place.path("b/rootfs/written"), "before").unwrap();
    ok(&mut place.image(&["umount", "b"]));
    let ledger = place.path("store/ocicat/unsynced");
    let boot = std::fs::read_dir(&ledger).unwrap().next().unwrap().unwrap().path();
    std::fs::rename(boot, ledger.join("another-boot")).unwrap();
    ok(&mut place.image(&["list"]));
    assert_eq!(place.count("store/ocicat/layers"), 0);
    ok(&mut place.image(&["mount", "b"]));
    assert_eq!(std::fs::read_to_string(place.path("b/rootfs/written")).unwrap(), "before");
    assert!(place.path("b/rootfs/bin/busybox").exists());
    ok(&mut place.image(&["remove", "b"]));
}

#[test]
fn a_bundle_is_not_removed_while_a_container_lives_in_it_unless_forced() {
    need_containers!();
    let place = Place::new();
    let runtime = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ocicat"));
        command.args(words).current_dir(place.directory.path()).stdin(Stdio::null());
        command
    };
    for (kind, force) in [("--overlay", false), ("--copy", false), ("--overlay", true)] {
        let id = format!("lives-{}", std::process::id());
        ok(&mut place
            .image(&["-q", "bundle", kind, "--cmd", "busybox", "--cmd", "sleep", "--cmd", "1000", IMAGE, "b"]));
        let mut detached = runtime(&["run", "--detach", "--bundle", "b", &id]);
        assert!(detached.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
        let state: Value = serde_json::from_str(&ok(&mut runtime(&["state", &id]))).unwrap();
        let said = fails(&mut place.image(&["remove", "b"]));
        let reason = format!("bundle b is in use: process {} of a container has it as its root", state["pid"]);
        assert!(said.contains(&reason), "{kind}: {said}");
        assert!(place.path("b/config.json").exists() && place.path("b/rootfs/bin/busybox").exists(), "{kind}");
        if force {
            ok(&mut place.image(&["remove", "--force", "b"]));
            ok(&mut runtime(&["delete", "--force", &id]));
        } else {
            ok(&mut runtime(&["delete", "--force", &id]));
            ok(&mut place.image(&["remove", "b"]));
        }
        assert!(!place.path("b").exists(), "{kind}");
    }
}

#[test]
fn what_only_reads_makes_no_store_and_reads_one_that_cannot_be_written() {
    need!(Path::new("/bin/busybox").exists(), "busybox is not installed");
    let place = Place::new();
    let reading: [&[&str]; 4] =
        [&["list", "-q"], &["inspect", "--raw", IMAGE], &["check"], &["export", IMAGE, "x.tar"]];
    for words in reading {
        let program = env!("CARGO_BIN_EXE_ocicat-image");
        let said = fails(Command::new(program).arg("--store").arg(place.path("typo")).args(words));
        assert!(said.contains("typo: there is none; hint: --store"), "{words:?}: {said}");
        // Nobody named a store, and the user's own is not there yet.
        if rustix::process::geteuid().is_root() {
            continue;
        }
        let mut own = Command::new(program);
        own.env_remove("OCICAT_IMAGE_STORE").env("XDG_DATA_HOME", place.path("data")).args(words);
        assert_eq!(own.output().unwrap().status.success(), ["list", "check"].contains(&words[0]), "{words:?}");
    }
    assert_eq!((place.count("typo"), place.path("typo").exists(), place.path("data").exists()), (0, false, false));
    need!(rustix::process::geteuid().is_root() && have(&["unshare", "mount"]), "needs root, unshare and mount");
    let script = "set -e; mount --bind store store; mount -o remount,bind,ro store; for words in list check \
        'inspect localhost/x:1' 'export localhost/x:1 x.tar'; do \"$0\" -q --store store $words > out; done; echo all";
    let mut read_only = Command::new("unshare");
    read_only.args(["--mount", "--propagation", "private", "sh", "-c", script, env!("CARGO_BIN_EXE_ocicat-image")]);
    // The record of a bundle that somebody took away without a word stays.
    ok(&mut place.image(&["-q", "bundle", "--copy", IMAGE, "b"]));
    std::fs::remove_dir_all(place.path("b")).unwrap();
    assert_eq!(ok(read_only.current_dir(place.directory.path())), "all\n");
    assert!(place.path("x.tar").exists());
}

#[test]
fn machines_are_told_in_json_and_nobody_is_told_more_than_he_wants() {
    need!(have(&["docker-registry"]), "docker-registry is not installed");
    need!(Path::new("/bin/busybox").exists(), "busybox is not installed");
    let place = Place::new();
    let registry = Registry::start(place.directory.path(), "");
    let name = format!("{}/x:1", registry.address);
    let cases: [&[&str]; 14] = [
        &["push", IMAGE, &name],
        &["rm", IMAGE],
        &["gc"],
        &["pull", &name],
        &["pull", &name],
        &["list"],
        &["inspect", &name],
        &["check"],
        &["export", &name, "x.tar"],
        &["import", "x.tar", "localhost/y:1"],
        &["unpack", "localhost/y:1", "tree"],
        &["bundle", "--copy", "localhost/y:1", "b"],
        &["commit", "b", "localhost/y:2"],
        &["remove", "b"],
    ];
    for words in cases {
        let out = place.image(&["--format", "json"]).args(words).output().unwrap();
        let (said, errors) =
            (String::from_utf8(out.stdout).unwrap(), String::from_utf8_lossy(&out.stderr).into_owned());
        assert!(out.status.success() && errors.is_empty(), "{words:?}: {errors}");
        let values = serde_json::Deserializer::from_str(&said).into_iter::<Value>();
        let values = values.collect::<Result<Vec<_>, _>>().unwrap_or_else(|error| panic!("{words:?}: {error}: {said}"));
        let silent = ["rm", "unpack", "bundle", "remove"].contains(&words[0]);
        assert!(silent || !values.is_empty(), "{words:?} said nothing");
        if words[0] == "pull" {
            assert_eq!(values.last().unwrap()["event"], "pulled", "{said}");
        }
    }
    for (words, lines) in [
        (&["pull", &name][..], 1),
        (&["list"], 3),
        (&["import", "x.tar", "localhost/z:1"], 1),
        (&["export", &name, "y.tar"], 0),
        (&["unpack", &name, "other"], 0),
        (&["push", &name], 1),
        (&["gc"], 0),
        (&["check"], 0),
    ] {
        let out = place.image(&["-q"]).args(words).output().unwrap();
        let (said, errors) =
            (String::from_utf8(out.stdout).unwrap(), String::from_utf8_lossy(&out.stderr).into_owned());
        assert!(out.status.success() && errors.is_empty(), "{words:?}: {errors}");
        assert_eq!(said.lines().count(), lines, "{words:?}: {said}");
    }
}

#[test]
fn an_archive_on_standard_output_is_nothing_but_the_archive() {
    need!(Path::new("/bin/busybox").exists(), "busybox is not installed");
    let place = Place::new();
    for format in ["text", "json"] {
        let out = place.image(&["--format", format, "export", IMAGE, "-"]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        std::fs::write(place.path("x.tar"), out.stdout).unwrap();
        assert_eq!(ok(&mut place.image(&["-q", "import", "x.tar", "localhost/y:1"])), "localhost/y:1\n", "{format}");
    }
}

#[test]
fn a_terminal_is_no_place_for_an_archive() {
    need!(have(&["setsid"]), "setsid is not installed");
    need!(Path::new("/bin/busybox").exists(), "busybox is not installed");
    let place = Place::new();
    for (words, said) in [
        (["export", IMAGE, "-"], "an archive is nothing for a terminal"),
        (["import", "-", "localhost/y:1"], "standard input is a terminal"),
    ] {
        let terminal = Terminal::new();
        let child = terminal.spawn(&place.image(&words));
        let seen = terminal.finish(child);
        assert!(seen.code == 1 && seen.out.contains(said) && seen.out.lines().count() == 1, "{:?}", seen.out);
    }
    std::fs::write(place.path("text"), "hello").unwrap();
    let said = fails(&mut place.image(&["import", "text"]));
    assert!(said.contains("text: this is no archive of an image: "), "{said}");
    let said = fails(&mut place.image(&["import", "layout:1"]));
    assert!(said.contains("no such file or directory (ENOENT); hint: the path alone"), "{said}");
    std::fs::create_dir(place.path("directory")).unwrap();
    let said = fails(&mut place.image(&["export", "-q", IMAGE, "directory"]));
    assert_eq!(said, "ocicat-image: directory is a directory; hint: --as oci writes a layout there\n");
}

/// An image, a name in a layout and a registry can say what they want, but not to the terminal.
#[test]
fn control_characters_of_others_are_shown_and_not_obeyed() {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(&place.path().join("store")).unwrap();
    let config = json!({"architecture": "\u{1b}[31mamd64", "os": "linux", "created": "\u{1b}]0;x\u{7}",
        "rootfs": {"type": "layers", "diff_ids": []}});
    store.tag("\u{1b}[2Jname", &put_image(&store, &config, &[])).unwrap();
    let unfit = "\u{1b}[2J".to_owned();
    for words in [&["list"] as &[&str], &["list", "-q"], &["inspect", &unfit]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ocicat-image"));
        let out = command.arg("--store").arg(place.path().join("store")).args(words).output().unwrap();
        let said = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
        assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{words:?}: {said:?}");
        assert!(said.contains("u{1b}"), "{words:?}: {said:?}");
    }
}

#[test]
fn a_terminal_shows_a_bar_for_each_layer_and_one_line_for_all() {
    need!(have(&["docker-registry", "setsid"]), "docker-registry or setsid is not installed");
    need!(Path::new("/bin/busybox").exists(), "busybox is not installed");
    let place = Place::new();
    let registry = Registry::start(place.directory.path(), "");
    let name = format!("{}/x:1", registry.address);
    ok(&mut place.image(&["-q", "push", IMAGE, &name]));
    let program = env!("CARGO_BIN_EXE_ocicat-image");
    let mut pull = Command::new("env");
    pull.args(["-u", "NO_COLOR", "TERM=xterm", program, "--store"]).arg(place.path("fresh")).args(["pull", &name]);
    let terminal = Terminal::new();
    let child = terminal.spawn(&pull);
    let seen = terminal.finish(child);
    assert_eq!(seen.code, 0, "{}", seen.out);
    // `0123456789ab ######.... 1.2 MB of 3.4 MB`, `1 of 2 layers, 1.2 MB of 3.4 MB, 5.6 MB/s`, and each frame replaces the last.
    let cells = |word: &str| word.len() == 24 && word.bytes().all(|cell| cell == b'#' || cell == b'.');
    let bar = |line: &str| line.split(' ').any(cells) && line.contains("B of ");
    let all = |line: &str| line.contains(" of 2 layers, ") && line.ends_with("B/s");
    // How much it is in all is known from the first frame on.
    assert!(!seen.out.contains(" of 1 layer,"), "{:?}", seen.out);
    assert!(seen.out.lines().any(bar) && seen.out.lines().any(all), "{:?}", seen.out);
    assert!(seen.out.contains("\x1b[") && seen.out.contains("pulled, 2 layers"), "{:?}", seen.out);

    // Elsewhere plain lines, without a terminal's sequences.
    let out = Command::new(program).arg("--store").arg(place.path("other")).args(["pull", &name]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.contains(": done (") && !said.contains('\x1b'), "{said}");
    let said =
        fails(Command::new(program).arg("--store").arg(place.path("third")).args(["pull", &format!("{name}no")]));
    assert!(said.starts_with("ocicat-image: ") && said.lines().count() == 1, "{said}");
}

#[test]
fn a_proxy_of_the_environment_is_asked_to_connect_and_this_machine_needs_none() {
    need!(have(&["docker-registry"]), "docker-registry is not installed");
    need!(Path::new("/bin/busybox").exists(), "busybox is not installed");
    let place = Place::new();
    let registry = Registry::start(place.directory.path(), "");
    let name = format!("{}/x:1", registry.address);
    ok(&mut place.image(&["-q", "push", IMAGE, &name]));
    let (address, asked) = proxy(registry.address.clone());
    let pull = |name: &str, except: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ocicat-image"));
        command.arg("--store").arg(place.path("fresh")).args(["-q", "pull", "--plain-http", "--attempts", "1", name]);
        command.env("HTTP_PROXY", format!("http://me:secret@{address}")).env("NO_PROXY", except);
        command.env("REGISTRY_AUTH_FILE", place.path("auth.json"));
        command
    };
    ok(&mut pull("registry.example.test:81/x:1", ""));
    let lines = asked.lock().unwrap().clone();
    assert!(lines.contains(&"connect registry.example.test:81 http/1.1".to_owned()), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("proxy-authorization: basic ")), "{lines:?}");
    ok(&mut pull(&name, ""));
    fails(&mut pull("other.example.test:81/x:1", ".example.test"));
    assert_eq!(*asked.lock().unwrap(), lines);
}

/// `ocicat-image pull x 2>&1 | true`, `export x - | head -c 10`
#[test]
fn a_reader_that_goes_away_is_told_of_in_words_or_not_at_all() {
    need!(Path::new("/bin/busybox").exists(), "busybox is not installed");
    let place = Place::new();
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    for (words, code, said) in [
        (&["list"] as &[&str], 0, ""),
        (&["list", "--format", "json"], 0, ""),
        (&["inspect", IMAGE], 0, ""),
        (&["help"], 0, ""),
        (&["export", "-q", IMAGE, "-"], 1, "ocicat-image: standard output: write: broken pipe (EPIPE)\n"),
        (
            &["export", "-q", "--as", "docker-archive", IMAGE, "-"],
            1,
            "ocicat-image: standard output: write: broken pipe (EPIPE)\n",
        ),
    ] {
        let out =
            place.image(words).stdout(closed()).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!((out.status.code(), String::from_utf8_lossy(&out.stderr).as_ref()), (Some(code), said), "{words:?}");
    }
    for (words, code) in [(&["rm", "localhost/no"] as &[&str], 1), (&["export", IMAGE, "x.tar"], 0), (&["nope"], 1)] {
        let status = place.image(words).stderr(closed()).stdout(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{words:?}");
    }
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let said = fails(place.image(&["export", "-q", IMAGE, "-"]).stdout(full));
    assert_eq!(said, "ocicat-image: standard output: write: no space left on device (ENOSPC)\n");
}

#[test]
fn a_login_that_is_interrupted_gives_the_terminal_back() {
    need!(have(&["setsid", "stty", "sh"]), "setsid or stty is not installed");
    let place = tempfile::tempdir().unwrap();
    // The shell is not interrupted itself, and tells what the terminal is like afterwards.
    let script = "trap : INT; \"$0\" login -u me 127.0.0.1:1; echo \"code $?\"; stty | tr ' ;' '\\n\\n' | grep -x -e -echo; echo end";
    let mut login = Command::new("sh");
    login.args(["-c", script, env!("CARGO_BIN_EXE_ocicat-image")]).current_dir(place.path());
    let mut terminal = Terminal::new();
    let child = terminal.spawn(&login);
    terminal.expect("Password: ");
    terminal.write("sec\u{3}");
    let seen = terminal.finish(child);
    assert!(seen.out.ends_with("code 130\nend\n") && !seen.out.contains("-echo"), "{:?}", seen.out);
    assert!(!seen.out.contains("sec"), "{:?}", seen.out);

    // A password that is typed is not shown, and comes to the registry.
    let mut terminal = Terminal::new();
    login = Command::new("env");
    login.args([
        "-u",
        "REGISTRY_AUTH_FILE",
        env!("CARGO_BIN_EXE_ocicat-image"),
        "login",
        "--attempts",
        "1",
        "127.0.0.1:1",
    ]);
    let child = terminal.spawn(&login);
    terminal.expect("Username: ");
    terminal.write("me\n");
    terminal.expect("Password: ");
    terminal.write("secret\n");
    let seen = terminal.finish(child);
    assert_eq!(seen.code, 1, "{:?}", seen.out);
    assert!(seen.out.contains("connection refused") && !seen.out.contains("secret"), "{:?}", seen.out);
}
