//! `ocicat-image check`: hold every blob against its digest.

use super::super::command::Positionals;
use super::super::output;
use super::command::Command;
use super::{Call, Ended};
use anyhow::{Result, bail};

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "check",
    about: "Verifies every blob of the store against its digest",
    details: "",
    positionals: Positionals::NONE,
    flags: &[],
    examples: &[
        ("check", "after a crash, or out of curiosity"),
        ("check --format json", "what is wrong, for a program"),
    ],
    run,
};

fn run(call: &Call) -> Result<Ended> {
    let problems = call.store()?.check()?;
    if call.json() {
        let rows = problems.iter().map(|p| serde_json::json!({ "digest": p.digest, "problem": p.what }));
        output::json(&rows.collect::<Vec<_>>())?;
    } else {
        output::text(&problems.iter().map(|p| format!("{}: {}\n", p.digest, p.what)).collect::<String>())?;
    }
    match problems.len() {
        0 => Ok(Ended::Done),
        count => bail!("{count} blobs of the store are not what they claim to be"),
    }
}
