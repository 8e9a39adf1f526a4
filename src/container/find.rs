//! Finding a container: by its id, locked, with its record.

use super::record::Record;
use super::status::{self, Status};
use super::store::{self, Directory};
use super::{ContainerId, Runtime};
use crate::config::Config;
use crate::spec;
use crate::sys::{cgroupfs, pidfd};
use anyhow::{Context, Result, bail, ensure};
use serde_json::value::RawValue;
use std::time::Instant;

/// A container that exists.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) directory: Directory,
    pub(super) record: Record,
    pub(super) status: Status,
    pub(super) config: Box<RawValue>,
}

/// Looks at a container without taking it.
pub(super) fn look(runtime: &Runtime, id: &str) -> Result<Found> {
    let mut found = found(store::find(&runtime.root, &parse(id)?)?)?;
    if found.status == Status::Stopped && status::may_be_hidden(&found.record) {
        match found.directory.try_lock() {
            true => found.directory.unlock()?,
            false => found.status = Status::Creating,
        }
    }
    Ok(found)
}

/// Takes a container that lives: no other process changes it meanwhile. One that is being created, or has stopped, is taken only
/// when nobody else has it.
pub(super) fn take(runtime: &Runtime, id: &str) -> Result<Found> {
    let directory = store::find(&runtime.root, &parse(id)?)?;
    let deadline = Instant::now() + store::PATIENCE;
    while !directory.try_lock() {
        let Some((record, _)) = directory.record()? else {
            bail!(without_record(&directory));
        };
        match status::while_taken(&record, &directory) {
            // This may take as long as its hooks want.
            Status::Creating => bail!("container is being created: {id}"),
            Status::Stopped if !directory.exists() => break,
            Status::Stopped => bail!("container not running: {id} is stopped, and another call works on it"),
            Status::Created | Status::Running | Status::Paused => wait_a_moment(&record)?,
        }
        ensure!(Instant::now() < deadline, "{}", store::busy(directory.id()));
    }
    if !directory.exists() {
        bail!("container does not exist: {id}");
    }
    found(directory)
}

/// Waits until the container ends, at most so long: who has it may be about to kill it, and keep it then.
fn wait_a_moment(record: &Record) -> Result<()> {
    const MOMENT_MS: i32 = 10;
    match record.current_init().and_then(|init| init.open()) {
        Some(init) => drop(pidfd::wait_end(&init, MOMENT_MS)?),
        None => cgroupfs::let_others_run(),
    }
    Ok(())
}

/// An id that cannot be one names no container.
fn parse(id: &str) -> Result<ContainerId> {
    id.parse().with_context(|| format!("container does not exist: {id}"))
}

fn found(directory: Directory) -> Result<Found> {
    let Some((record, config)) = directory.record()? else {
        bail!(without_record(&directory));
    };
    let status = status::of(&record, &directory);
    Ok(Found { directory, record, status, config })
}

/// What to say of a directory in which nothing is recorded: its creator has only just begun, or it was deleted since it was
/// opened, or nobody will ever write into it.
fn without_record(directory: &Directory) -> String {
    let id = directory.id();
    // Somebody's lock is asked for first: who has just deleted it had it until then.
    match (directory.try_lock(), directory.exists()) {
        (_, false) => format!("container does not exist: {id}"),
        (false, true) => format!("container is being created: {id}"),
        (true, true) => never_created(id),
    }
}

/// What to say of a directory that a killed runtime left before it made anything else.
pub(super) fn never_created(id: &ContainerId) -> String {
    format!("container {id} was never created: its runtime was killed; hint: delete --force")
}

impl Found {
    /// config.json as it was at create.
    pub(super) fn config(&self) -> Result<Config> {
        spec::read::parse(self.config.get().as_bytes()).context("the config of the container")
    }

    /// Whether the numbers of its processes mean something here.
    ///
    /// # Errors
    /// It lives in another pid namespace than this process, or below one.
    pub(super) fn in_sight(&self) -> Result<()> {
        let id = &self.record.id;
        let hidden = self.status != Status::Stopped && self.record.is_of_another_pid_namespace();
        ensure!(
            !hidden,
            "the processes of {id} are out of sight: it was made in another pid namespace; hint: call ocicat there"
        );
        Ok(())
    }

    /// Init by descriptor.
    ///
    /// # Errors
    /// `container not running`, the words that managers look for.
    pub(super) fn init(&self) -> Result<(i32, std::os::fd::OwnedFd)> {
        let init = self.record.current_init();
        let open = init.and_then(|init| Some((init.pid, init.open()?)));
        if open.is_none() {
            self.in_sight()?;
        }
        // It may have ended since it was found.
        let now = || status::of(&self.record, &self.directory);
        open.with_context(|| format!("container not running: {} is {}", self.record.id, now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_a_record_is_new_or_gone_or_was_given_up() {
        let root = tempfile::tempdir().unwrap();
        let id: ContainerId = "box".parse().unwrap();
        let creator = store::claim(root.path(), &id).unwrap();
        let said = || found(store::find(root.path(), &id).unwrap()).unwrap_err().to_string();
        assert_eq!(said(), "container is being created: box");
        creator.unlock().unwrap();
        assert_eq!(said(), "container box was never created: its runtime was killed; hint: delete --force");
        let opened_before = store::find(root.path(), &id).unwrap();
        creator.remove().unwrap();
        assert_eq!(found(opened_before).unwrap_err().to_string(), "container does not exist: box");
    }
}
