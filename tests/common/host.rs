//! Facts of the host that tests look at: cgroup hierarchies, mounts, processes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where each cgroup hierarchy is mounted: (controllers of version 1, or "" for cgroup2; mount point).
pub fn hierarchies() -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for line in fs::read_to_string("/proc/self/mountinfo").unwrap().lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let (left, right): (Vec<&str>, Vec<&str>) = (left.split(' ').collect(), right.split(' ').collect());
        // Only the root of a hierarchy: bind mounts of a part of it are somebody's container.
        if left[3] != "/" {
            continue;
        }
        match right[0] {
            "cgroup2" => found.push((String::new(), PathBuf::from(left[4]))),
            "cgroup" => {
                let words = right[2]
                    .split(',')
                    .filter(|word| !["rw", "ro", "relatime", "noprefix", "clone_children"].contains(word));
                found.push((words.collect::<Vec<_>>().join(","), PathBuf::from(left[4])));
            }
            _ => {}
        }
    }
    found
}

/// The directory in which a controller's files of this cgroup are.
pub fn cgroup_dir(controller: &str, path: &str) -> Option<PathBuf> {
    let all = hierarchies();
    let v1 = all.iter().find(|(names, _)| names.split(',').any(|name| name == controller));
    let v2 = all.iter().find(|(names, _)| names.is_empty());
    v1.or(v2).map(|(_, at)| at.join(path.trim_start_matches('/')))
}

/// Whether a controller is a version 1 hierarchy here.
pub fn v1(controller: &str) -> bool {
    hierarchies().iter().any(|(names, _)| names.split(',').any(|name| name == controller))
}

/// Whether this controller counts and limits here, in whichever version.
pub fn limits(controller: &str) -> bool {
    let unified = hierarchies().into_iter().find(|(names, _)| names.is_empty());
    let listed = unified.and_then(|(_, at)| fs::read_to_string(at.join("cgroup.controllers")).ok()).unwrap_or_default();
    v1(controller) || listed.split_whitespace().any(|name| name == controller)
}

/// Whether the stalls of a cgroup are counted: the kernel does so in cgroup2 only.
pub fn pressure(kind: &str) -> bool {
    let unified = hierarchies().into_iter().find(|(names, _)| names.is_empty());
    let cgroups = unified.and_then(|(_, at)| fs::read_dir(at).ok()).into_iter().flatten().flatten();
    cgroups.map(|entry| entry.path().join(format!("{kind}.pressure"))).any(|file| file.exists())
}

/// Whether memory can be swapped out here.
pub fn has_swap() -> bool {
    fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1)
}

/// All directories of this cgroup that exist.
pub fn cgroup_dirs(path: &str) -> Vec<PathBuf> {
    let below = path.trim_start_matches('/');
    hierarchies().into_iter().map(|(_, at)| at.join(below)).filter(|dir| dir.is_dir()).collect()
}

/// Mount points below a directory.
pub fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = text.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    points.filter(|point| point.starts_with(dir)).collect()
}

/// Processes that name this word in their command line, or whose root is this directory.
pub fn processes_of(word: &str, root: &Path) -> BTreeSet<u32> {
    use std::os::unix::fs::MetadataExt;
    let wanted = fs::metadata(root).map(|meta| (meta.dev(), meta.ino())).ok();
    let me = std::process::id();
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != me)
        .filter(|pid| {
            let named = fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(word));
            let inside = fs::metadata(format!("/proc/{pid}/root/")).map(|meta| (meta.dev(), meta.ino())).ok();
            named || (wanted.is_some() && inside == wanted)
        })
        .filter(|pid| alive(*pid))
        .collect()
}

/// Whether a process exists and is more than an entry that waits to be reaped.
pub fn alive(pid: u32) -> bool {
    status(pid).is_some_and(|letter| !matches!(letter, 'Z' | 'X'))
}

/// The state letter of a process (proc_pid_stat(5)).
pub fn status(pid: u32) -> Option<char> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(") ")?.1.chars().next()
}

/// The namespaces of a process: its `/proc/PID/ns/KIND` link.
pub fn namespace(pid: u32, kind: &str) -> String {
    fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().to_string_lossy().into_owned()
}

/// Root of the initial user namespace.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
        && fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.split_whitespace().nth(2) == Some("4294967295"))
}

/// Whether this process may use a capability (its number).
pub fn capable(number: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap() >> number & 1 == 1
}

/// Whether a program is installed.
pub fn has(program: &str) -> bool {
    std::env::var("PATH").unwrap_or_default().split(':').any(|dir| Path::new(dir).join(program).exists())
}
