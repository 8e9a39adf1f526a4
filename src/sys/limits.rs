//! prlimit(2) with the kernel's 64-bit numbers; `u64::MAX` is RLIM_INFINITY.

use super::{Asked, Result, checked};

/// Sets soft and hard limit of the calling process; `word` is only for the error.
pub fn set(resource: u32, word: &str, soft: u64, hard: u64) -> Result<()> {
    let limit = [soft, hard];
    let old = std::ptr::null_mut::<u64>();
    // SAFETY: the new limit is a live struct rlimit64 (two u64), and no old one is asked for.
    let returned = unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, limit.as_ptr(), old) };
    checked(returned).asked(|| format!("setrlimit {word} soft={soft} hard={hard}")).map(|_| ())
}

/// Reads soft and hard limit of the calling process.
pub fn get(resource: u32) -> Result<(u64, u64)> {
    let mut limit = [0u64; 2];
    let new = std::ptr::null::<u64>();
    // SAFETY: the kernel writes a struct rlimit64 (two u64) into a live array of that size.
    let returned = unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, new, limit.as_mut_ptr()) };
    checked(returned).asked(|| format!("getrlimit {resource}"))?;
    let [soft, hard] = limit;
    Ok((soft, hard))
}
