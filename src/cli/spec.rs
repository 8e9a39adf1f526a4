//! `ocicat spec`: a config.json to begin with.

use super::command::{Command, Flag, Positionals};
use super::create::BUNDLE;
use super::{Ended, Invocation};
use crate::config::Config;
use crate::host::{CgroupMode, Host};
use crate::sys::files;
use anyhow::{Context, Result, anyhow};
use serde::Serialize;
use std::path::PathBuf;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "spec",
    about: "Writes a config.json to begin with",
    details: "The container it describes runs sh with few capabilities, in its own namespaces, from the directory rootfs, which is \
              read-only. An existing config.json is not touched.",
    positionals: Positionals::NONE,
    flags: &[BUNDLE, Flag::switch("rootless", "for a user without privileges")],
    examples: &[
        ("spec", "write config.json in this directory"),
        ("spec --rootless --bundle ./web", "in ./web, for a user without privileges"),
    ],
    failure: 1,
    run,
};

fn run(invocation: &Invocation) -> Result<Ended> {
    let bundle: PathBuf = invocation.given.owned("bundle").unwrap_or_else(|| PathBuf::from("."));
    let document = document(&Host::read(), invocation.given.is("rootless"))?;
    let path = bundle.join("config.json");
    match files::create_new(&path, &document, 0o666) {
        Err(error) if error.errno.0 == libc::EEXIST => Err(anyhow!("{error}; hint: remove it first")),
        other => other.map(|()| Ended::Done).map_err(Into::into),
    }
}

fn document(host: &Host, rootless: bool) -> Result<Vec<u8>> {
    let starter = Config::starter(host.cgroup == CgroupMode::V2).context("starter.json")?;
    let config = if rootless { starter.without_privileges(host.euid, host.egid) } else { starter };
    let mut text = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    config.serialize(&mut serde_json::Serializer::with_formatter(&mut text, format))?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_indented_with_tabs_and_reads_back() {
        let text = document(&Host::modern(), false).unwrap();
        assert!(text.starts_with(b"{\n\t\"ociVersion\": \"1.3.0\",\n"));
        let config: Config = serde_json::from_slice(&text).unwrap();
        assert_eq!(config, Config::starter(true).unwrap());
    }
}
