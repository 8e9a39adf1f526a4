//! `ocicat events`: statistics and out-of-memory events.

use super::arguments::Given;
use super::command::{Command, Flag, Positionals};
use super::{Ended, Invocation, duration, output};
use crate::container::Events;
use anyhow::Result;
use std::time::Duration;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "events",
    about: "Prints statistics and out-of-memory events of a container, one JSON object a line",
    details: "It ends when the container does. Memory pressure, I/O and processor stalls, huge pages and RDMA devices are told where the \
              kernel counts them. `ocicat stats` shows the same to people.",
    positionals: Positionals::ID,
    flags: &[
        Flag::value("interval", "TIME", "time between two sets of statistics: 5s, 1m30s, 500ms (default 5s)"),
        Flag::switch("stats", "print one set of statistics and end"),
    ],
    examples: &[("events --stats web", "statistics of now"), ("events --interval 10s web", "every ten seconds")],
    failure: 1,
    run,
};

fn run(invocation: &Invocation) -> Result<Ended> {
    let request = request(&invocation.given)?;
    crate::container::events(&invocation.runtime()?, &request, &mut output::json_stream)?;
    Ok(Ended::Done)
}

fn request(given: &Given) -> Result<Events> {
    let interval = duration::of(given, "interval")?.unwrap_or(Duration::from_secs(5));
    Ok(Events { id: given.argument(0).to_owned(), interval, once: given.is("stats") })
}
