//! The options before the command: where the state is, where the log goes, who manages the cgroups.

use super::arguments::{self, Given};
use super::command::Flag;
use crate::container::{CgroupManager, Progress, Runtime};
use crate::host::Host;
use anyhow::{Result, bail};
use std::path::PathBuf;

/// The form of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// `time="..." level=error msg="..."`
    #[default]
    Text,
    /// `{"level":"error","msg":"...","time":"..."}`
    Json,
}

/// The global options, checked.
#[derive(Debug, Clone, Default)]
pub struct Globals {
    /// `--root`
    pub root: Option<PathBuf>,
    /// `--log`
    pub log: Option<PathBuf>,
    /// `--log-format`
    pub log_format: Format,
    /// `--debug` or `--log-level debug`
    pub debug: bool,
    /// `--systemd-cgroup` or `--cgroup-manager`
    pub cgroup_manager: CgroupManager,
    /// `--rootless`: `None` is `auto`.
    pub rootless: Option<bool>,
}

/// Every global option.
pub(super) const FLAGS: &[Flag] = &[
    Flag::value(
        "root",
        "DIR",
        "where the state of containers is kept (default /run/ocicat, or $XDG_RUNTIME_DIR/ocicat)",
    ),
    Flag::value("log", "FILE", "write what fails to this file too"),
    Flag::value("log-format", "FORMAT", "form of the log: text or json"),
    Flag::switch("debug", "log each step with its time, and not only what fails"),
    Flag::value("log-level", "LEVEL", "debug, info, warning or error; debug is the same as --debug"),
    Flag::switch("systemd-cgroup", "let systemd make the cgroup; cgroupsPath is then slice:prefix:name"),
    Flag::value("cgroup-manager", "MANAGER", "cgroupfs, systemd or disabled (none)"),
    Flag::value(
        "rootless",
        "WHEN",
        "do without a cgroup that may not be made, where no limit is asked for: true, false or auto",
    ),
    Flag::value("criu", "PATH", "ignored; criu is found in PATH").hidden(),
    Flag::switch("version", "print the version").short('v'),
];

/// Takes what can be taken before anything can fail: where the log goes. A later error then lands there.
pub(super) fn log_of(given: &Given) -> Globals {
    let log_format = if given.value("log-format") == Some("json") { Format::Json } else { Format::Text };
    Globals { log: given.owned("log"), log_format, ..Globals::default() }
}

