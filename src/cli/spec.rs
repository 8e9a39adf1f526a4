//! `ocicat spec`: a config.json to begin with.

use super::command::{Command, Flag, Positionals};
use super::create::BUNDLE;
use super::{Ended, Invocation};
use crate::config::Config;
use crate::host::{CgroupMode, Host};
use crate::sys::files;
use anyhow::{Context, Result, anyhow};
use serde::Serialize;
use std::path::{Path, PathBuf};

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
    let mut config = if rootless { starter.without_privileges(host.euid, host.egid) } else { starter };
    if let Some(linux) = &mut config.linux {
        linux.masked_paths.extend(heat_counters(Path::new(PROCESSORS)));
    }
    let mut text = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    config.serialize(&mut serde_json::Serializer::with_formatter(&mut text, format))?;
    text.push(b'\n');
    Ok(text)
}

const PROCESSORS: &str = "/sys/devices/system/cpu";

/// Where this machine counts how often a processor was too hot, which tells what others compute (GHSA-6fw5-f8r9-fgfm):
/// one directory for each processor, on Intel's only. A masked path has no wildcards, so each is named.
fn heat_counters(processors: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(processors).into_iter().flatten().flatten();
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.strip_prefix("cpu")?.parse::<u32>().ok();
    let mut numbers: Vec<u32> = entries.filter_map(number).collect();
    numbers.sort_unstable();
    let path = |number| processors.join(format!("cpu{number}/thermal_throttle"));
    numbers.into_iter().map(path).filter(|path| path.is_dir()).collect()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make their own trees, and nobody else is in them")]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_indented_with_tabs_and_reads_back() {
        let text = document(&Host::modern(), false).unwrap();
        assert!(text.starts_with(b"{\n\t\"ociVersion\": \"1.3.0\",\n"));
        let mut config: Config = serde_json::from_slice(&text).unwrap();
        // What this machine has besides.
        config.linux.as_mut().unwrap().masked_paths.retain(|path| !path.starts_with(PROCESSORS));
        assert_eq!(config, Config::starter(true).unwrap());
    }

    #[test]
    fn every_processor_that_counts_its_heat_is_masked() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path();
        for name in
            ["cpu10/thermal_throttle", "cpu2/thermal_throttle", "cpu3/cache", "cpufreq/thermal_throttle", "cpuidle"]
        {
            std::fs::create_dir_all(base.join(name)).unwrap();
        }
        let expected = ["cpu2/thermal_throttle", "cpu10/thermal_throttle"].map(|name| base.join(name));
        assert_eq!(heat_counters(base), expected);
        assert_eq!(heat_counters(&base.join("none")), Vec::<PathBuf>::new());
    }
}
