//! `ocicat-image login`: prove credentials to a registry and keep them.

use super::super::command::{Flag, Positionals};
use super::super::output;
use super::command::Command;
use super::interrupt::ENDING;
use super::progress::Shown;
use super::registry_flags::{REGISTRY, access, notice};
use super::{Call, Ended};
use crate::image::access::registry_named;
use crate::sys::{Asked, files, signals};
use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use std::os::fd::OwnedFd;
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
        None => match asked("Username: ", true)? {
            Typed::Line(line) => line,
            Typed::Signal(signal) => return Ok(Ended::Program(128 + signal)),
        },
    };
    let secret = match call.given.value("password") {
        Some(secret) => secret.to_owned(),
        None if call.given.is("password-stdin") => {
            let bytes = files::read_fd(rustix::stdio::stdin(), LIMIT).context("password on standard input")?;
            String::from_utf8(bytes).context("password on standard input")?.trim_end_matches(['\n', '\r']).to_owned()
        }
        None => match asked("Password: ", false)? {
            Typed::Line(line) => line,
            Typed::Signal(signal) => return Ok(Ended::Program(128 + signal)),
        },
    };
    if user.is_empty() || secret.is_empty() {
        bail!("a name and a password are needed");
    }
    let shown = Arc::new(Shown::new(call.quiet(), false));
    let place = access(&call.given)?.login(&registry, &user, &secret, notice(&shown))?;
    if !call.quiet() {
        output::note(&format!("logged in to {registry}; kept in {place}\n"));
    }
    Ok(Ended::Done)
}

/// What a person did when asked.
enum Typed {
    Line(String),
    /// Ctrl-C, or somebody else ended us.
    Signal(i32),
}

/// Asks a person; without an echo for secrets. The terminal is as it was afterwards, whatever ends the question.
fn asked(question: &str, echo: bool) -> Result<Typed> {
    let stdin = rustix::stdio::stdin();
    if !isatty(stdin) {
        bail!("standard input is no terminal; hint: --username USER --password-stdin");
    }
    let waiting = Waiting::begin(echo)?;
    output::note(question);
    let mut line = Vec::new();
    loop {
        let mut events = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(&waiting.signals, PollFlags::IN)];
        match poll(&mut events, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).asked(|| "poll".to_owned()).map_err(Into::into),
        }
        if let Some((signal, _)) = signals::next(&waiting.signals)? {
            output::note("\n");
            return Ok(Typed::Signal(signal));
        }
        let [typed, _] = &events;
        if typed.revents().is_empty() {
            continue;
        }
        // A line at a time, unless it is longer than what the terminal keeps.
        let mut buffer = [0; 4096];
        let count = rustix::io::read(stdin, &mut buffer).asked(|| "read standard input".to_owned())?;
        line.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if count == 0 || line.ends_with(b"\n") || line.len() > LIMIT {
            break;
        }
    }
    if !echo {
        output::note("\n");
    }
    let line = String::from_utf8(line).context("standard input")?;
    Ok(Typed::Line(line.trim_end_matches(['\n', '\r']).to_owned()))
}

/// The terminal and the signals while a question is asked; dropping it gives back what was.
struct Waiting {
    terminal: Option<Termios>,
    mask: signals::Mask,
    signals: OwnedFd,
}

impl Waiting {
    fn begin(echo: bool) -> Result<Waiting> {
        let ending = ENDING.into_iter().fold(0, |mask, signal| mask | signals::bit(signal));
        let signals = signals::descriptor(ending)?;
        let mask = signals::set_mask(ending)?;
        let mut waiting = Waiting { terminal: None, mask, signals };
        signals::set_mask(mask | ending)?;
        if !echo {
            let stdin = rustix::stdio::stdin();
            let before = tcgetattr(stdin).asked(|| "tcgetattr".to_owned())?;
            let mut silent = before.clone();
            silent.local_modes.remove(LocalModes::ECHO);
            waiting.terminal = Some(before);
            tcsetattr(stdin, OptionalActions::Flush, &silent).asked(|| "tcsetattr".to_owned())?;
        }
        Ok(waiting)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(terminal) = &self.terminal {
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, terminal);
        }
        let _ = signals::set_mask(self.mask);
    }
}
