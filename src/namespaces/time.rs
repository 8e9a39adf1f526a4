//! Time namespaces: offsets of the monotonic and boot-time clocks (time_namespaces(7)).

use crate::config::TimeOffset;
use crate::sys::{clone, files};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Makes a time namespace for the children of this process (and, from Linux 6.3 on, for itself at its next execve)
/// and sets its clocks, which must happen before anything enters it.
pub fn make(offsets: &BTreeMap<String, TimeOffset>) -> Result<()> {
    clone::unshare(libc::CLONE_NEWTIME as u64).context("linux.namespaces: time")?;
    if offsets.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    for (clock, offset) in offsets {
        let _ = writeln!(text, "{clock} {} {}", offset.secs, offset.nanosecs);
    }
    files::write_value_at(rustix::fs::CWD, "/proc/self/timens_offsets", &text).context("linux.timeOffsets")
}
