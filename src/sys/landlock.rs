//! landlock(7): a ruleset is a descriptor; once restricted, a process and its children stay so.

use super::{Asked, Result, checked};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// What a ruleset governs (linux/landlock.h, `struct landlock_ruleset_attr`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Governed {
    /// LANDLOCK_ACCESS_FS_*.
    pub files: u64,
    /// LANDLOCK_ACCESS_NET_*.
    pub ports: u64,
    /// LANDLOCK_SCOPE_*.
    pub scopes: u64,
}

const CREATE_RULESET_VERSION: libc::c_long = 1;
const RULE_PATH_BENEATH: libc::c_long = 1;
const RULE_NET_PORT: libc::c_long = 2;

/// `struct landlock_path_beneath_attr`, which is packed.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// `struct landlock_net_port_attr`.
#[repr(C)]
struct NetPort {
    allowed: u64,
    port: u64,
}

/// The ABI version that the kernel speaks; 0 where Landlock is not built in or not enabled.
pub fn version() -> u32 {
    // SAFETY: with this flag the kernel wants a null pointer and a size of 0, and reads nothing.
    let returned = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<Governed>(), 0, CREATE_RULESET_VERSION)
    };
    u32::try_from(returned).unwrap_or(0)
}

/// Makes an empty ruleset, closed on execve.
pub fn create_ruleset(governed: &Governed) -> Result<OwnedFd> {
    // SAFETY: the kernel reads the structure, which has the layout of its header and outlives the call; a kernel that knows
    // fewer fields accepts the longer structure while the rest is zero.
    let returned =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const *governed, size_of::<Governed>(), 0) };
    let fd = checked(returned).asked(|| {
        format!(
            "landlock_create_ruleset files {:#x} ports {:#x} scopes {:#x}",
            governed.files, governed.ports, governed.scopes
        )
    })?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Allows `access` on a file, or on a directory and all beneath it.
pub fn allow_beneath(ruleset: impl AsFd, access: u64, file: BorrowedFd<'_>) -> Result<()> {
    let rule = PathBeneath { allowed: access, parent: file.as_raw_fd() };
    add_rule(ruleset.as_fd(), RULE_PATH_BENEATH, (&raw const rule).cast())
        .asked(|| format!("landlock_add_rule path {access:#x}"))
}

/// Allows `access` on a TCP port.
pub fn allow_port(ruleset: impl AsFd, access: u64, port: u16) -> Result<()> {
    let rule = NetPort { allowed: access, port: port.into() };
    add_rule(ruleset.as_fd(), RULE_NET_PORT, (&raw const rule).cast())
        .asked(|| format!("landlock_add_rule port {port} {access:#x}"))
}

fn add_rule(ruleset: BorrowedFd<'_>, kind: libc::c_long, rule: *const libc::c_void) -> std::io::Result<()> {
    // SAFETY: both callers pass the structure of that kind of rule, which the kernel only reads and which outlives the call.
    let returned = unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), kind, rule, 0) };
    checked(returned).map(drop)
}

/// Puts this thread under the ruleset, for good; needs no_new_privs or CAP_SYS_ADMIN.
pub fn restrict_self(ruleset: impl AsFd) -> Result<()> {
    // SAFETY: numbers only.
    let returned = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_fd().as_raw_fd(), 0) };
    checked(returned).asked(|| "landlock_restrict_self".to_owned()).map(drop)
}
