//! The manual pages and completions that `make man` writes: every command has a page, and every flag is in it and in the
//! completions of every shell. tests/package looks at how they render and load.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "../examples/manual.rs"]
mod manual;

use std::path::Path;

fn written() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    manual::write(&directory.path().join("man"), &directory.path().join("completions")).unwrap();
    directory
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of the long options that are shown.
fn options(command: &clap::Command) -> Vec<String> {
    command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set())
        .filter_map(|arg| arg.get_long())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_has_a_page_with_all_its_options_and_two_examples() {
    let directory = written();
    let mut pages = 0;
    for (program, commands) in manual::programs() {
        let program_page = text(&directory.path().join(format!("man/{}.8", program.get_name())));
        for command in commands {
            let name = command.get_display_name().unwrap().to_owned();
            let page = text(&directory.path().join(format!("man/{name}.8")));
            for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "SEE ALSO"] {
                assert!(page.contains(&format!(".SH {section}\n")), "{name}.8 has no {section}");
            }
            for option in options(&command) {
                assert!(page.contains(&format!("\\-\\-{}", option.replace('-', "\\-"))), "{name}.8 has no --{option}");
            }
            let examples = page.split_once(".SH EXAMPLES\n").unwrap().1;
            assert!(examples.matches(".TP\n").count() >= 2, "{name}.8 has fewer than two examples");
            let listed = format!("{}(8)", name.replace('-', "\\-"));
            assert!(program_page.contains(&listed), "{}.8 does not list {name}", program.get_name());
            pages += 1;
        }
    }
    let programs = manual::programs().len();
    assert_eq!(std::fs::read_dir(directory.path().join("man")).unwrap().count(), pages + programs);
}

#[test]
fn every_shell_completes_every_command_and_option() {
    let directory = written();
    for (program, commands) in manual::programs() {
        let name = program.get_name();
        for (file, long) in [
            (format!("{name}.bash"), "--"),
            (format!("_{name}"), "--"),
            // fish writes `-l OPTION`.
            (format!("{name}.fish"), "-l "),
        ] {
            let completion = text(&directory.path().join("completions").join(&file));
            for command in &commands {
                assert!(completion.contains(command.get_name()), "{file} has no {}", command.get_name());
                for option in options(command) {
                    assert!(completion.contains(&format!("{long}{option}")), "{file} has no --{option}");
                }
            }
        }
    }
}
