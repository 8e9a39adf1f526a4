//! The command line of `ocicat-image`: one file per command, each a constant with its flags, help, examples and function.

mod command;
mod container_flags;
mod interrupt;
mod making;
mod progress;
mod registry_flags;
mod runtime;

mod bundle;
mod check;
mod commit;
mod export;
mod gc;
mod import;
mod inspect;
mod list;
mod login;
mod logout;
mod mount;
mod pull;
mod push;
mod referrers;
mod remove;
mod rm;
mod run;
mod umount;
mod unpack;

use super::arguments::Given;
use super::{Ended, output};
use crate::image::pull::Image;
use crate::image::reference::Reference;
use crate::image::rootless;
use crate::image::store::Store;
use anyhow::{Context, Result, anyhow, bail};
use command::Command;
use std::ffi::OsString;
use std::path::PathBuf;

/// Every command, in the order of the help.
pub(crate) const COMMANDS: &[Command] = &[
    run::COMMAND,
    pull::COMMAND,
    bundle::COMMAND,
    unpack::COMMAND,
    mount::COMMAND,
    umount::COMMAND,
    remove::COMMAND,
    list::COMMAND,
    inspect::COMMAND,
    commit::COMMAND,
    push::COMMAND,
    referrers::COMMAND,
    import::COMMAND,
    export::COMMAND,
    rm::COMMAND,
    gc::COMMAND,
    check::COMMAND,
    login::COMMAND,
    logout::COMMAND,
];

/// One call: what the function of a command gets.
pub(crate) struct Call {
    given: Given,
    /// Machines read the output.
    json: bool,
}

impl Call {
    /// The store that `--store` or `OCICAT_IMAGE_STORE` names, or the user's own.
    fn store(&self) -> Result<Store> {
        // Which store it is depends on who asks, who this process is afterwards on /etc/subuid.
        let path = self.named_store().map_or_else(default_store, Ok)?;
        rootless::enter().context("user namespace")?;
        Store::open(&path)
    }

    /// The same store, only to be read. The user's own may not be there yet; one that is named must be.
    fn store_to_read(&self) -> Result<Option<Store>> {
        let named = self.named_store();
        let path = named.clone().map_or_else(default_store, Ok)?;
        rootless::enter().context("user namespace")?;
        let store = Store::open_to_read(&path)?;
        if let (None, Some(path)) = (&store, named) {
            bail!("store {}: there is none; hint: --store or OCICAT_IMAGE_STORE names another place", path.display());
        }
        Ok(store)
    }

    /// An image of the store, only to be read.
    fn image_to_read(&self, reference: &Reference) -> Result<(Store, Image)> {
        let missing = || format!("{reference} is not in the store; hint: ocicat-image pull {reference}");
        let store = self.store_to_read()?.with_context(missing)?;
        let image = Image::named(&store, &reference.to_string())?.with_context(missing)?;
        Ok((store, image))
    }

    fn named_store(&self) -> Option<PathBuf> {
        let named = self.given.owned::<PathBuf>("store");
        named.or_else(|| std::env::var_os("OCICAT_IMAGE_STORE").map(PathBuf::from))
    }

    /// Nothing but errors and what was asked for is printed.
    fn quiet(&self) -> bool {
        self.given.is("quiet")
    }

    /// Machines read the output.
    fn json(&self) -> bool {
        self.json
    }
}

/// Root's images are the machine's; everybody else's are their own.
fn default_store() -> Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/ocicat/images"));
    }
    let data = std::env::var_os("XDG_DATA_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = data.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")));
    data.map(|data| data.join("ocicat/images")).context("no place for images; hint: --store DIR")
}

/// What went wrong and the exit code that tells it.
#[derive(Debug)]
struct Failed {
    error: anyhow::Error,
    code: u8,
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Failed {
        Failed { error, code: 1 }
    }
}

