//! `ocicat-image export`: an image as files.

use super::super::command::{Flag, Positionals};
use super::command::Command;
use super::progress::Shown;
use super::{Call, Ended};
use crate::image::export::{Shape, export};
use crate::image::reference::Reference;
use anyhow::{Result, bail};
use std::io::IsTerminal;
use std::path::Path;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "export",
    about: "Writes an image as an OCI layout, an oci-archive or a docker-archive",
    details: "An oci-archive is a tar file of an OCI layout; a docker-archive is what `docker load` reads.",
    positionals: Positionals { required: &["image", "file"], optional: None, rest: None },
    flags: &[&[Flag::value("as", "SHAPE", "oci (a directory), oci-archive (the default), docker-archive")]],
    examples: &[
        ("export debian debian.tar", "an oci-archive"),
        ("export --as docker-archive debian debian.tar", "for `docker load`"),
    ],
    failure: 1,
    run,
};

fn run(call: &Call) -> Result<Ended> {
    let reference: Reference = call.given.argument(0).parse()?;
    let shape = match call.given.value("as") {
        None | Some("oci-archive") => Shape::OciArchive,
        Some("oci") => Shape::Layout,
        Some("docker-archive") => Shape::DockerArchive,
        Some(other) => bail!("--as {other:?} is none of oci, oci-archive, docker-archive"),
    };
    let target = Path::new(call.given.argument(1));
    if target == Path::new("-") && std::io::stdout().is_terminal() {
        bail!("an archive is nothing for a terminal; hint: a file's name instead of -, or a program that reads it");
    }
    let (store, image) = call.image_to_read(&reference)?;
    // Events would go where the archive goes.
    let shown = Shown::new(call.quiet() || (call.json() && target == Path::new("-")), call.json());
    let exported = export(&store, &image, &reference, target, shape, &shown);
    shown.end();
    exported?;
    Ok(Ended::Done)
}
