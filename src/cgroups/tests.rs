//! On the running kernel, as root: version 1 and hybrid where /sys/fs/cgroup is that, version 2 in any cgroup2 tree.

use super::*;
use crate::config::{Config, Linux};
use crate::host::{CgroupMode, Host};
use crate::sys::cgroupfs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// This host as it is, and its cgroup2 tree as if it were all there is. Empty without root or cgroups.
pub(super) fn hosts() -> Vec<Host> {
    let host = Host::read();
    if host.rootless()
        || host.cgroup == CgroupMode::None
        || cgroupfs::write(Path::new("/proc/self/oom_score_adj"), "0").is_err()
    {
        eprintln!("skipped: needs root and a cgroup filesystem");
        return Vec::new();
    }
    match host.cgroup {
        CgroupMode::V2 => vec![host],
        CgroupMode::Hybrid => {
            let v1 = Host { cgroup: CgroupMode::V1, ..host.clone() };
            let v2 = Host { cgroup: CgroupMode::V2, cgroup_root: host.cgroup_root.join("unified"), ..host.clone() };
            vec![host, v1, v2]
        }
        _ => vec![host],
    }
}

pub(super) fn planned(host: &Host, name: &str, resources: &str) -> anyhow::Result<Plan> {
    let mut linux = Linux { resources: Some(serde_json::from_str(resources).unwrap()), ..Linux::default() };
    linux.cgroups_path = Some(format!("/ocicat-cgroups-{}-{name}-{:?}/box", std::process::id(), host.cgroup));
    let config = Config { linux: Some(linux), ..Config::default() };
    let own = OwnCgroups::new();
    let request = Request { config: &config, host, id: "test", driver: Driver::Cgroupfs, own: &own };
    let mut plan = plan(&request)?;
    plan.survey()?;
    Ok(plan)
}

/// A shell in the cgroup that starts two sleeping children.
pub(super) fn inhabit(made: &Made) -> Child {
    let script = "echo; read go; sleep 1000 & sleep 1000";
    let mut shell = Command::new("/bin/sh");
    let mut child = shell.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    enter(made.paths(), child.id());
    use std::io::Write;
    child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    child
}

pub(super) fn enter(paths: &Paths, pid: u32) {
    for hierarchy in &paths.hierarchies {
        cgroupfs::write(&hierarchy.directory.join("cgroup.procs"), &pid.to_string()).unwrap();
    }
}

pub(super) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "{what} did not happen");
        cgroupfs::let_others_run();
    }
}

pub(super) fn leftovers(paths: &Paths) -> Vec<PathBuf> {
    paths.hierarchies.iter().map(|h| h.directory.clone()).filter(|d| d.exists()).collect()
}

#[test]
fn a_cgroup_lives_from_plan_to_removal() {
    for host in hosts() {
        let made = planned(&host, "life", "{}").unwrap().make(&|_| None).unwrap();
        assert_eq!(
            made.join_files().unwrap().len() + made.clone_into().unwrap().iter().count(),
            made.paths().hierarchies.len()
        );
        let mut child = inhabit(&made);
        let paths: Paths = serde_json::from_str(&serde_json::to_string(&made.keep()).unwrap()).unwrap();
        wait_for("two children", || paths.processes().unwrap().len() == 3);
        let occupied = planned(&host, "life", "{}").unwrap_err().to_string();
        assert!(occupied.contains("process(es) already"), "{occupied}");
        assert!(!paths.is_frozen());
        paths.freeze().unwrap();
        assert!(paths.is_frozen());
        paths.thaw().unwrap();
        assert!(!paths.is_frozen());
        paths.freeze().unwrap();
        paths.remove_by_force().unwrap();
        child.wait().unwrap();
        assert_eq!(leftovers(&paths), Vec::<PathBuf>::new(), "{:?}", host.cgroup);
        paths.remove_by_force().unwrap();
        paths.kill().unwrap();
        assert_eq!(paths.processes().unwrap(), Vec::<u32>::new());
    }
}

