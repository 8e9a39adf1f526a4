//! What is fuzzed: each function takes any bytes and must neither panic nor break what it promises.
//!
//! Shared by the fuzz targets (`fuzz/run NAME`) and `tests/fuzz_corpus.rs`, which replays the seeds.

use ocicat::cgroups::{self, Driver, Hierarchy, OwnCgroups, Paths};
use ocicat::config::{Config, Resources, Seccomp};
use ocicat::container::{ContainerId, Record};
use ocicat::host::{CgroupMode, Host};
use ocicat::rootfs::options::Options;
use ocicat::{namespaces, process, rootfs, seccomp, spec};
use std::collections::BTreeMap;
use std::path::Path;

/// A target: its name, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 10] = [
    ("config", config),
    ("seccomp_profile", seccomp_profile),
    ("seccomp_cache", seccomp_cache),
    ("mount_options", mount_options),
    ("id_mappings", id_mappings),
    ("state_file", state_file),
    ("own_cgroups", own_cgroups),
    ("cgroup_files", cgroup_files),
    ("mountinfo", mountinfo),
    ("landlock", landlock),
];

/// config.json: read, checked and planned.
pub fn config(bytes: &[u8]) {
    let Ok(config) = spec::read::parse::<Config>(bytes) else { return };
    let host = Host::modern();
    let _ = spec::check::problems(&config, &host);
    if spec::check::check(&config, &host).is_err() {
        return;
    }
    let plan = spec::plan::plan(&spec::plan::Request {
        config: &config,
        host: &host,
        bundle: Path::new("/bundle"),
        id: "fuzz",
        driver: Driver::Cgroupfs,
        no_pivot: false,
        no_new_keyring: false,
        preserve_fds: 0,
        notify: &ocicat::process::notify::Socket::None,
        variable: &|_| None,
    });
    if let Ok(plan) = plan {
        let _ = plan.to_string();
    }
    // What was read is written into the state directory, and read again by `exec`.
    let written = serde_json::to_vec(&config).unwrap();
    assert_eq!(spec::read::parse::<Config>(&written).unwrap(), config);
}

/// `linux.seccomp`: compiled for this machine and for one of the other byte order.
pub fn seccomp_profile(bytes: &[u8]) {
    let Ok(profile) = serde_json::from_slice::<Seccomp>(bytes) else { return };
    for native in ["SCMP_ARCH_X86_64", "SCMP_ARCH_S390X", "SCMP_ARCH_ARM"] {
        let Ok(plan) = seccomp::plan_on(&profile, native).unwrap() else { continue };
        verify(&plan);
        let _ = format!("{plan} {plan:#}");
        let back = seccomp::Plan::from_bytes(&plan.to_bytes()).unwrap();
        assert_eq!((back.program, back.flags, back.listener), (plan.program, plan.flags, plan.listener));
    }
}

/// What the kernel demands of a program (seccomp_check_filter, bpf_check_classic): known instructions, jumps inside.
fn verify(plan: &seccomp::Plan) {
    let program = &plan.program.0;
    assert!((1..=4096).contains(&program.len()));
    for (at, i) in program.iter().enumerate() {
        let furthest = match i.code {
            0x20 => {
                assert!(i.operand.is_multiple_of(4) && i.operand < 64, "load {}", i.operand);
                1
            }
            0x54 => 1,
            0x05 => 1 + i.operand as usize,
            0x15 | 0x25 | 0x35 => 1 + usize::from(i.jump_true.max(i.jump_false)),
            0x06 => 0,
            other => panic!("instruction {other:#x}"),
        };
        assert!(at + furthest < program.len(), "instruction {at} leads out of the program");
    }
}

/// `seccomp.bpf` of the state directory.
pub fn seccomp_cache(bytes: &[u8]) {
    if let Ok(plan) = seccomp::Plan::from_bytes(bytes) {
        assert_eq!(plan.to_bytes(), bytes);
        let _ = format!("{plan:#}");
    }
}

/// The options of a mount, one a line.
pub fn mount_options(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let words: Vec<String> = text.lines().map(str::to_owned).collect();
    let options = Options::parse(&words);
    let _ = options.shown(&[]);
}

/// Namespaces and their mappings, as `linux` has them.
pub fn id_mappings(bytes: &[u8]) {
    let Ok(linux) = serde_json::from_slice(bytes) else { return };
    let config = Config { linux: Some(linux), ..Config::default() };
    for host in [Host::modern(), Host { euid: 1000, egid: 1000, ..Host::modern() }] {
        if let Ok(plan) = namespaces::plan(&config, &host) {
            let _ = plan.to_string();
        }
    }
}

