//! Where systemd is pid 1, and where version 2 has all controllers: in a container or a virtual machine that has them.

use super::tests::{enter, hosts, inhabit, leftovers, opens, planned, wait_for};
use super::*;
use crate::config::Config;
use crate::host::{CgroupMode, Host};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A container of systemd's, on a host where that runs.
fn planned_by_systemd(host: &Host, id: &str, resources: &str) -> anyhow::Result<Plan> {
    let json = format!(
        r#"{{"linux":{{"resources":{resources}}},"annotations":{{"org.systemd.property.TimeoutStopSec":"7",
            "org.systemd.property.CollectMode":"'inactive-or-failed'"}}}}"#
    );
    let config: Config = serde_json::from_str(&json).unwrap();
    let own = OwnCgroups::new();
    let mut plan = plan(&Request { config: &config, host, id, driver: Driver::Systemd, own: &own })?;
    plan.survey()?;
    Ok(plan)
}

fn systemctl(arguments: &[&str]) -> String {
    let output = Command::new("systemctl").args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

#[test]
#[ignore = "needs systemd: run it where systemd is pid 1"]
fn systemd_keeps_a_container_in_a_scope() {
    let host = Host::read();
    let clock = std::time::Instant::now();
    let made = planned_by_systemd(&host, "scope-test", r#"{"devices":[]}"#).unwrap().make(&|_| None).unwrap();
    println!("start: {:?}", clock.elapsed());
    let scope = "ocicat-scope-test.scope";
    assert_eq!(made.paths().scope.as_deref(), Some(scope));
    let again = format!("{:#}", planned_by_systemd(&host, "scope-test", "{}").unwrap_err());
    assert!(again.contains("process(es) already"), "{again}");
    let mut child = inhabit(&made);
    let paths: Paths = serde_json::from_str(&serde_json::to_string(&made.keep()).unwrap()).unwrap();
    wait_for("two children and no stand-in", || paths.processes().unwrap().len() == 3);
    for (property, expected) in [
        ("ActiveState", "active"),
        ("Slice", "system.slice"),
        ("TimeoutStopUSec", "7s"),
        ("Delegate", "yes"),
        ("CollectMode", "inactive-or-failed"),
        ("ControlGroup", "/system.slice/ocicat-scope-test.scope"),
    ] {
        assert_eq!(systemctl(&["show", "-P", property, scope]), expected, "{property}");
    }
    assert_eq!(opens(&paths), (true, false));
    systemctl(&["daemon-reload"]);
    assert_eq!(opens(&paths), (true, false));
    let own = OwnCgroups::new();
    let wanted = r#"{"devices":[{"allow":true,"type":"c","major":1,"minor":11,"access":"rwm"}]}"#;
    update(&paths, &serde_json::from_str(wanted).unwrap(), &own).unwrap().apply().unwrap();
    assert_eq!(opens(&paths), (true, true));
    systemctl(&["daemon-reload"]);
    assert_eq!(opens(&paths), (true, true), "a device that was added survives daemon-reload");
    paths.freeze().unwrap();
    let clock = std::time::Instant::now();
    paths.remove_by_force().unwrap();
    println!("remove: {:?}", clock.elapsed());
    child.wait().unwrap();
    assert_eq!(leftovers(&paths), Vec::<PathBuf>::new());
    assert_eq!(systemctl(&["show", "-P", "LoadState", scope]), "not-found");
    paths.remove_by_force().unwrap();
    let made = planned_by_systemd(&host, "scope-test", "{}").unwrap().make(&|_| None).unwrap();
    let paths = made.paths().clone();
    made.undo().unwrap();
    assert_eq!(leftovers(&paths), Vec::<PathBuf>::new());
}

#[test]
#[ignore = "needs a user's systemd: run it as a user, in a session"]
fn a_user_has_scopes_of_its_own() {
    let host = Host::read();
    assert!(host.rootless(), "run as a user");
    let made = planned_by_systemd(&host, "user-test", "{}").unwrap().make(&|_| None).unwrap();
    assert_eq!(made.paths().bus, Bus::User);
    let mut child = inhabit(&made);
    let paths = made.keep();
    wait_for("two children and no stand-in", || paths.processes().unwrap().len() == 3);
    paths.freeze().unwrap();
    assert!(paths.is_frozen());
    paths.remove_by_force().unwrap();
    child.wait().unwrap();
    assert_eq!(leftovers(&paths), Vec::<PathBuf>::new());
    // Without systemd there is only what was delegated; nothing was asked for, so the container may do without.
    let config = Config::default();
    let own = OwnCgroups::new();
    let request = Request { config: &config, host: &host, id: "user-test", driver: Driver::Cgroupfs, own: &own };
    let made = plan(&request).unwrap().make(&|_| None).unwrap();
    println!("cgroupfs driver: {:?}", made.paths().hierarchies);
    made.undo().unwrap();
    let config: Config = serde_json::from_str(r#"{"linux":{"cgroupsPath":"/top"}}"#).unwrap();
    let error =
        format!("{:#}", plan(&Request { config: &config, ..request }).unwrap().make(&|_| None).unwrap_err().error);
    assert!(
        error.contains("cgroup /sys/fs/cgroup/top: this user may not make a cgroup here; hint: delegate one"),
        "{error}"
    );
}

#[test]
#[ignore = "needs systemd: run it where systemd is pid 1"]
fn what_systemd_refuses_is_told_in_its_words() {
    let host = Host::read();
    let config: Config = serde_json::from_str(
        r#"{"linux":{"cgroupsPath":"x.slice:a:b"},"annotations":{"org.systemd.property.KillMode":"'sideways'"}}"#,
    )
    .unwrap();
    let own = OwnCgroups::new();
    let request = Request { config: &config, host: &host, id: "b", driver: Driver::Systemd, own: &own };
    let error = format!("{:#}", plan(&request).unwrap().make(&|_| None).unwrap_err().error);
    assert!(error.contains("systemd does not start a-b.scope: ") && error.contains("KillMode"), "{error}");
    let taken = Request { id: "init", ..request };
    let config: Config = serde_json::from_str(r#"{"linux":{"cgroupsPath":"::init"}}"#).unwrap();
    let error =
        format!("{:#}", plan(&Request { config: &config, ..taken }).unwrap().make(&|_| None).unwrap_err().error);
    assert!(error.contains("systemd does not start init.scope: D-Bus StartTransientUnit at "), "{error}");
}

/// A v2 host that has these controllers.
fn v2_with(controllers: &[&str]) -> Option<Host> {
    let host = hosts().into_iter().find(|h| h.cgroup == CgroupMode::V2)?;
    let offered = crate::sys::cgroupfs::read(&host.cgroup_root.join("cgroup.controllers")).unwrap();
    let has = |wanted: &&&str| offered.split_whitespace().any(|c| c == **wanted);
    match controllers.iter().find(|c| !has(c)) {
        Some(missing) => {
            eprintln!("skipped: cgroup2 has no controller {missing} here");
            None
        }
        None => Some(host),
    }
}

#[test]
fn limits_of_version_2_stand_in_their_files_and_change_as_one() {
    let Some(host) = v2_with(&["memory", "cpu", "cpuset", "pids", "io"]) else { return };
    let asked = r#"{"memory":{"limit":67108864,"swap":100663296,"reservation":33554432},"pids":{"limit":9},
        "cpu":{"shares":512,"quota":50000,"period":20000,"burst":1000,"cpus":"0","mems":"0"},
        "unified":{"memory.high":"50331648","cgroup.max.depth":"3"}}"#;
    let made = planned(&host, "limits", asked).unwrap().make(&|_| None).unwrap();
    let paths = made.paths().clone();
    let read = |file: &str| {
        crate::sys::cgroupfs::read(&paths.unified().unwrap().directory.join(file)).unwrap().trim_end().to_owned()
    };
    for (file, value) in [
        ("memory.max", "67108864"),
        ("memory.swap.max", "33554432"),
        ("memory.low", "33554432"),
        ("memory.high", "50331648"),
        ("pids.max", "9"),
        ("cpu.weight", "59"),
        ("cpu.max", "50000 20000"),
        ("cpu.max.burst", "1000"),
        ("cpuset.cpus", "0"),
        ("cgroup.max.depth", "3"),
    ] {
        assert_eq!(read(file), value, "{file}");
    }
    let own = OwnCgroups::new();
    let apply = |json: &str| update(&paths, &serde_json::from_str(json).unwrap(), &own).unwrap().apply();
    apply(r#"{"cpu":{"period":40000},"memory":{"swap":134217728}}"#).unwrap();
    assert_eq!((read("cpu.max"), read("memory.swap.max")), ("50000 40000".to_owned(), "67108864".to_owned()));
    let error = format!("{:#}", apply(r#"{"pids":{"limit":20},"unified":{"cpu.weight":"99999"}}"#).unwrap_err());
    assert!(error.contains("nothing was changed: linux.resources.unified[cpu.weight]: write \"99999\""), "{error}");
    assert_eq!(read("pids.max"), "9");
    made.undo().unwrap();
}

#[test]
fn version_2_reclaims_before_it_refuses_a_lower_limit_and_hears_an_oom() {
    let Some(host) = v2_with(&["memory", "pids"]) else { return };
    let made =
        planned(&host, "lower", r#"{"memory":{"limit":67108864,"swap":67108864}}"#).unwrap().make(&|_| None).unwrap();
    let script = "read go; a=$(head -c 20000000 /dev/zero | tr '\\0' x); echo; read more; b=$(head -c 90000000 /dev/zero | tr '\\0' x)";
    let mut child =
        Command::new("/bin/sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    enter(made.paths(), child.id());
    use std::io::{Read, Write};
    child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let own = OwnCgroups::new();
    let lower = serde_json::from_str(r#"{"memory":{"limit":1048576}}"#).unwrap();
    let error = format!("{:#}", update(made.paths(), &lower, &own).and_then(|update| update.apply()).unwrap_err());
    assert!(error.contains("linux.resources.memory.limit (1048576): "), "{error}");
    let paths = made.keep();
    let mut watch = paths.oom_watch().unwrap().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"more\n").unwrap();
    let end = Some(std::time::Instant::now() + std::time::Duration::from_secs(120));
    assert_eq!(watch.wait(None, end).unwrap(), Heard::Oom);
    child.wait().unwrap();
    assert!(paths.oom_kills() > 0);
    assert!(paths.stats(None).unwrap().memory.usage.max > 20_000_000);
    paths.remove_by_force().unwrap();
}
