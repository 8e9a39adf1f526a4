//! User, groups and capabilities of the calling thread: setresuid(2), setgroups(2), capset(2), prctl(2).
//!
//! The raw calls change one thread only, which is the whole process here: the runtime is single-threaded.

use super::{Asked, Result, checked};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};

/// Capability masks of a thread, one bit for each capability number (capabilities(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sets {
    /// What the kernel checks.
    pub effective: u64,
    /// What may become effective.
    pub permitted: u64,
    /// What survives an execve of a file with inheritable capabilities.
    pub inheritable: u64,
}

/// setresgid(2): real, effective and saved group.
pub fn set_gid(gid: u32) -> Result<()> {
    // SAFETY: three plain numbers are passed and no memory is touched.
    let returned = unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) };
    checked(returned).asked(|| format!("setresgid {gid}")).map(|_| ())
}

/// setresuid(2): real, effective and saved user.
pub fn set_uid(uid: u32) -> Result<()> {
    // SAFETY: three plain numbers are passed and no memory is touched.
    let returned = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
    checked(returned).asked(|| format!("setresuid {uid}")).map(|_| ())
}

/// setgroups(2): the supplementary groups become exactly these.
pub fn set_groups(groups: &[u32]) -> Result<()> {
    // SAFETY: the pointer and the length come from one live slice of gid_t.
    let returned = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    checked(returned)
        .asked(|| match groups.len() {
            0..=16 => format!("setgroups {groups:?}"),
            more => format!("setgroups of {more} groups"),
        })
        .map(|_| ())
}

/// Effective user and group of the calling thread.
pub fn effective_ids() -> (u32, u32) {
    let (uid, gid): (Uid, Gid) = (rustix::process::geteuid(), rustix::process::getegid());
    (uid.as_raw(), gid.as_raw())
}

/// capget(2) of the calling thread.
pub fn capabilities() -> Result<Sets> {
    let sets = rustix::thread::capabilities(None).asked(|| "capget".to_owned())?;
    Ok(Sets {
        effective: sets.effective.bits(),
        permitted: sets.permitted.bits(),
        inheritable: sets.inheritable.bits(),
    })
}

/// capset(2) of the calling thread.
pub fn set_capabilities(sets: Sets) -> Result<()> {
    let wanted = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(sets.effective),
        permitted: CapabilitySet::from_bits_retain(sets.permitted),
        inheritable: CapabilitySet::from_bits_retain(sets.inheritable),
    };
    rustix::thread::set_capabilities(None, wanted).asked(|| {
        format!(
            "capset effective={:#x} permitted={:#x} inheritable={:#x}",
            sets.effective, sets.permitted, sets.inheritable
        )
    })
}

/// PR_CAPBSET_READ: whether a capability number is in the bounding set; `None` when the kernel does not know it.
pub fn bounding_holds(capability: u32) -> Option<bool> {
    prctl(libc::PR_CAPBSET_READ, capability.into(), 0).ok().map(|held| held == 1)
}

/// PR_CAPBSET_DROP: takes one capability out of the bounding set for good.
pub fn drop_from_bounding(capability: u32) -> Result<()> {
    prctl(libc::PR_CAPBSET_DROP, capability.into(), 0).asked(|| format!("prctl PR_CAPBSET_DROP {capability}"))?;
    Ok(())
}

/// PR_CAP_AMBIENT_CLEAR_ALL: empties the ambient set.
pub fn clear_ambient() -> Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0)
        .asked(|| "prctl PR_CAP_AMBIENT_CLEAR_ALL".to_owned())?;
    Ok(())
}

/// PR_CAP_AMBIENT_RAISE: needs the capability both permitted and inheritable.
pub fn raise_ambient(capability: u32) -> Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, capability.into())
        .asked(|| format!("prctl PR_CAP_AMBIENT_RAISE {capability}"))?;
    Ok(())
}

/// PR_SET_KEEPCAPS: the permitted set survives the next change from user 0; execve clears the flag.
pub fn keep_capabilities() -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, 1, 0).asked(|| "prctl PR_SET_KEEPCAPS 1".to_owned())?;
    Ok(())
}

/// PR_SET_NO_NEW_PRIVS: no execve grants anything any more.
pub fn set_no_new_privileges() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).asked(|| "prctl PR_SET_NO_NEW_PRIVS 1".to_owned())?;
    Ok(())
}

fn prctl(option: libc::c_int, second: u64, third: u64) -> std::io::Result<libc::c_long> {
    // SAFETY: the options used in this file take numbers only, and the unused arguments are zero as the kernel asks.
    checked(unsafe { libc::syscall(libc::SYS_prctl, option, second, third, 0u64, 0u64) })
}
