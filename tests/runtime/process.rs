//! Every field of `process`, hostname and the like, as the program itself sees it (config.md, "Process").

use crate::common::*;
use std::fs;

fn status(container: Container) -> Outcome {
    container.args(&["cat", "/proc/self/status"]).run().ok()
}

#[test]
fn args_reach_the_program_untouched() {
    let words = ["sh", "-c", "for a; do echo \"[$a]\"; done", "sh", "", " two  words ", "*", "$HOME", "\"", "ä"];
    Container::new().args(&words).run().says("[]\n[ two  words ]\n[*]\n[$HOME]\n[\"]\n[ä]");
}

#[test]
fn the_program_is_found_in_the_path_of_the_configuration() {
    let container = Container::new().file("/data/tool", "#!/bin/sh\necho found\n", 0o755);
    container.set("/process/env", json!(["PATH=/nowhere:/data:/bin"])).args(&["tool"]).run().says("found");
}

#[test]
fn a_program_with_a_slash_is_found_from_the_working_directory() {
    let container = Container::new().file("/data/tool", "#!/bin/sh\npwd\n", 0o755).set("/process/cwd", json!("/data"));
    container.args(&["./tool"]).run().says("/data");
}

#[test]
fn a_script_runs_by_its_interpreter() {
    Container::new()
        .file("/data/script", "#!/bin/sh\necho $0 $1\n", 0o755)
        .args(&["/data/script", "word"])
        .run()
        .says("/data/script word");
}

#[test]
fn the_environment_is_that_of_the_configuration_and_nothing_else() {
    let container =
        Container::new().set("/process/env", json!(["PATH=/bin", "EMPTY=", "A=b=c", "HOME=/data"])).args(&["env"]);
    container.write();
    let mut command = container.command(&["run", &container.id]);
    command.env("SECRET", "1").env("_OCI_SYNCPIPE", "3").env("XDG_RUNTIME_DIR", "");
    let seen = finish(command).ok();
    let mut lines: Vec<&str> =
        seen.out.lines().filter(|line| !["PWD", "SHLVL", "_"].contains(&line.split('=').next().unwrap())).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["A=b=c", "EMPTY=", "HOME=/data", "PATH=/bin"]);
}

#[test]
fn home_is_filled_in_from_the_containers_passwd() {
    let home = |uid: u32| {
        Container::new().set("/process/user", json!({"uid": uid, "gid": 0})).shell("echo $HOME").run().ok().text()
    };
    assert_eq!(home(0), "/root");
    assert_eq!(home(1000), "/home/fay");
    assert_eq!(home(4242), "/");
}

#[test]
fn of_two_values_for_one_variable_the_last_counts() {
    only_ocicat!("runc 1.1 passes both and busybox takes the first");
    Container::new().set("/process/env", json!(["PATH=/bin", "A=1", "A=2"])).shell("echo $A").run().says("2");
}

#[test]
fn the_working_directory_is_the_one_asked_for_and_made_when_it_is_missing() {
    Container::new().set("/process/cwd", json!("/tmp")).args(&["pwd"]).run().says("/tmp");
    Container::new()
        .set("/root/readonly", json!(false))
        .set("/process/cwd", json!("/data/new/deep"))
        .args(&["pwd"])
        .run()
        .says("/data/new/deep");
}

#[test]
fn a_relative_working_directory_is_refused() {
    let outcome = Container::new().set("/process/cwd", json!("tmp")).args(&["pwd"]).run();
    assert!(outcome.code != 0 && outcome.err.to_lowercase().contains("cwd"), "{outcome}");
}

#[test]
fn the_working_directory_may_be_one_that_only_the_user_can_enter() {
    let container = Container::new();
    let home = container.rootfs().join("data");
    fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&home, Some(1000), Some(1000)).unwrap();
    container
        .set("/process/cwd", json!("/data"))
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .args(&["pwd"])
        .run()
        .says("/data");
}

