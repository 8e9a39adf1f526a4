//! The encoding of protocol buffers, as far as criu's messages need it: numbers, and what has a length.

use anyhow::{Context, Result, bail};

/// The kinds of values (protobuf.dev, "Encoding").
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const WITH_LENGTH: u64 = 2;
const FIXED_32: u64 = 5;

/// A message that grows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// Adds a number or a switch; a negative one takes ten bytes, as int32 does.
    pub(super) fn number(&mut self, field: u32, value: i64) {
        self.varint(u64::from(field) << 3 | VARINT);
        self.varint(value.cast_unsigned());
    }

    /// Adds a text, or a message that is complete.
    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.varint(u64::from(field) << 3 | WITH_LENGTH);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// The encoded message.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// A value as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl Read<'_> {
    /// The number, as int32 has it; 0 where it is none.
    pub(super) fn as_i32(self) -> i32 {
        match self {
            Read::Number(number) => number as i32,
            Read::Bytes(_) => 0,
        }
    }

    /// The text; empty where it is none.
    pub(super) fn as_text(self) -> String {
        match self {
            Read::Number(_) => String::new(),
            Read::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        }
    }

    /// The fields of the message inside; none where it is none.
    pub(super) fn fields(&self) -> Result<Vec<(u32, Read<'_>)>> {
        match self {
            Read::Number(_) => Ok(Vec::new()),
            Read::Bytes(bytes) => fields(bytes),
        }
    }
}

/// The fields of a message in order; those of fixed length, which no message of criu's has, are left out.
///
/// # Errors
/// The message is cut short or no message.
pub(super) fn fields(mut bytes: &[u8]) -> Result<Vec<(u32, Read<'_>)>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let field = u32::try_from(key >> 3).context("criu's message has a field without a number")?;
        match key & 7 {
            VARINT => found.push((field, Read::Number(varint(&mut bytes)?))),
            WITH_LENGTH => {
                let length = usize::try_from(varint(&mut bytes)?).unwrap_or(usize::MAX);
                found.push((field, Read::Bytes(take(&mut bytes, length)?)));
            }
            FIXED_64 => drop(take(&mut bytes, 8)?),
            FIXED_32 => drop(take(&mut bytes, 4)?),
            kind => bail!("criu's message has a value of unknown kind {kind}"),
        }
    }
    Ok(found)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length).context("criu's message is cut short")?;
    *bytes = rest;
    Ok(taken)
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().context("criu's message is cut short")?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("criu's message has a number without an end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded_as_protobuf_describes_and_read_back() {
        // (field, number or text, bytes) as `protoc --encode` prints them.
        let rows: &[(u32, Read<'_>, &[u8])] = &[
            (1, Read::Number(0), &[0x08, 0]),
            (1, Read::Number(150), &[0x08, 0x96, 0x01]),
            (34, Read::Number(6), &[0x90, 0x02, 0x06]),
            (13, Read::Bytes(b"/b"), &[0x6a, 2, b'/', b'b']),
            (37, Read::Bytes(b""), &[0xaa, 0x02, 0]),
            (2, Read::Number(-1_i64 as u64), &[0x10, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ];
        for (field, value, expected) in rows {
            let mut message = Message::default();
            match value {
                Read::Number(number) => message.number(*field, *number as i64),
                Read::Bytes(bytes) => message.bytes(*field, bytes),
            }
            assert_eq!(message.as_bytes(), *expected, "{field}");
            assert_eq!(fields(expected).unwrap(), [(*field, *value)], "{field}");
        }
    }

    #[test]
    fn what_is_no_message_is_an_error_and_never_a_panic() {
        let rows: &[(&[u8], &str)] = &[
            (&[0x08], "criu's message is cut short"),
            (&[0x0a, 5, b'a'], "criu's message is cut short"),
            (&[0x0b], "criu's message has a value of unknown kind 3"),
            (&[0xff; 12], "criu's message has a number without an end"),
            (&[0x0a, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], "criu's message is cut short"),
        ];
        for (bytes, expected) in rows {
            assert_eq!(fields(bytes).unwrap_err().to_string(), *expected, "{bytes:?}");
        }
        // Fields of fixed length are passed over.
        assert_eq!(fields(&[0x0d, 1, 2, 3, 4, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x18, 7]).unwrap(), [(3, Read::Number(7))]);
    }
}
