//! The runtime as `ocicat-image run` calls it: its program, its signals, and what its exit code means.

use super::interrupt::Signals;
use super::{Call, Ended};
use crate::image::bundle::InUse;
use crate::image::store::{Store, WHILE_WAITING};
use crate::sys::{self, Asked, files, memory, pidfd};
use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{FdFlags, fcntl_setfd};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process;

/// The exit code of `run` where no program has run, as docker's and podman's.
pub(super) const FAILED: u8 = 125;

/// Runs the runtime and passes signals on until it has ended.
pub(super) fn execute(
    call: &Call,
    store: &Store,
    bundle: &Path,
    id: &str,
    signals: &Signals,
    used: Option<&InUse>,
) -> Result<Ended> {
    let runtime = program(call)?;
    // What came while the bundle was made was meant for the container that is not there yet.
    if let Some(signal) = signals.ending()? {
        return Ok(Ended::Program(128 + signal));
    }
    let log = memory::file_with(c"log of the runtime", b"")?;
    fcntl_setfd(&log, FdFlags::empty()).asked(|| "fcntl F_SETFD".to_owned())?;
    let mut command = process::Command::new(&runtime);
    command.arg("--log").arg(format!("/proc/self/fd/{}", log.as_raw_fd())).args(["--log-format", "json"]);
    command.arg("run").arg("--bundle").arg(bundle);
    if call.given.is("detach") {
        command.arg("--detach");
    }
    command.arg(id);
    if let Some(used) = used {
        // If we are killed, the runtime and its container go on, and so does the mark.
        used.inherit()?;
    }
    let child = command.spawn().asked(|| format!("execve {}", runtime.display()))?;
    let child = pidfd::open(child.id().try_into().context("pid of the runtime")?)?;
    for came in signals.early().into_iter().filter(|came| !came.from_kernel) {
        ignore_ended(pidfd::send_signal(&child, came.signal))?;
    }
    loop {
        let mut events = [PollFd::new(&child, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        // While the program runs nobody waits for us: what was pulled for it reaches the disk.
        let until = store.durable_in().and_then(|time| time.try_into().ok());
        match poll(&mut events, until.as_ref()) {
            Ok(0) => drop(store.make_durable_if_cheap(WHILE_WAITING)),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).asked(|| "poll".to_owned()).map_err(Into::into),
        }
        while let Some(came) = signals.next()? {
            // What a key on the terminal sends, the runtime got itself.
            if !came.from_kernel {
                ignore_ended(pidfd::send_signal(&child, came.signal))?;
            }
        }
        if pidfd::wait_end(&child, 0)? {
            let code = pidfd::reap(&child)?.code();
            return Ok(Ended::Program(if code == 0 { 0 } else { code_of_failure(&log)?.map_or(code, i32::from) }));
        }
    }
}

fn ignore_ended(sent: sys::Result<()>) -> sys::Result<()> {
    match sent {
        Err(error) if error.errno == sys::Errno(libc::ESRCH) => Ok(()),
        other => other,
    }
}

/// `--runtime`, or the `ocicat` beside this program, or the one on the path.
fn program(call: &Call) -> Result<PathBuf> {
    if let Some(named) = call.given.owned::<PathBuf>("runtime") {
        return Ok(named);
    }
    let own = std::env::current_exe().asked(|| "readlink /proc/self/exe".to_owned())?;
    let beside = own.with_file_name("ocicat");
    Ok(if beside.exists() { beside } else { PathBuf::from("ocicat") })
}

/// The code that stands for a failure of the runtime. None: it logged none, so the code is the program's own.
fn code_of_failure(log: &OwnedFd) -> Result<Option<u8>> {
    /// A sentence or two; what is longer is no message of a runtime.
    const LIMIT: usize = 1 << 20;
    rustix::fs::seek(log, rustix::fs::SeekFrom::Start(0)).asked(|| "lseek log of the runtime".to_owned())?;
    Ok(failure_in(&files::read_fd(log, LIMIT)?).map(|message| code_for(&message)))
}

/// The last error of a log in the form of logrus, which all runtimes write.
fn failure_in(log: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Entry {
        level: String,
        msg: String,
    }
    let mut entries = log.rsplit(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Entry>(line).ok());
    entries.find(|entry| entry.level == "error").map(|entry| entry.msg)
}

/// 127: there is no such program, 126: it cannot be run, else [`FAILED`]. The words are Go's, see docs/errors.md.
fn code_for(message: &str) -> u8 {
    let Some((_, about)) = message.split_once("exec: \"") else { return FAILED };
    let says = |words: &[&str]| words.iter().any(|word| about.contains(word));
    if says(&["executable file not found", "no such file or directory"]) {
        127
    } else if says(&["permission denied", "is a directory", "not a directory", "exec format error"]) {
        126
    } else {
        FAILED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_tells_a_program_that_is_missing_from_one_that_cannot_be_run() {
        for (message, code) in [
            ("exec: \"nope\": executable file not found in $PATH", 127),
            ("container: exec: \"/nope\": stat /nope: no such file or directory", 127),
            ("exec: \"/etc/passwd\": permission denied", 126),
            ("exec: \"/etc\": is a directory", 126),
            ("exec: \"/x\": exec format error", 126),
            ("mounts[3]: open /no/such: no such file or directory", 125),
            ("exec: \"/x\": argument list too long", 125),
        ] {
            assert_eq!(code_for(message), code, "{message}");
        }
    }

    #[test]
    fn the_failure_of_a_log_is_its_last_error() {
        let log = b"{\"level\":\"warning\",\"msg\":\"w\",\"time\":\"\"}\n{\"level\":\"error\",\"msg\":\"first\",\"time\":\"\"}\n\
            no json\n{\"level\":\"error\",\"msg\":\"last\",\"time\":\"\"}\n{\"level\":\"debug\",\"msg\":\"d\"}\n";
        assert_eq!(failure_in(log).as_deref(), Some("last"));
        assert_eq!(failure_in(b"{\"level\":\"warning\",\"msg\":\"w\"}\n"), None);
        assert_eq!(failure_in(b""), None);
    }
}