#[test]
fn user_and_groups_are_exactly_those_asked_for() {
    let seen = status(
        Container::new().set("/process/user", json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 6, 1001]})),
    );
    assert_eq!(seen.field("Uid"), "1000\t1000\t1000\t1000");
    assert_eq!(seen.field("Gid"), "1001\t1001\t1001\t1001");
    assert_eq!(seen.field("Groups"), "5 6 1001");
}

#[test]
fn without_additional_groups_there_are_none() {
    assert_eq!(status(Container::new().set("/process/user", json!({"uid": 1000, "gid": 1000}))).field("Groups"), "");
}

#[test]
fn the_umask_is_the_one_asked_for_or_022() {
    assert_eq!(status(Container::new().set("/process/user/umask", json!(0o77))).field("Umask"), "0077");
    assert_eq!(status(Container::new().set("/process/user/umask", json!(0))).field("Umask"), "0000");
    assert_eq!(status(Container::new()).field("Umask"), "0022");
}

#[test]
fn a_user_name_that_is_a_number_is_never_looked_up() {
    let container = Container::new()
        .file("/etc/passwd", "1000:x:0:0:evil:/root:/bin/sh\n", 0o644)
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    assert_eq!(status(container).field("Uid"), "1000\t1000\t1000\t1000");
}

#[test]
fn ids_that_do_not_fit_are_refused_and_never_wrap() {
    for uid in [json!(4_294_967_296_u64), json!(-1), json!("0"), json!(1.5)] {
        let outcome = Container::new().set("/process/user/uid", uid.clone()).args(&["id"]).run();
        assert!(outcome.code != 0, "{uid} was accepted: {outcome}");
    }
}

#[test]
fn each_capability_set_is_exactly_what_was_asked_for() {
    let container = Container::new().set(
        "/process/capabilities",
        json!({"bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_NET_RAW"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL", "CAP_CHOWN"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]}),
    );
    // uid 0 gains its permitted set from the bounding one at execve; an ordinary user shows the sets as they are.
    let seen = status(
        container.set("/process/user", json!({"uid": 1000, "gid": 1000})).set("/process/noNewPrivileges", json!(false)),
    );
    let set = |bits: &[u32]| format!("{:016x}", bits.iter().fold(0_u64, |all, bit| all | 1 << bit));
    assert_eq!(seen.field("CapBnd"), set(&[5, 0, 13]));
    assert_eq!(seen.field("CapAmb"), set(&[5]));
    assert_eq!(seen.field("CapInh"), set(&[5]));
    assert_eq!((seen.field("CapEff"), seen.field("CapPrm")), (set(&[5]), set(&[5])));
}

#[test]
fn root_without_capabilities_has_none() {
    let seen = status(Container::new().set("/process/capabilities", json!({})));
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(seen.field(name), "0".repeat(16), "{name}");
    }
}

#[test]
fn the_inheritable_set_is_empty_when_nobody_asks_for_it() {
    let seen = status(Container::new());
    assert_eq!((seen.field("CapInh"), seen.field("CapAmb")), ("0".repeat(16), "0".repeat(16)));
    assert_eq!(seen.field("CapEff"), format!("{:016x}", 1_u64 << 29 | 1 << 5 | 1 << 10));
}

#[test]
fn an_unknown_capability_is_no_error() {
    Container::new().capabilities(&["CAP_NO_SUCH_THING"]).run().ok();
}

#[test]
fn a_capability_that_cannot_be_granted_is_no_error() {
    only_ocicat!("runc 1.1 fails");
    need!(!host::capable(24), "this host can grant CAP_SYS_RESOURCE");
    Container::new().capabilities(&["CAP_SYS_RESOURCE"]).run().ok();
}

#[test]
fn no_new_privileges_is_set_or_not() {
    assert_eq!(status(Container::new().set("/process/noNewPrivileges", json!(true))).field("NoNewPrivs"), "1");
    assert_eq!(status(Container::new().set("/process/noNewPrivileges", json!(false))).field("NoNewPrivs"), "0");
    let unset = Container::new().edit(|config| {
        config["process"].as_object_mut().unwrap().remove("noNewPrivileges");
    });
    assert_eq!(status(unset).field("NoNewPrivs"), "0");
}

#[test]
fn every_limit_reaches_the_program() {
    let wanted = [
        ("RLIMIT_AS", "Max address space", "bytes"),
        ("RLIMIT_CORE", "Max core file size", "bytes"),
        ("RLIMIT_CPU", "Max cpu time", "seconds"),
        ("RLIMIT_DATA", "Max data size", "bytes"),
        ("RLIMIT_FSIZE", "Max file size", "bytes"),
        ("RLIMIT_LOCKS", "Max file locks", "locks"),
        ("RLIMIT_MSGQUEUE", "Max msgqueue size", "bytes"),
        ("RLIMIT_NOFILE", "Max open files", "files"),
        ("RLIMIT_RSS", "Max resident set", "bytes"),
        ("RLIMIT_RTTIME", "Max realtime timeout", "us"),
        ("RLIMIT_SIGPENDING", "Max pending signals", "signals"),
        ("RLIMIT_STACK", "Max stack size", "bytes"),
    ];
    for (name, line, unit) in wanted {
        // Small enough to be allowed without CAP_SYS_RESOURCE, large enough to run in.
        let value = match name {
            "RLIMIT_AS" | "RLIMIT_DATA" | "RLIMIT_STACK" => 1_u64 << 26,
            "RLIMIT_NOFILE" | "RLIMIT_SIGPENDING" => 200,
            "RLIMIT_MSGQUEUE" => 4096,
            "RLIMIT_LOCKS" | "RLIMIT_CORE" => 0,
            _ => 1_000_000,
        };
        let seen = Container::new()
            .set("/process/rlimits", json!([{"type": name, "soft": value, "hard": value}]))
            .args(&["cat", "/proc/self/limits"])
            .run()
            .ok();
        let found: Vec<String> = seen
            .out
            .lines()
            .find_map(|text| text.strip_prefix(line))
            .unwrap()
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        assert_eq!(found, [value.to_string(), value.to_string(), unit.to_owned()], "{name}");
    }
}

#[test]
fn soft_and_hard_limits_differ() {
    only_ocicat!("Go raises the soft limit of runc 1.1");
    let container =
        Container::new().set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]));
    container.shell("ulimit -Sn; ulimit -Hn").run().says("100\n200");
}

