//! The runtime's own executable file, kept from being written by who can reach this process (CVE-2019-5736).

use super::mount::{self, Change, attribute};
use super::{Asked, Errno, Error, Result, checked, children::pointers, files, launcher, limits, memory, umask};
use rustix::fs::{OFlags, SealFlags, StatVfsMountFlags};
use std::ffi::{CString, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// The longest executable that is copied into memory, in bytes.
const LONGEST: usize = 256 << 20;

/// Begins this program again from a mount of it that nobody can write through; nothing is done where that is so already.
///
/// Arguments, environment and inherited descriptors stay. Costs one execve (about 0.5 ms), so callers ask for it only
/// where somebody may look: not being dumpable ([`super::proc::hide`]) does not keep CAP_SYS_PTRACE out.
///
/// # Errors
///
/// As execveat(2).
pub fn begin_again_read_only() -> Result<()> {
    let own = files::open("/proc/self/exe", OFlags::RDONLY)?;
    if cannot_be_written(&own)? {
        return Ok(());
    }
    let program = match read_only_mount(&own) {
        Ok(mount) => mount,
        // Its mount belongs to another mount namespace, or the kernel does not let us: a sealed copy then.
        Err(_) => sealed_copy(&own)?,
    };
    Err(execute(&program))
}

fn cannot_be_written(own: &OwnedFd) -> Result<bool> {
    let facts = rustix::fs::fstatvfs(own).asked(|| "fstatvfs /proc/self/exe".to_owned())?;
    let sealed = rustix::fs::fcntl_get_seals(own).is_ok_and(|seals| seals.contains(SealFlags::WRITE));
    Ok(sealed || facts.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn read_only_mount(own: &OwnedFd) -> Result<OwnedFd> {
    let copy = mount::open_tree(own, Path::new(""), false, true)?;
    mount::mount_setattr(&copy, &Change { set: attribute::READ_ONLY, ..Change::default() })?;
    Ok(copy)
}

fn sealed_copy(own: &OwnedFd) -> Result<OwnedFd> {
    let copy = memory::executable_file(c"ocicat")?;
    files::write_fd(&copy, &files::read_fd(own, LONGEST)?)?;
    launcher::seal(&copy)?;
    Ok(copy)
}

/// Comes back only with the reason why not.
fn execute(program: &OwnedFd) -> Error {
    let strings = |words: Vec<OsString>| -> Vec<CString> {
        words.into_iter().filter_map(|word| CString::new(word.into_vec()).ok()).collect()
    };
    let variable = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        name
    };
    let arguments = strings(std::env::args_os().collect());
    let environment = strings(std::env::vars_os().map(variable).collect());
    umask::give_back();
    if let Err(error) = limits::give_back_files() {
        return error;
    }
    let (arguments, environment): (Vec<_>, Vec<_>) = (pointers(&arguments).collect(), pointers(&environment).collect());
    // SAFETY: both lists end in a null pointer and point to strings that live until the call is over.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    let asked = checked(returned).asked(|| "execveat /proc/self/exe".to_owned());
    asked.err().unwrap_or(Error { call: "execveat /proc/self/exe".to_owned(), errno: Errno(libc::EINVAL) })
}
