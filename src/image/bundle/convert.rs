//! The image config and the user's wishes become config.json (image-spec conversion.md): a pure function.

use super::user::Account;
use super::{Network, Options, SeccompChoice, seccomp};
use crate::config::{
    Capabilities, Config, Cpu, DeviceRule, Linux, Memory, Mount, Namespace, Pids, Process, Resources, Root, Seccomp,
    UNSAFE_ANNOTATIONS,
};
use crate::host::{CgroupMode, Host};
use crate::image::configuration::ImageConfiguration;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Docker's default capabilities.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// All of them, by number (capability.h).
const ALL_CAPABILITIES: &str = "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP \
    LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO \
    SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE \
    AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF \
    CHECKPOINT_RESTORE";

/// What a container may not see of the host, and may not change.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the conversion needs besides the image and the wishes.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    /// The image's user, looked up.
    pub(super) account: &'a Account,
    pub(super) host: &'a Host,
    /// When the user gives none.
    pub(super) hostname: &'a str,
    /// Directories of the image's volumes: where in the container, where on the host.
    pub(super) volumes: &'a [(PathBuf, PathBuf)],
    /// The content of the profile that the user names.
    pub(super) seccomp_file: Option<&'a [u8]>,
    /// More paths to mask, which differ between machines.
    pub(super) masked: &'a [PathBuf],
    /// Files of the host that a container in the host's network wants, as far as they exist.
    pub(super) network_files: &'a [PathBuf],
}

/// Makes config.json.
pub(super) fn config(image: &ImageConfiguration, options: &Options, facts: &Facts<'_>) -> Result<Config> {
    let capabilities = capabilities(options)?;
    let hostname = options.hostname.clone().unwrap_or_else(|| facts.hostname.to_owned());
    let process = process(image, options, facts, &capabilities, &hostname)?;
    let linux = linux(options, facts, &capabilities)?;
    Ok(Config {
        // What `ocicat spec` writes.
        oci_version: Config::starter(true)?.oci_version,
        process: Some(process),
        root: Some(Root { path: PathBuf::from("rootfs"), readonly: options.read_only }),
        hostname: Some(hostname),
        mounts: mounts(options, facts),
        annotations: annotations(image),
        linux: Some(linux),
        ..Config::default()
    })
}

fn process(
    image: &ImageConfiguration,
    options: &Options,
    facts: &Facts<'_>,
    capabilities: &[String],
    hostname: &str,
) -> Result<Process> {
    let execution = &image.config;
    // Docker's rule: a new entrypoint drops the image's command, which was meant for the old one.
    let (entrypoint, fallback) = match &options.entrypoint {
        Some(own) => (own, &[][..]),
        None => (&execution.entrypoint, execution.cmd.as_slice()),
    };
    let command = if options.command.is_empty() { fallback } else { options.command.as_slice() };
    let args: Vec<String> = entrypoint.iter().chain(command).cloned().collect();
    if args.is_empty() {
        bail!("the image says no command; hint: give one");
    }
    let cwd = options.working_directory.as_deref().unwrap_or(&execution.working_dir);
    let user = &facts.account.user;
    let given = || capabilities.to_vec();
    // What execve gives: who is not root has none of them (capabilities(7)).
    let own = if user.uid == 0 { given() } else { Vec::new() };
    Ok(Process {
        terminal: options.terminal,
        user: user.clone(),
        args,
        env: environment(&execution.env, options, facts.account, hostname),
        cwd: absolute(cwd),
        capabilities: Some(Capabilities {
            bounding: given(),
            effective: own.clone(),
            permitted: own,
            ..Capabilities::default()
        }),
        ..Process::default()
    })
}

