//! `ocicat create`: make a container, ready to start.

use super::arguments::Given;
use super::command::{Command, Flag, Positionals};
use super::{Ended, Invocation};
use crate::container::{self, Create};
use anyhow::Result;
use std::path::PathBuf;

pub(super) const BUNDLE: Flag =
    Flag::value("bundle", "DIR", "directory of the bundle: config.json and the root filesystem (default .)").short('b');
pub(super) const CONSOLE_SOCKET: Flag =
    Flag::value("console-socket", "SOCKET", "unix socket that receives the master end of the pseudoterminal");
pub(super) const PIDFD_SOCKET: Flag =
    Flag::value("pidfd-socket", "SOCKET", "unix socket that receives a pidfd of the container's process");
pub(super) const PID_FILE: Flag = Flag::value("pid-file", "FILE", "write the process id to this file");
pub(super) const NO_PIVOT: Flag =
    Flag::switch("no-pivot", "move the root instead of pivot_root, for a root filesystem on a ramdisk");
pub(super) const NO_NEW_KEYRING: Flag = Flag::switch("no-new-keyring", "keep the caller's session keyring");
pub(super) const PRESERVE_FDS: Flag =
    Flag::value("preserve-fds", "N", "pass N further file descriptors, from 3 on, to the container");

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "create",
    about: "Creates a container from a bundle and leaves it ready to start",
    details: "Everything that config.json asks for is set up, and the program waits to be started by `ocicat start`. Later \
              changes to config.json have no effect on this container. When something fails, nothing is left behind.",
    positionals: Positionals::ID,
    flags: &[BUNDLE, CONSOLE_SOCKET, PIDFD_SOCKET, PID_FILE, NO_PIVOT, NO_NEW_KEYRING, PRESERVE_FDS],
    examples: &[
        ("create --bundle ./web web", "create the container `web` from the bundle in ./web"),
        (
            "create --pid-file web.pid --console-socket pty.sock web",
            "with a terminal, from the bundle in this directory",
        ),
    ],
    failure: 1,
    run,
};

fn run(invocation: &Invocation) -> Result<Ended> {
    let request = request(&invocation.given)?;
    let warnings = container::create(&invocation.runtime()?, &request)?;
    super::log::warnings(&invocation.globals, &warnings);
    Ok(Ended::Done)
}

/// What `create` and `run` have in common.
pub(super) fn request(given: &Given) -> Result<Create> {
    Ok(Create {
        id: given.argument(0).to_owned(),
        bundle: given.owned("bundle").unwrap_or_else(|| PathBuf::from(".")),
        console_socket: given.owned("console-socket"),
        pidfd_socket: given.owned("pidfd-socket"),
        pid_file: given.owned("pid-file"),
        no_pivot: given.is("no-pivot"),
        no_new_keyring: given.is("no-new-keyring"),
        preserve_fds: given.number("preserve-fds")?.unwrap_or(0),
    })
}
