//! `delete`: everything that the record names is taken back; what is not there any more is no error.

use super::create::Made;
use super::find::Found;
use super::record::Record;
use super::status::{self, Status};
use super::store::{self, Directory};
use super::{ContainerId, Runtime, poststop};
use crate::config::Config;
use crate::sys::pidfd;
use anyhow::{Result, bail};

/// Deletes a container. `force` kills it first, ends a runtime that is still creating it, and takes it for done when
/// there is no such container.
///
/// # Errors
/// The container runs and `force` is not given; or something of it cannot be removed, which is then still recorded.
pub fn delete(runtime: &Runtime, id: &str, force: bool) -> Result<()> {
    let Ok(checked) = id.parse::<ContainerId>() else {
        return if force { Ok(()) } else { bail!("container does not exist: {id}") };
    };
    let directory = match store::find(&runtime.root, &checked) {
        Err(error) if force && error.to_string().contains("does not exist") => return Ok(()),
        found => found?,
    };
    if !directory.try_lock() {
        if force {
            end_creator(&directory);
        }
        directory.lock()?;
    }
    if !directory.exists() {
        return if force { Ok(()) } else { bail!("container does not exist: {id}") };
    }
    let Some((record, config)) = directory.record()? else {
        // Only the directory was made before its runtime was killed.
        return directory.remove();
    };
    let status = status::of(&record, &directory);
    let found = Found { directory, record, status, config };
    match found.status {
        Status::Stopped | Status::Created => {}
        _ if force => {}
        other => bail!("cannot delete container {id} that is not stopped: {other}; hint: kill it, or delete --force"),
    }
    destroy(&found)
}

/// Ends the runtime process that is still creating the container: it holds the lock, and init dies with it.
fn end_creator(directory: &Directory) {
    let Ok(Some((record, _))) = directory.record() else { return };
    if record.init.is_none()
        && let Some(creator) = record.creator.open()
        && record.creator.pid != std::process::id() as i32
    {
        let _ = pidfd::send_signal(creator, libc::SIGKILL);
    }
}

/// Kills and removes a container: processes, cgroups, poststop hooks, state. Each step can be repeated.
pub(super) fn destroy(found: &Found) -> Result<()> {
    let config = found.config().ok();
    take_back(&found.record, &found.directory, config.as_ref())
}

/// The same for a container of this very process: nothing of it needs to be read again.
pub(super) fn destroy_made(made: &Made) {
    let _ = take_back(&made.record, &made.directory, Some(&made.config));
}

fn take_back(record: &Record, directory: &Directory, config: Option<&Config>) -> Result<()> {
    let init = record.current_init().and_then(|init| init.open());
    if let Some(init) = &init {
        let _ = pidfd::send_signal(init, libc::SIGKILL);
    }
    if let Some(paths) = &record.cgroups {
        paths.remove_by_force()?;
    }
    if let Some(init) = &init {
        pidfd::wait_end(init, DEADLINE_MS)?;
    }
    if let Some(config) = config {
        poststop::run(config, &status::state(record, Status::Stopped));
    }
    directory.remove()
}

/// How long a killed init may take to end, in milliseconds.
const DEADLINE_MS: i32 = 10_000;
