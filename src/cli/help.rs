//! The help texts: the command constants as clap definitions, which also become the man pages and the completions.
//!
//! Nothing here runs unless help was asked for.

use super::COMMANDS;
use super::command::{Command, Flag, Positionals};
use super::globals;
use clap::{Arg, ArgAction};

/// The whole program: for `ocicat help`, the man pages and the completions.
pub fn program() -> clap::Command {
    let program = clap::Command::new("ocicat")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs containers as the Open Container Initiative specifies them")
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .args(globals::FLAGS.iter().map(option))
        .after_help(examples(
            "ocicat",
            &[
                ("run --bundle ./web web", "run a container in the foreground"),
                ("exec -t web sh", "start a shell in it"),
            ],
        ));
    COMMANDS.iter().fold(program, |program, command| program.subcommand(definition(command)))
}

/// One command, as it is shown by `ocicat COMMAND --help`.
pub fn definition(command: &Command) -> clap::Command {
    let defined = named("ocicat", command.name, command.about).args(command.flags.iter().map(option));
    let defined = with_positionals(defined, &command.positionals, meaning);
    defined.after_help(below(command.details, &examples("ocicat", command.examples)))
}

/// A command of either program, without its options and arguments.
pub(super) fn named(program: &str, command: &'static str, about: &'static str) -> clap::Command {
    clap::Command::new(command)
        .bin_name(format!("{program} {command}"))
        .display_name(format!("{program}-{command}"))
        .about(about)
        .disable_version_flag(true)
}

/// The command with its arguments; `meaning` says what each is.
pub(super) fn with_positionals(
    command: clap::Command,
    positionals: &Positionals,
    meaning: fn(&str) -> &'static str,
) -> clap::Command {
    let required = positionals.required.iter().map(|name| Arg::new(*name).required(true).help(meaning(name)));
    let optional = positionals.optional.map(|name| Arg::new(name).help(meaning(name)));
    let rest = positionals
        .rest
        .map(|name| Arg::new(name).num_args(0..).trailing_var_arg(true).allow_hyphen_values(true).help(meaning(name)));
    command.args(required).args(optional).args(rest)
}

/// What stands below the options.
pub(super) fn below(details: &str, examples: &str) -> String {
    if details.is_empty() { examples.to_owned() } else { format!("{details}\n\n{examples}") }
}

fn meaning(positional: &str) -> &'static str {
    match positional {
        "container-id" => "the id of the container",
        "container-ids" => "the ids of containers (default: all that run)",
        "signal" => "a number, or a name with or without SIG",
        "command" => "the program and its arguments",
        _ => "options of ps(1)",
    }
}

pub(super) fn option(flag: &Flag) -> Arg {
    let mut arg = Arg::new(flag.long).long(flag.long).help(flag.help).hide(flag.hidden);
    if let Some(letter) = flag.short {
        arg = arg.short(letter);
    }
    match flag.value {
        None => arg.action(ArgAction::SetTrue),
        Some(name) if flag.repeated => arg.value_name(name).action(ArgAction::Append),
        Some(name) => arg.value_name(name).action(ArgAction::Set),
    }
}

pub(super) fn examples(program: &str, examples: &[(&str, &str)]) -> String {
    let lines: Vec<String> = examples.iter().map(|(line, what)| format!("  # {what}\n  {program} {line}")).collect();
    format!("Examples:\n{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments;

    #[test]
    fn the_definitions_agree_with_themselves() {
        program().debug_assert();
    }

    #[test]
    fn every_command_has_two_examples_that_parse() {
        for command in COMMANDS {
            assert!(command.examples.len() >= 2, "{} has fewer than two examples", command.name);
            for (line, _) in command.examples {
                let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
                let (_, used) = globals::parse(&words).unwrap();
                assert_eq!(words[used], command.name, "{line}");
                arguments::command(command, &words[used + 1..]).unwrap_or_else(|e| panic!("{line}: {e}"));
            }
        }
    }

    #[test]
    fn every_help_line_is_one_short_line() {
        for (command, flag) in COMMANDS.iter().flat_map(|c| c.flags.iter().map(move |f| (c.name, f))) {
            assert!(!flag.help.ends_with('.') && !flag.help.contains('\n'), "{command} --{}", flag.long);
            assert!(flag.help.len() <= 100, "{command} --{}: {}", flag.long, flag.help.len());
        }
    }
}
