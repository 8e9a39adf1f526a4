//! `--console-socket`: the master of the container's terminal goes to the manager over a unix stream socket; and
//! `--pidfd-socket`, which is the same with a pidfd.

use crate::config::Process;
use crate::sys::{self, Asked, channel};
use anyhow::{Context, Result};
use rustix::fs::OFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
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

/// Connects to the manager's socket; in the parent, before the clone, where its path means something.
pub fn connect(path: &Path) -> Result<OwnedFd> {
    connected(path).with_context(|| format!("--console-socket {}", path.display()))
}

fn connected(path: &Path) -> sys::Result<OwnedFd> {
    let call = || format!("connect {}", path.display());
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .asked(|| "socket AF_UNIX SOCK_STREAM".to_owned())?;
    // A path that does not fit into an address (108 bytes) is reached through a descriptor of the file.
    let address = match SocketAddrUnix::new(path) {
        Ok(address) => return rustix::net::connect(&socket, &address).asked(call).map(|()| socket),
        Err(_) => sys::files::open(path, OFlags::PATH)?,
    };
    let short = format!("/proc/self/fd/{}", address.as_raw_fd());
    let short = SocketAddrUnix::new(short).asked(call)?;
    rustix::net::connect(&socket, &short).asked(call).map(|()| socket)
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
}
