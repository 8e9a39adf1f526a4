//! Why a program could not be run, in the words that managers match: the launcher only leaves a number.

use crate::config::Process;
use crate::sys::Errno;
use anyhow::anyhow;

/// The error of a failed execve. The file itself was looked at when the container was created, so a missing file
/// now is nearly always its interpreter.
pub fn explain(process: &Process, errno: Errno) -> anyhow::Error {
    let name = process.args.first().map_or("", String::as_str);
    let hint = match errno.0 {
        libc::ENOENT => "; hint: its interpreter (the #! line or the ELF loader) is missing in the container",
        libc::ENOEXEC => "; hint: this is no program of this machine's architecture, or a script without a #! line",
        libc::EACCES => "; hint: is it, or its interpreter, executable, and not on a noexec mount?",
        _ => "",
    };
    anyhow!("exec: {name:?}: {errno}{hint}")
}
