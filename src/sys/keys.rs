//! keyctl(2): keyrings.

use super::{Asked, Result, checked};
use std::ffi::CString;

/// KEYCTL_JOIN_SESSION_KEYRING: joins the keyring of that name or makes it; its serial number.
pub fn join_session(name: &str) -> Result<i32> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    let text = CString::new(name).map_err(std::io::Error::from).asked(|| format!("keyctl join {name:?}"))?;
    // SAFETY: the name is a live string with its final zero.
    let returned = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, text.as_ptr(), 0, 0, 0) };
    checked(returned).asked(|| format!("keyctl join {name:?}")).map(|serial| serial as i32)
}

/// KEYCTL_DESCRIBE: type, uid, gid, permissions and name of a key, separated by semicolons.
pub fn describe(serial: i32) -> Result<String> {
    const DESCRIBE: libc::c_int = 6;
    let mut text = vec![0u8; 1024];
    // SAFETY: the kernel writes at most the given number of bytes into the live vector.
    let returned = unsafe { libc::syscall(libc::SYS_keyctl, DESCRIBE, serial, text.as_mut_ptr(), text.len(), 0) };
    let length = checked(returned).asked(|| format!("keyctl describe {serial}"))?;
    text.truncate((length as usize).saturating_sub(1));
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// KEYCTL_SETPERM: the permissions of a key, in the format of `keyctl_setperm(3)`.
pub fn set_permissions(serial: i32, permissions: u32) -> Result<()> {
    const SETPERM: libc::c_int = 5;
    // SAFETY: plain numbers are passed.
    let returned = unsafe { libc::syscall(libc::SYS_keyctl, SETPERM, serial, permissions, 0, 0) };
    checked(returned).asked(|| format!("keyctl setperm {serial} {permissions:#x}")).map(|_| ())
}
