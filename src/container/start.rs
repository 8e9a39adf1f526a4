//! `start`: one byte to the init that waits, and what became of its execve.

use super::create::locate;
use super::status::{self, Status};
use super::store::{self, Directory};
use super::{Runtime, delete, find};
use crate::config::Config;
use crate::process::hooks::{self, Output};
use crate::process::{failure, handshake};
use crate::sys::{self, Asked, files, pidfd};
use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use std::os::fd::{AsFd, OwnedFd};

/// Starts the program of a created container, and runs the poststart hooks once it runs.
///
/// # Errors
/// The container is not `created`, its program cannot be run, or a poststart hook fails: then the container is
/// stopped (runtime.md, "Lifecycle").
pub fn start(runtime: &Runtime, id: &str) -> Result<()> {
    let found = find::take(runtime, id)?;
    match found.status {
        Status::Created => {}
        Status::Stopped => bail!("cannot start a container that has stopped: {id}"),
        Status::Creating => bail!("cannot start a container that is being created: {id}"),
        Status::Paused if found.directory.has(store::START) => {
            bail!("cannot start a paused container: {id}; hint: resume it first")
        }
        Status::Running | Status::Paused => bail!("cannot start an already running container: {id}"),
    }
    let config = found.config()?;
    let Some(process) = &config.process else {
        bail!("cannot start {id}: config.json has no process");
    };
    let (_, init) = found.init()?;
    let outcome = go(&found.directory)?;
    if let Some(failed) = wait_for_execve(&outcome, &init)? {
        return Err(locate(failure::translate(process, failed)));
    }
    drop(outcome);
    runtime.progress.done(|| "program executed".to_owned());
    let state = status::state(&found.record, Status::Running);
    let_program_begin(&config, &init)?;
    // A hook may call the runtime itself, and one that hangs must not keep others from the container.
    found.directory.unlock()?;
    after_start(&config, &state).inspect_err(|_| drop(delete::destroy_again(&found)))?;
    runtime.progress.done(|| "poststart hooks ended".to_owned());
    Ok(())
}

/// Poststart hooks come after the program was executed (runtime.md, "Lifecycle", 9). The kernel tells of the execve before
/// the program's first instruction; a program that ends at once is seen to have ended before the first hook.
pub(super) fn let_program_begin(config: &Config, init: &OwnedFd) -> Result<()> {
    const MOMENT_MS: i32 = 20;
    match config.hooks.as_ref().is_some_and(|hooks| !hooks.poststart.is_empty()) {
        true => Ok(pidfd::wait_end(init, MOMENT_MS).map(drop)?),
        false => Ok(()),
    }
}

/// Lets init go: the fifo vanishes first, so that nobody can do it twice.
fn go(directory: &Directory) -> Result<OwnedFd> {
    let outcome = directory.open_file(store::OUTCOME, OFlags::RDONLY | OFlags::NONBLOCK)?;
    let start =
        directory.open_file(store::START, OFlags::WRONLY | OFlags::NONBLOCK).context("container not running")?;
    directory.unlink(store::START)?;
    files::write_fd(&start, b"1")?;
    directory.unlink(store::OUTCOME)?;
    Ok(outcome)
}

/// `None` once the program runs: its execve closed the last writer of the fifo.
fn wait_for_execve(outcome: &OwnedFd, init: &OwnedFd) -> Result<Option<anyhow::Error>> {
    let mut frame = [0_u8; 4096];
    loop {
        let mut fds = [PollFd::new(outcome, PollFlags::IN), PollFd::from_borrowed_fd(init.as_fd(), PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno).asked(|| "poll the outcome".to_owned()).map_err(Into::into),
        }
        match rustix::io::read(outcome, &mut frame) {
            Ok(0) => return Ok(None),
            Ok(length) => return Ok(frame.get(..length).map(handshake::launcher_or_failure)),
            Err(rustix::io::Errno::AGAIN) if pidfd::wait_end(init, 0)? => return Ok(None),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).asked(|| "read the outcome".to_owned()).map_err(sys::Error::into),
        }
    }
}

/// The poststart hooks.
pub(super) fn after_start(config: &Config, state: &status::State) -> Result<()> {
    let Some(hooks) = config.hooks.as_ref().filter(|hooks| !hooks.poststart.is_empty()) else { return Ok(()) };
    let output = Output::of(&config.annotations);
    hooks::run(&hooks.poststart, "hooks.poststart", &serde_json::to_string(state)?, &output).map_err(locate)
}
