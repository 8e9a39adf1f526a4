//! A container of a test: its bundle, the calls on it, and what must not be left of it.

use super::host;
use super::outcome::{Outcome, content, finish, readable_within, try_finish};
use super::program;
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, waitpid};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The programs of busybox that tests use.
const APPLETS: &[&str] = &[
    "awk",
    "base64",
    "basename",
    "cat",
    "chgrp",
    "chmod",
    "chown",
    "chroot",
    "chrt",
    "cp",
    "cut",
    "date",
    "dd",
    "df",
    "dirname",
    "dmesg",
    "echo",
    "env",
    "expr",
    "false",
    "find",
    "free",
    "grep",
    "groups",
    "head",
    "hexdump",
    "hostname",
    "id",
    "ifconfig",
    "ionice",
    "ip",
    "ipcs",
    "kill",
    "ln",
    "ls",
    "md5sum",
    "mkdir",
    "mkfifo",
    "mknod",
    "mktemp",
    "mount",
    "mv",
    "nc",
    "nice",
    "nproc",
    "od",
    "ping",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "realpath",
    "renice",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "setpriv",
    "setsid",
    "sh",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "stty",
    "su",
    "sync",
    "tail",
    "tar",
    "taskset",
    "tee",
    "test",
    "time",
    "timeout",
    "top",
    "touch",
    "tr",
    "true",
    "tty",
    "umount",
    "uname",
    "uniq",
    "unshare",
    "uptime",
    "usleep",
    "vi",
    "wc",
    "which",
    "who",
    "whoami",
    "xargs",
    "yes",
];

static NUMBER: AtomicU32 = AtomicU32::new(0);
static ONCE: Once = Once::new();

/// The configuration that tests start from: the one that `spec` prints, without a terminal.
pub fn default_config() -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["true"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
                "effective": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
                "permitted": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "ocicat",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}

/// A bundle and the container made from it; dropping it deletes the container and fails the test if anything is left.
pub struct Container {
    pub id: String,
    /// The bundle, the state root and whatever the test makes.
    pub dir: PathBuf,
    pub config: Value,
    /// The cgroup that the configuration asks for.
    pub cgroup: String,
    /// Options that stand before the command.
    pub globals: Vec<String>,
    /// Mounts of the host that the test made below the bundle.
    held: RefCell<Vec<PathBuf>>,
    /// The container's output when it was made by `create` or `run --detach`.
    output: RefCell<Option<(File, File)>>,
}

impl Default for Container {
    fn default() -> Container {
        Container::new()
    }
}

