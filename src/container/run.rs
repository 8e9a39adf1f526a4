//! `run`: create, start and, in the foreground, look after the container until it ends.

use super::create::{self, Made, Mode};
use super::exit::Exit;
use super::oom;
use super::status::{self, Status};
use super::{Notice, Run, Runtime, delete, start, warnings};
use crate::process::{failure, interrupt, signals};
use anyhow::{Context, Result, anyhow};
use std::os::fd::AsFd;

/// Runs a container; answers with its exit code, or 0 when it is detached. `notice` hears what could not be granted
/// once the program runs, why the kernel killed it, and which poststop hooks failed (runtime.md, "Lifecycle", 13).
///
/// # Errors
/// As `create` and `start`; the container is gone then.
pub fn run(runtime: &Runtime, request: &Run, notice: &dyn Fn(Notice<'_>)) -> Result<i32> {
    let mode = if request.detach { Mode::Detached } else { Mode::Foreground };
    let supervisor = match mode {
        Mode::Foreground => Some(signals::Supervisor::prepare(!request.no_subreaper)?),
        _ => None,
    };
    let mut made = create::make(runtime, &request.create, mode)?;
    let terminal = made.terminal.take();
    if let Err(error) = started(&made) {
        delete::destroy_made(&made);
        return Err(error);
    }
    runtime.progress.done(|| "program begun, poststart hooks ended".to_owned());
    warnings::tell(&made.warnings, notice);
    let Some(supervisor) = supervisor else { return Ok(0) };
    let options = signals::Options { terminal };
    let ended = supervisor.supervise(&made.spawned.child.pidfd, made.spawned.child.pid, options);
    runtime.progress.done(|| "program ended".to_owned());
    if let Ok(ended) = ended {
        let paths = made.record.cgroups.as_ref();
        oom::Watch::since(&made.record.id, paths, made.oom_kills_before).tell(ended, notice);
    }
    match &ended {
        Ok(ended) if request.keep => Exit::now(&made.record, Some(*ended)).keep(&made.directory),
        _ => warnings::tell(&delete::destroy_made(&made), notice),
    }
    Ok(ended?.code())
}

/// Waits for the execve and runs the poststart hooks.
fn started(made: &Made) -> Result<()> {
    let Some(process) = &made.config.process else {
        return Err(anyhow!("cannot start {}: config.json has no process", made.record.id));
    };
    if made.config.hooks.as_ref().is_some_and(|hooks| !hooks.start_container.is_empty()) {
        interrupt::wait_for(made.spawned.parent.as_fd()).context("config.json: hooks.startContainer")?;
    }
    if let Some(error) = made.spawned.parent.executed()? {
        return Err(failure::translate(process, error));
    }
    // It is made: hooks, and everybody else while we look after it, may work on it.
    made.directory.unlock()?;
    start::let_program_begin(&made.config, &made.spawned.child.pidfd)?;
    start::after_start(&made.config, &status::state(&made.record, Status::Running))
}