#[test]
fn an_infinite_limit_is_written_as_the_largest_number() {
    let container =
        Container::new().set("/process/rlimits", json!([{"type": "RLIMIT_CORE", "soft": u64::MAX, "hard": u64::MAX}]));
    let outcome = container.shell("ulimit -c").run();
    assert!(outcome.out.trim() == "unlimited" || outcome.err.contains("operation not permitted"), "{outcome}");
}

#[test]
fn the_oom_score_adjustment_is_set_or_left() {
    Container::new()
        .set("/process/oomScoreAdj", json!(321))
        .args(&["cat", "/proc/self/oom_score_adj"])
        .run()
        .says("321");
    let mine = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    Container::new().args(&["cat", "/proc/self/oom_score_adj"]).run().says(mine.trim());
}

#[test]
fn the_scheduler_is_the_one_asked_for() {
    only_ocicat!("runc 1.1 knows no scheduler");
    // /proc/PID/stat fields after the name: nice 17th, rt_priority 38th, policy 39th.
    let of = |scheduler: Value| {
        Container::new()
            .set("/process/scheduler", scheduler)
            .shell("cut -d' ' -f19,40,41 /proc/self/stat")
            .run()
            .ok()
            .text()
    };
    assert_eq!(of(json!({"policy": "SCHED_OTHER", "nice": 5})), "5 0 0");
    assert_eq!(of(json!({"policy": "SCHED_BATCH", "nice": 3})), "3 0 3");
    // The nice value stays the caller's: it means nothing here.
    assert!(of(json!({"policy": "SCHED_IDLE"})).ends_with(" 0 5"));
    need!(
        !std::path::Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists(),
        "real-time policies need a share of the cpu cgroup's real-time budget here"
    );
    assert_eq!(of(json!({"policy": "SCHED_FIFO", "priority": 7})), "0 7 1");
    assert_eq!(of(json!({"policy": "SCHED_RR", "priority": 9, "flags": ["SCHED_FLAG_RESET_ON_FORK"]})), "0 9 2");
}