/// `state.json` of the state directory.
pub fn state_file(bytes: &[u8]) {
    let Ok(record) = serde_json::from_slice::<Record>(bytes) else { return };
    let _ = record.current_init();
    let _ = record.id.parse::<ContainerId>();
    let written = serde_json::to_vec(&record).unwrap();
    let back: Record = serde_json::from_slice(&written).unwrap();
    assert_eq!(serde_json::to_vec(&back).unwrap(), written);
}

/// /proc/self/cgroup, and where a container goes by it: the first line is `cgroupsPath`, the second the names of the mounted
/// hierarchies, the third the controllers of cgroup2, the rest is the file.
pub fn own_cgroups(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.splitn(4, '\n');
    let (path, mounts) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let (controllers, own) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let config: Config = serde_json::from_value(serde_json::json!({
        "ociVersion": "1.3.0",
        "linux": {"cgroupsPath": path, "resources": {"memory": {"limit": 1 << 20}, "pids": {"limit": 5}}},
    }))
    .unwrap();
    let mounts: Vec<&str> = mounts.split_whitespace().collect();
    for cgroup in [CgroupMode::V1, CgroupMode::Hybrid, CgroupMode::V2, CgroupMode::None] {
        for driver in [Driver::Cgroupfs, Driver::Systemd] {
            let host = Host { cgroup, ..Host::modern() };
            let own = OwnCgroups::given(&mounts, own, controllers);
            let request = cgroups::Request { config: &config, host: &host, id: "fuzz", driver, own: &own };
            if let Ok(plan) = cgroups::plan(&request) {
                let _ = plan.to_string();
            }
        }
    }
}

/// What the kernel says in the files of a cgroup: `== CONTROLLER/FILE` begins a file, `unified` being cgroup2's directory. They are
/// counted, listed and updated as a container's are.
pub fn cgroup_files(bytes: &[u8]) {
    // In memory where there is such a place: a disk takes twenty times as long.
    let memory = Some(Path::new("/dev/shm")).filter(|path| path.is_dir()).map(Path::to_owned);
    let place = memory.unwrap_or_else(std::env::temp_dir).join(format!("ocicat-fuzz-cgroup-{}", std::process::id()));
    let text = String::from_utf8_lossy(bytes);
    let mut names = Vec::new();
    for section in text.split("== ").skip(1) {
        let (file, content) = section.split_once('\n').unwrap_or((section, ""));
        let plain = |part: &str| {
            !part.is_empty()
                && part.len() < 64
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._,".contains(&b))
        };
        let Some((controller, file)) = file.split_once('/').filter(|(c, f)| plain(c) && plain(f)) else { continue };
        if controller.starts_with('.') || file.starts_with('.') || names.len() > 12 {
            continue;
        }
        if !names.contains(&controller) {
            std::fs::create_dir_all(place.join(controller)).unwrap();
            names.push(controller);
        }
        std::fs::write(place.join(controller).join(file), content).unwrap();
    }
    let hierarchy =
        |name: &&str| Hierarchy { name: (*name).to_owned(), mount: place.join(name), directory: place.join(name) };
    let paths = Paths { hierarchies: names.iter().map(hierarchy).collect(), ..Paths::default() };
    if let Ok(stats) = paths.stats(None) {
        serde_json::to_string(&stats).unwrap();
    }
    let _ = (paths.processes(), paths.is_frozen(), paths.oom_kills());
    let wanted: Resources = serde_json::from_value(serde_json::json!({
        "memory": {"limit": 1 << 20, "swap": 1 << 21}, "cpu": {"quota": 1000, "period": 10000, "cpus": "0-1"}, "pids": {"limit": 5},
        "blockIO": {"weight": 100, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 7}]},
    }))
    .unwrap();
    if let Ok(update) = cgroups::update(&paths, &wanted, &OwnCgroups::given(&names, "", "cpu io memory pids")) {
        let _ = update.apply();
    }
    let _ = std::fs::remove_dir_all(&place);
}

/// /proc/PID/mountinfo, after a line with the number of the mount that is looked for; and a list as cpusets have it.
pub fn mountinfo(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    if let Some(point) = rootfs::point_of(rest, first.parse().unwrap_or(22)) {
        assert!(point.as_os_str().len() <= rest.len(), "longer than what it was read from");
    }
    if let Ok(mask) = process::scheduling::number_list(first) {
        assert!(mask.len() <= 1024);
    }
}

/// The annotation `org.ocicat.landlock`.
pub fn landlock(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let annotations = BTreeMap::from([(process::landlock::ANNOTATION.to_owned(), text.to_owned())]);
    for landlock in [0, 3, 7] {
        if let Ok(Some(plan)) = process::landlock::plan(&annotations, &Host { landlock, ..Host::modern() }) {
            let _ = plan.to_string();
        }
    }
}
