//! Files that are only memory: memfd_create(2).

use super::{Asked, Result, checked, files};
use std::ffi::CStr;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// An empty file that can be executed and sealed.
/// KERNEL(6.3): MFD_EXEC; before, every such file is executable and the flag unknown.
pub fn executable_file(name: &CStr) -> Result<OwnedFd> {
    const MFD_EXEC: libc::c_uint = 0x10;
    made(name, MFD_EXEC)
}

/// A file that holds `bytes` and is read from its beginning.
pub fn file_with(name: &CStr, bytes: &[u8]) -> Result<OwnedFd> {
    const MFD_NOEXEC_SEAL: libc::c_uint = 0x8;
    let file = made(name, MFD_NOEXEC_SEAL)?;
    files::write_fd(&file, bytes)?;
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).asked(|| format!("lseek {}", name.to_string_lossy()))?;
    Ok(file)
}

fn made(name: &CStr, flag: libc::c_uint) -> Result<OwnedFd> {
    let known = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    match create(name, known | flag) {
        Err(error) if error.errno.0 == libc::EINVAL => create(name, known),
        other => other,
    }
}

fn create(name: &CStr, flags: libc::c_uint) -> Result<OwnedFd> {
    // SAFETY: the name is a live string with its final zero.
    let returned = unsafe { libc::syscall(libc::SYS_memfd_create, name.as_ptr(), flags) };
    let fd = checked(returned).asked(|| format!("memfd_create {}", name.to_string_lossy()))?;
    // SAFETY: the kernel has just made this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Gives free memory back to the kernel that free(3) keeps for later, of all threads (malloc_trim(3)).
#[cfg(feature = "image")]
pub(crate) fn return_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer, and may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Makes free(3) return large blocks to the kernel at once. The C library raises its threshold with each large block that is
/// freed (mallopt(3), M_MMAP_THRESHOLD), and later ones stay with the threads that had them.
#[cfg(feature = "image")]
pub(crate) fn return_large_blocks() {
    #[cfg(target_env = "gnu")]
    {
        const THRESHOLD: libc::c_int = 128 << 10;
        for parameter in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
            // SAFETY: takes no pointer; called before the program has threads. What it refuses stays as it was.
            unsafe { libc::mallopt(parameter, THRESHOLD) };
        }
    }
}
