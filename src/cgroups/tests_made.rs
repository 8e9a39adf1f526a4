//! Controllers that no host at hand has, and what a kernel seldom does: on directories that look like cgroups.

use super::*;
use crate::config::Resources;
use crate::sys::files;
use std::path::{Path, PathBuf};

/// Directories of one hierarchy each, with these empty files.
struct Made(tempfile::TempDir, Paths);

impl Made {
    fn of(hierarchies: &[(&str, &[&str])]) -> Made {
        let base = tempfile::tempdir().unwrap();
        let mut paths = Paths::default();
        for (name, present) in hierarchies {
            let mount = base.path().join(name);
            let directory = mount.join("box");
            for path in [&mount, &directory] {
                rustix::fs::mkdir(path, rustix::fs::Mode::RWXU).unwrap();
            }
            present.iter().for_each(|file| files::create_new(directory.join(file), b"", 0o644).unwrap());
            let every = b"cpu io memory hugetlb pids rdma misc\n";
            files::create_new(mount.join("cgroup.controllers"), every, 0o644).unwrap();
            paths.hierarchies.push(Hierarchy { name: (*name).to_owned(), mount, directory });
        }
        Made(base, paths)
    }

    fn directory(&self) -> PathBuf {
        self.1.hierarchies[0].directory.clone()
    }

    /// Writes the resources, and what is in the file then.
    fn written(&self, json: &str, file: &str) -> String {
        let resources: Resources = serde_json::from_str(json).unwrap();
        let outcome = update(&self.1, &resources, &OwnCgroups::new()).and_then(|update| update.apply());
        match outcome {
            Ok(()) => files::read_text(self.directory().join(file)).unwrap(),
            Err(error) => format!("{error:#}").replace(&self.0.path().display().to_string(), ""),
        }
    }
}

