//! `delete`: everything that the record names is taken back; what is not there any more is no error.

use super::create::Made;
use super::find::Found;
use super::record::Record;
use super::status::{self, Status};
use super::store::{self, Damaged, Directory};
use super::{ContainerId, Runtime, find, poststop, sharing};
use crate::config::Config;
use crate::spec;
use crate::sys::{self, pidfd};
use anyhow::{Result, bail, ensure};
use std::time::Instant;

/// Deletes a container. `force` kills it first, ends a runtime that is still creating it, and takes it for done when
/// there is no such container. Answers with warnings: the poststop hooks that failed (runtime.md, "Lifecycle", 13).
///
/// # Errors
/// The container runs and `force` is not given; or something of it cannot be removed, which is then still recorded.
pub fn delete(runtime: &Runtime, id: &str, force: bool) -> Result<Vec<String>> {
    let Ok(checked) = id.parse::<ContainerId>() else {
        return if force { Ok(Vec::new()) } else { bail!("container does not exist: {id}") };
    };
    let directory = match store::find(&runtime.root, &checked) {
        Err(error) if error.to_string().contains("does not exist") => return finish(runtime, &checked, force),
        found => found?,
    };
    if !directory.try_lock() {
        take_over(&directory, force)?;
    }
    if !directory.exists() {
        return finish(runtime, &checked, force);
    }
    let (record, config) = match directory.record() {
        Ok(Some(read)) => read,
        // Only the directory was made before its runtime was killed.
        Ok(None) if force => return directory.remove_unknown().map(|()| Vec::new()),
        Ok(None) => bail!(find::never_created(&checked)),
        Err(error) if force && error.is::<Damaged>() => {
            directory.remove_unknown()?;
            return Ok(vec![format!("{error:#}: only its state was removed")]);
        }
        Err(error) => return Err(error),
    };
    let status = status::of(&record, &directory);
    let found = Found { directory, record, status, config };
    match found.status {
        Status::Stopped | Status::Created => {}
        _ if force => {}
        other => bail!(not_stopped(id, other)),
    }
    destroy(&found)
}

fn not_stopped(id: &str, status: Status) -> String {
    format!("cannot delete container {id} that is not stopped: {status}; hint: kill it, or delete --force")
}

/// There is no such container. One that was deleted by a call which was killed before the poststop hooks had ended is
/// finished: they run (again). While that call lives they are its own business.
fn finish(runtime: &Runtime, id: &ContainerId, force: bool) -> Result<Vec<String>> {
    let unfinished = store::unfinished(&runtime.root, Some(id))?;
    if unfinished.is_empty() && !force {
        bail!("container does not exist: {id}");
    }
    let mut warnings = Vec::new();
    for directory in unfinished {
        if let Ok(Some((record, config))) = directory.record()
            && let Ok(config) = spec::read::parse(config.get().as_bytes())
        {
            warnings.extend(poststop::run(&config, &status::state(&record, Status::Stopped)));
        }
        directory.remove()?;
    }
    Ok(warnings)
}

/// Gets the lock that another runtime process holds. By force that process has nothing to wait for any more: one that
/// still creates the container is killed, and init dies with it; one that starts it loses its init.
fn take_over(directory: &Directory, force: bool) -> Result<()> {
    let id = directory.id();
    let deadline = Instant::now() + store::PATIENCE;
    while !directory.try_lock() {
        let read = match directory.record() {
            Err(error) if force && error.is::<Damaged>() => return directory.lock(),
            read => read?,
        };
        let Some((record, _)) = read else {
            // Its creator has only just begun, or another call is about to remove the directory.
            ensure!(Instant::now() < deadline, "{}", store::busy(id));
            sys::cgroupfs::let_others_run();
            continue;
        };
        if !force {
            match status::while_taken(&record, directory) {
                Status::Creating => bail!("cannot delete container {id} that is not stopped: it is being created"),
                // The other one may be about to delete it, or to start it.
                Status::Stopped | Status::Created => return directory.lock(),
                other => bail!(not_stopped(id.as_str(), other)),
            }
        }
        let waits_for = if record.init.is_none() { record.creator() } else { record.current_init() };
        if let Some(process) = waits_for.filter(|who| force && who.pid != std::process::id() as i32)
            && let Some(process) = process.open()
        {
            let _ = pidfd::send_signal(process, libc::SIGKILL);
        }
        if let Some(paths) = sharing::own_cgroups(&record, directory).filter(|_| force) {
            // A frozen init cannot follow its creator into death, and it holds the lock too.
            paths.kill()?;
        }
        return directory.lock();
    }
    Ok(())
}

/// Kills and removes a container: processes, cgroups, state; then its poststop hooks run. Each step can be repeated. Answers
/// with the poststop hooks that failed.
pub(super) fn destroy(found: &Found) -> Result<Vec<String>> {
    let config = found.config().ok();
    take_back(&found.record, &found.directory, config.as_ref())
}

/// The same where the lock was given away meanwhile: somebody else may have deleted it.
pub(super) fn destroy_again(found: &Found) -> Result<Vec<String>> {
    found.directory.lock()?;
    if found.directory.exists() { destroy(found) } else { Ok(Vec::new()) }
}

/// The same for a container of this very process: nothing of it needs to be read again. What could not be removed is among
/// the warnings, and still recorded.
pub(super) fn destroy_made(made: &Made) -> Vec<String> {
    destroy_own(&made.record, &made.directory, &made.config)
}

/// The same for one whose lock was given away meanwhile.
pub(super) fn destroy_own(record: &Record, directory: &Directory, config: &Config) -> Vec<String> {
    let removed = directory.lock().and_then(|()| match directory.exists() {
        true => take_back(record, directory, Some(config)),
        false => Ok(Vec::new()),
    });
    removed.unwrap_or_else(|error| {
        vec![format!("container {} is not wholly removed: {error:#}; hint: delete --force", record.id)]
    })
}

fn take_back(record: &Record, directory: &Directory, config: Option<&Config>) -> Result<Vec<String>> {
    let cgroups = sharing::own_cgroups(record, directory);
    let init = record.current_init().and_then(|init| init.open());
    if let Some(init) = &init {
        let _ = pidfd::send_signal(init, libc::SIGKILL);
    }
    if let Some(paths) = cgroups {
        paths.remove_by_force()?;
    }
    if let Some(init) = &init {
        pidfd::wait_end(init, DEADLINE_MS)?;
    }
    let Some(config) = config.filter(|config| poststop::has_any(config)) else {
        return directory.remove().map(|()| Vec::new());
    };
    // They are called after the container is deleted (config.md, "Poststop"), however long they take. What they need is kept
    // until then: of a call that is killed meanwhile the next one finds it.
    let deleted = directory.set_aside()?;
    let warnings = poststop::run(config, &status::state(record, Status::Stopped));
    deleted.remove()?;
    Ok(warnings)
}

/// How long a killed init may take to end, in milliseconds.
const DEADLINE_MS: i32 = 10_000;
