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
    let column = header.split_whitespace().position(|name| name == "PID");
    let column = column.ok_or_else(|| anyhow!("ps prints no PID column; hint: ask for it, as in -o pid,args"))?;
    let ours = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|word| word.parse().ok());
        pid.is_some_and(|pid: u32| pids.contains(&pid))
    };
    let lines = std::iter::once(header).chain(table.lines().skip(1).filter(ours));
    Ok(lines.map(|line| format!("{line}\n")).collect())
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
    }
}
