//! Signals of `run`: until the container is there they end the making of its bundle, then they are the container's.

use crate::sys::{Result, signalfd};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

/// Signals that end who has no other wish.
pub(super) const ENDING: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// The signals that ask a foreground program for something, blocked; they are read from a descriptor instead.
pub(super) struct Signals {
    descriptor: OwnedFd,
    /// What came before anybody could get it.
    early: Mutex<Vec<signalfd::Came>>,
}

impl Signals {
    /// Blocks them, here and in threads and programs that are started later.
    pub(super) fn block() -> Result<Signals> {
        Ok(Signals { descriptor: signalfd::block()?, early: Mutex::default() })
    }

    /// The signal that asks us to end, if one came so far. Costs one system call: it may be asked all the time.
    pub(super) fn ending(&self) -> Result<Option<i32>> {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(came) = signalfd::next(&self.descriptor)? {
            early.push(came);
        }
        Ok(early.iter().map(|came| came.signal).find(|signal| ENDING.contains(signal)))
    }

    /// What came so far and ends nobody: it was meant for the container.
    pub(super) fn early(&self) -> Vec<signalfd::Came> {
        std::mem::take(&mut *self.early.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The next signal, if one waits.
    pub(super) fn next(&self) -> Result<Option<signalfd::Came>> {
        signalfd::next(&self.descriptor)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
