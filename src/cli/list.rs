//! `ocicat list`: the containers of this root.

use super::arguments::Given;
use super::command::{Command, Flag, Positionals};
use super::{Ended, Invocation, output};
use crate::container::{self, State};
use crate::sys::clock;
use anyhow::{Result, bail};

pub(super) const FORMAT: Flag = Flag::value("format", "FORMAT", "table or json (default table)").short('f');

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "list",
    about: "Lists the containers of this root",
    details: "",
    positionals: Positionals::NONE,
    flags: &[FORMAT, Flag::switch("quiet", "print only the ids").short('q')],
    examples: &[("list", "a table of all containers"), ("list --format json", "for programs")],
    failure: 1,
    run,
};

fn run(invocation: &Invocation) -> Result<Ended> {
    let format = Shape::of(&invocation.given)?;
    let (states, unknown) = container::list(&invocation.runtime()?)?;
    if invocation.given.is("quiet") {
        output::text(&states.iter().map(|state| format!("{}\n", state.id)).collect::<String>())?;
    } else if format == Shape::Json {
        output::json_line(&states)?;
    } else {
        let ages = rustix::termios::isatty(rustix::stdio::stdout()).then(clock::now_seconds);
        output::text(&table(&states, ages))?;
    }
    unknown.iter().for_each(|message| super::log::missing(&invocation.globals, message));
    Ok(Ended::Done)
}

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Table,
    Json,
}

impl Shape {
    /// What `--format` asks for.
    ///
    /// # Errors
    /// It is neither table nor json.
    pub(super) fn of(given: &Given) -> Result<Shape> {
        match given.value("format") {
            None | Some("" | "table") => Ok(Shape::Table),
            Some("json") => Ok(Shape::Json),
            Some(other) => bail!("invalid format {other:?}: must be table or json"),
        }
    }
}

/// runc's columns; people at a terminal get the age at the end, programs that read columns do not.
fn table(states: &[State], now: Option<i64>) -> String {
    let row = |state: &State| {
        let mut row = vec![
            state.id.clone(),
            state.pid.to_string(),
            state.status.to_string(),
            // One line a container, whatever the directory is called.
            state.bundle.display().to_string().escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\""),
            state.created.clone(),
            state.owner.clone(),
        ];
        row.extend(now.map(|now| clock::seconds_of(&state.created).map_or(String::new(), |then| age(now - then))));
        row
    };
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER", "AGE"];
    let columns = if now.is_some() { header.len() } else { header.len() - 1 };
    output::table(header.get(..columns).unwrap_or_default(), &states.iter().map(row).collect::<Vec<_>>())
}

/// How long ago, in the largest unit of which there are two: `90 seconds`, `2 minutes`, `3 days`.
fn age(seconds: i64) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds")];
    match UNITS.iter().find(|(size, _)| seconds >= 2 * size) {
        Some((size, name)) => format!("{} {name}", seconds / size),
        None => "now".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_a_unit_that_people_count_in() {
        let table =
            [(0, "now"), (1, "now"), (2, "2 seconds"), (119, "119 seconds"), (120, "2 minutes"), (7200, "2 hours")];
        for (seconds, text) in table.into_iter().chain([(172_800, "2 days"), (864_000, "10 days"), (-5, "now")]) {
            assert_eq!(age(seconds), text, "{seconds}");
        }
    }
}
