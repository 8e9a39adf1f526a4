//! What a command of `ocicat-image` is, and how its words are read and its help is written.

use super::super::arguments::{self, Given};
use super::super::command::{Flag, Positionals};
use super::super::help;
use super::{Call, Ended};
use anyhow::{Result, anyhow};

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
    /// The exit code of a failure.
    pub(super) failure: u8,
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
    // One call of the program reads one command line: the joined table lives as long as the process.
    let known: &'static [Flag] = command.all_flags().leak();
    let flags_end = command.positionals.rest.is_some();
    arguments::all(command.name, known, &command.positionals, flags_end, words)
        .map_err(|e| anyhow!("{e}; hint: ocicat-image {} --help", command.name))
}

/// The whole program as a clap definition.
pub(super) fn program(commands: &'static [Command]) -> clap::Command {
    let program = clap::Command::new("ocicat-image")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Brings images from registries to bundles for ocicat, and back")
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .args(GLOBAL.iter().map(help::option))
        .after_help(help::examples(
            "ocicat-image",
            &[("run debian", "a shell in debian"), ("pull debian:12", "fetch and unpack an image")],
        ));
    commands.iter().fold(program, |program, command| program.subcommand(definition(command)))
}

/// One command, as `ocicat-image COMMAND --help` shows it.
pub(super) fn definition(command: &Command) -> clap::Command {
    let flags = command.all_flags();
    let shown = flags.iter().filter(|flag| flag.long != "version");
    let defined = help::named("ocicat-image", command.name, command.about).args(shown.map(help::option));
    let defined = help::with_positionals(defined, &command.positionals, meaning);
    defined.after_help(help::below(command.details, &help::examples("ocicat-image", command.examples)))
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
