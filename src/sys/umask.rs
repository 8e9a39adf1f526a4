//! The file mode creation mask (umask(2)): for one thread alone, and the caller's.

use super::{Asked, Result};
use rustix::fs::Mode;
use rustix::thread::UnshareFlags;
use std::sync::atomic::{AtomicU32, Ordering};

/// The caller's mask where ours is another one; else [`UNCHANGED`].
static OF_CALLER: AtomicU32 = AtomicU32::new(UNCHANGED);
const UNCHANGED: u32 = u32::MAX;

/// Leaves us what we make: a mask that takes bits of the owner's would keep a caller without privileges from the state of its
/// own containers. What the mask says of others stays.
pub fn leave_owner_access() {
    const OWNER: Mode = Mode::RWXU;
    let of_caller = rustix::process::umask(Mode::RWXG | Mode::RWXO);
    rustix::process::umask(of_caller - OWNER);
    if of_caller.intersects(OWNER) {
        OF_CALLER.store(of_caller.as_raw_mode(), Ordering::Relaxed);
    }
}

/// Gives whoever is executed next the caller's mask again.
pub fn give_back() {
    match OF_CALLER.swap(UNCHANGED, Ordering::Relaxed) {
        UNCHANGED => {}
        mask => drop(rustix::process::umask(Mode::from_raw_mode(mask))),
    }
}

/// Sets the mask of a container's process.
pub fn set(mask: u32) {
    OF_CALLER.store(UNCHANGED, Ordering::Relaxed);
    rustix::process::umask(Mode::from_raw_mode(mask & 0o777));
}

/// Gives the calling thread its own working directory and umask (unshare CLONE_FS), and sets that umask.
pub fn own(mask: u32) -> Result<()> {
    // SAFETY: CLONE_FS only separates cwd, root and umask of this thread from the others'; no memory or descriptor
    // that other code relies on changes.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }.asked(|| "unshare CLONE_FS".to_owned())?;
    rustix::process::umask(Mode::from_raw_mode(mask));
    Ok(())
}
