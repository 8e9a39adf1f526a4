//! prlimit(2) with the kernel's 64-bit numbers; `u64::MAX` is RLIM_INFINITY.

use super::{Asked, Result, checked};
use std::sync::atomic::{AtomicU64, Ordering};

/// As many files as we want to be able to open: the sources of all mounts, and the namespaces, are open at one time. It is what
/// every system gives a process unless somebody takes it away.
const FILES: u64 = 1024;

/// The soft limit of our caller where ours is another one; else [`UNCHANGED`].
static FILES_OF_CALLER: AtomicU64 = AtomicU64::new(UNCHANGED);
const UNCHANGED: u64 = u64::MAX;

/// Raises the soft limit of open files where the caller's is too low for our own work, as far as the hard limit goes.
pub fn raise_files() -> Result<()> {
    let (soft, hard) = get(libc::RLIMIT_NOFILE)?;
    if soft < FILES && soft < hard {
        set(libc::RLIMIT_NOFILE, "RLIMIT_NOFILE", hard.min(FILES), hard)?;
        FILES_OF_CALLER.store(soft, Ordering::Relaxed);
    }
    Ok(())
}

/// Gives whoever is executed next the caller's limit again.
pub fn give_back_files() -> Result<()> {
    match FILES_OF_CALLER.swap(UNCHANGED, Ordering::Relaxed) {
        UNCHANGED => Ok(()),
        soft => set(libc::RLIMIT_NOFILE, "RLIMIT_NOFILE", soft, get(libc::RLIMIT_NOFILE)?.1),
    }
}

/// The limit was set to another value on purpose.
pub fn forget_files_of_caller() {
    FILES_OF_CALLER.store(UNCHANGED, Ordering::Relaxed);
}

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