impl Container {
    /// A bundle with busybox that runs `true`.
    pub fn new() -> Container {
        // Containers that lose their parent become ours, as a manager's shim would have it.
        ONCE.call_once(|| rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap());
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = format!("ocicat-test-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(&id);
        fs::create_dir(&dir).unwrap();
        let rootfs = dir.join("rootfs");
        for name in ["", "bin", "dev", "etc", "proc", "sys", "tmp", "root", "data"] {
            fs::create_dir(rootfs.join(name)).unwrap();
        }
        fs::hard_link(busybox(), rootfs.join("bin/busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
        }
        fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nfay:x:1000:1000::/home/fay:/bin/sh\n")
            .unwrap();
        fs::write(rootfs.join("etc/group"), "root:x:0:\nfay:x:1000:\n").unwrap();
        let mut config = default_config();
        let cgroup = format!("/{id}");
        config["linux"]["cgroupsPath"] = json!(cgroup);
        Container { id, dir, config, cgroup, globals: Vec::new(), held: RefCell::default(), output: RefCell::new(None) }
    }

    /// What the container runs.
    pub fn args(mut self, args: &[&str]) -> Container {
        self.config["process"]["args"] = json!(args);
        self
    }

    /// A line for the shell as what the container runs.
    pub fn shell(self, line: &str) -> Container {
        self.args(&["sh", "-c", line])
    }

    /// Changes the configuration.
    pub fn edit(mut self, change: impl FnOnce(&mut Value)) -> Container {
        change(&mut self.config);
        self
    }

    /// Sets one place of the configuration, given as a JSON pointer; missing objects on the way are made, `-` appends.
    #[track_caller]
    pub fn set(mut self, pointer: &str, value: Value) -> Container {
        let mut place = &mut self.config;
        for key in pointer.trim_start_matches('/').split('/') {
            place = match key {
                "-" => {
                    if !place.is_array() {
                        *place = json!([]);
                    }
                    let list = place.as_array_mut().unwrap();
                    list.push(Value::Null);
                    list.last_mut().unwrap()
                }
                key if place.is_array() => place.get_mut(key.parse::<usize>().unwrap()).unwrap(),
                key => &mut place[key],
            };
        }
        *place = value;
        self
    }

    /// An option that stands before the command in every call.
    pub fn global(mut self, option: &str) -> Container {
        self.globals.push(option.to_owned());
        self
    }

    /// A unit of systemd as the container's cgroup: `SLICE:PREFIX:NAME`, and where that is.
    pub fn scope(self, slice: &str) -> Container {
        let place = format!("{slice}:ocicat:{}", self.id);
        let cgroup = format!("/{slice}/ocicat-{}.scope", self.id);
        let mut this = self.global("--systemd-cgroup").set("/linux/cgroupsPath", json!(place));
        this.cgroup = cgroup;
        this
    }

    /// Adds a mount.
    pub fn mount(self, destination: &str, kind: &str, source: impl AsRef<Path>, options: &[&str]) -> Container {
        let source = source.as_ref().to_str().unwrap().to_owned();
        self.set("/mounts/-", json!({"destination": destination, "type": kind, "source": source, "options": options}))
    }

    /// Gives the container these capabilities besides the three usual ones.
    pub fn capabilities(mut self, names: &[&str]) -> Container {
        for set in ["bounding", "effective", "permitted"] {
            self.config["process"]["capabilities"][set]
                .as_array_mut()
                .unwrap()
                .extend(names.iter().map(|name| json!(name)));
        }
        self
    }

    /// A new namespace of this kind too.
    pub fn namespace(self, kind: &str) -> Container {
        self.set("/linux/namespaces/-", json!({"type": kind}))
    }

    /// No namespace of this kind: the host's.
    pub fn without_namespace(mut self, kind: &str) -> Container {
        self.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|entry| entry["type"] != kind);
        self
    }

    /// Makes every id of the container one of the host's ids from 100000 on, and hands it the rootfs.
    pub fn user_namespace(self) -> Container {
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        for entry in walk(&self.rootfs()) {
            // busybox is a hard link shared by all bundles: its owner stays.
            if !entry.ends_with("bin/busybox") {
                std::os::unix::fs::lchown(&entry, Some(100_000), Some(100_000)).unwrap();
            }
        }
        self.namespace("user").set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
    }

    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// A file in the root filesystem.
    pub fn file(self, path: &str, text: &str, mode: u32) -> Container {
        use std::os::unix::fs::PermissionsExt;
        let at = self.rootfs().join(path.trim_start_matches('/'));
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        if mode & 0o111 == 0 {
            fs::write(&at, text).unwrap();
        } else {
            program::write(&at, text);
        }
        fs::set_permissions(&at, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    /// Mounts a tmpfs of the host's on a directory below the bundle, until the container is gone.
    pub fn hold_tmpfs(&self, point: &Path) {
        fs::create_dir_all(point).unwrap();
        rustix::mount::mount("none", point, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
        self.held.borrow_mut().push(point.to_owned());
    }

    /// Makes a directory below the bundle a shared mount of the host's, until the container is gone.
    pub fn hold_shared(&self, point: &Path) {
        rustix::mount::mount_bind(point, point).unwrap();
        rustix::mount::mount_change(point, rustix::mount::MountPropagationFlags::SHARED).unwrap();
        self.held.borrow_mut().push(point.to_owned());
    }

    /// Something is mounted there by other means, and to be unmounted when the container is gone.
    pub fn held_at(&self, point: &Path) {
        self.held.borrow_mut().push(point.to_owned());
    }

    /// Unmounts what was held, the last first.
    pub fn release(&self) {
        while let Some(point) = self.held.borrow_mut().pop() {
            rustix::mount::unmount(&point, rustix::mount::UnmountFlags::DETACH).unwrap();
        }
    }

    /// A fifo in the root filesystem: what is inside can tell the test something.
    pub fn fifo(&self, name: &str) -> Fifo {
        let path = self.rootfs().join(name);
        Fifo::make(&path)
    }

    /// Where the runtime keeps its state for this test.
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// Writes config.json.
    pub fn write(&self) {
        fs::write(self.dir.join("config.json"), serde_json::to_vec_pretty(&self.config).unwrap()).unwrap();
    }

    /// The runtime with this test's state root, no standard input, and these arguments.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(super::runtime());
        command.arg("--root").arg(self.root()).args(&self.globals).args(args).current_dir(&self.dir).stdin(self.null());
        command
    }

    /// A null device of this test's own: a runtime may give its standard input to the container's user, and crun 1.8
    /// does so with /dev/null too.
    pub fn null(&self) -> Stdio {
        let path = self.dir.join("null");
        if !path.exists() {
            let made = rustix::fs::mknodat(
                rustix::fs::CWD,
                &path,
                rustix::fs::FileType::CharacterDevice,
                rustix::fs::Mode::from_raw_mode(0o666),
                rustix::fs::makedev(1, 3),
            );
            if made.is_err() {
                return Stdio::null();
            }
        }
        Stdio::from(OpenOptions::new().read(true).write(true).open(path).unwrap())
    }

    /// Calls the runtime with these arguments.
    #[track_caller]
    pub fn call<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Outcome {
        finish(self.command(args))
    }

    /// `run` in the foreground.
    #[track_caller]
    pub fn run(&self) -> Outcome {
        self.run_with(&[])
    }

    /// `run` with options.
    #[track_caller]
    pub fn run_with(&self, options: &[&str]) -> Outcome {
        self.write();
        self.call(&[&["run"], options, &[&self.id]].concat())
    }

    /// `run --detach`; the container's output goes to [`Container::output`].
    #[track_caller]
    pub fn detached(self) -> Container {
        self.write();
        self.detach(&["run", "--detach", &self.id]).ok();
        self
    }

    /// A detached container that does nothing until it is killed.
    #[track_caller]
    pub fn sleeping(self) -> Container {
        self.args(&["sleep", "1000"]).detached()
    }

    /// `create`, then `start`.
    #[track_caller]
    pub fn started(self) -> Container {
        self.create().ok();
        self.call(&["start", &self.id]).ok();
        self
    }

    /// `create`.
    #[track_caller]
    pub fn create(&self) -> Outcome {
        self.create_with(&[])
    }

    /// `create` with options.
    #[track_caller]
    pub fn create_with(&self, options: &[&str]) -> Outcome {
        self.write();
        self.detach(&[&["create"], options, &[&self.id]].concat())
    }

    /// A call whose output stays open in a container that lives on.
    #[track_caller]
    pub fn detach(&self, args: &[&str]) -> Outcome {
        let (out, err) = (super::outcome::scratch(), super::outcome::scratch());
        let mut command = self.command(args);
        command.stdout(Stdio::from(out.try_clone().unwrap())).stderr(Stdio::from(err.try_clone().unwrap()));
        let asked = format!("{command:?}");
        let mut child = command.spawn().unwrap();
        if !super::outcome::ends_within(&child, Duration::from_secs(60)) {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{asked} did not end in 60 s: {}", content(&mut err.try_clone().unwrap()));
        }
        let status = child.wait().unwrap();
        let outcome = Outcome {
            code: status.code().unwrap_or(-1),
            out: content(&mut out.try_clone().unwrap()),
            err: content(&mut err.try_clone().unwrap()),
            asked,
        };
        *self.output.borrow_mut() = Some((out, err));
        outcome
    }

    /// What a detached container has written to its output so far.
    pub fn output(&self) -> String {
        self.output.borrow().as_ref().map(|(out, _)| content(&mut out.try_clone().unwrap())).unwrap_or_default()
    }

    /// What a detached container has written to its error output so far.
    pub fn error_output(&self) -> String {
        self.output.borrow().as_ref().map(|(_, err)| content(&mut err.try_clone().unwrap())).unwrap_or_default()
    }

    /// `start`.
    #[track_caller]
    pub fn start(&self) -> Outcome {
        self.call(&["start", &self.id])
    }

    /// `exec` of these words.
    #[track_caller]
    pub fn exec(&self, words: &[&str]) -> Outcome {
        self.exec_with(&[], words)
    }

    /// `exec` with options.
    #[track_caller]
    pub fn exec_with(&self, options: &[&str], words: &[&str]) -> Outcome {
        self.call(&[&["exec"], options, &[&self.id], words].concat())
    }

    /// `kill` with a signal.
    #[track_caller]
    pub fn kill(&self, signal: &str) -> Outcome {
        self.call(&["kill", &self.id, signal])
    }

    /// `delete`.
    #[track_caller]
    pub fn delete(&self) -> Outcome {
        self.call(&["delete", &self.id])
    }

    /// `state`, read.
    #[track_caller]
    pub fn state(&self) -> Value {
        self.call(&["state", &self.id]).ok().json()
    }

    /// The status that `state` tells.
    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_owned()
    }

    /// The pid of the container's first process.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        u32::try_from(self.state()["pid"].as_u64().unwrap()).unwrap()
    }

    /// Waits for the end of the container's first process and reaps it: its exit code, or 128 and the signal.
    #[track_caller]
    pub fn wait(&self) -> i32 {
        wait_pid(self.pid())
    }

    /// Kills the container, waits for its end and leaves it stopped.
    #[track_caller]
    pub fn end(&self) {
        let pid = self.pid();
        self.kill("KILL").ok();
        wait_pid(pid);
    }

    /// One file of the container's cgroup, of a controller.
    pub fn cgroup_file(&self, controller: &str, name: &str) -> Option<String> {
        let text = fs::read_to_string(host::cgroup_dir(controller, &self.cgroup)?.join(name)).ok()?;
        Some(text.trim().to_owned())
    }

    /// Waits until no process of the container is left: what was killed may need a moment to end.
    #[track_caller]
    pub fn no_process(&self) {
        for pid in host::processes_of(&self.id, &self.rootfs()) {
            let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            if let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) {
                assert!(readable_within(&fd, Duration::from_secs(5)), "process {pid:?} lives on");
            }
        }
        assert_eq!(host::processes_of(&self.id, &self.rootfs()).len(), 0);
    }

