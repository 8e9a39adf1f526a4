//! `ocicat doctor`: what this host can do for containers.

use super::command::{Command, Flag, Positionals};
use super::{Ended, Invocation, output};
use crate::container::{self, Finding, Health};
use crate::host::Host;
use anyhow::Result;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "doctor",
    about: "Tells what this host can do for containers and what not, one line each with what to do about it",
    details: "Kernel, cgroups, user namespaces and id ranges, seccomp, Landlock, labels, systemd, criu. Nothing is changed, and it ends \
              with 0 whatever it finds. `ocicat check` tells whether one bundle can run here.",
    positionals: Positionals::NONE,
    flags: &[Flag::value("format", "FORMAT", "text or json (default text)").short('f')],
    examples: &[("doctor", "look at this host"), ("doctor --format json", "for programs")],
    failure: 1,
    run,
};

fn run(invocation: &Invocation) -> Result<Ended> {
    let findings = container::doctor(&Host::read());
    if invocation.given.wants_json()? {
        output::json(&findings)?;
    } else {
        output::text(&findings.iter().map(line).collect::<String>())?;
    }
    Ok(Ended::Done)
}

fn line(finding: &Finding) -> String {
    let state = match finding.state {
        Health::Ok => "ok",
        Health::Limited => "limited",
        Health::Missing => "missing",
    };
    let hint = finding.hint.as_ref().map(|hint| format!("; hint: {hint}")).unwrap_or_default();
    format!("{state:<8} {}: {}{hint}\n", finding.topic, finding.found)
}
