//! rtnetlink(7): a raw socket, requests that are answered, and dumps. Messages are made and read as bytes.

use super::{Asked, Errno, Error, Result};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::os::fd::OwnedFd;

/// A socket of the network namespace in which it was opened; it stays there.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    sequence: std::cell::Cell<u32>,
}

/// One message: type and what follows the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `RTM_*`.
    pub kind: u16,
    /// Family header and attributes.
    pub payload: Vec<u8>,
}

const HEADER: usize = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// Flags of a request.
pub const CREATE_EXCLUSIVE: u16 = 0x600;
/// Every object of a kind.
pub const DUMP: u16 = 0x300;

impl Netlink {
    /// Opens a socket in the calling process' network namespace.
    pub fn open() -> Result<Netlink> {
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
            .asked(|| "socket AF_NETLINK NETLINK_ROUTE".to_owned())?;
        Ok(Netlink { socket, sequence: std::cell::Cell::new(0) })
    }

    /// Sends a request and gathers the answers until the kernel's acknowledgement; `call` names it in an error.
    pub fn request(&self, kind: u16, flags: u16, payload: &[u8], call: &str) -> Result<Vec<Message>> {
        let sequence = self.sequence.get() + 1;
        self.sequence.set(sequence);
        let mut message = Vec::with_capacity(HEADER + payload.len());
        message.extend(((HEADER + payload.len()) as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((flags | NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
        message.extend(sequence.to_ne_bytes());
        message.extend(0u32.to_ne_bytes());
        message.extend(payload);
        rustix::net::send(&self.socket, &message, SendFlags::empty()).asked(|| call.to_owned())?;
        let mut answers = Vec::new();
        while !self.receive(sequence, &mut answers, call)? {}
        Ok(answers)
    }

    /// One datagram; true when the request is over.
    fn receive(&self, sequence: u32, answers: &mut Vec<Message>, call: &str) -> Result<bool> {
        let mut buffer = vec![0u8; 64 * 1024];
        let length = loop {
            match rustix::net::recv(&self.socket, buffer.as_mut_slice(), RecvFlags::empty()) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other.asked(|| call.to_owned())?.0,
            }
        };
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let (Some(size), Some(kind), Some(number)) = (number(rest, 0, 4), number(rest, 4, 2), number(rest, 8, 4))
        {
            let payload = rest.get(HEADER..size as usize).unwrap_or_default();
            rest = rest.get((size as usize).max(HEADER).next_multiple_of(4)..).unwrap_or_default();
            match kind as u16 {
                _ if number != sequence => {}
                NLMSG_DONE => return Ok(true),
                NLMSG_ERROR => match number_signed(payload) {
                    0 => return Ok(true),
                    errno => return Err(Error { call: call.to_owned(), errno: Errno(-errno) }),
                },
                kind => answers.push(Message { kind, payload: payload.to_vec() }),
            }
        }
        Ok(false)
    }
}

/// A number of 1, 2 or 4 bytes in the machine's order.
pub fn number(bytes: &[u8], at: usize, length: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + length)?;
    match length {
        1 => bytes.first().map(|byte| u32::from(*byte)),
        2 => bytes.try_into().ok().map(|two| u32::from(u16::from_ne_bytes(two))),
        _ => bytes.try_into().ok().map(u32::from_ne_bytes),
    }
}

fn number_signed(bytes: &[u8]) -> i32 {
    number(bytes, 0, 4).map_or(0, |number| number as i32)
}

/// Appends an attribute (`struct rtattr`): length, type, value, padded to four bytes.
pub fn put(payload: &mut Vec<u8>, kind: u16, value: &[u8]) {
    payload.extend((4 + value.len() as u16).to_ne_bytes());
    payload.extend(kind.to_ne_bytes());
    payload.extend(value);
    payload.resize(payload.len().next_multiple_of(4), 0);
}

/// The attributes that follow a family header of `header` bytes.
pub fn attributes(payload: &[u8], header: usize) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    let mut rest = payload.get(header.next_multiple_of(4)..).unwrap_or_default();
    while let (Some(size), Some(kind)) = (number(rest, 0, 2), number(rest, 2, 2)) {
        let size = (size as usize).max(4);
        found.push((kind as u16, rest.get(4..size).unwrap_or_default()));
        rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}