    /// What is left of the container: state, cgroups, mounts, processes.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        if let Ok(entries) = fs::read_dir(self.root()) {
            // runc and crun keep a lock or a cache here; a directory of ours is a container.
            left.extend(
                entries
                    .filter_map(Result::ok)
                    .map(|entry| entry.path())
                    .filter(|path| {
                        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                        // Behind the mark: one that was deleted, whose hooks have not ended.
                        name == self.id || name.starts_with(&format!("{}~", self.id))
                    })
                    .map(|path| format!("state {}", path.display())),
            );
        }
        left.extend(host::cgroup_dirs(&self.cgroup).iter().map(|dir| format!("cgroup {}", dir.display())));
        left.extend(host::mounts_below(&self.dir).iter().map(|point| format!("mount {}", point.display())));
        left.extend(host::processes_of(&self.id, &self.rootfs()).iter().map(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            format!("process {pid} {}", String::from_utf8_lossy(&line).replace('\0', " "))
        }));
        left
    }

    /// Removes by hand what a runtime left, so that a failed test is no burden to the next.
    fn clean_by_hand(&self) {
        for pid in host::processes_of(&self.id, &self.rootfs()) {
            if let Some(pid) = Pid::from_raw(i32::try_from(pid).unwrap()) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        for dir in host::cgroup_dirs(&self.cgroup) {
            let _ = fs::write(dir.join("freezer.state"), "THAWED");
            for pid in fs::read_to_string(dir.join("cgroup.procs"))
                .unwrap_or_default()
                .lines()
                .filter_map(|line| Pid::from_raw(line.parse().ok()?))
            {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                if let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) {
                    readable_within(&fd, Duration::from_secs(5));
                }
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            }
            for below in walk(&dir).into_iter().rev().filter(|path| path.is_dir()) {
                let _ = fs::remove_dir(below);
            }
        }
        for point in host::mounts_below(&self.dir).into_iter().rev() {
            let _ = rustix::mount::unmount(&point, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let gone = !self.root().join(&self.id).exists();
        let deleted = try_finish(self.command(&["delete", "--force", &self.id]), Duration::from_secs(30));
        self.release();
        let left = self.leftovers();
        if !left.is_empty() {
            self.clean_by_hand();
        }
        if host::mounts_below(&self.dir).is_empty() {
            let _ = fs::remove_dir_all(&self.dir);
        }
        if !std::thread::panicking() {
            let deleted = deleted.unwrap_or_else(|why| panic!("{why}"));
            assert!(deleted.code == 0 || gone, "{deleted}");
            assert!(left.is_empty(), "left behind after `delete --force`:\n{}", left.join("\n"));
        }
    }
}

/// Waits for a process that is, or has become, a child of this one: its exit code, or 128 and the signal.
#[track_caller]
pub fn wait_pid(pid: u32) -> i32 {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    if let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) {
        assert!(readable_within(&fd, Duration::from_secs(30)), "process {} did not end", pid.as_raw_nonzero());
    }
    match waitpid(Some(pid), WaitOptions::empty()) {
        Ok(Some((_, status))) => status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0)),
        // Reaped already.
        _ => -1,
    }
}

