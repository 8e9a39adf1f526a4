//! `ocicat ps`: the processes of a container.

use super::command::{Command, Positionals};
use super::list::{FORMAT, Shape};
use super::{Ended, Invocation, output};
use crate::container;
use crate::sys::Asked;
use anyhow::{Result, anyhow, bail};
use std::process::Command as Program;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "ps",
    about: "Lists the processes of a container",
    details: "The table is that of ps(1), called with the options that follow the id (default -ef; on a terminal a table with \
              the age of each process), without the processes that are not in the container.",
    positionals: Positionals { required: &["container-id"], optional: None, rest: Some("ps options") },
    flags: &[FORMAT],
    examples: &[
        ("ps web", "the processes of the container `web`"),
        ("ps web -eo pid,rss,args", "as ps(1) would show them"),
    ],
    failure: 1,
    run,
};

fn run(invocation: &Invocation) -> Result<Ended> {
    let shape = Shape::of(&invocation.given)?;
    let pids = container::processes(&invocation.runtime()?, invocation.id())?;
    if shape == Shape::Json {
        output::json_line(&pids)?;
        return Ok(Ended::Done);
    }
    let options = invocation.given.arguments.get(1..).unwrap_or_default();
    output::text(&only(&host_table(options)?, &pids)?)?;
    Ok(Ended::Done)
}

/// For people. Each column that has a name of its own needs an option of its own.
const AGES: &[&str] = &["-e", "-o", "user,pid,ppid,pcpu,rss", "-o", "etime=AGE", "-o", "args"];

/// What ps(1) of the host says about every process.
fn host_table(options: &[String]) -> Result<String> {
    if options.is_empty() && rustix::termios::isatty(rustix::stdio::stdout()) {
        // Another ps(1) than that of procps may not know these.
        return said_by_ps(AGES).or_else(|_| said_by_ps(&["-ef"]));
    }
    let given: Vec<&str> = options.iter().map(String::as_str).collect();
    said_by_ps(if given.is_empty() { &["-ef"] } else { &given })
}

fn said_by_ps(options: &[&str]) -> Result<String> {
    let run = Program::new("ps").args(options).output().asked(|| "run ps".to_owned());
    let said = run.map_err(|e| anyhow!("{e}; hint: install procps, or use --format json"))?;
    if !said.status.success() {
        bail!("ps {}: {}", options.join(" "), String::from_utf8_lossy(&said.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&said.stdout).into_owned())
}

/// The header and the lines whose PID column is one of `pids`.
fn only(table: &str, pids: &[u32]) -> Result<String> {
    let header = table.lines().next().unwrap_or_default();
    let column = Column::of(header, "PID");
    let column = column.ok_or_else(|| anyhow!("ps prints no PID column; hint: ask for it, as in -o pid,args"))?;
    let ours = |line: &&str| column.number(line).is_some_and(|pid| pids.contains(&pid));
    let lines = std::iter::once(header).chain(table.lines().skip(1).filter(ours));
    Ok(lines.map(|line| format!("{line}\n")).collect())
}

/// A column of numbers.
struct Column {
    /// How many words stand before it.
    words: usize,
    /// How many characters the heading has up to its end.
    end: usize,
}

impl Column {
    fn of(header: &str, name: &str) -> Option<Column> {
        let words = header.split_whitespace().position(|word| word == name)?;
        // Where the word begins, in the bytes of the heading.
        let start = header.split_whitespace().nth(words)?.as_ptr() as usize - header.as_ptr() as usize;
        Some(Column { words, end: header.get(..start)?.chars().count() + name.len() })
    }

    /// The number in a line: numbers end where their heading ends. A column before it may hold any number of words (args); where a
    /// number before it was too long for its column, the words are counted.
    fn number(&self, line: &str) -> Option<u32> {
        let upto: String = line.chars().take(self.end).collect();
        let ends_there = upto.chars().count() == self.end && line.chars().nth(self.end).is_none_or(char::is_whitespace);
        let aligned = upto.rsplit(char::is_whitespace).next().filter(|_| ends_there).and_then(|word| word.parse().ok());
        aligned.or_else(|| line.split_whitespace().nth(self.words)?.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lines_of_the_container_stay() {
        let table = "UID   PID  PPID CMD\nroot    1     0 init 5\nroot    5     1 sh -c 7\nroot    7     5 sleep 1\n";
        assert_eq!(
            only(table, &[5, 7]).unwrap(),
            "UID   PID  PPID CMD\nroot    5     1 sh -c 7\nroot    7     5 sleep 1\n"
        );
        assert!(only("CMD\ninit\n", &[1]).is_err());
        // Words before the number, also in other scripts; a number before it that needs more room than its column has.
        let table = "COMMAND       PID\nsleep 5         7\nüber all 7      8\nsh -c 7         9 \n";
        assert_eq!(only(table, &[7]).unwrap(), "COMMAND       PID\nsleep 5         7\n");
        assert_eq!(only(table, &[8, 9]).unwrap(), "COMMAND       PID\nüber all 7      8\nsh -c 7         9 \n");
        let table = "RSS   PID CMD\n 12     7 sleep\n1234567890 7 sleep 5\n123   8 sleep\n";
        assert_eq!(only(table, &[7]).unwrap(), "RSS   PID CMD\n 12     7 sleep\n1234567890 7 sleep 5\n");
    }
}
