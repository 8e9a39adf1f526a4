//! Unix stream sockets of others: connect within a time, send all, with descriptors beside the first byte.

use super::{Asked, Errno, Error, Result};
use rustix::io::{Errno as Raw, IoSlice};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    connect, sendmsg, socket_with,
};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// Connects to a stream socket; connecting and each send give up after `limit` with EAGAIN, so that a peer which never
/// accepts or reads cannot hold us.
pub fn connect_to(path: &Path, limit: Duration) -> Result<OwnedFd> {
    let asked = || format!("connect {}", path.display());
    let address = SocketAddrUnix::new(path).asked(asked)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .asked(|| "socket AF_UNIX SOCK_STREAM".to_owned())?;
    set_socket_timeout(&socket, Timeout::Send, Some(limit)).asked(|| "setsockopt SO_SNDTIMEO".to_owned())?;
    connect(&socket, &address).asked(asked)?;
    Ok(socket)
}

/// Sends all of `bytes`; the descriptors go with the first part.
pub fn send_all(socket: impl AsFd, mut bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Error {
            call: format!("sendmsg with {} descriptors", descriptors.len()),
            errno: Errno(libc::EINVAL),
        });
    }
    while !bytes.is_empty() {
        match sendmsg(&socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL) {
            Ok(sent) => {
                bytes = bytes.get(sent..).unwrap_or_default();
                ancillary.clear();
            }
            Err(Raw::INTR) => {}
            Err(errno) => return Err(errno).asked(|| "sendmsg".to_owned()),
        }
    }
    Ok(())
}