#[test]
fn an_unknown_scheduler_is_refused() {
    only_ocicat!("runc 1.1 knows no scheduler");
    Container::new().set("/process/scheduler", json!({"policy": "SCHED_BOGUS"})).run().fails("scheduler");
}

#[test]
fn the_io_priority_is_the_one_asked_for() {
    only_ocicat!("runc 1.1 knows no ioPriority");
    let of = |class: &str, priority: u32| {
        Container::new()
            .set("/process/ioPriority", json!({"class": class, "priority": priority}))
            .args(&["ionice"])
            .run()
            .ok()
            .text()
    };
    assert_eq!(of("IOPRIO_CLASS_BE", 3), "best-effort: prio 3");
    assert_eq!(of("IOPRIO_CLASS_IDLE", 0).split(':').next().unwrap(), "idle");
}

#[test]
fn the_personality_is_the_one_asked_for() {
    only_ocicat!("runc 1.1 takes it only from 1.2 on");
    Container::new().set("/linux/personality", json!({"domain": "LINUX32"})).args(&["uname", "-m"]).run().says("i686");
    Container::new().set("/linux/personality", json!({"domain": "LINUX"})).args(&["uname", "-m"]).run().says("x86_64");
}

#[test]
fn the_memory_policy_is_the_one_asked_for() {
    only_ocicat!("runc 1.1 knows no memoryPolicy");
    need!(std::path::Path::new("/proc/self/numa_maps").exists(), "the kernel has no NUMA policies");
    let seen = Container::new()
        .set("/linux/memoryPolicy", json!({"mode": "MPOL_INTERLEAVE", "nodes": "0"}))
        .args(&["cat", "/proc/self/numa_maps"])
        .run()
        .ok();
    assert!(seen.out.contains("interleave:0"), "{seen}");
}

#[test]
fn hostname_and_domainname_are_set() {
    Container::new().set("/hostname", json!("tabby")).args(&["hostname"]).run().says("tabby");
    only_ocicat!("runc 1.1 knows no domainname");
    Container::new()
        .set("/domainname", json!("cats.example"))
        .args(&["cat", "/proc/sys/kernel/domainname"])
        .run()
        .says("cats.example");
}

#[test]
fn a_hostname_without_a_uts_namespace_is_refused() {
    let outcome = Container::new().without_namespace("uts").run();
    assert!(outcome.code != 0 && outcome.err.to_lowercase().contains("hostname"), "{outcome}");
}

#[test]
fn sysctls_of_the_containers_namespaces_are_set() {
    let container = Container::new().set(
        "/linux/sysctl",
        json!({"kernel.shmmni": "1234", "net.ipv4.ip_forward": "1", "net/ipv4/ip_default_ttl": "77"}),
    );
    container
        .shell("cat /proc/sys/kernel/shmmni /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/ip_default_ttl")
        .run()
        .says("1234\n1\n77");
}

#[test]
fn sysctls_of_the_host_are_refused() {
    for (key, without) in [
        ("kernel.core_pattern", ""),
        ("kernel.sysrq", ""),
        ("vm.swappiness", ""),
        ("net.ipv4.ip_forward", "network"),
        ("kernel.shmmni", "ipc"),
        ("kernel.domainname", "uts"),
        ("kernel/../kernel/sysrq", ""),
    ] {
        let mut container = Container::new().without_namespace(without).set("/linux/sysctl", json!({key: "0"}));
        if without == "uts" {
            container.config.as_object_mut().unwrap().remove("hostname");
        }
        // The value is refused before anything is written: the name is enough.
        let outcome = container.run();
        assert!(outcome.code != 0, "{key} without {without}: {outcome}");
    }
}