/// Does what the words after the program's name say, and tells a failure once.
pub fn main(words: impl Iterator<Item = OsString>) -> u8 {
    crate::sys::memory::return_large_blocks();
    match dispatch(words) {
        Ok(ended) => ended.code(),
        Err(Failed { error, code }) => {
            output::note(&format!("ocicat-image: {}\n", output::harmless(&format!("{error:#}"))));
            code
        }
    }
}

fn dispatch(words: impl Iterator<Item = OsString>) -> Result<Ended, Failed> {
    let unreadable = |word: OsString| anyhow!("argument {} is not valid UTF-8", word.display());
    let words = words.map(|word| word.into_string().map_err(unreadable)).collect::<Result<Vec<String>>>()?;
    let (before, used) = super::arguments::flags(command::GLOBAL, &words, true)?;
    let rest = words.get(used..).unwrap_or_default();
    if before.is("version") {
        output::text(&format!("ocicat-image version {}\n", env!("CARGO_PKG_VERSION")))?;
        return Ok(Ended::Done);
    }
    let (name, rest) = match rest.split_first() {
        Some((name, rest)) if name == "help" => return Ok(help(rest.first())?),
        Some((name, rest)) if !before.help => (name, rest),
        _ => return Ok(help(None::<&str>)?),
    };
    let command = find(name)?;
    // Options that stand before the command are the command's too.
    let front = words.get(..used).unwrap_or_default();
    obey(command, &[front, rest].concat()).map_err(|error| Failed { error, code: command.failure })
}

fn obey(command: &'static Command, words: &[String]) -> Result<Ended> {
    let given = command::parse(command, words)?;
    if given.help {
        return help(Some(command.name));
    }
    let json = given.wants_json()?;
    (command.run)(&Call { given, json })
}

fn find(name: &str) -> Result<&'static Command> {
    let found = COMMANDS.iter().find(|command| command.name == name);
    found.ok_or_else(|| anyhow!("no such command: {name:?}; hint: ocicat-image help"))
}

fn help(name: Option<impl AsRef<str>>) -> Result<Ended> {
    let text = match name {
        Some(name) => command::definition(find(name.as_ref())?).render_help().to_string(),
        None => program().render_help().to_string(),
    };
    output::text(&text).map(|()| Ended::Done)
}

/// The whole program: for `ocicat-image help`, the man pages and the completions.
pub fn program() -> clap::Command {
    command::program(COMMANDS)
}

/// Each command, for the man pages.
pub fn definitions() -> impl Iterator<Item = clap::Command> {
    COMMANDS.iter().map(command::definition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_agree_with_themselves() {
        program().debug_assert();
    }

    #[test]
    fn every_command_has_two_examples_that_parse() {
        for command in COMMANDS {
            assert!(command.examples.len() >= 2, "{} has fewer than two examples", command.name);
            for (line, _) in command.examples {
                // As a shell reads it: quotes keep a word together, and redirections and further commands are no words.
                let own = line.split(" && ").next().unwrap().split(" < ").next().unwrap();
                let parts = own.split('\'').enumerate();
                let words: Vec<String> = parts
                    .flat_map(|(index, part)| match index % 2 {
                        0 => part.split_whitespace().map(str::to_owned).collect(),
                        _ => vec![part.to_owned()],
                    })
                    .collect();
                assert_eq!(words[0], command.name, "{line}");
                command::parse(command, &words[1..]).unwrap_or_else(|error| panic!("{line}: {error}"));
            }
        }
    }

    #[test]
    fn a_wrong_command_line_says_what_is_wrong() {
        for (line, reason) in [
            ("nope", "no such command"),
            ("pull", "requires an argument: <image>"),
            ("run --nope x", "flag provided but not defined"),
            ("pull --nope x", "flag provided but not defined"),
            ("pull a b", "\"b\" is one more"),
            ("list --format yaml", "invalid format \"yaml\": must be text or json"),
        ] {
            let Failed { error, code } = dispatch(line.split(' ').map(OsString::from)).unwrap_err();
            assert_eq!(code, if line.starts_with("run") { 125 } else { 1 }, "{line}");
            assert!(error.to_string().contains(reason), "{line}: {error}");
        }
    }
}