#[test]
fn limits_without_a_controller_at_hand_stand_in_their_files() {
    let huge = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#;
    let rdma = r#"{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000}}}"#;
    let weight = r#"{"blockIO":{"weight":500}}"#;
    let device = r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":500}]}}"#;
    let leaf = r#"{"blockIO":{"leafWeight":300}}"#;
    let leaf_device = r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"leafWeight":500}]}}"#;
    let rate =
        |field: &str, rate: u32| format!(r#"{{"blockIO":{{"{field}":[{{"major":8,"minor":0,"rate":{rate}}}]}}}}"#);
    let (rbps, wbps) = (rate("throttleReadBpsDevice", 1), rate("throttleWriteBpsDevice", 2));
    let (riops, wiops) = (rate("throttleReadIOPSDevice", 3), rate("throttleWriteIOPSDevice", 4));
    let class = r#"{"network":{"classID":1048577}}"#;
    let priority = r#"{"network":{"priorities":[{"name":"eth0","priority":5}]}}"#;
    let realtime = r#"{"cpu":{"realtimeRuntime":900}}"#;
    let period = r#"{"cpu":{"realtimePeriod":1000}}"#;
    let tcp = r#"{"memory":{"kernelTCP":500}}"#;
    let rows: &[(&str, &str, &str, &str)] = &[
        // hierarchy, resources, file, content
        ("hugetlb", huge, "hugetlb.2MB.limit_in_bytes", "4194304"),
        ("hugetlb", huge, "hugetlb.2MB.rsvd.limit_in_bytes", "4194304"),
        ("unified", huge, "hugetlb.2MB.max", "4194304"),
        ("unified", huge, "hugetlb.2MB.rsvd.max", "4194304"),
        ("rdma", rdma, "rdma.max", "mlx5_1 hca_handle=3 hca_object=10000"),
        ("unified", rdma, "rdma.max", "mlx5_1 hca_handle=3 hca_object=10000"),
        ("blkio", weight, "blkio.weight", "500"),
        ("blkio", weight, "blkio.bfq.weight", "500"),
        ("unified", weight, "io.weight", "4950"),
        ("unified", weight, "io.bfq.weight", "500"),
        ("blkio", device, "blkio.weight_device", "8:0 500"),
        ("blkio", device, "blkio.bfq.weight_device", "8:0 500"),
        ("unified", device, "io.weight", "8:0 4950"),
        ("unified", device, "io.bfq.weight", "8:0 500"),
        ("blkio", leaf, "blkio.leaf_weight", "300"),
        ("blkio", leaf_device, "blkio.leaf_weight_device", "8:0 500"),
        ("blkio", &rbps, "blkio.throttle.read_bps_device", "8:0 1"),
        ("blkio", &wbps, "blkio.throttle.write_bps_device", "8:0 2"),
        ("blkio", &riops, "blkio.throttle.read_iops_device", "8:0 3"),
        ("blkio", &wiops, "blkio.throttle.write_iops_device", "8:0 4"),
        ("unified", &wiops, "io.max", "8:0 wiops=4"),
        ("net_cls", class, "net_cls.classid", "1048577"),
        ("net_prio", priority, "net_prio.ifpriomap", "eth0 5"),
        ("cpu", realtime, "cpu.rt_runtime_us", "900"),
        ("cpu", period, "cpu.rt_period_us", "1000"),
        ("memory", tcp, "memory.kmem.tcp.limit_in_bytes", "500"),
        ("memory", r#"{"memory":{"disableOOMKiller":true}}"#, "memory.oom_control", "1"),
    ];
    for (hierarchy, resources, file, content) in rows {
        // Of two pages files the other one has to be there, too.
        let limit = if *hierarchy == "unified" { "hugetlb.2MB.max" } else { "hugetlb.2MB.limit_in_bytes" };
        let rest = if file.contains(".rsvd.") { &[limit][..] } else { &[] };
        let made = Made::of(&[(hierarchy, &[&[*file], rest].concat())]);
        assert_eq!(made.written(resources, file), *content, "{hierarchy}: {resources}");
    }
}

#[test]
fn a_file_that_the_kernel_does_not_have_is_an_error_that_names_field_and_file() {
    let refused = |file: &str| format!("open {file}: no such file or directory (ENOENT)");
    for (hierarchy, resources, expected) in [
        (
            "hugetlb",
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":1}]}"#,
            format!("hugepageLimits[0]: {}", refused("/hugetlb/box/hugetlb.2MB.limit_in_bytes")),
        ),
        ("rdma", r#"{"rdma":{"x":{"hcaHandles":3}}}"#, format!("rdma[x]: {}", refused("/rdma/box/rdma.max"))),
        ("blkio", r#"{"blockIO":{"weight":500}}"#, format!("blockIO.weight: {}", refused("/blkio/box/blkio.weight"))),
        ("cpu", r#"{"cpu":{"burst":5}}"#, format!("cpu.burst: {}", refused("/cpu/box/cpu.cfs_burst_us"))),
        (
            "unified",
            r#"{"unified":{"misc.max":"res_a 1"}}"#,
            format!("unified[misc.max]: {}", refused("/unified/box/misc.max")),
        ),
    ] {
        let made = Made::of(&[(hierarchy, &[])]);
        assert_eq!(
            made.written(resources, ""),
            format!("nothing was changed: linux.resources.{expected}"),
            "{hierarchy}: {resources}"
        );
    }
}

#[test]
fn what_cannot_be_frozen_runs_again() {
    let made = Made::of(&[("unified", &["cgroup.freeze"])]);
    let events = made.directory().join("cgroup.events");
    // It never says that everything stands still.
    files::create_new(&events, b"populated 1\nfrozen 0\n", 0o644).unwrap();
    let error = made.1.freeze().unwrap_err().to_string();
    assert!(error.contains(" is not frozen after 5 s; hint: a process may wait for a device"), "{error}");
    assert_eq!(files::read_text(made.directory().join("cgroup.freeze")).unwrap(), "0");
    assert!(!made.1.is_frozen());
}

#[test]
fn a_cgroup_that_is_full_or_frozen_is_found_so_in_both_versions() {
    let read = |path: &Path, text: &str| files::create_new(path, text.as_bytes(), 0o644).unwrap();
    for (hierarchy, file, text) in [
        ("unified", "cgroup.freeze", "1\n"),
        ("freezer", "freezer.state", "FROZEN\n"),
        ("freezer", "freezer.state", "FREEZING\n"),
    ] {
        let made = Made::of(&[(hierarchy, &["cgroup.procs"])]);
        read(&made.directory().join(file), text);
        assert!(made.1.is_frozen(), "{hierarchy} {text}");
        let error = super::make::refuse_occupied(&made.1).unwrap_err().to_string();
        assert!(error.contains(" exists and is frozen; hint: thaw it"), "{error}");
    }
}
