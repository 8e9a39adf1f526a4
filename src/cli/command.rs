//! What a command is: one constant with its flags, arguments, help text, examples and the function that does it.
//!
//! The parser (`arguments`), `--help`, the man pages and the completions all read these constants, so they cannot drift
//! apart; and since they are constants, a start of the runtime builds nothing that its one command does not need.

use super::{Ended, Invocation};

/// An option of a command.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// The long name, without dashes.
    pub long: &'static str,
    /// The one-letter name.
    pub short: Option<char>,
    /// What the value is called in the help; `None` is a switch.
    pub value: Option<&'static str>,
    /// One line.
    pub help: &'static str,
    /// May be given several times.
    pub repeated: bool,
    /// Accepted, not advertised.
    pub hidden: bool,
}

impl Flag {
    /// A switch: on or off.
    pub const fn switch(long: &'static str, help: &'static str) -> Flag {
        Flag { long, short: None, value: None, help, repeated: false, hidden: false }
    }

    /// An option with a value.
    pub const fn value(long: &'static str, value: &'static str, help: &'static str) -> Flag {
        Flag { long, short: None, value: Some(value), help, repeated: false, hidden: false }
    }

    /// With a one-letter name.
    pub const fn short(mut self, letter: char) -> Flag {
        self.short = Some(letter);
        self
    }

    /// May be given several times; the values add up.
    pub const fn repeated(mut self) -> Flag {
        self.repeated = true;
        self
    }

    /// Accepted because some caller passes it, not advertised.
    pub const fn hidden(mut self) -> Flag {
        self.hidden = true;
        self
    }
}

/// The arguments that are not flags.
#[derive(Debug, Clone, Copy, Default)]
pub struct Positionals {
    /// Names of those that must be there.
    pub required: &'static [&'static str],
    /// The name of one more that may be there.
    pub optional: Option<&'static str>,
    /// The name of any number of further ones. Behind a required one they are another program's, and flags end at the first
    /// argument that is not one.
    pub rest: Option<&'static str>,
}

impl Positionals {
    /// No arguments at all.
    pub const NONE: Positionals = Positionals { required: &[], optional: None, rest: None };
    /// The id of a container and nothing else.
    pub const ID: Positionals = Positionals { required: &["container-id"], optional: None, rest: None };

    /// True when what looks like a flag behind the first argument is none of ours.
    pub const fn ends_flags(&self) -> bool {
        self.rest.is_some() && !self.required.is_empty()
    }
}

/// A command of the runtime.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// What the user types.
    pub name: &'static str,
    /// One line: what it does.
    pub about: &'static str,
    /// A paragraph or two below the options.
    pub details: &'static str,
    /// The arguments.
    pub positionals: Positionals,
    /// The options.
    pub flags: &'static [Flag],
    /// Command lines after `ocicat `, each with what it does.
    pub examples: &'static [(&'static str, &'static str)],
    /// Exit code when it fails.
    pub failure: u8,
    /// Does it.
    pub run: fn(&Invocation) -> anyhow::Result<Ended>,
}

impl Command {
    /// The flag of that long name or, when `name` is one letter, of that short name.
    pub fn flag(&self, name: &str) -> Option<&'static Flag> {
        find(self.flags, name)
    }
}

/// Finds a flag by its long name or its letter.
pub(super) fn find(flags: &'static [Flag], name: &str) -> Option<&'static Flag> {
    let mut letters = name.chars();
    let letter = letters.next().filter(|_| letters.next().is_none());
    flags.iter().find(|f| f.long == name || (letter.is_some() && f.short == letter))
}
