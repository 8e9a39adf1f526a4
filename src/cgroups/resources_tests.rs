//! Tables: resources as the user writes them, and the files that they become in both versions.

use super::*;

/// The sheet on a host whose controllers are all in `version`, one line a file, `; ` between them.
fn written(json: &str, version: Version) -> String {
    let resources: Resources = serde_json::from_str(json).unwrap();
    let v2_names = ["cpu", "cpuset", "hugetlb", "io", "memory", "misc", "pids", "rdma", "cgroup"];
    let available = |name: &str| {
        Ok(match version {
            Version::V1 => Some(Version::V1),
            Version::V2 => v2_names.contains(&name).then_some(Version::V2),
        })
    };
    match sheet(&resources, &available) {
        Ok(sheet) => sheet.to_string().trim_end().replace('\n', "; "),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn memory() {
    for (json, v1, v2) in [
        (r#"{}"#, "", ""),
        (r#"{"limit":0,"swap":0,"reservation":0}"#, "", ""),
        (r#"{"limit":1000}"#, "memory.limit_in_bytes 1000", "memory.max 1000"),
        (
            r#"{"limit":1000,"swap":3000,"reservation":500}"#,
            "memory.limit_in_bytes 1000; memory.memsw.limit_in_bytes 3000; memory.soft_limit_in_bytes 500",
            "memory.max 1000; memory.swap.max 2000; memory.low 500",
        ),
        (
            r#"{"limit":1000,"swap":1000}"#,
            "memory.limit_in_bytes 1000; memory.memsw.limit_in_bytes 1000",
            "memory.max 1000; memory.swap.max 0 (if there)",
        ),
        (
            r#"{"limit":1000,"swap":-1}"#,
            "memory.limit_in_bytes 1000; memory.memsw.limit_in_bytes -1",
            "memory.max 1000; memory.swap.max max (if there)",
        ),
        (
            r#"{"limit":-1}"#,
            "memory.limit_in_bytes -1; memory.memsw.limit_in_bytes -1 (if there)",
            "memory.max max; memory.swap.max max (if there)",
        ),
        (
            r#"{"limit":2000,"swap":1000}"#,
            "memory.limit_in_bytes 2000; memory.memsw.limit_in_bytes 1000",
            "error: linux.resources.memory.swap (1000): is memory and swap together and must not be below memory.limit",
        ),
        (
            r#"{"swap":1000}"#,
            "memory.memsw.limit_in_bytes 1000",
            "error: linux.resources.memory.swap (1000): is memory and swap together and needs memory.limit",
        ),
        (
            r#"{"limit":1000,"kernel":500}"#,
            "memory.limit_in_bytes 1000; note: linux.resources.memory.kernel: ignored, the kernel has no such limit since 5.16 \
             (and should not be given: config-linux.md)",
            "memory.max 1000; note: linux.resources.memory.kernel: ignored, cgroup v2 counts kernel memory as memory",
        ),
        (
            r#"{"kernelTCP":500}"#,
            "memory.kmem.tcp.limit_in_bytes 500",
            "error: linux.resources.memory.kernelTCP (500): cgroup v2 counts TCP memory as memory and has no limit of its own for it",
        ),
        (
            r#"{"swappiness":0,"disableOOMKiller":false}"#,
            "memory.swappiness 0; memory.oom_control 0",
            "error: linux.resources.memory.swappiness (0): cgroup v2 has no swappiness of a cgroup",
        ),
        (r#"{"swappiness":18446744073709551615,"disableOOMKiller":false}"#, "", ""),
        (
            r#"{"disableOOMKiller":true}"#,
            "memory.oom_control 1",
            "error: linux.resources.memory.disableOOMKiller (true): cgroup v2 cannot disable the OOM killer",
        ),
        (
            r#"{"swappiness":101}"#,
            "error: linux.resources.memory.swappiness (101): must be 0 to 100",
            "error: linux.resources.memory.swappiness (101): must be 0 to 100",
        ),
    ] {
        let json = format!(r#"{{"memory":{json}}}"#);
        assert_eq!(written(&json, Version::V1), v1, "{json} in version 1");
        assert_eq!(written(&json, Version::V2), v2, "{json} in version 2");
    }
}

#[test]
fn cpu_and_cpuset() {
    for (json, v1, v2) in [
        (r#"{"shares":0,"quota":0,"period":0,"cpus":"","mems":""}"#, "", ""),
        (r#"{"shares":1024}"#, "cpu.shares 1024", "cpu.weight 100"),
        (r#"{"quota":50000}"#, "cpu.cfs_quota_us 50000", "cpu.max 50000 100000"),
        (r#"{"period":50000}"#, "cpu.cfs_period_us 50000", "cpu.max max 50000"),
        (
            r#"{"quota":-1,"period":50000,"burst":0}"#,
            "cpu.cfs_period_us 50000; cpu.cfs_quota_us -1; cpu.cfs_burst_us 0 (if there)",
            "cpu.max max 50000; cpu.max.burst 0 (if there)",
        ),
        (
            r#"{"quota":20000,"period":10000,"burst":5000}"#,
            "cpu.cfs_period_us 10000; cpu.cfs_quota_us 20000; cpu.cfs_burst_us 5000",
            "cpu.max 20000 10000; cpu.max.burst 5000",
        ),
        (
            r#"{"realtimeRuntime":900,"realtimePeriod":1000}"#,
            "cpu.rt_period_us 1000; cpu.rt_runtime_us 900",
            "error: linux.resources.cpu.realtimePeriod (1000): cgroup v2 has no realtime limits",
        ),
        (
            r#"{"idle":1,"shares":512}"#,
            "cpu.shares 512; cpu.idle 1",
            "cpu.idle 1; note: linux.resources.cpu.shares: ignored, an idle cgroup has no weight",
        ),
        (
            r#"{"idle":2}"#,
            "error: linux.resources.cpu.idle (2): must be 0 or 1",
            "error: linux.resources.cpu.idle (2): must be 0 or 1",
        ),
        (r#"{"cpus":"0-1","mems":"0"}"#, "cpuset.cpus 0-1; cpuset.mems 0", "cpuset.cpus 0-1; cpuset.mems 0"),
    ] {
        let json = format!(r#"{{"cpu":{json}}}"#);
        assert_eq!(written(&json, Version::V1), v1, "{json} in version 1");
        assert_eq!(written(&json, Version::V2), v2, "{json} in version 2");
    }
}

#[test]
fn shares_become_the_weight_that_runc_and_crun_give() {
    let table =
        [(0, 1), (2, 1), (3, 2), (102, 17), (512, 59), (1024, 100), (2048, 174), (262_144, 10_000), (u64::MAX, 10_000)];
    for (shares, weight) in table {
        assert_eq!(v2::weight_of_shares(shares), weight, "{shares} shares");
    }
}

#[test]
fn files_that_act_on_processes_are_no_resources() {
    for file in ["cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.freeze"] {
        for version in [Version::V1, Version::V2] {
            let said = written(&format!(r#"{{"unified":{{"{file}":"1"}}}}"#), version);
            assert_eq!(said, format!("error: linux.resources.unified[{file}]: acts on processes and is no resource"));
        }
    }
}

#[test]
fn the_other_controllers() {
    for (json, v1, v2) in [
        (r#"{"pids":{"limit":0}}"#, "pids.max 0", "pids.max 0"),
        (r#"{"pids":{"limit":-1}}"#, "pids.max max", "pids.max max"),
        (r#"{"pids":{"limit":32}}"#, "pids.max 32", "pids.max 32"),
        (r#"{"pids":{}}"#, "", ""),
        (
            r#"{"blockIO":{"weight":500}}"#,
            "blkio.bfq.weight 500 (or blkio.weight 500)",
            "io.bfq.weight 500 (or io.weight 4950)",
        ),
        (
            r#"{"blockIO":{"weight":9}}"#,
            "error: linux.resources.blockIO.weight (9): must be 10 to 1000",
            "error: linux.resources.blockIO.weight (9): must be 10 to 1000",
        ),
        (
            r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":10}]}}"#,
            "blkio.bfq.weight_device 8:0 10 (or blkio.weight_device 8:0 10)",
            "io.bfq.weight 8:0 10 (or io.weight 8:0 1)",
        ),
        (
            r#"{"blockIO":{"leafWeight":300}}"#,
            "blkio.leaf_weight 300",
            "error: linux.resources.blockIO.leafWeight (300): cgroup v2 has no leaf weights",
        ),
        (
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1024}],
                "throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":0}]}}"#,
            "blkio.throttle.read_bps_device 8:0 1024; blkio.throttle.write_iops_device 8:16 0",
            "io.max 8:0 rbps=1024; io.max 8:16 wiops=max",
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#,
            "hugetlb.2MB.limit_in_bytes 4194304; hugetlb.2MB.rsvd.limit_in_bytes 4194304 (if there)",
            "hugetlb.2MB.max 4194304; hugetlb.2MB.rsvd.max 4194304 (if there)",
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"../x","limit":1}]}"#,
            "error: linux.resources.hugepageLimits[0].pageSize (../x): must be a number and KB, MB or GB, as in 2MB",
            "error: linux.resources.hugepageLimits[0].pageSize (../x): must be a number and KB, MB or GB, as in 2MB",
        ),
        (
            r#"{"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":5},{"name":"lo","priority":1}]}}"#,
            "net_cls.classid 1048577; net_prio.ifpriomap eth0 5; net_prio.ifpriomap lo 1",
            "error: linux.resources.network.classID: this host has no cgroup controller net_cls; hint: it exists in version 1 \
             only, mount it there or use eBPF of your own",
        ),
        (
            r#"{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000},"mlx4_0":{"hcaObjects":1}}}"#,
            "rdma.max mlx4_0 hca_object=1; rdma.max mlx5_1 hca_handle=3 hca_object=10000",
            "rdma.max mlx4_0 hca_object=1; rdma.max mlx5_1 hca_handle=3 hca_object=10000",
        ),
        (
            r#"{"pids":{"limit":5},"unified":{"memory.high":"1000","cgroup.max.depth":"3"}}"#,
            "error: linux.resources.unified[memory.high]: controller memory is in a version 1 hierarchy on this host",
            "pids.max 5; cgroup.max.depth 3; memory.high 1000",
        ),
        (
            r#"{"unified":{"dmem.max":"1"}}"#,
            "error: linux.resources.unified[dmem.max]: controller dmem is in a version 1 hierarchy on this host",
            "error: linux.resources.unified[dmem.max]: this host has no cgroup controller dmem",
        ),
        (
            r#"{"unified":{"../x.y":"1"}}"#,
            "error: linux.resources.unified[../x.y]: must be the name of a cgroup v2 file, as in memory.high",
            "error: linux.resources.unified[../x.y]: must be the name of a cgroup v2 file, as in memory.high",
        ),
    ] {
        assert_eq!(written(json, Version::V1), v1, "{json} in version 1");
        assert_eq!(written(json, Version::V2), v2, "{json} in version 2");
    }
}
