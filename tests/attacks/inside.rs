//! This test program as somebody else: as a hostile program inside of a container, and in namespaces of its own.

use crate::common::*;
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;

const HOSTILE: &str = "OCICAT_TEST_HOSTILE";
const APART: &str = "OCICAT_TEST_APART";

/// The container runs one of the programs below, until `/data/stop` exists. Its `/data` can be written to.
pub fn hostile(container: Container, program: &str) -> Container {
    let own = std::env::current_exe().unwrap();
    let seek = container.dir.display().to_string();
    fs::write(container.rootfs().join("hostile"), "").unwrap();
    container
        .mount("/hostile", "bind", own, &["bind", "ro"])
        .args(&["/hostile", "--exact", &format!("inside::{program}"), "--nocapture", "--test-threads=1"])
        .set("/process/env", json!(["PATH=/bin", format!("{HOSTILE}={seek}")]))
}

/// Runs the test in new namespaces (options of unshare(1)): false says that this process only started the one that does.
/// What is mounted there, the machine never sees.
#[track_caller]
pub fn apart(test: &str, namespaces: &[&str]) -> bool {
    if std::env::var(APART).is_ok_and(|name| name == test) {
        return true;
    }
    let mut command = Command::new("unshare");
    command.args(namespaces).args(["--propagation", "private"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(APART, test);
    let outcome = finish(command);
    assert!(outcome.code == 0 && outcome.out.contains("1 passed"), "{outcome}");
    false
}

/// Looks at every process that comes into the container, and tells what it could reach of it.
#[test]
fn spy() {
    let Ok(seek) = std::env::var(HOSTILE) else { return };
    println!("looking");
    let (mut told, mut seen, mut kept) = (HashSet::new(), HashSet::new(), Vec::new());
    while !Path::new("/data/stop").exists() {
        for pid in others() {
            seen.insert(pid.clone());
            for line in reached(&pid, &seek, &mut kept) {
                if told.insert(line.clone()) {
                    println!("reached {line}");
                }
            }
        }
        // What was opened for reading may be written once nobody executes it.
        kept.drain(..kept.len().saturating_sub(20));
        for (file, name) in &kept {
            if write(&format!("/proc/self/fd/{}", file.as_raw_fd())) && told.insert(format!("later {name}")) {
                println!("reached {name} for writing, later");
            }
        }
    }
    println!("saw {} processes", seen.len());
}

fn others() -> Vec<String> {
    let own = std::process::id().to_string();
    let names = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| *name != own && *name != "1" && name.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

/// Writes the byte that every program begins with.
fn write(path: &str) -> bool {
    use std::os::unix::fs::FileExt;
    OpenOptions::new().write(true).open(path).is_ok_and(|file| file.write_all_at(b"\x7f", 0).is_ok())
}

/// What can be reached of a process that is not a program of the container.
fn reached(pid: &str, seek: &str, kept: &mut Vec<(File, String)>) -> Vec<String> {
    let at = |name: &str| format!("/proc/{pid}/{name}");
    let mut found = Vec::new();
    // Under its root and its working directory the bundle, which only the host has.
    for name in ["root", "cwd"] {
        if File::open(format!("{}{seek}/config.json", at(name))).is_ok() {
            found.push(format!("the host by {name}"));
        }
    }
    if fs::read(at("cmdline")).is_ok_and(|words| String::from_utf8_lossy(&words).contains(seek)) {
        found.push("the host by its command line".to_owned());
    }
    let memory = OpenOptions::new().read(true).write(true).open(at("mem")).is_ok();
    let Ok(program) = fs::read_link(at("exe")) else { return found };
    let program = program.display().to_string();
    if program != "/bin/busybox" {
        found.push(format!("program {program}"));
        found.extend(memory.then(|| format!("memory of {program}")));
        found.extend(write(&at("exe")).then(|| format!("{program} for writing")));
        kept.extend(File::open(at("exe")).ok().map(|file| (file, program)));
        for entry in fs::read_dir(at("fd")).into_iter().flatten().filter_map(Result::ok) {
            let at = entry.path().display().to_string();
            if File::open(format!("{at}{seek}/config.json")).is_ok() {
                found.push("the host by a descriptor".to_owned());
            }
            let link = fs::read_link(entry.path()).unwrap_or_default().display().to_string();
            let harmless = ["/dev/null", "pipe:", "socket:", "anon_inode:", "/memfd:", "/proc", "/tmp/#"];
            if !harmless.iter().any(|start| link.starts_with(start)) && !link.is_empty() {
                found.push(format!("descriptor {link}"));
            }
        }
    }
    found
}

/// Stops every process that comes into the container, for as long as it lives.
#[test]
fn stopper() {
    if std::env::var(HOSTILE).is_err() {
        return;
    }
    println!("looking");
    while !Path::new("/data/stop").exists() {
        for pid in others() {
            let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::STOP);
        }
    }
}

/// A running container with [`stopper`].
#[track_caller]
pub fn stopper_of(container: Container) -> Container {
    let container = hostile(container, "stopper").detached();
    while !container.output().contains("looking") {
        std::thread::yield_now();
    }
    container
}
