//! D-Bus, as far as systemd needs it: one private connection, calls with a deadline, signals that come between.
//!
//! The encoding is zbus's; the connection is ours, because ours must not start threads (we clone and enter namespaces) and
//! must not wait for ever. To systemd's own socket it is a connection between two; on a bus it says Hello first.
//!
//! ```text
//! message = header (yyyyuua(yv)): order 'l', type, flags, version 1, length of the body, serial, fields | padding to 8 | body
//! ```

use crate::sys::timed_stream as stream;
use anyhow::{Context as _, Result};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use zbus::wire::serialized::{Context, Data};
use zbus::wire::{BE, Endian, LE, to_bytes};
use zbus::{DynamicType, OwnedVariant, Signature, Type, Variant};

/// How long one answer of systemd's may take: what sd-bus and libdbus wait by default. A systemd that loads its units again
/// on a busy machine has been seen to need more than ten.
pub(super) const PATIENCE: Duration = Duration::from_secs(25);
/// D-Bus itself allows 128 MiB; nothing that we ask for comes near this.
const LONGEST: usize = 16 << 20;

const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

type Header = (u8, u8, u8, u8, u32, u32, Vec<(u8, OwnedVariant)>);

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    name: PathBuf,
    patience: Duration,
    serial: u32,
    /// Signals that came while an answer was waited for.
    signals: Vec<Message>,
}

/// Whom a call is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
}

/// A received message.
#[derive(Debug)]
pub(super) struct Message {
    kind: u8,
    fields: Vec<(u8, OwnedVariant)>,
    order: Endian,
    body: Vec<u8>,
}

/// An answer that says no.
#[derive(Debug)]
pub(super) struct Refusal {
    /// `org.freedesktop.systemd1.UnitExists`
    pub(super) name: String,
    pub(super) text: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.text.trim_end_matches('.'), self.name)
    }
}

impl std::error::Error for Refusal {}

impl Connection {
    /// Connects to the socket at `name`; on a bus, introduces itself.
    pub(super) fn open(name: &Path, is_bus: bool, patience: Duration) -> Result<Connection> {
        let deadline = Instant::now() + patience;
        let socket = stream::connect_unix(name, deadline)?;
        let mut connection = Connection { socket, name: name.to_owned(), patience, serial: 0, signals: Vec::new() };
        connection.authenticate(deadline).with_context(|| format!("D-Bus authentication at {}", name.display()))?;
        if is_bus {
            const BUS: Target = Target {
                destination: "org.freedesktop.DBus",
                path: "/org/freedesktop/DBus",
                interface: "org.freedesktop.DBus",
            };
            connection.call(BUS, "Hello", &())?;
        }
        Ok(connection)
    }

    /// SASL EXTERNAL without a name: the kernel tells the other side who we are, also from inside a user namespace.
    fn authenticate(&mut self, deadline: Instant) -> Result<()> {
        stream::send_all(&self.socket, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n", deadline)?;
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                let mut byte = [0];
                stream::receive_exact(&self.socket, &mut byte, deadline)?;
                line.extend(byte);
                anyhow::ensure!(line.len() < 1024, "the answer is no D-Bus");
            }
            match line.strip_prefix(b"DATA") {
                Some(_) => {}
                None if line.starts_with(b"OK ") => return Ok(()),
                None => anyhow::bail!("refused: {}", String::from_utf8_lossy(&line).trim_end()),
            }
        }
    }

    /// Calls a method and waits for its answer.
    pub(super) fn call<B>(&mut self, target: Target, member: &'static str, body: &B) -> Result<Message>
    where
        B: serde::Serialize + DynamicType,
    {
        let deadline = Instant::now() + self.patience;
        self.answer(target, member, body, deadline)
            .with_context(|| format!("D-Bus {member} at {}", self.name.display()))
    }

    fn answer<B>(&mut self, target: Target, member: &'static str, body: &B, deadline: Instant) -> Result<Message>
    where
        B: serde::Serialize + DynamicType,
    {
        self.serial += 1;
        let serial = self.serial;
        stream::send_all(&self.socket, &encode(serial, target, member, body)?, deadline)?;
        loop {
            let message = self.receive(deadline)?;
            let answers = message.number(REPLY_SERIAL) == Some(serial);
            match message.kind {
                RETURN if answers => return Ok(message),
                ERROR if answers => {
                    let name = message.text(ERROR_NAME).unwrap_or_default();
                    let text = message.body::<String>().unwrap_or_default();
                    return Err(Refusal { name, text }.into());
                }
                SIGNAL => self.signals.push(message),
                _ => {}
            }
        }
    }

    /// Waits until a signal `member` comes of which `wanted` makes something; those that came before count.
    pub(super) fn signal<T>(
        &mut self,
        member: &str,
        deadline: Instant,
        mut wanted: impl FnMut(&Message) -> Option<T>,
    ) -> Result<T> {
        let mut pending = std::mem::take(&mut self.signals);
        loop {
            let named = |message: &&Message| message.text(MEMBER).as_deref() == Some(member);
            if let Some(found) = pending.iter().filter(named).find_map(&mut wanted) {
                return Ok(found);
            }
            let message = self.receive(deadline)?;
            pending = if message.kind == SIGNAL { vec![message] } else { Vec::new() };
        }
    }

    fn receive(&mut self, deadline: Instant) -> Result<Message> {
        let mut start = [0; 16];
        stream::receive_exact(&self.socket, &mut start, deadline)?;
        let order: Endian = if start.first() == Some(&b'B') { BE } else { LE };
        let number = |at: usize| -> usize {
            let bytes = start.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
            (if order == BE { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }) as usize
        };
        let (body_length, fields_length) = (number(4), number(12));
        anyhow::ensure!(body_length <= LONGEST && fields_length <= LONGEST, "a D-Bus message of {body_length} bytes");
        let header_length = (16 + fields_length).next_multiple_of(8);
        let mut bytes = start.to_vec();
        bytes.resize(header_length + body_length, 0);
        stream::receive_exact(&self.socket, bytes.get_mut(16..).unwrap_or_default(), deadline)?;
        let body = bytes.split_off(header_length);
        let data = Data::new(bytes, Context::new(order, 0));
        let (header, _): (Header, usize) = data.deserialize().context("a D-Bus message that cannot be read")?;
        Ok(Message { kind: header.1, fields: header.6, order, body })
    }
}

/// A header field of a message to send. All of them are texts of some kind; zbus's own variant would write the signature
/// of a body in parentheses, which only a value may have.
#[derive(Debug, Type)]
#[zbus(signature = "v")]
struct Field {
    kind: Signature,
    text: String,
}

impl serde::Serialize for Field {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut variant = serializer.serialize_struct("Variant", 2)?;
        variant.serialize_field("signature", &self.kind)?;
        variant.serialize_field("value", &self.text)?;
        variant.end()
    }
}

