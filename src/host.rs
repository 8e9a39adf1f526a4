//! Facts of this machine, read once and then passed by reference: plans are pure functions of config.json and this.
//!
//! A test writes `Host { cgroup: CgroupMode::V1, ..Host::modern() }`: an old-kernel path is reached by a value.

use crate::sys;
use std::path::PathBuf;

/// How /sys/fs/cgroup is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupMode {
    /// Only version 1 hierarchies.
    V1,
    /// Version 1 hierarchies, and cgroup2 at /sys/fs/cgroup/unified.
    Hybrid,
    /// cgroup2 alone.
    V2,
    /// No cgroup filesystem is mounted there.
    None,
}

/// What a plan may depend on besides config.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Effective uid of the runtime.
    pub euid: u32,
    /// Effective gid of the runtime.
    pub egid: u32,
    /// The runtime has CAP_SYS_ADMIN: it may make namespaces of every kind and mount (capabilities(7)).
    pub may_administer: bool,
    /// The runtime itself is inside a user namespace that is not the initial one.
    pub in_user_namespace: bool,
    /// Layout of /sys/fs/cgroup.
    pub cgroup: CgroupMode,
    /// Where the cgroup filesystems are mounted.
    pub cgroup_root: PathBuf,
    /// Kernel release, major and minor.
    pub kernel: (u32, u32),
    /// /sys/kernel/security/apparmor or the module's parameter says that AppArmor is on.
    pub apparmor: bool,
    /// selinuxfs is mounted.
    pub selinux: bool,
    /// The version of Landlock's interface, 0 where the kernel has none.
    pub landlock: u32,
    /// `--rootless`: whether a container that asks for no limits may do without a cgroup. `None`: when the runtime has no privileges.
    pub may_lack_cgroup: Option<bool>,
}

impl Host {
    /// Reads the facts of the running system.
    pub fn read() -> Host {
        let cgroup_root = PathBuf::from("/sys/fs/cgroup");
        Host {
            euid: rustix::process::geteuid().as_raw(),
            egid: rustix::process::getegid().as_raw(),
            may_administer: may_administer(),
            in_user_namespace: sys::proc::in_user_namespace(),
            cgroup: cgroup_mode(&cgroup_root),
            cgroup_root,
            kernel: kernel_version(),
            apparmor: sys::proc::file_begins_with("/sys/module/apparmor/parameters/enabled", b"Y"),
            selinux: std::path::Path::new("/sys/fs/selinux/enforce").exists(),
            landlock: sys::landlock::version(),
            may_lack_cgroup: None,
        }
    }

    /// A current kernel with cgroup v2, run by root: where tests start from.
    pub fn modern() -> Host {
        Host {
            euid: 0,
            egid: 0,
            may_administer: true,
            in_user_namespace: false,
            cgroup: CgroupMode::V2,
            cgroup_root: PathBuf::from("/sys/fs/cgroup"),
            kernel: (6, 18),
            apparmor: false,
            selinux: false,
            landlock: 7,
            may_lack_cgroup: None,
        }
    }

    /// True when the runtime has no privileges over the host: not root, or root only of a user namespace.
    pub fn rootless(&self) -> bool {
        self.euid != 0 || self.in_user_namespace
    }
}

fn may_administer() -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    sys::credentials::capabilities().is_ok_and(|own| own.effective & (1 << CAP_SYS_ADMIN) != 0)
}

fn cgroup_mode(root: &std::path::Path) -> CgroupMode {
    const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;
    const TMPFS_MAGIC: u64 = 0x0102_1994;
    let magic = |path: &std::path::Path| rustix::fs::statfs(path).ok().map(|s| s.f_type as u64);
    match magic(root) {
        Some(CGROUP2_SUPER_MAGIC) => CgroupMode::V2,
        Some(TMPFS_MAGIC) if magic(&root.join("unified")) == Some(CGROUP2_SUPER_MAGIC) => CgroupMode::Hybrid,
        Some(TMPFS_MAGIC) => CgroupMode::V1,
        _ => CgroupMode::None,
    }
}

fn kernel_version() -> (u32, u32) {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|p| p.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}
