//! The receiving end of `--console-socket` and `--pidfd-socket`.

use super::outcome::readable_within;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A listening unix socket on which descriptors are expected.
pub struct Receiver {
    listener: UnixListener,
    pub path: PathBuf,
}

/// What arrived in one message.
pub struct Received {
    pub fds: Vec<OwnedFd>,
    pub payload: Vec<u8>,
}

impl Receiver {
    pub fn new(path: &Path) -> Receiver {
        Receiver { listener: UnixListener::bind(path).unwrap(), path: path.to_owned() }
    }

    pub fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Takes one connection and one message, at most 10 seconds later.
    #[track_caller]
    pub fn take(&self) -> Received {
        assert!(
            readable_within(&self.listener, Duration::from_secs(10)),
            "nobody connected to {}",
            self.path.display()
        );
        let (stream, _) = self.listener.accept().unwrap();
        assert!(readable_within(&stream, Duration::from_secs(10)), "nothing was sent to {}", self.path.display());
        let mut bytes = vec![0; 4096];
        let mut space = vec![std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let message =
            recvmsg(&stream, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC).unwrap();
        bytes.truncate(message.bytes);
        let mut fds = Vec::new();
        for control in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = control {
                fds.extend(rights);
            }
        }
        Received { fds, payload: bytes }
    }
}