#[test]
fn a_session_keyring_of_its_own_unless_told_otherwise() {
    let mine =
        || Container::new().edit(|config| config["linux"]["maskedPaths"] = json!([])).args(&["cat", "/proc/keys"]);
    let container = mine();
    let seen = container.run().ok();
    assert!(seen.out.contains("_ses"), "{seen}");
    let container = mine();
    let seen = container.run_with(&["--no-new-keyring"]).ok();
    assert!(!seen.out.contains(&container.id), "{seen}");
}

#[test]
fn signal_dispositions_and_masks_are_the_default() {
    let container = Container::new().args(&["cat", "/proc/self/status"]);
    container.write();
    // As a daemon would: with SIGPIPE, SIGHUP and SIGTERM ignored.
    let command = container.command(&["run", &container.id]);
    let mut shell = through_shell(&command, "");
    shell = {
        let mut outer = std::process::Command::new("/bin/sh");
        outer
            .args(["-c", "trap '' PIPE HUP TERM; exec \"$@\"", "sh"])
            .arg(shell.get_program())
            .args(shell.get_args())
            .current_dir(&container.dir)
            .stdin(container.null());
        outer
    };
    let seen = finish(shell).ok();
    assert_eq!((seen.field("SigBlk"), seen.field("ShdPnd")), ("0".repeat(16), "0".repeat(16)));
    only_ocicat!("runc 1.1 passes ignored signals on");
    assert_eq!(seen.field("SigIgn"), "0".repeat(16));
}

#[test]
fn the_cpu_affinity_is_that_of_the_cpuset_and_not_of_the_caller() {
    only_ocicat!("runc 1.1 keeps the caller's");
    need!(std::thread::available_parallelism().unwrap().get() > 1, "needs two cpus");
    need!(host::has("taskset"), "needs taskset");
    let container = Container::new().args(&["nproc"]);
    container.write();
    let command = container.command(&["run", &container.id]);
    let mut pinned = std::process::Command::new("taskset");
    pinned
        .args(["-c", "0"])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(&container.dir)
        .stdin(container.null());
    finish(pinned).says(&std::thread::available_parallelism().unwrap().get().to_string());
}

#[test]
fn exec_is_bound_to_the_cpus_it_was_given() {
    only_ocicat!("runc 1.1 knows no execCPUAffinity");
    need!(std::thread::available_parallelism().unwrap().get() > 1, "needs two cpus");
    let container = Container::new().set("/process/execCPUAffinity", json!({"initial": "0", "final": "1"})).sleeping();
    assert_eq!(container.exec(&["cat", "/proc/self/status"]).ok().field("Cpus_allowed_list"), "1");
}

#[test]
fn process_must_have_a_program_a_working_directory_and_known_limits() {
    for (place, value) in [
        ("/process/args", json!([])),
        ("/process/cwd", json!("")),
        ("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1}])),
    ] {
        let outcome = Container::new().set(place, value).run();
        assert!(outcome.code != 0, "{place}: {outcome}");
    }
}

#[test]
fn a_doubled_limit_is_refused() {
    only_ocicat!("runc and crun accept it against the spec");
    let limit = json!({"type": "RLIMIT_NOFILE", "soft": 100, "hard": 100});
    Container::new().set("/process/rlimits", json!([limit, limit])).run().fails("process.rlimits[1]");
}

#[test]
fn as_many_groups_as_a_process_can_have_are_given_and_no_more() {
    only_ocicat!("the peers tell EINVAL without a field");
    let most: Vec<u32> = (100..65636).collect();
    let container =
        Container::new().set("/process/user/additionalGids", json!(most)).args(&["sleep", "1000"]).detached();
    container.call(&["exec", &container.id, "sh", "-c", "grep ^Groups: /proc/self/status | wc -w"]).says("65537");
    container
        .call(&["exec", "--additional-gids", "7", &container.id, "true"])
        .fails("process.user.additionalGids: 65537 groups are more than the 65536 that a process can have");
}
