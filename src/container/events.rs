//! `events`: statistics at intervals and out-of-memory events as they happen, until the container ends.

use super::status::Status;
use super::{Events, Runtime, find};
use crate::cgroups::{Heard, Paths, Stats};
use crate::sys::pidfd;
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::os::fd::AsFd;
use std::time::Instant;

/// One event, in the shape that managers parse: `{"type":"stats","id":"web","data":{...}}`.
#[derive(Debug, Serialize)]
pub struct Event {
    /// `stats` or `oom`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The container's id.
    pub id: String,
    /// With `stats`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Stats>,
}

/// Tells each event to `tell`, which answers whether it wants more; returns when the container has ended, or after one set of
/// statistics.
///
/// # Errors
/// The container does not run, its cgroup cannot be read, or `tell` fails.
pub fn events(runtime: &Runtime, request: &Events, tell: &mut dyn FnMut(&Event) -> Result<bool>) -> Result<()> {
    let found = find::look(runtime, &request.id)?;
    if matches!(found.status, Status::Stopped | Status::Creating) {
        bail!("container not running: {} is {}", request.id, found.status);
    }
    let paths = found.record.cgroups.as_ref().filter(|paths| !paths.is_empty());
    let paths = paths.context("the container has no cgroup of its own")?;
    let (pid, init) = found.init()?;
    let stats = |paths: &Paths| -> Result<Event> {
        Ok(Event { kind: "stats", id: request.id.clone(), data: Some(paths.stats(Some(pid as u32))?) })
    };
    if request.once {
        return tell(&stats(paths)?).map(drop);
    }
    let mut watch = paths.oom_watch()?;
    let mut next = Instant::now();
    loop {
        if Instant::now() >= next {
            if !tell(&stats(paths)?)? {
                return Ok(());
            }
            next += request.interval;
        }
        let heard = match &mut watch {
            Some(watch) => watch.wait(Some(init.as_fd()), Some(next))?,
            None => match pidfd::wait_end(&init, next.saturating_duration_since(Instant::now()).as_millis() as i32)? {
                true => Heard::Other,
                false => Heard::Nothing,
            },
        };
        match heard {
            Heard::Oom if !tell(&Event { kind: "oom", id: request.id.clone(), data: None })? => return Ok(()),
            Heard::Oom | Heard::Nothing => {}
            Heard::Removed | Heard::Other => return Ok(()),
        }
    }
}
