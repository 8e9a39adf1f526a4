//! What the C library's getaddrinfo(3) said, where the standard library keeps only the words.

use std::ffi::CStr;
use std::io;

/// True for a name that does not exist, as opposed to one that could not be asked for (EAI_AGAIN).
pub fn is_unknown_name(error: &io::Error) -> bool {
    // No number of the kernel, and no kind: `failed to lookup address information: Name or service not known`.
    let text = error.to_string();
    error.raw_os_error().is_none()
        && [libc::EAI_NONAME, libc::EAI_NODATA].into_iter().any(|code| text.ends_with(&words(code)))
}

fn words(code: i32) -> String {
    // SAFETY: takes any number.
    let text = unsafe { libc::gai_strerror(code) };
    // SAFETY: every number has its text, which lives as long as the program (gai_strerror(3)).
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_does_not_exist_is_not_one_that_could_not_be_asked_for() {
        let failed = |code| io::Error::other(format!("failed to lookup address information: {}", words(code)));
        for (error, unknown) in [
            (failed(libc::EAI_NONAME), true),
            (failed(libc::EAI_NODATA), true),
            (failed(libc::EAI_AGAIN), false),
            (failed(libc::EAI_FAIL), false),
            (io::Error::from_raw_os_error(libc::ENOENT), false),
        ] {
            assert_eq!(is_unknown_name(&error), unknown, "{error}");
        }
    }
}
