//! `ocicat check`: everything that is wrong with a bundle's config.json.

use super::command::{Command, Positionals};
use super::create::BUNDLE;
use super::{Ended, Invocation, output};
use crate::container;
use anyhow::{Result, bail};
use std::path::PathBuf;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "check",
    about: "Tells everything that is wrong with a config.json",
    details: "One line a problem, with the section of the specification that says so. `create` stops at the first of them. When \
              there is none, what this host cannot do is told. A note is no problem: names that nothing is known \
              of, and what would be left out.",
    positionals: Positionals::NONE,
    flags: &[BUNDLE],
    examples: &[("check", "the config.json of this directory"), ("check --bundle ./web", "that of ./web")],
    failure: 1,
    run,
};

fn run(invocation: &Invocation) -> Result<Ended> {
    let bundle: PathBuf = invocation.given.owned("bundle").unwrap_or_else(|| PathBuf::from("."));
    let container::Checked { problems, notes } =
        container::check(&invocation.globals.runtime_without_state(), &bundle)?;
    let problem_lines = problems.iter().map(|problem| format!("{problem} ({})", problem.section));
    output::lines(problem_lines.chain(notes.iter().map(|note| format!("note: {note}"))))?;
    if problems.is_empty() {
        return Ok(Ended::Done);
    }
    bail!("{} in {}", counted(problems.len()), bundle.join("config.json").display())
}

fn counted(problems: usize) -> String {
    if problems == 1 { "1 problem".to_owned() } else { format!("{problems} problems") }
}
