//! The start of a program without the preparations of Rust's standard library.

/// Makes `$run` (`fn() -> u8`, the exit code) the program. What the standard library would do before it (a handler and a stack
/// for SIGSEGV, for which it reads /proc/self/maps, a look at the standard streams, SIGPIPE ignored) takes 0.2 ms of a virtual machine's
/// processor at each start, which is a tenth of an `exec`; the words of the command line are there without it.
#[macro_export]
macro_rules! program {
    ($run:path) => {
        /// Called by the C library's start-up code.
        #[allow(unsafe_code, reason = "the name that the C library looks for, defined once in the program")]
        #[allow(clippy::disallowed_methods, reason = "this is the end of main: nothing is left to be dropped")]
        #[unsafe(no_mangle)]
        pub extern "C" fn main(_count: i32, _words: *const *const u8) -> i32 {
            // Ends with what the standard library has to do at the end: standard output is written out.
            std::process::exit(i32::from($run()))
        }
    };
}
