//! What the container must not change or read: masked paths, kernel parameters, cgroups, devices, and fields of
//! config.json that lower-trusted hands fill.

use crate::common::*;
use crate::decoy::*;
use std::fs;

#[test]
fn long_fields_are_refused_or_passed_whole() {
    only_ocicat!("CVE-2021-43784");
    let long = "x".repeat(100_000);
    let container =
        Container::new().set("/process/env", json!(["PATH=/bin", format!("LONG={long}")])).shell("echo ${#LONG}");
    container.run().says("100000");
    let outcome = Container::new().mount("/data", "bind", format!("/{long}"), &["bind"]).run();
    assert!(
        outcome.code != 0 && outcome.err.contains("file name too long"),
        "{}",
        &outcome.err[..outcome.err.len().min(300)]
    );
}

#[test]
fn masked_paths_are_empty_and_read_only_paths_cannot_be_written() {
    let container = Container::new().edit(|config| {
        config["linux"]["maskedPaths"] = json!(["/data/file", "/data/dir", "/proc/kcore", "/no/such/path"]);
        config["linux"]["readonlyPaths"] = json!(["/data/ro", "/proc/sys", "/no/such/path"]);
        config["root"]["readonly"] = json!(false);
    });
    let container = container.file("/data/file", "secret\n", 0o644).file("/data/dir/secret", "secret\n", 0o644).file(
        "/data/ro/file",
        "text\n",
        0o644,
    );
    let line = "cat /data/file | wc -c; ls /data/dir | wc -l; (echo > /data/file) 2>/dev/null; (echo > /data/dir/x) 2>/dev/null; (echo > /data/ro/file) 2>/dev/null; cat /data/ro/file; \
        (echo 1 > /proc/sys/kernel/domainname) 2>/dev/null || echo refused";
    let container = container.shell(line);
    container.run().says("0\n0\ntext\nrefused");
    assert_eq!(fs::read_to_string(container.rootfs().join("data/file")).unwrap(), "secret\n");
    assert_eq!(fs::read_dir(container.rootfs().join("data/dir")).unwrap().count(), 1);
}

#[test]
fn relative_masked_and_read_only_paths_are_refused() {
    only_ocicat!("runc and crun accept them against the spec");
    Container::new().set("/linux/maskedPaths", json!(["proc/kcore"])).run().fails("linux.maskedPaths[0]");
    Container::new().set("/linux/readonlyPaths", json!(["proc/sys"])).run().fails("linux.readonlyPaths[0]");
}

#[test]
fn a_volume_over_proc_is_refused() {
    only_ocicat!("CVE-2019-16884: old peers write the label there");
    let container = Container::new();
    let dir = decoy(&container);
    for (kind, source, options) in [("bind", dir.as_path(), &["bind"][..]), ("tmpfs", "tmpfs".as_ref(), &[])] {
        for place in ["/proc", "/proc/self", "/proc/sys/kernel", "/proc/../proc/"] {
            Container::new().mount(place, kind, source, options).run().fails("/proc");
        }
    }
    untouched(&dir);
}

#[test]
fn a_kernel_parameter_with_separators_or_dots_is_refused() {
    only_ocicat!("CVE-2022-0811: each has its own words");
    for key in [
        "kernel.shmmni+kernel.domainname",
        "kernel.shm_rmid_forced=1\nkernel.domainname",
        "kernel/../fs/file-max",
        "kernel.msgmax/../domainname",
        "net.",
        "net...ipv4.ip_forward",
        "/proc/sys/kernel/msgmax",
        "fs.mqueue.../x",
        "",
    ] {
        let outcome = Container::new().set("/linux/sysctl", json!({key: "1"})).run();
        assert!(outcome.code != 0 && outcome.err.contains("linux.sysctl"), "{key:?}: {outcome}");
    }
}

#[test]
fn the_cgroups_inside_cannot_be_written() {
    let line = "for dir in /sys/fs/cgroup /sys/fs/cgroup/*; do for name in release_agent notify_on_release cgroup.procs; do \
        [ ! -e $dir/$name ] || { (echo 0 > $dir/$name) 2>/dev/null && echo wrote $dir/$name; }; done; done; true";
    let container = Container::new().capabilities(&["CAP_DAC_OVERRIDE"]);
    container.shell(line).run().says("");
    Container::new().namespace("cgroup").capabilities(&["CAP_DAC_OVERRIDE"]).shell(line).run().says("");
}

#[test]
fn the_hosts_cgroups_bound_into_a_user_namespace_cannot_be_written() {
    need!(host::is_root(), "needs root");
    let line = "ls /sys/fs/cgroup >/dev/null; mkdir /sys/fs/cgroup/ocicat-decoy /sys/fs/cgroup/*/ocicat-decoy; true";
    let container = Container::new().user_namespace().shell(line);
    let seen = container.run().ok();
    assert!(seen.err.contains("Read-only file system"), "{seen}");
    assert!(!seen.err.lines().any(|line| !line.contains("Read-only") && !line.contains("No such file")), "{seen}");
    assert_eq!(host::cgroup_dirs("/ocicat-decoy"), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_container_is_in_the_cgroup_that_was_asked_for_with_a_user_namespace_too() {
    need!(host::is_root(), "needs root");
    let container = Container::new().user_namespace().sleeping();
    let text = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    let wanted = host::hierarchies().len();
    assert_eq!(text.lines().filter(|line| line.ends_with(&container.cgroup)).count(), wanted, "{text}");
}

#[test]
fn a_device_made_inside_cannot_be_opened_without_a_rule() {
    need!(std::path::Path::new("/dev/fuse").exists(), "needs a device that may be opened without harm: /dev/fuse");
    let container = Container::new().capabilities(&["CAP_MKNOD"]).set("/root/readonly", json!(false));
    // Rules, but none that denies the rest.
    let rules = json!([{"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"}]);
    let container = container.set("/linux/resources/devices", rules);
    container.shell("mknod /data/x c 10 229 && exec 3</data/x").run().fails("not permitted");
}

#[test]
fn annotations_that_reach_beyond_the_container_are_announced_as_unsafe() {
    only_ocicat!("CVE-2024-3154: each has its own annotations");
    let told = Container::new().call(&["features"]).ok().json();
    let announced = told["potentiallyUnsafeConfigAnnotations"].as_array().unwrap().clone();
    assert!(announced.contains(&json!("org.systemd.property.")), "{announced:?}");
}

#[test]
fn an_exec_leaves_the_cgroups_of_the_container_by_no_path() {
    let container = Container::new().sleeping();
    for path in ["..", "../..", "/..", "x/../..", "memory:..", "pids:/../..", "/x/../../y"] {
        let outcome = container.exec_with(&["--cgroup", path], &["true"]);
        assert!(outcome.code != 0, "{path}: {outcome}");
    }
}

#[test]
fn the_configuration_that_spec_writes_masks_what_tells_of_the_machine() {
    only_ocicat!("peers have lists of their own");
    let container = Container::new();
    fs::remove_file(container.dir.join("config.json")).unwrap_or_default();
    container.call(&["spec", "--bundle", container.dir.to_str().unwrap()]).ok();
    let written: Value = serde_json::from_slice(&fs::read(container.dir.join("config.json")).unwrap()).unwrap();
    for path in [
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/interrupts",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ] {
        assert!(written["linux"]["maskedPaths"].as_array().unwrap().contains(&json!(path)), "{path}");
    }
    assert!(written["linux"]["readonlyPaths"].as_array().unwrap().contains(&json!("/proc/sys")));
}
