//! A stream socket on which nothing waits longer than it may.

use super::{Asked, Errno, Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

/// Connects to the unix socket at `path`; a listener that accepts nobody is ETIMEDOUT or EAGAIN at `deadline`.
pub fn connect_unix(path: &Path, deadline: Instant) -> Result<OwnedFd> {
    let call = || format!("connect {}", path.display());
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).asked(call)?;
    // The limit of sending is also that of connect(2) (unix_stream_connect in the kernel).
    let left = deadline.saturating_duration_since(Instant::now()).max(std::time::Duration::from_millis(1));
    set_socket_timeout(&socket, Timeout::Send, Some(left)).asked(call)?;
    let address = SocketAddrUnix::new(path).asked(call)?;
    connect(&socket, &address).asked(call)?;
    Ok(socket)
}

/// Sends all of `bytes`; ETIMEDOUT when the other side has not taken them by `deadline`.
pub fn send_all(socket: impl AsFd, mut bytes: &[u8], deadline: Instant) -> Result<()> {
    while !bytes.is_empty() {
        wait(&socket, PollFlags::OUT, deadline, "send")?;
        match send(&socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(errno) => return Err(errno).asked(|| "send".to_owned()),
        }
    }
    Ok(())
}

/// Receives as many bytes as `buffer` is long; ETIMEDOUT when they have not come by `deadline`, ECONNRESET at the end of
/// the stream.
pub fn receive_exact(socket: impl AsFd, buffer: &mut [u8], deadline: Instant) -> Result<()> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        wait(&socket, PollFlags::IN, deadline, "receive")?;
        match rustix::io::read(&socket, rest) {
            Ok(0) => return Err(Error { call: "receive".to_owned(), errno: Errno(libc::ECONNRESET) }),
            Ok(length) => filled += length,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).asked(|| "receive".to_owned()),
        }
    }
    Ok(())
}

fn wait(socket: &impl AsFd, wanted: PollFlags, deadline: Instant, call: &str) -> Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let spec = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::new(socket, wanted)], Some(&spec)) {
            Ok(0) => return Err(Error { call: call.to_owned(), errno: Errno(libc::ETIMEDOUT) }),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).asked(|| call.to_owned()),
        }
    }
}