/// An absolute path without dots: `..` cannot lead above the root (CVE-2022-23648).
pub(super) fn absolute(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Defaults, then the image's, then the user's; the later value of a name wins and keeps the earlier place.
fn environment(image: &[String], options: &Options, account: &Account, hostname: &str) -> Vec<String> {
    let mut variables: Vec<String> = vec![PATH.to_owned(), format!("HOSTNAME={hostname}")];
    if options.terminal {
        variables.push("TERM=xterm".to_owned());
    }
    if let Some(home) = &account.home {
        variables.push(format!("HOME={home}"));
    }
    let mut set = |variable: String| {
        let name = variable.split('=').next().unwrap_or_default().to_owned();
        let same = |other: &&mut String| other.split('=').next() == Some(name.as_str());
        match variables.iter_mut().find(same) {
            Some(known) => *known = variable,
            None => variables.push(variable),
        }
    };
    image.iter().filter(|variable| variable.contains('=')).for_each(|variable| set(variable.clone()));
    for variable in &options.env {
        if variable.contains('=') {
            set(variable.clone());
        } else if let Ok(value) = std::env::var(variable) {
            set(format!("{variable}={value}"));
        }
    }
    variables
}

fn capabilities(options: &Options) -> Result<Vec<String>> {
    let mut set: Vec<String> = CAPABILITIES.iter().map(|name| (*name).to_owned()).collect();
    let all = || ALL_CAPABILITIES.split_whitespace().map(|name| format!("CAP_{name}"));
    for (given, add) in
        options.capabilities_drop.iter().map(|c| (c, false)).chain(options.capabilities_add.iter().map(|c| (c, true)))
    {
        let upper = given.to_ascii_uppercase();
        let names: Vec<String> = match upper.strip_prefix("CAP_").unwrap_or(&upper) {
            "ALL" => all().collect(),
            name => {
                let name = format!("CAP_{name}");
                all().find(|known| *known == name).with_context(|| format!("{given:?} is no capability"))?;
                vec![name]
            }
        };
        set.retain(|name| !names.contains(name));
        if add {
            set.extend(names);
        }
    }
    Ok(set)
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: PathBuf::from(destination),
        kind: Some(kind.to_owned()),
        source: Some(PathBuf::from(source)),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Mount::default()
    }
}

fn mounts(options: &Options, facts: &Facts<'_>) -> Vec<Mount> {
    let user_namespace = options.user_namespace.is_some();
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    // sysfs shows a network namespace and belongs to who owns that.
    if user_namespace && options.network == Network::Host {
        mounts.push(mount("/sys", "bind", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]));
    } else {
        mounts.push(mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]));
        mounts.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]));
    }
    if user_namespace && !maps(options, 5) {
        // A gid that the namespace does not have cannot own terminals.
        for mount in &mut mounts {
            mount.options.retain(|option| option != "gid=5");
        }
    }
    let taken = |path: &Path| options.mounts.iter().any(|mount| mount.destination == path);
    if options.network == Network::Host {
        for file in facts.network_files.iter().filter(|file| !taken(file)) {
            let text = file.to_string_lossy();
            mounts.push(mount(&text, "bind", &text, &["rbind", "ro"]));
        }
    }
    for (inside, outside) in facts.volumes.iter().filter(|(inside, _)| !taken(inside)) {
        mounts.push(mount(&inside.to_string_lossy(), "bind", &outside.to_string_lossy(), &["rbind"]));
    }
    mounts.retain(|mount| !taken(&mount.destination));
    mounts.extend(options.mounts.iter().cloned());
    mounts
}

fn maps(options: &Options, gid: u32) -> bool {
    let Some((_, gids)) = &options.user_namespace else { return true };
    gids.iter().any(|range| gid.checked_sub(range.container_id).is_some_and(|offset| offset < range.size))
}

fn annotations(image: &ImageConfiguration) -> BTreeMap<String, String> {
    let ports: Vec<&str> = image.config.exposed_ports.keys().map(String::as_str).collect();
    let other = |name: &str| image.rest.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    let implied = [
        ("os", image.os.clone()),
        ("architecture", image.architecture.clone()),
        ("variant", other("variant")),
        ("os.version", other("os.version")),
        ("author", image.author.clone().unwrap_or_default()),
        ("created", image.created.clone().unwrap_or_default()),
        ("stopSignal", image.config.stop_signal.clone()),
        ("exposedPorts", ports.join(",")),
    ];
    let implied = implied.into_iter().filter(|(_, value)| !value.is_empty());
    let mut annotations: BTreeMap<String, String> =
        implied.map(|(name, value)| (format!("org.opencontainers.image.{name}"), value)).collect();
    // Labels take precedence (conversion.md, "Annotation Fields"). One that means something to the runtime would let whoever
    // made the image write files of the host or run programs there (CVE-2026-53488).
    let harmless = |(name, _): &(&String, &String)| !UNSAFE_ANNOTATIONS.iter().any(|start| name.starts_with(start));
    annotations.extend(image.config.labels.iter().filter(harmless).map(|(name, value)| (name.clone(), value.clone())));
    annotations.remove("");
    annotations
}

