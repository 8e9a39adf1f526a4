//! `ocicat plan`: what `create` would do on this host.

use super::command::{Command, Flag, Positionals};
use super::create::{BUNDLE, NO_NEW_KEYRING, NO_PIVOT, PRESERVE_FDS};
use super::{Ended, Invocation, output};
use crate::container::{self, Create};
use anyhow::Result;
use std::path::{Path, PathBuf};

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "plan",
    about: "Prints what create and start would do on this host, one line a step in order, without doing it",
    details: "cgroups and their limits first, then namespaces, mounts, hooks, and what the process becomes. With --format json it is \
              an array of the lines. The last lines are notes: what config.json asks for and would not get. What the specification or this host refuses is an error as it would be with create.",
    positionals: Positionals { required: &[], optional: Some("container-id"), rest: None },
    flags: &[
        BUNDLE,
        Flag::value("format", "FORMAT", "text or json (default text)").short('f'),
        NO_PIVOT,
        NO_NEW_KEYRING,
        PRESERVE_FDS,
    ],
    examples: &[
        ("plan --bundle ./web", "what the bundle in ./web would become"),
        ("plan --bundle ./web --format json web", "for programs, with the id `web`"),
    ],
    failure: 1,
    run,
};

fn run(invocation: &Invocation) -> Result<Ended> {
    let given = &invocation.given;
    let json = given.wants_json()?;
    let bundle: PathBuf = given.owned("bundle").unwrap_or_else(|| PathBuf::from("."));
    let request = Create {
        id: given.arguments.first().cloned().unwrap_or_else(|| name_of(&bundle)),
        bundle,
        no_pivot: given.is("no-pivot"),
        no_new_keyring: given.is("no-new-keyring"),
        preserve_fds: given.number("preserve-fds")?.unwrap_or(0),
        ..Create::default()
    };
    let planned = container::plan(&invocation.globals.runtime_without_state(), &request)?;
    let notes = planned.notes.iter().map(|note| format!("note: {note}"));
    let steps: Vec<String> = planned.steps.into_iter().chain(notes).collect();
    if json {
        output::json(&steps)?;
    } else {
        output::lines(steps.into_iter())?;
    }
    Ok(Ended::Done)
}

/// The id is part of paths: the name of the bundle's directory where it can be one.
fn name_of(bundle: &Path) -> String {
    let name = std::path::absolute(bundle).ok().and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
    name.filter(|name| name.parse::<container::ContainerId>().is_ok()).unwrap_or_else(|| "container".to_owned())
}
