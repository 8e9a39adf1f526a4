//! `ocicat-image run`: from a reference to a running container, and nothing left afterwards.

use super::super::command::{Flag, Positionals};
use super::super::output;
use super::command::Command;
use super::container_flags::{CONTAINER, options, rootfs};
use super::interrupt::Signals;
use super::making::Making;
use super::pull::{TRANSFER, wanted};
use super::registry_flags::{PLATFORM, REGISTRY};
use super::runtime::{FAILED, execute};
use super::{Call, Ended};
use crate::image::bundle::{InUse, Rootfs, remove};
use crate::image::pull::Unpack;
use crate::image::reference::Reference;
use crate::image::store::Store;
use crate::sys::Asked;
use anyhow::{Context, Result, bail};
use std::io::IsTerminal;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "run",
    about: "Runs a container of an image: pulls it if it is missing, and leaves nothing behind",
    details: "On a terminal the container gets one of its own. The exit code is the program's; 127: there is no such program, \
              126: it cannot be run, 125: anything else went wrong before it ran. With --keep the bundle stays, and \
              `ocicat-image commit` can make an image of what was changed.",
    positionals: Positionals { required: &["image"], optional: None, rest: Some("command") },
    flags: &[
        &[
            Flag::value("name", "ID", "the id of the container (made from the image's name)"),
            Flag::switch("detach", "do not wait; the bundle stays").short('d'),
            Flag::switch("keep", "keep the bundle when the program has ended"),
            Flag::switch("rm", "accepted: nothing is kept without --keep").hidden(),
            Flag::value("bundle", "DIR", "make the bundle there instead of in the store"),
            Flag::value("runtime", "PROGRAM", "the runtime (the ocicat beside this program)"),
        ],
        CONTAINER,
        PLATFORM,
        TRANSFER,
        REGISTRY,
    ],
    examples: &[
        ("run debian", "the image's own command, with a terminal"),
        ("run -v ./src:/src debian ls /src", "a command of yours, and a directory of the host"),
    ],
    failure: FAILED,
    run,
};

fn run(call: &Call) -> Result<Ended> {
    let reference: Reference = call.given.argument(0).parse()?;
    let mut store = call.store()?;
    let rootfs = rootfs(&call.given)?;
    // A plain tree needs no unpacked layers; while they are fetched, an interrupt ends us at once.
    let unpack = if rootfs == Rootfs::Copy { Unpack::No } else { Unpack::Layers };
    let image = wanted(call, &store, &reference, unpack)?.image;
    let id = match call.given.value("name") {
        Some(name) => name.to_owned(),
        None => new_id(&reference)?,
    };
    let directory = match call.given.owned::<PathBuf>("bundle") {
        Some(directory) => crate::sys::files::absolute(&directory)?,
        None => place_for(&store, &id)?,
    };
    let mut wishes = options(&call.given, call.given.arguments.get(1..).unwrap_or_default())?;
    let on_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    wishes.terminal |= on_terminal && !call.given.is("no-tty") && !call.given.is("detach");
    let temporary = !call.given.is("keep") && !call.given.is("detach");
    // Before the bundle exists: whoever interrupts us now gets the clean-up too.
    let signals = Arc::new(Signals::block()?);
    let asked = Arc::clone(&signals);
    store.stop_when(move || matches!(asked.ending(), Ok(Some(_))));
    let making = Making {
        call,
        store: &store,
        reference: &reference,
        directory: &directory,
        rootfs,
        options: &wishes,
        temporary,
    };
    if let Err(error) = making.make(&image) {
        return signals.ending()?.map_or(Err(error), |signal| Ok(Ended::Program(128 + signal)));
    }
    let used = if call.given.is("detach") { None } else { Some(InUse::mark(&directory)?) };
    // Others may tidy up the store meanwhile: it knows the bundle and its layers.
    let ended = store.while_unlocked(|| execute(call, &store, &directory, &id, &signals, used.as_ref()))?;
    let detached = call.given.is("detach") && matches!(ended, Ok(Ended::Program(0)));
    if detached || call.given.is("keep") {
        if !call.quiet() {
            output::note(&format!("container {id}, bundle {}\n", directory.display()));
        }
        return ended;
    }
    let removed = remove(&store, &directory).with_context(|| format!("remove bundle {}", directory.display()));
    match (ended, removed) {
        (Ok(ended), Ok(())) => Ok(ended),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// The last part of the repository's name and a random number.
fn new_id(reference: &Reference) -> Result<String> {
    let mut bytes = [0u8; 4];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()).asked(|| "getrandom".to_owned())?;
    let name = reference.repository.path().rsplit('/').next().unwrap_or("container");
    Ok(format!("{name}-{:08x}", u32::from_ne_bytes(bytes)))
}

/// Bundles of `run` lie beside the layers: an overlay wants both on a file system with the same abilities.
fn place_for(store: &Store, id: &str) -> Result<PathBuf> {
    if id.is_empty() || id.starts_with('.') || id.contains('/') {
        bail!("{id:?} is no id of a container");
    }
    let parent = store.path().join("ocicat/run");
    let made = std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&parent);
    made.asked(|| format!("mkdir {}", parent.display()))?;
    Ok(parent.join(id))
}