fn linux(options: &Options, facts: &Facts<'_>, capabilities: &[String]) -> Result<Linux> {
    let mut kinds = vec!["pid", "ipc", "uts", "mount"];
    let mut sysctl = BTreeMap::new();
    if options.network == Network::Private {
        kinds.push("network");
        // Nobody else has ports there: low ones need no privilege.
        sysctl.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
    }
    if facts.host.cgroup == CgroupMode::V2 {
        kinds.push("cgroup");
    }
    let (uid_mappings, gid_mappings) = options.user_namespace.clone().unwrap_or_default();
    if options.user_namespace.is_some() {
        kinds.push("user");
    }
    let masked = MASKED.iter().map(PathBuf::from).chain(facts.masked.iter().cloned());
    Ok(Linux {
        namespaces: kinds.iter().map(|kind| Namespace { kind: (*kind).to_owned(), path: None }).collect(),
        uid_mappings,
        gid_mappings,
        sysctl,
        resources: Some(resources(options)?),
        seccomp: profile(options, facts, capabilities)?,
        masked_paths: masked.collect(),
        readonly_paths: READ_ONLY.iter().map(PathBuf::from).collect(),
        ..Linux::default()
    })
}

fn resources(options: &Options) -> Result<Resources> {
    const PERIOD: u64 = 100_000;
    let quota = match options.cpus {
        Some(cpus) if cpus.is_finite() && (0.01..=1e6).contains(&cpus) => Some((cpus * PERIOD as f64).round() as i64),
        Some(cpus) => bail!("{cpus} cores cannot be given"),
        None => None,
    };
    // Swap as much again, as docker does: memory alone would only push the container to the swap.
    let memory = options.memory.map(|limit| Memory {
        limit: Some(limit),
        swap: (limit > 0).then(|| limit.saturating_mul(2)),
        ..Memory::default()
    });
    Ok(Resources {
        devices: vec![DeviceRule { allow: false, access: Some("rwm".to_owned()), ..DeviceRule::default() }],
        memory,
        cpu: quota.map(|quota| Cpu { quota: Some(quota), period: Some(PERIOD), ..Cpu::default() }),
        pids: options.pids.map(|limit| Pids { limit: Some(limit) }),
        ..Resources::default()
    })
}