#[test]
fn sub_cgroups_are_killed_and_removed_even_when_frozen() {
    for host in hosts() {
        let made = planned(&host, "nested", "{}").unwrap().make(&|_| None).unwrap();
        let mut child = inhabit(&made);
        let paths = made.keep();
        wait_for("two children", || paths.processes().unwrap().len() == 3);
        let moved = *paths.processes().unwrap().last().unwrap();
        for hierarchy in paths.hierarchies.iter().filter(|h| h.is_unified() || h.has("freezer")) {
            let below = hierarchy.directory.join("a");
            cgroupfs::make(&below).unwrap();
            cgroupfs::make(&below.join("b")).unwrap();
            cgroupfs::write(&below.join("cgroup.procs"), &moved.to_string()).unwrap();
            let (file, value) =
                if hierarchy.is_unified() { ("cgroup.freeze", "1") } else { ("freezer.state", "FROZEN") };
            cgroupfs::write(&below.join(file), value).unwrap();
        }
        assert_eq!(paths.processes().unwrap().len(), 3);
        let error = paths.remove().unwrap_err().to_string();
        assert!(error.contains("still has processes"), "{error}");
        paths.remove_by_force().unwrap();
        child.wait().unwrap();
        assert_eq!(leftovers(&paths), Vec::<PathBuf>::new(), "{:?}", host.cgroup);
    }
}

#[test]
fn a_refused_limit_leaves_no_directory() {
    for host in hosts().into_iter().filter(|h| h.cgroup != CgroupMode::V2) {
        let plan = planned(&host, "refused", r#"{"pids":{"limit":7},"cpu":{"cpus":"4095"}}"#).unwrap();
        let error = format!("{:#}", plan.make(&|_| None).unwrap_err().error);
        assert!(
            error.starts_with("linux.resources.cpu: write \"4095\" to ") || error.contains("cpu.cpus: write \"4095\""),
            "{error}"
        );
        assert_eq!(leftovers(plan.paths()), Vec::<PathBuf>::new());
    }
}

#[test]
fn limits_stand_in_their_files() {
    for host in hosts().into_iter().filter(|h| h.cgroup != CgroupMode::V2) {
        let asked = r#"{"memory":{"limit":67108864,"reservation":33554432,"swappiness":30},"pids":{"limit":9},
            "cpu":{"shares":512,"quota":50000,"period":20000,"cpus":"0","mems":"0"}}"#;
        let made = planned(&host, "limits", asked).unwrap().make(&|_| None).unwrap();
        let read = |controller: &str, file: &str| {
            let directory = &made.paths().v1(controller).unwrap().directory;
            crate::sys::files::read_text(directory.join(file)).unwrap().trim_end().to_owned()
        };
        for (controller, file, value) in [
            ("memory", "memory.limit_in_bytes", "67108864"),
            ("memory", "memory.soft_limit_in_bytes", "33554432"),
            ("memory", "memory.swappiness", "30"),
            ("pids", "pids.max", "9"),
            ("cpu", "cpu.shares", "512"),
            ("cpu", "cpu.cfs_quota_us", "50000"),
            ("cpu", "cpu.cfs_period_us", "20000"),
            ("cpuset", "cpuset.cpus", "0"),
        ] {
            assert_eq!(read(controller, file), value, "{file}");
        }
        made.undo().unwrap();
    }
}

/// Whether a process in the cgroup may open /dev/zero (1:5) and the kernel's log (1:11).
pub(super) fn opens(paths: &Paths) -> (bool, bool) {
    // /tmp may be mounted nodev.
    let directory = tempfile::tempdir_in("/dev").unwrap();
    let node = directory.path().join("kmsg");
    assert!(Command::new("mknod").arg(&node).args(["c", "1", "11"]).status().unwrap().success());
    let script = "read go; : </dev/zero && a=1; (: <$0) 2>/dev/null && b=1; exit $((a + 2*b))";
    let mut shell = Command::new("/bin/sh");
    let mut child = shell.args(["-c", script]).arg(&node).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    enter(paths, child.id());
    drop(child.stdin.take());
    let code = child.wait().unwrap().code().unwrap();
    (code & 1 != 0, code & 2 != 0)
}

