//! Hearing of a container that runs out of memory.

use super::path::Paths;
use super::processes::value_of;
use crate::sys::{cgroupfs, eventfd, files};
use anyhow::{Context, Result};
use rustix::fs::OFlags;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Instant;

/// Listens to one container's memory cgroup.
#[derive(Debug)]
pub struct OomWatch {
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// An eventfd that version 1 adds to at each OOM, and when the cgroup is removed.
    V1 { event: OwnedFd, control: PathBuf },
    /// memory.events, which changes at each OOM (and at other things).
    V2 { events: OwnedFd, seen: u64 },
}

/// What a wait ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The container was out of memory.
    Oom,
    /// The cgroup is gone.
    Removed,
    /// The other descriptor has something to read: the container's pidfd, say.
    Other,
    /// The deadline came.
    Nothing,
}

impl Paths {
    /// Begins to listen for OOM; `None` when the container has no memory cgroup.
    pub fn oom_watch(&self) -> Result<Option<OomWatch>> {
        if let Some(memory) = self.v1("memory") {
            let event = eventfd::new()?;
            let control = memory.directory.join("cgroup.event_control");
            let oom = files::open(memory.directory.join("memory.oom_control"), OFlags::RDONLY)?;
            let line = format!("{} {}", event.as_raw_fd(), oom.as_raw_fd());
            cgroupfs::write(&control, &line).context("memory.oom_control")?;
            return Ok(Some(OomWatch { source: Source::V1 { event, control } }));
        }
        let Some(file) = self.unified().map(|unified| unified.directory.join("memory.events")) else { return Ok(None) };
        if !cgroupfs::exists(&file) {
            return Ok(None);
        }
        let events = files::open(&file, OFlags::RDONLY)?;
        let seen = value_of(&files::read_start(&events, 4096)?, "oom").unwrap_or(0);
        Ok(Some(OomWatch { source: Source::V2 { events, seen } }))
    }
}

impl OomWatch {
    /// Waits for the next thing to tell: an OOM, the end of the cgroup, something to read from `other`, or `deadline`.
    pub fn wait(&mut self, other: Option<BorrowedFd<'_>>, deadline: Option<Instant>) -> Result<Heard> {
        loop {
            let (watched, readable) = match &self.source {
                Source::V1 { event, .. } => (event.as_fd(), true),
                Source::V2 { events, .. } => (events.as_fd(), false),
            };
            let (ours, others) = cgroupfs::wait_two(watched, readable, other, deadline)?;
            if ours {
                if let Some(heard) = self.read()? {
                    return Ok(heard);
                }
            } else {
                return Ok(if others { Heard::Other } else { Heard::Nothing });
            }
        }
    }

    fn read(&mut self) -> Result<Option<Heard>> {
        match &mut self.source {
            Source::V1 { event, control } => {
                eventfd::take(event)?;
                Ok(Some(if cgroupfs::exists(control) { Heard::Oom } else { Heard::Removed }))
            }
            Source::V2 { events, seen } => {
                let Ok(text) = files::read_start(events, 4096) else { return Ok(Some(Heard::Removed)) };
                let now = value_of(&text, "oom").unwrap_or(0);
                let more = now > *seen;
                *seen = now;
                Ok(more.then_some(Heard::Oom))
            }
        }
    }
}
