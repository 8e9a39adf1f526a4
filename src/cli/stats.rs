//! `ocicat stats`: a live table of what containers use.

use super::command::{Command, Flag, Positionals};
use super::list::{FORMAT, Shape};
use super::screen::{Cell, Screen, Tone};
use super::{Ended, Invocation, duration, output};
use crate::container::{self, Usage};
use crate::sys::{Asked, signalfd};
use anyhow::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "stats",
    about: "Shows what running containers use, again and again",
    details: "CPU % is of one processor; memory is without file pages that were not used for long; pressure is the share of the last \
              ten seconds in which some task had to wait for processor, memory and I/O (where the kernel tells). On a terminal the table is drawn \
              in place until Ctrl-C. Containers that end disappear, and when all that were named have ended, so does the command.",
    positionals: Positionals { required: &[], optional: None, rest: Some("container-ids") },
    flags: &[
        FORMAT,
        Flag::value("interval", "TIME", "time between two looks: 2s, 500ms (default 1s)"),
        Flag::switch("no-stream", "print once, after one interval, and end"),
    ],
    examples: &[
        ("stats", "a live table of all running containers"),
        ("stats --no-stream --format json web", "one JSON object a container, for programs"),
    ],
    failure: 1,
    run,
};

fn run(invocation: &Invocation) -> Result<Ended> {
    let given = &invocation.given;
    let shape = Shape::of(given)?;
    let once = given.is("no-stream");
    let interval = duration::of(given, "interval")?.unwrap_or(Duration::from_secs(1));
    let runtime = invocation.runtime()?;
    let mut meter = container::Meter::new(&runtime, given.arguments.clone())?;
    let signals = signalfd::block()?;
    let mut show = Show { shape, screen: Screen::of_stdout() };
    let mut usages = meter.look()?;
    let mut next = Instant::now() + interval;
    // People see something at once; the share of the processor needs a second look.
    let mut goes_on = once || shape == Shape::Json || !show.screen.is_live() || show.usages(&usages)?;
    while goes_on {
        match pause(&signals, next)? {
            Woken::End => break,
            Woken::Resized if once || !show.screen.is_live() => continue,
            Woken::Resized => {}
            Woken::Time => {
                usages = meter.look()?;
                next += interval;
            }
        }
        let all_ended = usages.is_empty() && !given.arguments.is_empty();
        goes_on = show.usages(&usages)? && !once && !all_ended;
    }
    Ok(Ended::Done)
}

/// Why a pause ended.
enum Woken {
    /// It was long enough.
    Time,
    /// The terminal has another size.
    Resized,
    /// Somebody asked for the end, or nobody reads any more.
    End,
}

/// Waits until `end`, for a signal, or until standard output has no reader.
fn pause(signals: &OwnedFd, end: Instant) -> Result<Woken> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let spec = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let output = rustix::stdio::stdout();
        let mut fds = [PollFd::new(signals, PollFlags::IN), PollFd::new(&output, PollFlags::empty())];
        match poll(&mut fds, Some(&spec)) {
            Ok(0) => return Ok(Woken::Time),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno).asked(|| "poll".to_owned()).map_err(Into::into),
        }
        let [_, reader] = &fds;
        if !reader.revents().is_empty() {
            return Ok(Woken::End);
        }
        while let Some(came) = signalfd::next(signals)? {
            match came.signal {
                libc::SIGHUP | libc::SIGINT | libc::SIGQUIT | libc::SIGTERM => return Ok(Woken::End),
                libc::SIGWINCH | libc::SIGCONT => return Ok(Woken::Resized),
                _ => {}
            }
        }
    }
}

struct Show {
    shape: Shape,
    screen: Screen,
}

impl Show {
    /// Shows one look; false when nobody reads any more.
    fn usages(&mut self, usages: &[Usage]) -> Result<bool> {
        match self.shape {
            Shape::Json => {
                for usage in usages {
                    if !output::json_stream(usage)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Shape::Table => self.screen.draw(HEADER, &usages.iter().map(row).collect::<Vec<_>>()),
        }
    }
}

const HEADER: &[&str] =
    &["ID", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS", "PRESSURE CPU/MEM/IO"];

fn row(usage: &Usage) -> Vec<Cell> {
    let memory = &usage.memory;
    let flow = |into: u64, out: u64| Cell::plain(format!("{} / {}", output::decimal(into), output::decimal(out)));
    let share = |percent: Option<f64>| percent.map_or("-".to_owned(), |percent| format!("{percent:.1}"));
    let pressure = &usage.pressure;
    let most = [pressure.cpu, pressure.memory, pressure.io].into_iter().flatten().fold(0.0, f64::max);
    let pids = match usage.pids.limit {
        Some(limit) => format!("{} / {limit}", usage.pids.current),
        None => usage.pids.current.to_string(),
    };
    vec![
        Cell::plain(usage.id.clone()),
        Cell::plain(usage.cpu_percent.map_or("--".to_owned(), |percent| format!("{percent:.2}%"))),
        Cell::plain(format!("{} / {}", output::binary(memory.usage), output::binary(memory.limit))),
        Cell::toned(format!("{:.2}%", memory.percent), Tone::of(memory.percent, 75.0, 90.0)),
        flow(usage.network.into, usage.network.out),
        flow(usage.block.into, usage.block.out),
        Cell::plain(pids),
        Cell::toned([pressure.cpu, pressure.memory, pressure.io].map(share).join(" / "), Tone::of(most, 10.0, 50.0)),
    ]
}
