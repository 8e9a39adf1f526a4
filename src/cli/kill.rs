//! `ocicat kill`: send a signal.

use super::arguments::Given;
use super::command::{Command, Flag, Positionals};
use super::{Ended, Invocation};
use crate::container::{self, Kill};
use anyhow::Result;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "kill",
    about: "Sends a signal to the program of a container",
    details: "The signal is a number or a name, with or without SIG. Without one it is the stop signal that the image asks for \
              (annotation org.opencontainers.image.stopSignal), or TERM.",
    positionals: Positionals { required: &["container-id"], optional: Some("signal"), rest: None },
    flags: &[Flag::switch("all", "to every process of the container").short('a')],
    examples: &[("kill web", "ask the container `web` to stop"), ("kill --all web KILL", "kill all of its processes")],
    failure: 1,
    run,
};

fn run(invocation: &Invocation) -> Result<Ended> {
    container::kill(&invocation.runtime()?, &request(&invocation.given))?;
    Ok(Ended::Done)
}

fn request(given: &Given) -> Kill {
    let signal = Some(given.argument(1)).filter(|s| !s.is_empty()).map(str::to_owned);
    Kill { id: given.argument(0).to_owned(), signal, all: given.is("all") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments;

    #[test]
    fn the_signal_is_the_second_argument() {
        let of = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&w| w.to_owned()).collect();
            request(&arguments::command(&COMMAND, &words).unwrap())
        };
        assert_eq!(of(&["web"]).signal, None);
        assert_eq!(of(&["web", "15"]).signal.as_deref(), Some("15"));
        assert_eq!(of(&["--all", "web", "KILL"]).signal.as_deref(), Some("KILL"));
        assert!(of(&["web", "9", "-a"]).all);
    }
}