fn encode<B>(serial: u32, target: Target, member: &'static str, body: &B) -> Result<Vec<u8>>
where
    B: serde::Serialize + DynamicType,
{
    let context = Context::new(LE, 0);
    let signature = body.signature();
    let body_bytes = if signature == Signature::Unit { Vec::new() } else { to_bytes(context, body)?.to_vec() };
    let mut fields = vec![
        (PATH, Field { kind: Signature::ObjectPath, text: target.path.to_owned() }),
        (INTERFACE, Field { kind: Signature::Str, text: target.interface.to_owned() }),
        (MEMBER, Field { kind: Signature::Str, text: member.to_owned() }),
        (DESTINATION, Field { kind: Signature::Str, text: target.destination.to_owned() }),
    ];
    if !body_bytes.is_empty() {
        fields.push((SIGNATURE, Field { kind: Signature::Signature, text: signature.to_string_no_parens() }));
    }
    let header = (b'l', CALL, 0u8, 1u8, body_bytes.len() as u32, serial, fields);
    let mut bytes = to_bytes(context, &header)?.to_vec();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend(body_bytes);
    Ok(bytes)
}

impl Message {
    /// The body as values of the type `T`.
    pub(super) fn body<T: serde::de::DeserializeOwned + Type>(&self) -> Result<T> {
        let data = Data::new(self.body.clone(), Context::new(self.order, 0));
        Ok(data.deserialize().context("a D-Bus message that cannot be read")?.0)
    }

    fn field(&self, code: u8) -> Option<&OwnedVariant> {
        self.fields.iter().find(|(known, _)| *known == code).map(|(_, value)| value)
    }

    fn text(&self, code: u8) -> Option<String> {
        let value: &Variant = self.field(code)?;
        match value {
            Variant::Str(text) => Some(text.as_str().to_owned()),
            _ => None,
        }
    }

    fn number(&self, code: u8) -> Option<u32> {
        let value: &Variant = self.field(code)?;
        match value {
            Variant::U32(number) => Some(*number),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_peer_is_left_at_the_deadline_with_a_word_on_what_was_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bus");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let error = format!("{:#}", Connection::open(&path, false, Duration::from_millis(50)).unwrap_err());
        assert_eq!(
            error,
            format!("D-Bus authentication at {}: receive: connection timed out (ETIMEDOUT)", path.display())
        );
        // A child that another test forks at this moment may have the socket too: closing it would not be enough.
        rustix::net::shutdown(&listener, rustix::net::Shutdown::Both).unwrap();
        drop(listener);
        let error = format!("{:#}", Connection::open(&path, false, Duration::from_millis(50)).unwrap_err());
        assert_eq!(error, format!("connect {}: connection refused (ECONNREFUSED)", path.display()));
    }

    #[test]
    fn a_call_is_written_as_the_specification_draws_it() {
        let target = Target { destination: "a.b", path: "/c", interface: "d.e" };
        let bytes = encode(7, target, "F", &("x", 5u32)).unwrap();
        assert_eq!(bytes[..12], [b'l', 1, 0, 1, 12, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(bytes.len() % 8, 4, "header padded to 8, then 12 bytes of body");
        assert!(bytes.windows(6).any(|w| w == b"\x08\x01g\x00\x02s"), "{bytes:?}");
        assert_eq!(bytes[bytes.len() - 12..], [1, 0, 0, 0, b'x', 0, 0, 0, 5, 0, 0, 0]);
    }
}
