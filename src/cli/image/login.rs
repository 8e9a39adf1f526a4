//! `ocicat-image login`: prove credentials to a registry and keep them.

use super::super::command::{Flag, Positionals};
use super::command::Command;
use super::progress::Shown;
use super::registry_flags::{REGISTRY, access, notice};
use super::{Call, Ended};
use crate::image::access::registry_named;
use crate::sys::files;
use anyhow::{Context, Result, bail};
use rustix::termios::{LocalModes, OptionalActions, isatty, tcgetattr, tcsetattr};
use std::io::BufRead;
use std::sync::Arc;

/// No password is longer (bytes); identity tokens are a few kilobytes.
const LIMIT: usize = 64 << 10;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "login",
    about: "Proves who you are to a registry and keeps the credentials",
    details: "They are kept where podman and docker look for them: by a credential helper if one is configured, else in the \
              first existing file of auth.json and docker's config.json.",
    positionals: Positionals { required: &[], optional: Some("registry"), rest: None },
    flags: &[
        &[
            Flag::value("username", "USER", "the name").short('u'),
            Flag::value("password", "PASSWORD", "the password (others on this machine can see it)").short('p'),
            Flag::switch("password-stdin", "read the password from standard input"),
        ],
        REGISTRY,
    ],
    examples: &[
        ("login -u me localhost:5000", "asks for the password"),
        ("login -u me --password-stdin localhost:5000 < ./password", "asks nothing"),
    ],
    failure: 1,
    run,
};

fn run(call: &Call) -> Result<Ended> {
    let registry = registry_named(call.given.argument(0))?;
    let user = match call.given.value("username") {
        Some(user) => user.to_owned(),
        None => asked("Username: ", true)?,
    };
    let secret = match call.given.value("password") {
        Some(secret) => secret.to_owned(),
        None if call.given.is("password-stdin") => {
            let bytes = files::read_fd(rustix::stdio::stdin(), LIMIT).context("password on standard input")?;
            String::from_utf8(bytes).context("password on standard input")?.trim_end_matches(['\n', '\r']).to_owned()
        }
        None => asked("Password: ", false)?,
    };
    if user.is_empty() || secret.is_empty() {
        bail!("a name and a password are needed");
    }
    let shown = Arc::new(Shown::new(call.quiet(), false));
    let place = access(&call.given)?.login(&registry, &user, &secret, notice(&shown))?;
    if !call.quiet() {
        eprintln!("logged in to {registry}; kept in {place}");
    }
    Ok(Ended::Done)
}

/// Asks a person; without an echo for secrets.
fn asked(question: &str, echo: bool) -> Result<String> {
    let stdin = rustix::stdio::stdin();
    if !isatty(stdin) {
        bail!("standard input is no terminal; hint: --username USER --password-stdin");
    }
    eprint!("{question}");
    let before = tcgetattr(stdin)?;
    if !echo {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin, OptionalActions::Flush, &silent)?;
    }
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    if !echo {
        tcsetattr(stdin, OptionalActions::Flush, &before)?;
        eprintln!();
    }
    read.context("standard input")?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}
