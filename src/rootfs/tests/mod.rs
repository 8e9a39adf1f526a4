//! Plans as text, and real trees.
//!
//! A tree is made in a process of its own: the test starts its own binary again below unshare(1), with itself as the
//! only test. So a mount that went wrong is gone with that process, and the host never sees one.

#![allow(clippy::disallowed_methods, reason = "tests make their own trees, and nobody else is in them")]

mod attacks;
mod plans;
mod trees;

use super::*;
use crate::config::Config;
use crate::host::{CgroupMode, Host};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const INSIDE: &str = "OCICAT_TEST_INSIDE";

/// Namespaces of a container that root starts.
const ROOT: &[&str] =
    &["--mount", "--pid", "--fork", "--mount-proc", "--ipc", "--uts", "--net", "--propagation", "private"];

/// Runs `body` in new namespaces; false means that this process only started the one that did.
fn inside(test: &str, namespaces: &[&str], body: impl FnOnce(&Path)) {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: {test}: not root");
        return;
    }
    if let Some(dir) = std::env::var_os(INSIDE) {
        return body(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("rootfs")).unwrap();
    let run = Command::new("unshare")
        .args(namespaces)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, dir.path())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}

fn config(json: &str) -> Config {
    serde_json::from_str(json).unwrap()
}

fn no_cgroups() -> CgroupView {
    CgroupView { mode: CgroupMode::None, hierarchies: Vec::new(), private_namespace: false }
}

/// A bundle at `bundle` on `host`, as config.json says.
fn planned(json: &str, bundle: &Path, host: &Host, cgroups: &CgroupView) -> anyhow::Result<Plan> {
    let config = config(json);
    let new_user_namespace = config.linux.as_ref().is_some_and(|linux| {
        linux.namespaces.iter().any(|namespace| namespace.kind == "user" && namespace.path.is_none())
    });
    plan(&Request { config: &config, host, bundle, cgroups, no_pivot: false, new_user_namespace })
}

/// Makes and enters the tree.
fn enter(json: &str, dir: &Path) -> anyhow::Result<()> {
    let plan = planned(json, dir, &Host::read(), &no_cgroups())?;
    let mut root = plan.build(plan.prepare(None)?)?;
    root.pivot()?;
    root.finish()
}

/// The error of making and entering the tree, in one line.
fn refused(json: &str, dir: &Path) -> String {
    match enter(json, dir) {
        Ok(()) => "accepted".to_owned(),
        Err(error) => format!("{error:#}"),
    }
}

/// What mountinfo says of the topmost mount at `path`: filesystem, mount options, optional fields.
fn mounted(path: &str) -> Option<(String, String, String)> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().rev().find(|line| line.split(' ').nth(4) == Some(path))?;
    let (left, right) = line.split_once(" - ").unwrap();
    let mut left = left.split(' ').skip(5);
    let options = left.next().unwrap().to_owned();
    Some((right.split(' ').next().unwrap().to_owned(), options, left.collect::<Vec<_>>().join(" ")))
}

fn rootfs(dir: &Path, directories: &[&str]) -> PathBuf {
    let root = dir.join("rootfs");
    for directory in directories {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    root
}

fn is_device(path: &str, major: u32, minor: u32) -> bool {
    use std::os::unix::fs::MetadataExt;
    let facts = std::fs::metadata(path).unwrap();
    facts.file_type().is_char_device() && facts.rdev() == rustix::fs::makedev(major, minor)
}

/// A process that exchanges two names of a directory as fast as it can, until it is dropped.
pub(super) struct Swapper(crate::sys::clone::Child);

impl Swapper {
    pub(super) fn start(dir: &Path, one: &std::ffi::CStr, other: &std::ffi::CStr) -> Swapper {
        use crate::sys::clone::{Cloned, clone3};
        let dir = crate::sys::files::open_path(dir).unwrap();
        match clone3(0, None).unwrap() {
            Cloned::Parent(child) => Swapper(child),
            // Nothing here takes memory: other threads of the test may have held its lock.
            Cloned::Child => {
                let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
                loop {
                    let _ = rustix::fs::renameat_with(&dir, one, &dir, other, rustix::fs::RenameFlags::EXCHANGE);
                }
            }
        }
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        crate::sys::pidfd::send_signal(&self.0.pidfd, libc::SIGKILL).unwrap();
        crate::sys::pidfd::reap(&self.0.pidfd).unwrap();
    }
}

/// What `runc spec` writes, as far as the root filesystem is concerned.
const DEFAULT: &str = r#"{"ociVersion": "1.3.0", "root": {"path": "rootfs", "readonly": true}, "mounts": [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
    {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
     "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
     "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}],
  "linux": {"namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
    "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
      "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
    "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]}}"#;

/// A bundle with these mounts, proc, and a new mount namespace.
fn with_mounts(mounts: &str) -> String {
    format!(
        r#"{{"root": {{"path": "rootfs"}}, "mounts": [{{"destination": "/proc", "type": "proc"}}, {mounts}],
            "linux": {{"namespaces": [{{"type": "mount"}}, {{"type": "pid"}}, {{"type": "network"}}, {{"type": "ipc"}}]}}}}"#
    )
}
