//! `--console-socket`: the master of the container's terminal goes to the manager over a unix stream socket; and
//! `--pidfd-socket`, which is the same with a pidfd.

use crate::config::Process;
use crate::sys::{self, Asked, channel};
use anyhow::{Context, Result};
use rustix::fs::OFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// In the foreground the terminal is as large as the user's own, from before the program starts, unless config.json says.
pub fn take_size_of_caller(master: &OwnedFd, process: Option<&Process>) {
    if process.is_some_and(|process| process.console_size.is_some()) {
        return;
    }
    let own = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    if let Some(size) = own.iter().find_map(|stream| rustix::termios::tcgetwinsize(stream).ok()) {
        // A size that cannot be set leaves the kernel's 0x0, as for any new terminal.
        let _ = rustix::termios::tcsetwinsize(master, size);
    }
}

/// Connects to the manager's socket; in the parent, before the clone, where its path means something. `@name` is one of the
/// abstract namespace, as for runc (unix(7)).
pub fn connect(path: &Path) -> Result<OwnedFd> {
    connected(path).with_context(|| format!("--console-socket {}", path.display()))
}

fn connected(path: &Path) -> sys::Result<OwnedFd> {
    // A listener whose queue is full has nobody who accepts: that is EAGAIN at once, where a blocking socket waits for ever.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .asked(|| "socket AF_UNIX SOCK_STREAM".to_owned())?;
    connect_to(&socket, path)?;
    rustix::fs::fcntl_setfl(&socket, OFlags::empty()).asked(|| "fcntl F_SETFL socket".to_owned())?;
    Ok(socket)
}

fn connect_to(socket: &OwnedFd, path: &Path) -> sys::Result<()> {
    let connect = |address: rustix::io::Result<SocketAddrUnix>| {
        let connected = address.and_then(|address| rustix::net::connect(socket, &address));
        connected.asked(|| format!("connect {}", path.display()))
    };
    if let Some(name) = path.as_os_str().as_bytes().strip_prefix(b"@") {
        return connect(SocketAddrUnix::new_abstract_name(name));
    }
    // A path that does not fit into an address (108 bytes) is reached through a descriptor of the file.
    match SocketAddrUnix::new(path) {
        Err(rustix::io::Errno::NAMETOOLONG) => {
            let file = sys::files::open(path, OFlags::PATH)?;
            connect(SocketAddrUnix::new(format!("/proc/self/fd/{}", file.as_raw_fd())))
        }
        address => connect(address),
    }
}

/// One message with exactly one descriptor and a name, as containerd and conmon read it.
pub fn send(socket: BorrowedFd<'_>, descriptor: BorrowedFd<'_>, name: &str) -> Result<()> {
    channel::send(socket, name.as_bytes(), &[descriptor]).context("--console-socket")
}

/// Gives a pidfd of the new process to the socket of `--pidfd-socket`, in the same form.
pub fn send_pidfd(path: &Path, pidfd: BorrowedFd<'_>) -> Result<()> {
    let sent = connected(path).and_then(|socket| channel::send(socket.as_fd(), b"pidfd", &[pidfd]));
    sent.with_context(|| format!("--pidfd-socket {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_carries_the_name_and_one_descriptor_even_by_a_long_path() {
        let directory = tempfile::tempdir().unwrap();
        let long = directory.path().join("d".repeat(120));
        std::fs::create_dir(&long).unwrap();
        for path in [directory.path().join("s"), long.join("s")] {
            // bind(2) has the same limit: the listener is made by a short name.
            let parent = sys::files::open(path.parent().unwrap(), OFlags::PATH).unwrap();
            let short = format!("/proc/self/fd/{}/s", parent.as_raw_fd());
            let listener = std::os::unix::net::UnixListener::bind(short).unwrap();
            let socket = connect(&path).unwrap();
            let null = sys::files::open("/dev/null", OFlags::RDWR).unwrap();
            send(socket.as_fd(), null.as_fd(), "/dev/pts/ptmx").unwrap();
            let (accepted, _) = listener.accept().unwrap();
            let (name, descriptors) = channel::receive(&accepted).unwrap().unwrap();
            assert_eq!((name.as_slice(), descriptors.len()), (&b"/dev/pts/ptmx"[..], 1));
        }
    }

    #[test]
    fn nobody_at_the_socket_is_said_with_its_path() {
        let said = format!("{:#}", connect(Path::new("/no/such")).unwrap_err());
        assert_eq!(said, "--console-socket /no/such: connect /no/such: no such file or directory (ENOENT)");
        let null = sys::files::open("/dev/null", OFlags::RDWR).unwrap();
        let said = format!("{:#}", send_pidfd(Path::new("/no/such"), null.as_fd()).unwrap_err());
        assert_eq!(said, "--pidfd-socket /no/such: connect /no/such: no such file or directory (ENOENT)");
    }

    #[test]
    fn a_listener_that_accepts_nobody_is_said_and_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        rustix::net::bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        // One may wait, and one more (unix(7): more than the backlog).
        rustix::net::listen(&listener, 0).unwrap();
        let _waiting = connect(&path).unwrap();
        let said = format!("{:#}", connect(&path).unwrap_err());
        let path = path.display();
        let expected = "resource temporarily unavailable (EAGAIN)";
        assert_eq!(said, format!("--console-socket {path}: connect {path}: {expected}"));
    }

    #[test]
    fn a_name_after_an_at_sign_is_a_socket_of_the_abstract_namespace() {
        let name = format!("ocicat-console-{}", std::process::id());
        let listener =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        rustix::net::bind(&listener, &SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap()).unwrap();
        rustix::net::listen(&listener, 1).unwrap();
        connect(Path::new(&format!("@{name}"))).unwrap();
        let said = format!("{:#}", connect(Path::new("@ocicat/no/such")).unwrap_err());
        let expected = "--console-socket @ocicat/no/such: connect @ocicat/no/such: connection refused (ECONNREFUSED)";
        assert_eq!(said, expected);
    }
}
