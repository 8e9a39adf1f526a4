//! `ocicat-image check`: hold every blob against its digest.

use super::super::command::{Flag, Positionals};
use super::super::output;
use super::command::Command;
use super::{Call, Ended};
use crate::image::store::Store;
use anyhow::{Result, bail};

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "check",
    about: "Verifies every blob of the store against its digest",
    details: "With --repair a wrong blob is removed; pulling its image again brings the right one.",
    positionals: Positionals::NONE,
    flags: &[&[Flag::switch("repair", "remove blobs that are not what they claim to be")]],
    examples: &[("check", "after a crash, or out of curiosity"), ("check --repair", "and remove what is wrong")],
    failure: 1,
    run,
};

fn run(call: &Call) -> Result<Ended> {
    let repair = call.given.is("repair");
    let store = if repair { Some(call.store()?) } else { call.store_to_read()? };
    let problems = store.as_ref().map(Store::check).transpose()?.unwrap_or_default();
    if let Some(store) = store.filter(|_| repair) {
        problems.iter().try_for_each(|problem| store.drop_blob(&problem.digest))?;
    }
    if call.json() {
        let rows = problems.iter().map(|p| serde_json::json!({ "digest": p.digest, "problem": p.what }));
        output::json(&rows.collect::<Vec<_>>())?;
    } else {
        output::text(&problems.iter().map(|p| format!("{}: {}\n", p.digest, p.what)).collect::<String>())?;
    }
    match problems.len() {
        0 => Ok(Ended::Done),
        count if repair => bail!("{count} blobs of the store are not here any more; hint: pull their images again"),
        count => bail!("{count} blobs of the store are not what they claim to be"),
    }
}
