//! What a command of `ocicat-image` is, and how its words are read and its help is written.

use super::super::arguments::{self, Given};
use super::super::command::{Flag, Positionals};
use super::{Call, Ended};
use anyhow::{Result, anyhow, bail};
use clap::{Arg, ArgAction};

/// Options that every command has, before or after its name.
pub(super) const GLOBAL: &[Flag] = &[
    Flag::value(
        "store",
        "DIR",
        "where images are kept (OCICAT_IMAGE_STORE; /var/lib/ocicat/images, or the user's own)",
    ),
    Flag::switch("quiet", "print nothing but what was asked for and errors").short('q'),
    Flag::value("format", "FORMAT", "text, or json for machines"),
    Flag::switch("version", "print the version"),
];

/// A command.
pub(crate) struct Command {
    /// What the user types.
    pub(super) name: &'static str,
    /// One line: what it does.
    pub(super) about: &'static str,
    /// A paragraph or two below the options.
    pub(super) details: &'static str,
    /// The arguments.
    pub(super) positionals: Positionals,
    /// The options, in groups that several commands share.
    pub(super) flags: &'static [&'static [Flag]],
    /// Command lines after `ocicat-image `, each with what it does.
    pub(super) examples: &'static [(&'static str, &'static str)],
    /// Does it.
    pub(super) run: fn(&Call) -> Result<Ended>,
}

impl Command {
    fn all_flags(&self) -> Vec<Flag> {
        self.flags.iter().flat_map(|group| group.iter()).chain(GLOBAL).copied().collect()
    }
}

/// Reads the words of a command and checks how many arguments there are.
pub(super) fn parse(command: &Command, words: &[String]) -> Result<Given> {
    let hint = |e: anyhow::Error| anyhow!("{e}; hint: ocicat-image {} --help", command.name);
    let rest = command.positionals.rest.is_some();
    // One call of the program reads one command line: the joined table lives as long as the process.
    let known: &'static [Flag] = command.all_flags().leak();
    let (mut given, used) = arguments::flags(known, words, rest).map_err(hint)?;
    if given.help {
        return Ok(given);
    }
    if rest {
        given.arguments = words.get(used..).unwrap_or_default().to_vec();
        if given.arguments.get(1).is_some_and(|word| word == "--") {
            given.arguments.remove(1);
        }
    }
    count(command, &given.arguments).map_err(hint)?;
    Ok(given)
}

fn count(command: &Command, arguments: &[String]) -> Result<()> {
    let Positionals { required, optional, rest } = command.positionals;
    if let Some(missing) = required.get(arguments.len()) {
        bail!("{:?} requires an argument: <{missing}>", command.name);
    }
    let most = if rest.is_some() { usize::MAX } else { required.len() + usize::from(optional.is_some()) };
    if let Some(extra) = arguments.get(most) {
        bail!("{:?} requires at most {most} argument(s), and {extra:?} is one more", command.name);
    }
    Ok(())
}

/// The whole program as a clap definition.
pub(super) fn program(commands: &'static [Command]) -> clap::Command {
    let program = clap::Command::new("ocicat-image")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Brings images from registries to bundles for ocicat, and back")
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .args(GLOBAL.iter().map(option))
        .after_help(examples(&[("run debian", "a shell in debian"), ("pull debian:12", "fetch and unpack an image")]));
    commands.iter().fold(program, |program, command| program.subcommand(definition(command)))
}

/// One command, as `ocicat-image COMMAND --help` shows it.
pub(super) fn definition(command: &Command) -> clap::Command {
    let mut defined = clap::Command::new(command.name)
        .bin_name(format!("ocicat-image {}", command.name))
        .display_name(format!("ocicat-image-{}", command.name))
        .about(command.about)
        .disable_version_flag(true)
        .args(command.all_flags().iter().filter(|flag| flag.long != "version").map(option));
    for name in command.positionals.required {
        defined = defined.arg(Arg::new(*name).required(true).help(meaning(name)));
    }
    if let Some(name) = command.positionals.optional {
        defined = defined.arg(Arg::new(name).help(meaning(name)));
    }
    if let Some(name) = command.positionals.rest {
        let rest = Arg::new(name).num_args(0..).trailing_var_arg(true).allow_hyphen_values(true);
        defined = defined.arg(rest.help(meaning(name)));
    }
    let examples = examples(command.examples);
    let below = if command.details.is_empty() { examples } else { format!("{}\n\n{examples}", command.details) };
    defined.after_help(below)
}

fn meaning(positional: &str) -> &'static str {
    match positional {
        "image" => "NAME[:TAG][@DIGEST]; a name without a registry is docker.io's",
        "directory" => "the directory of a bundle",
        "target" => "the name to push to, if it is another one",
        "registry" => "host and port of a registry; docker.io if none is named",
        "source" => "an OCI layout, an oci-archive or a docker-archive",
        "file" => "where to write: a directory for an OCI layout, else a file",
        "name" => "the name that the image gets",
        "path" => "an empty directory, or the name of a new one",
        "images" => "more of them",
        _ => "the program and its arguments instead of the image's",
    }
}

fn option(flag: &Flag) -> Arg {
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

fn examples(examples: &[(&str, &str)]) -> String {
    let lines: Vec<String> = examples.iter().map(|(line, what)| format!("  # {what}\n  ocicat-image {line}")).collect();
    format!("Examples:\n{}", lines.join("\n"))
}
