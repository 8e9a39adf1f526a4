//! `kill`: a signal to init by descriptor, or to every process of the container.

use super::find::{self, Found};
use super::signal;
use super::status::Status;
use super::{Kill, Runtime, members};
use crate::sys::{Errno, pidfd};
use anyhow::{Result, bail, ensure};

/// The image's own choice (image-spec, "Conversion": annotations), the default of `kill`.
const STOP_SIGNAL: &str = "org.opencontainers.image.stopSignal";

/// Sends a signal.
///
/// # Errors
/// `container not running` unless it is created, running or paused. With `--all` what is left of a stopped container
/// in its cgroup is signalled too, and nothing being left is no error; where only init can be found it is one.
pub fn kill(runtime: &Runtime, request: &Kill) -> Result<()> {
    let found = find::look(runtime, &request.id)?;
    let asked = request.signal.as_deref().or(found.record.annotations.get(STOP_SIGNAL).map(String::as_str));
    let signal = signal::number(asked.unwrap_or("TERM"))?;
    match found.status {
        Status::Created | Status::Running | Status::Paused => {}
        Status::Stopped if request.all => return signal_all(&found, signal),
        other => bail!("container not running: {} is {other}", request.id),
    }
    if request.all {
        found.in_sight()?;
        signal_all(&found, signal)?;
    } else {
        pidfd::send_signal(found.init()?.1, signal)?;
    }
    if signal == libc::SIGKILL && found.status == Status::Paused {
        // A frozen v1 cgroup delivers the signal only once it is thawed.
        found.record.cgroups.as_ref().map_or(Ok(()), |paths| paths.thaw())?;
    }
    Ok(())
}

fn signal_all(found: &Found, signal: i32) -> Result<()> {
    match found.own_cgroups() {
        Some(paths) => paths.signal_all(signal),
        None if found.status == Status::Stopped => Ok(()),
        None => signal_without_cgroup(found, signal),
    }
}

/// Without a cgroup of its own a container is its pid namespace.
fn signal_without_cgroup(found: &Found, signal: i32) -> Result<()> {
    let (pid, init) = found.init()?;
    let listed = members::of_its_pid_namespace(pid)?;
    let open = |pid: i32| Some((pid, pidfd::open(pid).ok()?));
    let mut others: Vec<_> =
        listed.iter().flatten().filter(|other| **other != pid).filter_map(|pid| open(*pid)).collect();
    // A number may have come to be somebody else's before it was opened.
    let still = members::of_its_pid_namespace(pid)?.unwrap_or_default();
    others.retain(|(pid, _)| still.contains(pid));
    for process in others.iter().map(|(_, process)| process).chain([&init]) {
        match pidfd::send_signal(process, signal) {
            Err(error) if error.errno == Errno(libc::ESRCH) => {}
            sent => sent?,
        }
    }
    let id = &found.record.id;
    ensure!(
        listed.is_some(),
        "only the first process of {id} was reached: it has neither a cgroup nor a pid namespace of its own"
    );
    Ok(())
}
