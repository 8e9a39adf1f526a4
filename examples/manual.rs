//! Writes the manual pages and the shell completions from the definition of the command line, so that they cannot drift:
//! `cargo run --example manual -- man completions`.
#![allow(clippy::disallowed_methods, reason = "writes into directories of the developer's own")]

use clap_complete::{Shell, generate, generate_to};
use ocicat::cli;
use std::error::Error;
use std::fs;
use std::path::Path;

#[allow(dead_code, reason = "tests/manual.rs includes this file and has a main of its own")]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [pages, completions] = arguments.as_slice() else {
        return Err("usage: manual DIRECTORY-OF-PAGES DIRECTORY-OF-COMPLETIONS".into());
    };
    write(Path::new(pages), Path::new(completions))
}

/// Every program with its commands.
pub fn programs() -> Vec<(clap::Command, Vec<clap::Command>)> {
    #[cfg_attr(not(feature = "image"), allow(unused_mut, reason = "there is one program then"))]
    let mut programs = vec![(cli::program(), cli::COMMANDS.iter().map(cli::definition).collect())];
    #[cfg(feature = "image")]
    programs.push((cli::image::program(), cli::image::definitions().collect()));
    programs
}

/// Writes a page for every program and every command, and three completions for every program.
///
/// # Errors
/// A directory cannot be written to.
pub fn write(pages: &Path, completions: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(pages)?;
    fs::create_dir_all(completions)?;
    for (mut program, commands) in programs() {
        let name = program.get_name().to_owned();
        fs::write(completions.join(format!("{name}.bash")), bash(program.clone(), &name)?)?;
        for shell in [Shell::Zsh, Shell::Fish] {
            generate_to(shell, &mut program, &name, completions)?;
        }
        page(pages, program, &format!("{PROGRAM}{}", if name == "ocicat" { SEE_ALSO } else { SEE_OCICAT }))?;
        for command in commands {
            page(pages, command, &format!(".SH SEE ALSO\n.BR {} (8)\n", name.replace('-', "\\-")))?;
        }
    }
    Ok(())
}

/// The completions for bash, made under a name without a dash: with one, clap_complete 4.6 writes its states in two
/// spellings, and no option of a command is ever found.
fn bash(program: clap::Command, name: &str) -> Result<String, Box<dyn Error>> {
    let plain = name.replace('-', "_");
    let mut program = program.mut_subcommands(|command| {
        let bin_name = format!("{plain} {}", command.get_name());
        command.bin_name(bin_name)
    });
    let mut text = Vec::new();
    generate(Shell::Bash, &mut program, &plain, &mut text);
    Ok(String::from_utf8(text)?.replace(&format!(" {plain}\n"), &format!(" {name}\n")))
}

/// What the page of a program says beyond the definition of the command line.
const PROGRAM: &str = ".SH EXIT STATUS
0 when it was done, 1 when it failed; a call that fails prints one line on standard error. Commands that wait for the program
of a container end with its exit code, 128 + N when signal N ended it.
";
const SEE_ALSO: &str = ".SH FILES
.TP
.I /run/ocicat
the state of containers; without root
.I $XDG_RUNTIME_DIR/ocicat
.TP
.I /usr/share/doc/ocicat
documentation, and configurations for managers in
.I contrib
.SH SEE ALSO
.BR ocicat\\-image (8)
";
const SEE_OCICAT: &str = ".SH SEE ALSO\n.BR ocicat (8)\n";

/// One page of section 8: commands of the system's administrator.
fn page(directory: &Path, command: clap::Command, ending: &str) -> Result<(), Box<dyn Error>> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let has_commands = command.has_subcommands();
    let manual = clap_mangen::Man::new(command).section("8");
    // The date stays empty: a page made again is the same page.
    let title = name.to_uppercase();
    let mut text =
        format!(".TH {title} 8 \"\" \"ocicat {}\" \"ocicat\"\n.nh\n", env!("CARGO_PKG_VERSION")).into_bytes();
    manual.render_name_section(&mut text)?;
    manual.render_synopsis_section(&mut text)?;
    manual.render_description_section(&mut text)?;
    let (details, examples) = after.split_once("Examples:\n").unwrap_or((&after, ""));
    for paragraph in details.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty()) {
        text.extend(format!(".PP\n{}\n", escaped(paragraph)).into_bytes());
    }
    manual.render_options_section(&mut text)?;
    if has_commands {
        manual.render_subcommands_section(&mut text)?;
    }
    text.extend(b".SH EXAMPLES\n");
    for line in examples.lines().map(str::trim) {
        match line.strip_prefix("# ") {
            Some(meaning) => text.extend(format!(".TP\n{}\n", escaped(meaning)).into_bytes()),
            None => text.extend(format!("\\fB{}\\fR\n", escaped(line)).into_bytes()),
        }
    }
    text.extend(ending.as_bytes());
    // The synopsis ends with a space before its line break, which linters of pages dislike.
    let text = String::from_utf8(text)?.replace(" \n", "\n");
    fs::write(directory.join(format!("{name}.8")), text)?;
    Ok(())
}

/// Plain text for a page: nothing in it is a request or an escape.
fn escaped(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    escaped
        .lines()
        .map(|line| if line.starts_with('.') { format!("\\&{line}") } else { line.to_owned() })
        .collect::<Vec<_>>()
        .join("\n")
}
