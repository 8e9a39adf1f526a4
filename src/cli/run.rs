//! `ocicat run`: create and start a container, and wait for it.

use super::arguments::Given;
use super::command::{Command, Flag, Positionals};
use super::create::{self, BUNDLE, CONSOLE_SOCKET, NO_NEW_KEYRING, NO_PIVOT, PID_FILE, PIDFD_SOCKET, PRESERVE_FDS};
use super::{Ended, Invocation};
use crate::container::{self, Notice, Run};
use anyhow::Result;

pub(super) const DETACH: Flag = Flag::switch("detach", "do not wait for the program").short('d');
pub(super) const NO_SUBREAPER: Flag = Flag::switch("no-subreaper", "do not adopt processes that lose their parent");

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "run",
    about: "Creates a container, starts it, waits for its end and deletes it",
    details: "The exit code is the program's, 128 + N when signal N ended it. Signals that ocicat receives are passed on. With \
              a terminal in config.json and no --console-socket, the caller's terminal is connected to it.",
    positionals: Positionals::ID,
    flags: &[
        BUNDLE,
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        DETACH,
        Flag::switch("keep", "do not delete the container when it has ended"),
        PID_FILE,
        NO_SUBREAPER,
        NO_PIVOT,
        NO_NEW_KEYRING,
        PRESERVE_FDS,
    ],
    examples: &[
        ("run --bundle ./web web", "run the bundle in ./web in the foreground"),
        ("run --detach --pid-file web.pid web", "leave it running in the background"),
    ],
    failure: 1,
    run,
};

fn run(invocation: &Invocation) -> Result<Ended> {
    let request = request(&invocation.given)?;
    let notice = |notice: Notice<'_>| super::log::notice(&invocation.globals, notice);
    Ok(Ended::Program(container::run(&invocation.runtime()?, &request, &notice)?))
}

fn request(given: &Given) -> Result<Run> {
    Ok(Run {
        create: create::request(given)?,
        detach: given.is("detach"),
        keep: given.is("keep"),
        no_subreaper: given.is("no-subreaper"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments;
    use std::path::PathBuf;

    #[test]
    fn the_options_become_a_request() {
        let line = "--bundle=/b -d --keep -no-subreaper --pid-file p --console-socket c --pidfd-socket q --no-pivot \
                    --no-new-keyring --preserve-fds 2 web";
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let run = request(&arguments::command(&COMMAND, &words).unwrap()).unwrap();
        assert!(run.detach && run.keep && run.no_subreaper && run.create.no_pivot && run.create.no_new_keyring);
        assert_eq!(run.create.id, "web");
        assert_eq!(run.create.bundle, PathBuf::from("/b"));
        assert_eq!(run.create.pid_file, Some(PathBuf::from("p")));
        assert_eq!(run.create.console_socket, Some(PathBuf::from("c")));
        assert_eq!(run.create.pidfd_socket, Some(PathBuf::from("q")));
        assert_eq!(run.create.preserve_fds, 2);
    }

    #[test]
    fn the_bundle_is_the_working_directory_unless_given() {
        let run = request(&arguments::command(&COMMAND, &["web".to_owned()]).unwrap()).unwrap();
        assert_eq!(run.create.bundle, PathBuf::from("."));
    }
}
