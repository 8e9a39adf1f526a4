//! Signals that end a call in the foreground while a hook runs.
//!
//! `run` and `restore` hold signals back from the beginning on, to pass them on to the program. As long as a hook runs the program
//! cannot have them: then whoever presses ^C means the call. `create`, `start` and `delete` hold nothing back and end by the
//! signal, their hooks with them.

use crate::process::signals;
use crate::sys::{self, Asked};
use anyhow::Result;
use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::{BorrowedFd, OwnedFd};

/// Those that are asked to end a program, and their names.
const ENDING: [(i32, &str); 4] =
    [(libc::SIGHUP, "SIGHUP"), (libc::SIGINT, "SIGINT"), (libc::SIGQUIT, "SIGQUIT"), (libc::SIGTERM, "SIGTERM")];

/// Where such a signal shows; nowhere in a process that does not hold them back.
#[derive(Debug)]
pub(super) struct Interrupts(Option<OwnedFd>);

/// A signal has ended the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted(&'static str);

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "interrupted by {}", self.0)
    }
}

impl std::error::Error for Interrupted {}

impl Interrupts {
    /// A signal that the caller had ignored (nohup(1)) is left alone: held back it would be kept for us all the same.
    pub(super) fn watch() -> Result<Interrupts> {
        if !signals::are_held_back()? {
            return Ok(Interrupts(None));
        }
        let mut mask = 0;
        for (signal, _) in ENDING {
            if !sys::signals::is_ignored(signal)? {
                mask |= sys::signals::bit(signal);
            }
        }
        Ok(Interrupts(Some(sys::signals::descriptor(mask)?)))
    }

    /// What to poll.
    pub(super) fn interest(&self) -> Option<PollFd<'_>> {
        self.0.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN))
    }

    /// Takes those that have come; an error if there is one.
    pub(super) fn check(&self) -> Result<(), anyhow::Error> {
        let Some(descriptor) = &self.0 else { return Ok(()) };
        let mut first = None;
        while let Some((signal, _)) = sys::signals::next(descriptor)? {
            first = first.or(ENDING.iter().find(|row| row.0 == signal));
        }
        first.map_or(Ok(()), |(_, name)| Err(Interrupted(name).into()))
    }
}

/// Waits until init has something to say, or is gone; for a time in which it runs hooks.
///
/// # Errors
/// A signal has ended the call.
pub fn wait_for(init: BorrowedFd<'_>) -> Result<()> {
    let interrupts = Interrupts::watch()?;
    loop {
        interrupts.check()?;
        let mut descriptors = vec![PollFd::from_borrowed_fd(init, PollFlags::IN)];
        descriptors.extend(interrupts.interest());
        match poll(&mut descriptors, None) {
            Ok(_) if descriptors.first().is_some_and(|fd| !fd.revents().is_empty()) => return Ok(()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).asked(|| "poll".to_owned()).map_err(Into::into),
        }
    }
}
