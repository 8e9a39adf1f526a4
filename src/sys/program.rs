//! The start of a program without the preparations of Rust's standard library, and the words that it was started with, which
//! are nothing for a container to see.

use libc::c_char;
use std::ffi::CStr;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Makes `$main` the program: a function from the words behind the program's name to the exit code. What the standard library would do before it (a handler and a stack
/// for SIGSEGV, for which it reads /proc/self/maps, a look at the standard streams, SIGPIPE ignored) takes 0.2 ms of a virtual machine's
/// processor at each start, which is a tenth of an `exec`; the words of the command line are there without it.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        /// Called by the C library's start-up code.
        ///
        /// # Safety
        /// The words are those of the execve, as the kernel laid them out.
        #[allow(unsafe_code, reason = "the name that the C library looks for, defined once in the program")]
        #[allow(clippy::disallowed_methods, reason = "this is the end of main: nothing is left to be dropped")]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn main(count: i32, words: *mut *mut std::ffi::c_char) -> i32 {
            // SAFETY: the C library hands on what the kernel laid out.
            unsafe { $crate::sys::program::began(count, words) };
            // Ends with what the standard library has to do at the end: standard output is written out.
            let code = if $crate::sys::program::prepared() { $main(std::env::args_os().skip(1)) } else { 1 };
            std::process::exit(i32::from(code))
        }
    };
}

/// What a program of ours needs before anything else. False where that cannot be had: then nothing can be done.
pub fn prepared() -> bool {
    // Where it cannot be raised, it is told of when it is too low.
    let _ = super::limits::raise_files();
    super::umask::leave_owner_access();
    // A closed standard stream would otherwise become the next file that is opened.
    super::descriptors::fill_closed_streams().is_ok() && super::signals::prepare().is_ok()
}

static COUNT: AtomicUsize = AtomicUsize::new(0);
static WORDS: AtomicPtr<*mut c_char> = AtomicPtr::new(null_mut());

/// Remembers where the kernel put the words of the command line; the environment follows them (System V ABI, "Process
/// Initialization").
///
/// # Safety
/// `words` has `count` strings, a null pointer, the strings of the environment, and another null pointer; all live as long as
/// the process and can be written.
pub unsafe fn began(count: i32, words: *mut *mut c_char) {
    COUNT.store(count.try_into().unwrap_or_default(), Ordering::Relaxed);
    WORDS.store(words, Ordering::Relaxed);
}

/// What [`hide_command_line`] took away.
#[derive(Debug)]
#[must_use]
pub struct Hidden(Vec<Vec<u8>>);

/// Empties the command line around a clone that is seen from inside of a container at once: /proc/PID/cmdline is for everybody.
/// Only the name of the program stays, for who lists processes. The parent gives it back.
pub fn hide_command_line() -> Hidden {
    let saved = Hidden(listed(0).into_iter().map(|word| bytes(word).to_vec()).collect());
    forget_command_line();
    saved
}

impl Hidden {
    /// Back to what it was.
    pub fn give_back(self) {
        for (word, saved) in listed(0).into_iter().zip(self.0) {
            // SAFETY: as many bytes were read from there, and nobody else has a reference to them.
            unsafe { std::ptr::copy_nonoverlapping(saved.as_ptr(), word.cast::<u8>(), saved.len()) };
        }
    }
}

/// Empties the command line and the environment that the caller gave this program, in a clone that goes into a container: who may
/// trace there reads /proc/PID/environ, and the memory. Costs a copy of the one or two pages that the words are on, about 1 µs.
pub fn forget_words() {
    forget_command_line();
    // Behind the words and their null pointer.
    for variable in listed(COUNT.load(Ordering::Relaxed) + 1) {
        bytes(variable).fill(0);
    }
    // SAFETY: getauxval(3) takes a number. It answers with the path that was executed, or 0.
    bytes(unsafe { libc::getauxval(libc::AT_EXECFN) } as *mut c_char).fill(0);
}

fn forget_command_line() {
    for (at, word) in listed(0).into_iter().enumerate() {
        let word = bytes(word);
        let kept = if at == 0 { keep_name(word) } else { 0 };
        word.iter_mut().skip(kept).for_each(|byte| *byte = 0);
    }
}

/// The strings from a place in the kernel's list up to the next null pointer.
fn listed(from: usize) -> Vec<*mut c_char> {
    let words = WORDS.load(Ordering::Relaxed);
    if words.is_null() {
        return Vec::new();
    }
    let strings = (from..).map(|at| {
        // `from` is 0 or right behind the null pointer of the words, so every place up to the next null pointer is in the list.
        let place = words.wrapping_add(at);
        // SAFETY: a place of the list, as told above.
        unsafe { *place }
    });
    strings.take_while(|text| !text.is_null()).collect()
}

/// The bytes of a string of the execve, without the zero at its end; none of a null pointer.
fn bytes<'a>(text: *mut c_char) -> &'a mut [u8] {
    if text.is_null() {
        return &mut [];
    }
    // SAFETY: a string of the execve ends in a zero byte, also when `forget_words` was here.
    let length = unsafe { CStr::from_ptr(text) }.count_bytes();
    // SAFETY: the page can be written (execve(2) lays the strings on the stack) and lives as long as the process; this module
    // alone makes references to it, one at a time.
    unsafe { std::slice::from_raw_parts_mut(text.cast::<u8>(), length) }
}

/// Moves the last part of a path to the front; its length.
fn keep_name(path: &mut [u8]) -> usize {
    let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    path.copy_within(start.., 0);
    path.len() - start
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::forked;
    use std::ffi::CString;

    /// Lays out strings as the kernel does.
    fn laid_out(words: &[&str], variables: &[&str]) -> (i32, *mut *mut c_char) {
        let raw = |text: &&str| CString::new(*text).unwrap().into_raw();
        let mut all: Vec<_> = words.iter().map(raw).collect();
        all.push(null_mut());
        all.extend(variables.iter().map(raw));
        all.push(null_mut());
        (words.len() as i32, all.leak().as_mut_ptr())
    }

    #[test]
    fn only_the_name_of_the_program_stays_of_what_the_caller_said() {
        // In a child, which alone loses what the harness was started with.
        let said = forked::in_child(|| {
            let (count, words) = laid_out(&["/usr/bin/ocicat", "--root", ""], &["A=secret", "", "B=c"]);
            // SAFETY: laid out above, and never freed.
            unsafe { began(count, words) };
            let text = |at| {
                // SAFETY: three words, a null pointer, three variables.
                let text = unsafe { *words.wrapping_add(at) };
                // SAFETY: every one of them is a string.
                unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
            };
            let all = || format!("{:?}", [0, 1, 2, 4, 5, 6].map(text));
            let hidden = hide_command_line();
            let mut said = vec![all()];
            hidden.give_back();
            said.push(all());
            forget_words();
            said.push(all());
            Ok(said.join("\n"))
        });
        let expected = [
            r#"["ocicat", "", "", "A=secret", "", "B=c"]"#,
            r#"["/usr/bin/ocicat", "--root", "", "A=secret", "", "B=c"]"#,
            r#"["ocicat", "", "", "", "", ""]"#,
        ];
        assert_eq!(said.unwrap().lines().collect::<Vec<_>>(), expected);
    }
}
