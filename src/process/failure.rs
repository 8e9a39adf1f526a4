//! Why a program could not be run: the launcher only leaves a number, the words are the ones that managers match.

use super::execute;
use super::handshake::{EXECVE, LABEL};
use crate::config::Process;
use crate::sys::{self, Errno};
use std::ffi::CString;

/// Puts words in the place of the bare number that a failed execve or a refused label leaves; other errors have theirs.
pub fn translate(process: &Process, error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<sys::Error>() {
        Some(bare) if bare.call == EXECVE => refused(process, bare.errno),
        Some(bare) if bare.call == LABEL => {
            let place = label_of(process, bare.errno);
            error.context(place)
        }
        _ => error,
    }
}

fn refused(process: &Process, errno: Errno) -> anyhow::Error {
    let name = process.args.first().map_or("", String::as_str);
    execute::refused(&CString::new(name).unwrap_or_default(), errno).into()
}

/// Which label it was. AppArmor says ENOENT for a profile that is not loaded (aa_change_onexec(2)).
fn label_of(process: &Process, errno: Errno) -> String {
    let profile = process.apparmor_profile.as_deref().filter(|profile| !profile.is_empty());
    match (profile, process.selinux_label.as_deref()) {
        (Some(profile), _) if errno == Errno(libc::ENOENT) => {
            format!("process.apparmorProfile ({profile}): no such profile is loaded, apparmor_parser loads it")
        }
        (Some(profile), _) => format!("process.apparmorProfile ({profile})"),
        (None, label) => format!("process.selinuxLabel ({})", label.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_label_is_named() {
        for (json, errno, expected) in [
            (
                r#"{"apparmorProfile":"web"}"#,
                libc::ENOENT,
                "process.apparmorProfile (web): no such profile is loaded, apparmor_parser loads it: \
                 write the label of the process: no such file or directory (ENOENT)",
            ),
            (
                r#"{"apparmorProfile":"web"}"#,
                libc::EACCES,
                "process.apparmorProfile (web): write the label of the process: permission denied (EACCES)",
            ),
            (
                r#"{"selinuxLabel":"a:b:c:s0"}"#,
                libc::EINVAL,
                "process.selinuxLabel (a:b:c:s0): write the label of the process: invalid argument (EINVAL)",
            ),
        ] {
            let process: Process = serde_json::from_str(json).unwrap();
            let bare = sys::Error { call: LABEL.to_owned(), errno: Errno(errno) };
            assert_eq!(format!("{:#}", translate(&process, bare.into())), expected);
        }
    }
}