/// Checks the words of the global options.
///
/// # Errors
/// A word that is not one of those that the option takes.
pub(super) fn checked(given: &Given) -> Result<Globals> {
    match given.value("log-format") {
        None | Some("" | "text" | "json") => {}
        Some(other) => bail!("invalid log-format {other:?}: must be text or json"),
    }
    let by_level = match given.value("log-level") {
        Some("debug" | "trace") => true,
        None | Some("" | "info" | "warn" | "warning" | "error" | "fatal" | "panic") => false,
        Some(other) => bail!("invalid log-level {other:?}: must be debug, info, warning or error"),
    };
    let cgroup_manager = match given.value("cgroup-manager") {
        None | Some("") if given.is("systemd-cgroup") => CgroupManager::Systemd,
        None | Some("" | "cgroupfs") => CgroupManager::Cgroupfs,
        Some("systemd") => CgroupManager::Systemd,
        Some("disabled" | "none") => CgroupManager::None,
        Some(other) => bail!("invalid cgroup-manager {other:?}: must be cgroupfs, systemd or disabled"),
    };
    let rootless = match given.value("rootless") {
        None | Some("" | "auto") => None,
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Some(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Some(false),
        Some(other) => bail!("invalid rootless {other:?}: must be true, false or auto"),
    };
    let debug = given.is("debug") || by_level;
    Ok(Globals { root: given.owned("root"), debug, cgroup_manager, rootless, ..log_of(given) })
}

/// Parses the words before the command; returns how many there were.
///
/// # Errors
/// An unknown flag, or a flag without its value.
pub(super) fn parse(words: &[String]) -> Result<(Given, usize)> {
    arguments::flags(FLAGS, words, true)
}

impl Globals {
    /// The first argument of every verb.
    ///
    /// # Errors
    /// There is no place for the state of containers.
    pub fn runtime(&self) -> Result<Runtime> {
        let host = self.host();
        let root = match &self.root {
            Some(root) => root.clone(),
            None => default_root(&host, std::env::var("XDG_RUNTIME_DIR").ok())?,
        };
        Ok(Runtime { root, cgroup_manager: self.cgroup_manager, host, progress: self.progress() })
    }

    /// The same for a command that touches no state of containers, and so needs no place for it.
    pub fn runtime_without_state(&self) -> Runtime {
        let (cgroup_manager, host) = (self.cgroup_manager, self.host());
        Runtime { root: PathBuf::new(), cgroup_manager, host, progress: self.progress() }
    }

    /// With `--debug` each step goes to the log.
    fn progress(&self) -> Progress {
        if !self.debug {
            return Progress::default();
        }
        let globals = self.clone();
        Progress::to(move |step| super::log::debug(&globals, || step.to_owned()))
    }

    fn host(&self) -> Host {
        Host { may_lack_cgroup: self.rootless, ..Host::read() }
    }
}

/// podman runs us with an empty XDG_RUNTIME_DIR, which is as good as none (XDG Base Directory: "set and not empty").
/// Root of a user namespace is either a user who has entered one and has that variable still, or root of a container.
fn default_root(host: &Host, runtime_dir: Option<String>) -> Result<PathBuf> {
    match runtime_dir.filter(|dir| !dir.is_empty()) {
        Some(dir) if host.rootless() => Ok(PathBuf::from(dir).join("ocicat")),
        _ if host.euid == 0 => Ok(PathBuf::from("/run/ocicat")),
        Some(dir) => Ok(PathBuf::from(dir).join("ocicat")),
        None => bail!("no place for the state of containers; hint: set XDG_RUNTIME_DIR or give --root"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Globals> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        checked(&parse(&words)?.0)
    }

    #[test]
    fn global_options_are_taken_as_callers_write_them() {
        let line = "--root /r --log=/l --log-format json --debug --systemd-cgroup --rootless=false create";
        let globals = of(line).unwrap();
        assert_eq!(globals.root.as_deref(), Some(std::path::Path::new("/r")));
        assert_eq!(globals.log.as_deref(), Some(std::path::Path::new("/l")));
        assert_eq!(globals.log_format, Format::Json);
        assert!(globals.debug);
        assert_eq!(globals.cgroup_manager, CgroupManager::Systemd);
        assert_eq!(globals.rootless, Some(false));
        for word in ["disabled", "none"] {
            let line = format!("--cgroup-manager={word} create");
            assert_eq!(of(&line).unwrap().cgroup_manager, CgroupManager::None);
        }
        assert!(of("--log-level debug create").unwrap().debug);
        assert_eq!(of("--rootless auto create").unwrap().rootless, None);
    }

    #[test]
    fn wrong_words_are_refused() {
        for line in ["--log-format xml", "--rootless maybe", "--cgroup-manager lxc", "--log-level loud", "--nope"] {
            assert!(of(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_state_is_under_run_or_in_the_users_runtime_directory() {
        let rows = [
            (0, false, Some("/run/user/0"), Some("/run/ocicat")),
            (0, false, None, Some("/run/ocicat")),
            (7, false, Some("/run/user/7"), Some("/run/user/7/ocicat")),
            (7, false, Some(""), None),
            (7, false, None, None),
            // In a user namespace: of a user who made it, and of a container.
            (0, true, Some("/run/user/7"), Some("/run/user/7/ocicat")),
            (0, true, None, Some("/run/ocicat")),
            (7, true, None, None),
        ];
        for (euid, in_user_namespace, directory, expected) in rows {
            let host = Host { euid, in_user_namespace, ..Host::modern() };
            let root = default_root(&host, directory.map(str::to_owned)).ok();
            assert_eq!(root, expected.map(PathBuf::from), "{euid} {in_user_namespace} {directory:?}");
        }
    }
}
