//! Parses flags as every caller of a runtime writes them: `--flag=value`, `--flag value`, `-flag value` (Go's flag package
//! takes one dash for two), `-b dir`, `-bdir`, `-td`, `--switch=false`, flags before and after the arguments.
//!
//! The words of the errors are Go's: podman learns from `flag needs an argument` that an option exists.

use super::command::{Command, Flag, Positionals, find};
use anyhow::{Result, anyhow, bail};
use std::str::FromStr;

/// What was given on the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    values: Vec<(&'static str, String)>,
    /// The arguments that are not flags.
    pub arguments: Vec<String>,
    /// `--help` or `-h` was among the flags; nothing else counts then.
    pub help: bool,
}

impl Given {
    /// True when the switch is on.
    pub fn is(&self, long: &str) -> bool {
        self.value(long) == Some("true")
    }

    /// The value of an option; the last one wins.
    pub fn value(&self, long: &str) -> Option<&str> {
        self.values.iter().rev().find(|(name, _)| *name == long).map(|(_, value)| value.as_str())
    }

    /// The value of an option as an owned string or path, `None` when it is absent or empty.
    pub fn owned<T: From<String>>(&self, long: &str) -> Option<T> {
        self.value(long).filter(|v| !v.is_empty()).map(|v| T::from(v.to_owned()))
    }

    /// Every value of a repeated option, in order.
    pub fn all(&self, long: &str) -> Vec<String> {
        self.values.iter().filter(|(name, _)| *name == long).map(|(_, value)| value.clone()).collect()
    }

    /// The value as a number.
    ///
    /// # Errors
    /// It is not one, or not one of that type.
    pub fn number<T: FromStr>(&self, long: &str) -> Result<Option<T>> {
        self.value(long).filter(|v| !v.is_empty()).map(|v| number(long, v)).transpose()
    }

    /// What `--format text|json` asks for; text unless it is there.
    ///
    /// # Errors
    /// `invalid format "xml": must be text or json`
    pub fn wants_json(&self) -> Result<bool> {
        match self.value("format") {
            None | Some("" | "text") => Ok(false),
            Some("json") => Ok(true),
            Some(other) => bail!("invalid format {other:?}: must be text or json"),
        }
    }

    /// The argument at `index`, counted from 0; empty when it is not there.
    pub fn argument(&self, index: usize) -> &str {
        self.arguments.get(index).map_or("", String::as_str)
    }
}

/// Reads a number, or says which flag has none.
///
/// # Errors
/// `invalid value "x" for flag -preserve-fds: not a number of the right size`
pub(super) fn number<T: FromStr>(long: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| anyhow!("invalid value {text:?} for flag -{long}: not a number of the right size"))
}

/// Parses what stands after the name of a command and checks how many arguments there are.
///
/// # Errors
/// An unknown flag, a flag without its value, a wrong number of arguments.
pub(super) fn command(command: &Command, words: &[String]) -> Result<Given> {
    let positionals = &command.positionals;
    all(command.name, command.flags, positionals, positionals.ends_flags(), words)
        .map_err(|e| anyhow!("{e}; hint: ocicat {} --help", command.name))
}

/// Parses what stands after the name of a command of either program; with `until_first`, what follows the first argument is
/// another program's.
///
/// # Errors
/// As [`command`].
pub(super) fn all(
    name: &str,
    known: &'static [Flag],
    positionals: &Positionals,
    until_first: bool,
    words: &[String],
) -> Result<Given> {
    let (mut given, used) = flags(known, words, until_first)?;
    if given.help {
        return Ok(given);
    }
    if until_first {
        given.arguments = words.get(used..).unwrap_or_default().to_vec();
        // `exec ID -- ls`: a habit from elsewhere, and no program is called `--`.
        if given.arguments.get(1).is_some_and(|word| word == "--") {
            given.arguments.remove(1);
        }
    }
    count(name, positionals, &given.arguments)?;
    Ok(given)
}

fn count(name: &str, positionals: &Positionals, arguments: &[String]) -> Result<()> {
    let Positionals { required, optional, rest } = positionals;
    let most = if rest.is_some() { usize::MAX } else { required.len() + usize::from(optional.is_some()) };
    if let Some(missing) = required.get(arguments.len()) {
        bail!("{:?} requires an argument: <{missing}>", name);
    }
    if let Some(extra) = arguments.get(most) {
        bail!("{:?} requires at most {most} argument(s), and {extra:?} is one more", name);
    }
    Ok(())
}

/// Parses flags until the end, or until the first word that is none; returns how many words were used.
///
/// # Errors
/// An unknown flag, or a flag without its value.
pub(super) fn flags(known: &'static [Flag], words: &[String], until_first: bool) -> Result<(Given, usize)> {
    let mut given = Given::default();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        at += 1;
        if word == "--" {
            let rest = words.get(at..).unwrap_or_default();
            given.arguments.extend_from_slice(rest);
            return Ok((given, if until_first { at } else { words.len() }));
        }
        let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) else {
            if until_first {
                return Ok((given, at - 1));
            }
            given.arguments.push(word.clone());
            continue;
        };
        at += usize::from(one(known, name, words.get(at), &mut given)?);
        if given.help {
            break;
        }
    }
    Ok((given, at))
}

