//! `ocicat events`: statistics and out-of-memory events.

use super::arguments::Given;
use super::command::{Command, Flag, Positionals};
use super::{Ended, Invocation};
use crate::container::Events;
use anyhow::{Result, anyhow, bail};
use std::time::Duration;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "events",
    about: "Prints statistics and out-of-memory events of a container, one JSON object a line",
    details: "",
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
    crate::container::events(&invocation.runtime()?, &request, &mut |event| super::output::json_line(event))?;
    Ok(Ended::Done)
}

fn request(given: &Given) -> Result<Events> {
    let interval = match given.value("interval") {
        Some(text) => duration(text).ok_or_else(|| anyhow!("invalid interval {text:?}: must be like 5s or 1m30s"))?,
        None => Duration::from_secs(5),
    };
    if interval.is_zero() {
        bail!("invalid interval: must be greater than 0");
    }
    Ok(Events { id: given.argument(0).to_owned(), interval, once: given.is("stats") })
}

/// A duration as Go writes it: numbers with units, one after the other.
fn duration(mut text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    if text.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !text.is_empty() {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount: f64 = text.get(..end)?.parse().ok()?;
        text = text.get(end..)?;
        let end = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
        let unit = text.get(..end)?;
        seconds += amount * UNITS.iter().find(|u| u.0 == unit)?.1;
        text = text.get(end..)?;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_written_as_go_writes_them() {
        let table = [("5s", 5.0), ("1m30s", 90.0), ("500ms", 0.5), ("1.5h", 5400.0), ("10us", 1e-5)];
        for (text, seconds) in table {
            assert_eq!(duration(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "5", "s", "5x", "-5s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