fn profile(options: &Options, facts: &Facts<'_>, capabilities: &[String]) -> Result<Option<Seccomp>> {
    match &options.seccomp {
        SeccompChoice::Unconfined => Ok(None),
        SeccompChoice::Default => Ok(Some(seccomp::default(capabilities))),
        SeccompChoice::File(path) => {
            let bytes = facts.seccomp_file.with_context(|| path.display().to_string())?;
            Ok(Some(seccomp::read(bytes, capabilities).with_context(|| path.display().to_string())?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(image: &str, options: &Options) -> Result<Config> {
        let image = ImageConfiguration::parse(image.as_bytes()).unwrap();
        let account = Account { home: Some("/root".to_owned()), ..Account::default() };
        let host = Host::modern();
        let facts = Facts {
            account: &account,
            host: &host,
            hostname: "box",
            volumes: &[(PathBuf::from("/data"), PathBuf::from("/b/volumes/0"))],
            seccomp_file: None,
            masked: &[],
            network_files: &[PathBuf::from("/etc/resolv.conf")],
        };
        config(&image, options, &facts)
    }

    const IMAGE: &str = r#"{"architecture":"arm64","os":"linux","author":"A","variant":"v8","rootfs":{"type":"layers","diff_ids":[]},
        "config":{"Env":["PATH=/bin","A=1","broken"],"Entrypoint":["/e"],"Cmd":["c","d"],"WorkingDir":"a/../../w","StopSignal":"SIGQUIT",
        "Labels":{"x":"y","org.opencontainers.image.author":"B"},"ExposedPorts":{"80/tcp":{},"53/udp":{}},"Volumes":null}}"#;

    #[test]
    fn a_label_of_the_image_is_no_order_to_the_runtime() {
        let image = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"config":{"Cmd":["c"],"Labels":{
            "run.oci.hooks.stdout":"/etc/cron.d/x","run.oci.mount_context_type":"c","org.criu.config":"/etc/passwd",
            "org.systemd.property.ExecStopPost":"'/x'","maintainer":"m"}}}"#;
        let names: Vec<String> = convert(image, &Options::default()).unwrap().annotations.into_keys().collect();
        assert_eq!(names, ["maintainer", "org.opencontainers.image.architecture", "org.opencontainers.image.os"]);
    }

    #[test]
    fn the_command_is_entrypoint_and_arguments() {
        for (options, expected) in [
            (Options::default(), "/e c d"),
            (Options { command: vec!["x".into()], ..Options::default() }, "/e x"),
            (Options { entrypoint: Some(vec!["/n".into()]), ..Options::default() }, "/n"),
            (Options { entrypoint: Some(vec![]), command: vec!["x".into()], ..Options::default() }, "x"),
        ] {
            assert_eq!(convert(IMAGE, &options).unwrap().process.unwrap().args.join(" "), expected);
        }
        let none = Options { entrypoint: Some(vec![]), ..Options::default() };
        assert!(convert(IMAGE, &none).unwrap_err().to_string().contains("no command"));
    }

    #[test]
    fn environment_directory_and_annotations_follow_the_conversion_rules() {
        let options = Options { env: vec!["A=2".into(), "B=3".into(), "OCICAT_NOT_SET".into()], ..Options::default() };
        let config = convert(IMAGE, &options).unwrap();
        assert_eq!(config.oci_version, "1.3.0");
        let process = config.process.unwrap();
        assert_eq!(process.env, ["PATH=/bin", "HOSTNAME=box", "HOME=/root", "A=2", "B=3"]);
        assert_eq!(process.cwd, "/w");
        let annotations: Vec<String> =
            config.annotations.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            annotations,
            [
                "org.opencontainers.image.architecture=arm64",
                "org.opencontainers.image.author=B",
                "org.opencontainers.image.exposedPorts=53/udp,80/tcp",
                "org.opencontainers.image.os=linux",
                "org.opencontainers.image.stopSignal=SIGQUIT",
                "org.opencontainers.image.variant=v8",
                "x=y"
            ]
        );
    }

    #[test]
    fn limits_namespaces_and_mounts_are_what_was_asked() {
        let range = vec![crate::config::IdMapping { container_id: 0, host_id: 100_000, size: 65536 }];
        let options = Options {
            memory: Some(1 << 20),
            cpus: Some(1.5),
            pids: Some(9),
            network: Network::Host,
            user_namespace: Some((range.clone(), range)),
            mounts: vec![mount("/data", "bind", "/mine", &["rbind"]), mount("/dev/shm", "tmpfs", "x", &[])],
            ..Options::default()
        };
        let config = convert(IMAGE, &options).unwrap();
        let linux = config.linux.unwrap();
        let kinds: Vec<&str> = linux.namespaces.iter().map(|n| n.kind.as_str()).collect();
        assert_eq!(kinds, ["pid", "ipc", "uts", "mount", "cgroup", "user"]);
        let resources = linux.resources.unwrap();
        assert_eq!(resources.memory.unwrap().limit, Some(1 << 20));
        assert_eq!(resources.cpu.unwrap().quota, Some(150_000));
        assert_eq!(resources.pids.unwrap().limit, Some(9));
        let mounts: Vec<String> = config
            .mounts
            .iter()
            .map(|m| format!("{} {}", m.destination.display(), m.source.as_deref().unwrap_or(Path::new("")).display()))
            .collect();
        assert!(
            mounts.contains(&"/sys /sys".to_owned())
                && mounts.contains(&"/etc/resolv.conf /etc/resolv.conf".to_owned())
        );
        assert!(mounts.contains(&"/data /mine".to_owned()) && !mounts.iter().any(|m| m.contains("volumes")));
        assert_eq!(mounts.iter().filter(|m| m.starts_with("/dev/shm ")).count(), 1);
    }

    #[test]
    fn capabilities_are_dockers_with_the_users_changes() {
        let with = |add: &[&str], drop: &[&str]| {
            let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
            capabilities(&Options { capabilities_add: list(add), capabilities_drop: list(drop), ..Options::default() })
        };
        assert_eq!(with(&[], &[]).unwrap().len(), 14);
        assert_eq!(with(&["net_admin"], &["ALL"]).unwrap(), ["CAP_NET_ADMIN"]);
        assert_eq!(with(&["ALL"], &[]).unwrap().len(), 41);
        assert!(with(&["FLY"], &[]).is_err());
    }
}