/// Takes one word that began with a dash; true when the next word was its value.
fn one(known: &'static [Flag], name: &str, next: Option<&String>, given: &mut Given) -> Result<bool> {
    let long = name.strip_prefix('-');
    let name = long.unwrap_or(name);
    let (name, attached) = match name.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (name, None),
    };
    match find(known, name) {
        Some(flag) => match (flag.value, attached) {
            (None, value) => given.values.push((flag.long, switch(flag.long, value.unwrap_or("true"))?.to_owned())),
            (Some(_), Some(value)) => given.values.push((flag.long, value.to_owned())),
            (Some(_), None) => {
                let value = next.ok_or_else(|| anyhow!("flag needs an argument: -{name}"))?;
                given.values.push((flag.long, value.clone()));
                return Ok(true);
            }
        },
        None if name == "help" || name == "h" => given.help = true,
        None if long.is_none() => return letters(known, name, attached, next, given),
        None => bail!("flag provided but not defined: -{name}"),
    }
    Ok(false)
}

/// Takes letters behind one dash: switches (`-td`), the last of which may be an option with its value (`-tu0`, `-e A=b`).
fn letters(
    known: &'static [Flag],
    name: &str,
    attached: Option<&str>,
    next: Option<&String>,
    given: &mut Given,
) -> Result<bool> {
    let unknown = || anyhow!("flag provided but not defined: -{name}");
    for (index, letter) in name.char_indices() {
        let flag = known.iter().find(|f| f.short == Some(letter)).ok_or_else(unknown)?;
        if flag.value.is_none() {
            given.values.push((flag.long, "true".to_owned()));
            continue;
        }
        let rest = name.get(index + letter.len_utf8()..).unwrap_or_default();
        let value = match (rest, attached) {
            ("", Some(value)) => value.to_owned(),
            ("", None) => {
                let value = next.ok_or_else(|| anyhow!("flag needs an argument: -{letter}"))?;
                given.values.push((flag.long, value.clone()));
                return Ok(true);
            }
            (rest, Some(value)) => format!("{rest}={value}"),
            (rest, None) => rest.to_owned(),
        };
        given.values.push((flag.long, value));
        return Ok(false);
    }
    if attached.is_some() { Err(unknown()) } else { Ok(false) }
}

/// What Go's strconv.ParseBool accepts.
fn switch(long: &str, value: &str) -> Result<&'static str> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok("true"),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok("false"),
        _ => bail!("invalid boolean value {value:?} for -{long}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::COMMANDS;

    fn parse(line: &str) -> Result<Given> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let found = COMMANDS.iter().find(|c| c.name == words[0]).unwrap();
        command(found, &words[1..])
    }

    fn shown(line: &str) -> String {
        match parse(line) {
            Ok(given) if given.help => "help".to_owned(),
            Ok(given) => {
                let flags: Vec<String> = given.values.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("{} | {}", flags.join(" "), given.arguments.join(" "))
            }
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn flags_are_taken_in_every_form_that_callers_use() {
        let table = [
            ("create --bundle /b --pid-file p web", "bundle=/b pid-file=p | web"),
            ("create --bundle=/b --pid-file=p web", "bundle=/b pid-file=p | web"),
            ("create -b /b web", "bundle=/b | web"),
            ("create -b/b web", "bundle=/b | web"),
            ("create -b=/b web", "bundle=/b | web"),
            ("create -bundle /b -no-pivot web", "bundle=/b no-pivot=true | web"),
            ("create web --no-pivot", "no-pivot=true | web"),
            ("create --no-pivot=false web", "no-pivot=false | web"),
            ("create -- -web", " | -web"),
            ("run -no-subreaper --detach web", "no-subreaper=true detach=true | web"),
            ("kill web 15", " | web 15"),
            ("kill --all web KILL", "all=true | web KILL"),
            ("kill web KILL -a", "all=true | web KILL"),
            ("update --resources - web", "resources=- | web"),
            ("update --resources=- web", "resources=- | web"),
            ("update -r /f web", "resources=/f | web"),
            ("update --pids-limit -1 web", "pids-limit=-1 | web"),
            ("exec -it web ls -l", "error: flag provided but not defined: -it; hint: ocicat exec --help"),
            ("exec -td web ls -l", "tty=true detach=true | web ls -l"),
            ("exec -tu 0:0 web ls --tty", "tty=true user=0:0 | web ls --tty"),
            ("exec -eA=b -e C=d web env", "env=A=b env=C=d | web env"),
            ("exec web -- ls", " | web ls"),
            ("exec web ls -- x", " | web ls -- x"),
            ("exec -- web ls", " | web ls"),
            ("exec --process p.json --detach web", "process=p.json detach=true | web"),
            ("stats web --no-stream db", "no-stream=true | web db"),
            ("stats --interval 2s", "interval=2s | "),
            ("ps --format json web", "format=json | web"),
            ("ps web -ef --forest", " | web -ef --forest"),
            ("delete -f web", "force=true | web"),
            ("create --help", "help"),
            ("exec -h", "help"),
        ];
        for (line, expected) in table {
            assert_eq!(shown(line), expected, "{line}");
        }
    }

    #[test]
    fn wrong_command_lines_are_refused_in_words_that_callers_match() {
        let table = [
            ("exec --process-label", "flag needs an argument: -process-label; hint: ocicat exec --help"),
            ("create --nope web", "flag provided but not defined: -nope; hint: ocicat create --help"),
            (
                "create --no-pivot=maybe web",
                "invalid boolean value \"maybe\" for -no-pivot; hint: ocicat create --help",
            ),
            ("state", "\"state\" requires an argument: <container-id>; hint: ocicat state --help"),
            ("start a b", "\"start\" requires at most 1 argument(s), and \"b\" is one more; hint: ocicat start --help"),
            ("kill web -9", "flag provided but not defined: -9; hint: ocicat kill --help"),
            ("exec -u", "flag needs an argument: -u; hint: ocicat exec --help"),
        ];
        for (line, expected) in table {
            assert_eq!(shown(line), format!("error: {expected}"), "{line}");
        }
    }
}
