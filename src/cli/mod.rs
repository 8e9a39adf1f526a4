//! The command line: arguments in, a request to `container` out, and what comes back printed.
//!
//! One file per command, each a constant (`command::Command`) with its flags, help, examples and the function that does it.

mod arguments;
mod command;
mod duration;
mod exit;
mod globals;
mod help;
#[cfg(feature = "image")]
pub mod image;
mod log;
mod output;
mod screen;

mod check;
mod checkpoint;
mod create;
mod delete;
mod doctor;
mod events;
mod exec;
mod features;
mod kill;
mod list;
mod pause;
mod plan;
mod ps;
mod restore;
mod resume;
mod run;
mod spec;
mod start;
mod state;
mod stats;
mod update;
mod wait;

pub use exit::Ended;
pub use help::{definition, program};

use anyhow::{Result, anyhow};
use command::Command;
use globals::Globals;
use std::ffi::OsString;

/// Every command, in the order of the help.
pub const COMMANDS: &[Command] = &[
    create::COMMAND,
    start::COMMAND,
    run::COMMAND,
    state::COMMAND,
    wait::COMMAND,
    kill::COMMAND,
    delete::COMMAND,
    exec::COMMAND,
    list::COMMAND,
    ps::COMMAND,
    pause::COMMAND,
    resume::COMMAND,
    update::COMMAND,
    events::COMMAND,
    checkpoint::COMMAND,
    restore::COMMAND,
    stats::COMMAND,
    spec::COMMAND,
    features::COMMAND,
    check::COMMAND,
    plan::COMMAND,
    doctor::COMMAND,
];

/// One call of the runtime: what the function of a command gets.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The options before the command.
    pub globals: Globals,
    /// The options and arguments of the command.
    pub given: arguments::Given,
}

impl Invocation {
    /// The first argument of every verb.
    ///
    /// # Errors
    /// There is no place for the state of containers.
    pub fn runtime(&self) -> Result<crate::container::Runtime> {
        self.globals.runtime()
    }

    /// The first argument: nearly always the id of a container.
    pub fn id(&self) -> &str {
        self.given.argument(0)
    }
}

/// Does what the words after the program's name say, and tells a failure once; returns the exit code.
pub fn main(words: impl Iterator<Item = OsString>) -> u8 {
    let (globals, outcome, failure) = dispatch(words);
    match outcome {
        Ok(ended) => {
            log::debug(&globals, || format!("ended: {ended:?}"));
            ended.code()
        }
        Err(error) => {
            log::failure(&globals, &error);
            failure
        }
    }
}

/// Finds the command and runs it; returns also where to log and with which code a failure ends.
fn dispatch(words: impl Iterator<Item = OsString>) -> (Globals, Result<Ended>, u8) {
    let mut globals = Globals::default();
    let mut failure = 1;
    let outcome = find_and_run(words, &mut globals, &mut failure);
    (globals, outcome, failure)
}

fn find_and_run(words: impl Iterator<Item = OsString>, globals: &mut Globals, failure: &mut u8) -> Result<Ended> {
    let words = words.map(text).collect::<Result<Vec<String>>>()?;
    let (given, used) = globals::parse(&words)?;
    *globals = globals::log_of(&given);
    log::prepare(globals)?;
    *globals = globals::checked(&given)?;
    if given.is("version") {
        return output::text(&version()).map(|()| Ended::Done);
    }
    let rest = words.get(used..).unwrap_or_default();
    let Some((name, rest)) = rest.split_first().filter(|_| !given.help) else {
        return output::text(&help::program().render_help().to_string()).map(|()| Ended::Done);
    };
    if name == "help" || name == "h" {
        return asked_for_help(rest.first());
    }
    let command = find(name)?;
    *failure = command.failure;
    let given = arguments::command(command, rest)?;
    if given.help {
        return help_of(command);
    }
    log::debug(globals, || format!("ocicat {}: {}", env!("CARGO_PKG_VERSION"), words.join(" ")));
    (command.run)(&Invocation { globals: globals.clone(), given })
}

fn text(word: OsString) -> Result<String> {
    word.into_string().map_err(|word| anyhow!("argument {} is not valid UTF-8", word.display()))
}

fn find(name: &str) -> Result<&'static Command> {
    let hint = || anyhow!("no such command: {name:?}; hint: ocicat help");
    COMMANDS.iter().find(|c| c.name == name).ok_or_else(hint)
}

fn asked_for_help(name: Option<&String>) -> Result<Ended> {
    match name {
        Some(name) => help_of(find(name)?),
        None => output::text(&help::program().render_help().to_string()).map(|()| Ended::Done),
    }
}

fn help_of(command: &Command) -> Result<Ended> {
    output::text(&help::definition(command).render_help().to_string()).map(|()| Ended::Done)
}

/// dockerd reads the first line that has `version` in it and the one that begins with `commit:`; podman prints them all.
fn version() -> String {
    let commit = option_env!("OCICAT_COMMIT").unwrap_or("unknown");
    format!("ocicat version {}\ncommit: {commit}\nspec: 1.3.0\n", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_what_the_managers_parse() {
        let version = version();
        let lines: Vec<&str> = version.lines().collect();
        let (name, number) = lines[0].split_once(" version ").unwrap();
        assert_eq!((name, number), ("ocicat", env!("CARGO_PKG_VERSION")));
        assert!(lines[1].starts_with("commit: "));
        assert_eq!(lines[2], "spec: 1.3.0");
    }

    #[test]
    fn a_failing_command_line_has_the_commands_exit_code() {
        let code = |line: &str| dispatch(line.split_whitespace().map(OsString::from)).2;
        assert_eq!(code("exec --nope"), 255);
        assert_eq!(code("state"), 1);
        assert_eq!(code("nope"), 1);
        assert_eq!(code("--nope"), 1);
    }

    #[test]
    fn an_error_after_the_global_options_knows_where_the_log_is() {
        let log = tempfile::tempdir().unwrap().path().with_extension("log");
        let words = ["--log", log.to_str().unwrap(), "--log-format", "json", "state"];
        let (globals, outcome, _) = dispatch(words.into_iter().map(OsString::from));
        std::fs::remove_file(&log).unwrap();
        assert!(outcome.is_err());
        assert_eq!(globals.log, Some(log));
        assert_eq!(globals.log_format, globals::Format::Json);
    }
}