#[test]
fn device_rules_are_enforced_by_the_kernel() {
    for host in hosts() {
        for (rules, expected) in [
            ("[]", (true, false)),
            (r#"[{"allow":true}]"#, (true, true)),
            (r#"[{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]"#, (true, true)),
            (r#"[{"allow":true,"type":"c","major":1,"minor":11,"access":"w"}]"#, (true, false)),
        ] {
            let made =
                planned(&host, "devices", &format!(r#"{{"devices":{rules}}}"#)).unwrap().make(&|_| None).unwrap();
            assert_eq!(opens(made.paths()), expected, "{rules} on {:?}", host.cgroup);
            made.undo().unwrap();
        }
    }
}

#[test]
#[ignore = "prints how long each part takes"]
fn durations() {
    for host in hosts() {
        let config: Config =
            serde_json::from_str(r#"{"linux":{"resources":{"devices":[{"allow":false,"access":"rwm"}]}}}"#).unwrap();
        let mut spent = [std::time::Duration::ZERO; 5];
        for _ in 0..200 {
            let clock = std::time::Instant::now();
            let own = OwnCgroups::new();
            let request =
                Request { config: &config, host: &host, id: "ocicat-cgroups-t", driver: Driver::Cgroupfs, own: &own };
            let mut plan = plan(&request).unwrap();
            let planned = clock.elapsed();
            plan.survey().unwrap();
            let surveyed = clock.elapsed();
            let made = plan.make(&|_| None).unwrap();
            let carried_out = clock.elapsed();
            let files = made.join_files().unwrap();
            let into = made.clone_into().unwrap();
            let opened = clock.elapsed();
            drop((files, into));
            let paths = made.keep();
            let clock_2 = std::time::Instant::now();
            paths.remove().unwrap();
            let removed = clock_2.elapsed();
            for (sum, part) in spent.iter_mut().zip([
                planned,
                surveyed - planned,
                carried_out - surveyed,
                opened - carried_out,
                removed,
            ]) {
                *sum += part;
            }
        }
        println!("{:?}: plan, survey, make, join files, remove: {:?}", host.cgroup, spent.map(|s| s / 200));
    }
}

#[test]
fn an_update_changes_all_or_nothing() {
    for host in hosts().into_iter().filter(|h| h.cgroup != CgroupMode::V2) {
        let limits = r#"{"memory":{"limit":67108864,"swap":67108864},"pids":{"limit":9}}"#;
        let made = planned(&host, "update", limits).unwrap().make(&|_| None).unwrap();
        let paths = made.paths().clone();
        let read = |controller: &str, file: &str| {
            crate::sys::cgroupfs::read(&paths.v1(controller).unwrap().directory.join(file))
                .unwrap()
                .trim_end()
                .to_owned()
        };
        let apply = |json: &str| {
            let own = OwnCgroups::new();
            update(&paths, &serde_json::from_str(json).unwrap(), &own).unwrap().apply()
        };
        apply(r#"{"memory":{"limit":134217728,"swap":134217728},"pids":{"limit":20}}"#).unwrap();
        assert_eq!(read("memory", "memory.memsw.limit_in_bytes"), "134217728");
        apply(r#"{"memory":{"limit":33554432,"swap":33554432}}"#).unwrap();
        assert_eq!(read("memory", "memory.limit_in_bytes"), "33554432");
        let error = format!(
            "{:#}",
            apply(r#"{"memory":{"limit":16777216},"pids":{"limit":30},"cpu":{"cpus":"4095"}}"#).unwrap_err()
        );
        assert!(error.contains("nothing was changed: linux.resources.cpu.cpus: write \"4095\" to "), "{error}");
        assert_eq!(read("memory", "memory.limit_in_bytes"), "33554432");
        assert_eq!(read("pids", "pids.max"), "20");
        apply(r#"{"devices":[{"allow":true,"type":"c","major":1,"minor":11,"access":"rwm"}]}"#).unwrap();
        assert_eq!(opens(&paths), (true, true));
        apply(r#"{"devices":[{"allow":false}]}"#).unwrap();
        assert_eq!(opens(&paths), (true, false));
        made.undo().unwrap();
    }
}

#[test]
fn device_rules_that_are_refused_half_way_are_put_back() {
    for host in hosts().into_iter().filter(|h| h.cgroup != CgroupMode::V2) {
        let before = r#"{"pids":{"limit":9},"devices":[{"allow":false,"access":"rwm"}]}"#;
        let made = planned(&host, "half-way", before).unwrap().make(&|_| None).unwrap();
        let paths = made.paths().clone();
        let devices = paths.v1("devices").unwrap().directory.clone();
        let list = || crate::sys::files::read_text(devices.join("devices.list")).unwrap();
        // What the cgroup above may not do, none below it may.
        cgroupfs::write(&devices.parent().unwrap().join("devices.deny"), "c 1:11 rwm").unwrap();
        let then = list();
        let wanted = r#"{"pids":{"limit":30},"devices":[{"allow":false,"access":"rwm"},
            {"allow":true,"type":"c","major":10,"minor":229,"access":"rw"},
            {"allow":true,"type":"c","major":1,"minor":11,"access":"rwm"}]}"#;
        let own = OwnCgroups::new();
        let error = update(&paths, &serde_json::from_str(wanted).unwrap(), &own).unwrap().apply().unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("nothing was changed: linux.resources.devices: write \"c 1:11 rwm\""), "{error}");
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&list()), sorted(&then));
        assert_eq!(cgroupfs::read(&paths.v1("pids").unwrap().directory.join("pids.max")).unwrap().trim(), "9");
        made.undo().unwrap();
    }
}

#[test]
fn a_memory_limit_below_the_usage_is_refused_with_both_numbers() {
    for host in hosts().into_iter().filter(|h| h.cgroup != CgroupMode::V2) {
        let made = planned(&host, "below", r#"{"memory":{"limit":67108864}}"#).unwrap().make(&|_| None).unwrap();
        let script = "read go; a=$(head -c 20000000 /dev/zero | tr '\\0' x); echo; read stop";
        let mut child =
            Command::new("/bin/sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        enter(made.paths(), child.id());
        use std::io::{Read, Write};
        child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let own = OwnCgroups::new();
        for check in ["true", "false"] {
            let wanted = format!(r#"{{"memory":{{"limit":1048576,"checkBeforeUpdate":{check}}}}}"#);
            let wanted = serde_json::from_str(&wanted).unwrap();
            let outcome = update(made.paths(), &wanted, &own).and_then(|update| update.apply());
            let error = format!("{:#}", outcome.unwrap_err());
            assert!(error.contains("linux.resources.memory.limit (1048576): "), "{error}");
            assert!(error.contains("bytes are in use and cannot be reclaimed"), "{error}");
        }
        made.keep().remove_by_force().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn counters_are_read_from_a_living_container() {
    for host in hosts() {
        let made = planned(&host, "stats", r#"{"devices":[]}"#).unwrap().make(&|_| None).unwrap();
        let mut child = inhabit(&made);
        let paths = made.keep();
        wait_for("two children", || paths.processes().unwrap().len() == 3);
        let stats = paths.stats(Some(child.id())).unwrap();
        assert!(stats.cpu.usage.total > 0, "{stats:?}");
        if host.cgroup != CgroupMode::V2 {
            assert!(stats.memory.usage.usage > 0 && stats.memory.raw.contains_key("cache"), "{stats:?}");
            assert_eq!(stats.pids.current, 3);
        }
        if host.cgroup != CgroupMode::V1 {
            assert!(stats.cpu.psi.is_some(), "{stats:?}");
        }
        paths.remove_by_force().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn an_oom_is_heard_and_counted() {
    for host in hosts().into_iter().filter(|h| h.cgroup != CgroupMode::V2) {
        let made =
            planned(&host, "oom", r#"{"memory":{"limit":8388608,"swap":8388608}}"#).unwrap().make(&|_| None).unwrap();
        let script = "read go; a=$(head -c 50000000 /dev/zero | tr '\\0' x)";
        let mut child =
            Command::new("/bin/sh").args(["-c", script]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        enter(made.paths(), child.id());
        let paths = made.keep();
        let mut watch = paths.oom_watch().unwrap().unwrap();
        let soon = || Some(std::time::Instant::now() + std::time::Duration::from_millis(20));
        assert_eq!(watch.wait(None, soon()).unwrap(), Heard::Nothing);
        drop(child.stdin.take());
        let end = Some(std::time::Instant::now() + std::time::Duration::from_secs(10));
        assert_eq!(watch.wait(None, end).unwrap(), Heard::Oom);
        child.wait().unwrap();
        assert!(paths.oom_kills() > 0);
        paths.remove_by_force().unwrap();
        let told = std::iter::repeat_with(|| watch.wait(None, end).unwrap()).find(|heard| *heard != Heard::Oom);
        assert_eq!(told, Some(Heard::Removed));
    }
}

#[test]
fn a_container_may_lack_a_cgroup_when_nobody_asked_for_one_and_the_caller_may_not_make_it() {
    let limits = r#"{"linux":{"resources":{"pids":{"limit":5}}}}"#;
    let rows = [
        // euid, --rootless, config, may lack it
        (0, None, "{}", false),
        (1000, None, "{}", true),
        (1000, Some(false), "{}", false),
        (0, Some(true), "{}", true),
        (0, Some(true), r#"{"linux":{"cgroupsPath":"/there"}}"#, false),
        (0, Some(true), limits, false),
        (1000, None, limits, false),
    ];
    for (euid, may_lack_cgroup, config, expected) in rows {
        let host = Host { euid, may_lack_cgroup, cgroup: CgroupMode::None, ..Host::modern() };
        let config: Config = serde_json::from_str(config).unwrap();
        let own = OwnCgroups::new();
        let request = Request { config: &config, host: &host, id: "may-lack", driver: Driver::Cgroupfs, own: &own };
        // Without any hierarchy a limit cannot be planned at all, which is the same answer.
        let optional = plan(&request).map(|plan| plan.optional).unwrap_or_default();
        assert_eq!(optional, expected, "{euid} {may_lack_cgroup:?} {config:?}");
    }
}