/// A fifo that the test reads from.
pub struct Fifo(File, PathBuf);

impl Fifo {
    pub fn make(path: &Path) -> Fifo {
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o666),
            0,
        )
        .unwrap();
        rustix::fs::chmod(path, rustix::fs::Mode::from_raw_mode(0o666)).unwrap();
        // Open for both, so that neither side waits for the other.
        Fifo(OpenOptions::new().read(true).write(true).open(path).unwrap(), path.to_owned())
    }

    pub fn path(&self) -> &Path {
        &self.1
    }

    /// Waits at most 20 seconds for a line.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        loop {
            assert!(
                readable_within(&self.0, Duration::from_secs(20)),
                "nothing came through {}, only {:?}",
                self.1.display(),
                String::from_utf8_lossy(&line)
            );
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            if byte == *b"\n" {
                return String::from_utf8(line).unwrap();
            }
            line.push(byte[0]);
        }
    }

    /// Says something to whoever reads.
    pub fn tell(&mut self, text: &str) {
        use std::io::Write;
        self.0.write_all(text.as_bytes()).unwrap();
    }
}

/// A copy of busybox on the file system of the bundles, to link from: one per user of this machine.
fn busybox() -> PathBuf {
    static COPY: Once = Once::new();
    let copy = std::env::temp_dir().join(format!("ocicat-test-busybox-{}", rustix::process::geteuid().as_raw()));
    COPY.call_once(|| {
        let found = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
        let found = found.expect("busybox is not installed; hint: apt-get install busybox-static");
        // By rename: other test programs may link from it at this moment.
        let new = copy.with_extension(std::process::id().to_string());
        program::copy(Path::new(found), &new);
        fs::rename(new, &copy).unwrap();
    });
    copy
}

/// Kills a process that has become a child of this one and reaps it, as a shim would. Until then its pid namespace
/// cannot end.
#[track_caller]
pub fn end_pid(pid: u32) {
    let raw = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(raw, rustix::process::Signal::KILL).unwrap();
    wait_pid(pid);
}

/// A directory and everything in it, parents first; links are not followed.
pub fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    let mut next = 0;
    while let Some(path) = found.get(next).cloned() {
        next += 1;
        if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            found.extend(fs::read_dir(&path).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path()));
        }
    }
    found
}
