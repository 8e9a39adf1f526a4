//! `ocicat wait`: until a container ends, and how it did.

use super::command::{Command, Flag, Positionals};
use super::{Ended, Invocation, duration, output};
use crate::container::{self, Exit};
use anyhow::Result;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "wait",
    about: "Waits until a container ends and prints its exit record",
    details: "Exit code or signal, processes that the OOM killer ended, processor time and the most memory used. The record stays \
              readable in `ocicat state` until the container is deleted. No daemon watches: the exit code is known when somebody \
              waited, when `run` was in the foreground, or as long as the container's parent has not reaped it; otherwise it is told to be \
              unknown (null). Before Linux 6.15 a parent that reaps at once can be faster than `wait`.",
    positionals: Positionals::ID,
    flags: &[
        Flag::value("format", "FORMAT", "text or json (default text)").short('f'),
        Flag::value("timeout", "TIME", "fail when the container has not ended after this time: 10s, 1m30s"),
    ],
    examples: &[
        ("wait web", "until the container `web` ends"),
        ("wait --timeout 10s --format json web", "at most ten seconds, for programs"),
    ],
    failure: 1,
    run,
};

fn run(invocation: &Invocation) -> Result<Ended> {
    let given = &invocation.given;
    let json = given.wants_json()?;
    let request = container::Wait { id: invocation.id().to_owned(), timeout: duration::of(given, "timeout")? };
    let exit = container::wait(&invocation.runtime()?, &request)?;
    if json {
        output::json(&exit)?
    } else {
        output::text(&sentence(invocation.id(), &exit))?
    }
    Ok(Ended::Done)
}

/// `web exited with 3, processor time 0.120 s, memory peak 1.2 MiB, OOM kills 0`
fn sentence(id: &str, exit: &Exit) -> String {
    let how = match (exit.exit_code, exit.signal) {
        (_, Some(signal)) => format!("{id} was ended by {}", container::signal_name(signal)),
        (Some(code), None) => format!("{id} exited with {code}"),
        (None, None) => format!("{id} has ended, its exit code is unknown: nobody waited for it"),
    };
    let spent = [
        exit.cpu_time.map(|time| format!("processor time {:.3} s", time as f64 / 1e9)),
        exit.memory_peak.map(|peak| format!("memory peak {}", output::binary(peak))),
        exit.oom_kills.map(|kills| format!("OOM kills {kills}")),
    ];
    let parts: Vec<String> = std::iter::once(how).chain(spent.into_iter().flatten()).collect();
    parts.join(", ") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_record_is_told_in_one_line() {
        let known =
            Exit { cpu_time: Some(120_000_000), memory_peak: Some(1_258_291), oom_kills: Some(0), ..Exit::default() };
        for (exit, expected) in [
            (
                Exit { exit_code: Some(3), ..known.clone() },
                "web exited with 3, processor time 0.120 s, memory peak 1.2MiB, OOM kills 0\n",
            ),
            (
                Exit { exit_code: Some(137), signal: Some(9), oom_kills: Some(1), ..Exit::default() },
                "web was ended by SIGKILL, OOM kills 1\n",
            ),
            (Exit { exit_code: Some(165), signal: Some(37), ..Exit::default() }, "web was ended by SIGRTMIN+3\n"),
            (Exit::default(), "web has ended, its exit code is unknown: nobody waited for it\n"),
        ] {
            assert_eq!(sentence("web", &exit), expected);
        }
    }
}
