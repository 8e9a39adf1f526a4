//! What this runtime recognises and can do, whatever the host: features.md and features-linux.md of the specification.
//!
//! containerd, dockerd and CRI-O ask for it when they start. Every list is the table that the code itself looks words up in.

use crate::config::UNSAFE_ANNOTATIONS;
use crate::namespaces::Kind;
use crate::process::{capabilities, memory_policy};
use crate::rootfs::options;
use crate::seccomp;
use serde::Serialize;
use std::collections::BTreeMap;

/// The lowest and the highest version of the specification that is understood.
const VERSIONS: (&str, &str) = ("1.0.0", "1.3.0");

/// The whole document.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the spec's fields")]
pub struct Features {
    pub oci_version_min: &'static str,
    pub oci_version_max: &'static str,
    pub hooks: Vec<&'static str>,
    pub mount_options: Vec<&'static str>,
    pub linux: Linux,
    pub annotations: BTreeMap<&'static str, &'static str>,
    pub potentially_unsafe_config_annotations: Vec<&'static str>,
}

/// The part about Linux.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the spec's fields")]
pub struct Linux {
    pub namespaces: Vec<&'static str>,
    pub capabilities: Vec<String>,
    pub cgroup: Cgroup,
    pub seccomp: Seccomp,
    pub apparmor: Enabled,
    pub selinux: Enabled,
    pub intel_rdt: IntelRdt,
    pub memory_policy: MemoryPolicy,
    pub mount_extensions: MountExtensions,
    pub net_devices: Enabled,
}

/// Managers of cgroups.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the spec's fields")]
pub struct Cgroup {
    pub v1: bool,
    pub v2: bool,
    pub systemd: bool,
    pub systemd_user: bool,
    pub rdma: bool,
}

/// Words of a seccomp profile.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the spec's fields")]
pub struct Seccomp {
    pub enabled: bool,
    pub actions: Vec<&'static str>,
    pub operators: Vec<&'static str>,
    pub archs: Vec<&'static str>,
    pub known_flags: Vec<&'static str>,
    pub supported_flags: Vec<&'static str>,
}

/// Something that is there or not.
#[derive(Debug, Clone, Copy, Serialize)]
#[allow(missing_docs, reason = "the spec's field")]
pub struct Enabled {
    pub enabled: bool,
}

/// Intel Resource Director Technology.
#[derive(Debug, Clone, Copy, Serialize)]
#[allow(missing_docs, reason = "the spec's fields")]
pub struct IntelRdt {
    pub enabled: bool,
    pub schemata: bool,
    pub monitoring: bool,
}

/// Words of a memory policy.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the spec's fields")]
pub struct MemoryPolicy {
    pub modes: Vec<&'static str>,
    pub flags: Vec<&'static str>,
}

/// What mounts can do beyond mount(2).
#[derive(Debug, Clone, Copy, Serialize)]
#[allow(missing_docs, reason = "the spec's field")]
pub struct MountExtensions {
    pub idmap: Enabled,
}

/// Describes this runtime.
pub fn features() -> Features {
    let mut mount_options: Vec<&str> = options::words().collect();
    mount_options.sort_unstable();
    Features {
        oci_version_min: VERSIONS.0,
        oci_version_max: VERSIONS.1,
        hooks: vec!["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        mount_options,
        linux: linux(),
        annotations: BTreeMap::from([
            ("org.ocicat.landlock.enabled", "true"),
            ("org.opencontainers.ocicat.version", env!("CARGO_PKG_VERSION")),
            // podman and CRI-O ask for the key that runc and crun share.
            ("org.opencontainers.runc.checkpoint.enabled", "true"),
        ]),
        potentially_unsafe_config_annotations: UNSAFE_ANNOTATIONS.to_vec(),
    }
}

fn linux() -> Linux {
    let mut namespaces: Vec<&str> = Kind::words().collect();
    namespaces.sort_unstable();
    Linux {
        namespaces,
        capabilities: capabilities::names().collect(),
        cgroup: Cgroup { v1: true, v2: true, systemd: true, systemd_user: true, rdma: true },
        seccomp: Seccomp {
            enabled: true,
            actions: seccomp::actions(),
            operators: seccomp::operators(),
            archs: seccomp::architectures(),
            known_flags: seccomp::known_flags(),
            supported_flags: seccomp::supported_flags(),
        },
        apparmor: Enabled { enabled: true },
        selinux: Enabled { enabled: true },
        intel_rdt: IntelRdt { enabled: true, schemata: true, monitoring: true },
        memory_policy: MemoryPolicy { modes: memory_policy::modes(), flags: memory_policy::flags() },
        mount_extensions: MountExtensions { idmap: Enabled { enabled: true } },
        net_devices: Enabled { enabled: true },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_the_fields_that_managers_read() {
        let told = serde_json::to_value(features()).unwrap();
        assert_eq!(told["ociVersionMin"], "1.0.0");
        assert_eq!(told["ociVersionMax"], "1.3.0");
        assert_eq!(told["hooks"].as_array().unwrap().len(), 6);
        assert_eq!(told["linux"]["namespaces"].as_array().unwrap().len(), 8);
        assert_eq!(told["linux"]["capabilities"].as_array().unwrap().len(), 41);
        assert_eq!(told["linux"]["mountExtensions"]["idmap"]["enabled"], true);
        assert!(told["linux"]["cgroup"]["systemdUser"].is_boolean());
        assert!(told["linux"]["seccomp"]["knownFlags"].is_array());
    }
}
