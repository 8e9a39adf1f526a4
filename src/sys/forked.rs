//! For tests: runs a closure in a forked child, because what it does (another user, a new session, signal masks) cannot be
//! undone. fork(3) and not clone3: the test harness has threads, and the C library's fork keeps malloc usable.

/// Runs `act` in a child; its text, or how the child ended without one.
pub(crate) fn in_child(act: impl FnOnce() -> Result<String, String>) -> Result<String, String> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    // SAFETY: the child runs only `act` and _exit; the C library's fork leaves its own locks free.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        drop(read);
        let (code, text) = match told(act) {
            Ok(Ok(text)) => (0, text),
            Ok(Err(text)) => (1, text),
            Err(panicked) => (PANICKED, panicked),
        };
        let file = std::fs::File::from(write);
        let _ = std::io::Write::write_all(&mut &file, text.as_bytes());
        // SAFETY: ends the child without running anything of the harness.
        unsafe { libc::_exit(code) };
    }
    drop(write);
    let text = String::from_utf8_lossy(&super::files::read_fd(&read, 1 << 20).unwrap()).into_owned();
    match wait(pid) {
        0 => Ok(text),
        1 => Err(text),
        other => Err(format!("ended with {other}: {text}")),
    }
}

/// The exit code of a child that panicked.
const PANICKED: i32 = 98;

/// What `act` returns, or the words of its panic. Unwinding out of a forked child would end its only thread, which looks like
/// an exit with 0, and the harness that captured the words is not there to print them.
fn told<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).map_err(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()));
        format!("the child panicked: {}", words.unwrap_or_default())
    })
}

/// Starts `act` in a child that is expected to become another program; its pid.
pub(crate) fn start(act: impl FnOnce() -> String) -> i32 {
    // SAFETY: as above.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let text = told(act).unwrap_or_else(|panicked| panicked);
        let stderr = rustix::stdio::stderr();
        let _ = super::files::write_fd(stderr, text.as_bytes());
        // SAFETY: as above.
        unsafe { libc::_exit(99) };
    }
    pid
}

/// Waits for a child: its exit code, or 128 and the signal.
pub(crate) fn wait(pid: i32) -> i32 {
    let pidfd = super::pidfd::open(pid).unwrap();
    super::pidfd::reap(pidfd).unwrap().code()
}
