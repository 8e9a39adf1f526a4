//! eventfd(2): a counter to wait on.

use super::{Asked, Result};
use rustix::event::EventfdFlags;
use std::os::fd::{AsFd, OwnedFd};

/// A counter at zero, with O_CLOEXEC.
pub fn new() -> Result<OwnedFd> {
    rustix::event::eventfd(0, EventfdFlags::CLOEXEC).asked(|| "eventfd2".to_owned())
}

/// Takes the count and leaves zero; waits while it is zero.
pub fn take(event: impl AsFd) -> Result<u64> {
    let mut bytes = [0; 8];
    rustix::io::read(event, &mut bytes).asked(|| "read eventfd".to_owned())?;
    Ok(u64::from_ne_bytes(bytes))
}
