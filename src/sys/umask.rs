//! The file mode creation mask, for one thread alone.

use super::{Asked, Result};
use rustix::fs::Mode;
use rustix::thread::UnshareFlags;

/// Gives the calling thread its own working directory and umask (unshare CLONE_FS), and sets that umask.
pub fn own(mask: u32) -> Result<()> {
    // SAFETY: CLONE_FS only separates cwd, root and umask of this thread from the others'; no memory or descriptor
    // that other code relies on changes.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }.asked(|| "unshare CLONE_FS".to_owned())?;
    rustix::process::umask(Mode::from_raw_mode(mask));
    Ok(())
}
