//! `kill`: a signal to init by descriptor, or to every process of the container.

use super::find::{self, Found};
use super::signal;
use super::status::Status;
use super::{Kill, Runtime};
use crate::sys::pidfd;
use anyhow::{Result, bail};

/// The image's own choice (image-spec, "Conversion": annotations), the default of `kill`.
const STOP_SIGNAL: &str = "org.opencontainers.image.stopSignal";

/// Sends a signal.
///
/// # Errors
/// `container not running` unless it is created, running or paused. With `--all` what is left of a stopped container
/// in its cgroup is signalled too, and nothing being left is no error.
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
        None => match found.init() {
            Ok((_, init)) => Ok(pidfd::send_signal(init, signal)?),
            Err(_) => Ok(()),
        },
    }
}
