//! Writes the manual pages and the shell completions from the definition of the command line, so that they cannot drift:
//! `cargo run --example manual -- man completions`.
#![allow(clippy::disallowed_methods, reason = "writes into directories of the developer's own")]

use clap_complete::{Shell, generate_to};
use ocicat::cli;
use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [pages, completions] = arguments.as_slice() else {
        return Err("usage: manual DIRECTORY-OF-PAGES DIRECTORY-OF-COMPLETIONS".into());
    };
    fs::create_dir_all(pages)?;
    fs::create_dir_all(completions)?;
    page(Path::new(pages), cli::program())?;
    for command in cli::COMMANDS {
        page(Path::new(pages), cli::definition(command))?;
    }
    #[cfg(feature = "image")]
    for definition in std::iter::once(cli::image::program()).chain(cli::image::definitions()) {
        page(Path::new(pages), definition)?;
    }
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut cli::program(), "ocicat", completions)?;
        #[cfg(feature = "image")]
        generate_to(shell, &mut cli::image::program(), "ocicat-image", completions)?;
    }
    Ok(())
}

/// One page of section 8: commands of the system's administrator.
fn page(directory: &Path, command: clap::Command) -> Result<(), Box<dyn Error>> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let manual = format!("ocicat {}", env!("CARGO_PKG_VERSION"));
    let page = clap_mangen::Man::new(command).title(&name).section("8").source(manual).manual("ocicat");
    let mut text = Vec::new();
    page.render(&mut text)?;
    fs::write(directory.join(format!("{name}.8")), text)?;
    Ok(())
}
