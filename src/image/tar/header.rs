//! One header block: the fields of ustar and their GNU variations.

use super::{BLOCK, Time};
use anyhow::{Result, bail};

/// A header block whose checksum was verified.
pub(super) struct Header<'a>(pub(super) &'a [u8; BLOCK]);

/// Place and length of the fields (POSIX ustar; the GNU ones follow the same offsets up to 345).
mod field {
    pub(super) const NAME: (usize, usize) = (0, 100);
    pub(super) const MODE: (usize, usize) = (100, 8);
    pub(super) const UID: (usize, usize) = (108, 8);
    pub(super) const GID: (usize, usize) = (116, 8);
    pub(super) const SIZE: (usize, usize) = (124, 12);
    pub(super) const MTIME: (usize, usize) = (136, 12);
    pub(super) const CHECKSUM: (usize, usize) = (148, 8);
    pub(super) const LINK: (usize, usize) = (157, 100);
    pub(super) const MAGIC: (usize, usize) = (257, 8);
    pub(super) const MAJOR: (usize, usize) = (329, 8);
    pub(super) const MINOR: (usize, usize) = (337, 8);
    pub(super) const PREFIX: (usize, usize) = (345, 155);
}

impl<'a> Header<'a> {
    /// Verifies the checksum: the sum of all bytes with the checksum field as spaces. Some old tars sum signed bytes.
    pub(super) fn verified(block: &'a [u8; BLOCK]) -> Result<Header<'a>> {
        let header = Header(block);
        let stored = header.number(field::CHECKSUM, "checksum")?;
        let (mut unsigned, mut signed) = (0i64, 0i64);
        for (place, &byte) in block.iter().enumerate() {
            let in_checksum = (field::CHECKSUM.0..field::CHECKSUM.0 + field::CHECKSUM.1).contains(&place);
            let byte = if in_checksum { b' ' } else { byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        if stored != unsigned && stored != signed {
            bail!("tar header has a wrong checksum ({stored}, not {unsigned})");
        }
        Ok(header)
    }

    pub(super) fn bytes(&self, (start, length): (usize, usize)) -> &'a [u8] {
        self.0.get(start..start + length).unwrap_or_default()
    }

    fn text(&self, place: (usize, usize)) -> &'a [u8] {
        until_nul(self.bytes(place))
    }

    fn is_ustar(&self) -> bool {
        self.bytes(field::MAGIC).starts_with(b"ustar\0")
    }

    fn is_gnu(&self) -> bool {
        self.bytes(field::MAGIC) == b"ustar  \0"
    }

    pub(super) fn typeflag(&self) -> u8 {
        self.0.get(156).copied().unwrap_or(0)
    }

    /// The name with ustar's prefix before it.
    pub(super) fn path(&self, into: &mut Vec<u8>) {
        into.clear();
        if self.is_ustar() {
            let prefix = self.text(field::PREFIX);
            if !prefix.is_empty() {
                into.extend_from_slice(prefix);
                into.push(b'/');
            }
        }
        into.extend_from_slice(self.text(field::NAME));
    }

    pub(super) fn link(&self) -> &'a [u8] {
        self.text(field::LINK)
    }

    pub(super) fn mode(&self) -> Result<u32> {
        Ok((self.number(field::MODE, "mode")? & 0o7777) as u32)
    }

    pub(super) fn uid(&self) -> Result<i64> {
        self.number(field::UID, "uid")
    }

    pub(super) fn gid(&self) -> Result<i64> {
        self.number(field::GID, "gid")
    }

    pub(super) fn size(&self) -> Result<u64> {
        match u64::try_from(self.number(field::SIZE, "size")?) {
            Ok(size) => Ok(size),
            Err(_) => bail!("tar header has a negative size"),
        }
    }

    pub(super) fn mtime(&self) -> Result<Time> {
        Ok(Time { seconds: self.number(field::MTIME, "mtime")?, nanoseconds: 0 })
    }

    /// Device numbers; an archive without ustar fields has none.
    pub(super) fn device(&self) -> Result<(u32, u32)> {
        if !self.is_ustar() && !self.is_gnu() {
            return Ok((0, 0));
        }
        let part = |place, name| -> Result<u32> {
            match u32::try_from(self.number(place, name)?) {
                Ok(number) => Ok(number),
                Err(_) => bail!("tar header has a {name} number out of range"),
            }
        };
        Ok((part(field::MAJOR, "device major")?, part(field::MINOR, "device minor")?))
    }

    fn number(&self, place: (usize, usize), name: &str) -> Result<i64> {
        match number(self.bytes(place)) {
            Some(number) => Ok(number),
            None => bail!("tar header has no valid number as {name}"),
        }
    }
}

/// An octal or base-256 number; `None` when it is neither or does not fit.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base256(field),
        _ => octal(field),
    }
}

/// Octal digits between spaces and NULs; nothing at all is zero.
fn octal(field: &[u8]) -> Option<i64> {
    let is_blank = |byte: &u8| *byte == b' ' || *byte == 0;
    let start = field.iter().position(|b| !is_blank(b)).unwrap_or(field.len());
    let rest = field.get(start..)?;
    let end = rest.iter().position(is_blank).unwrap_or(rest.len());
    let (digits, tail) = rest.split_at_checked(end)?;
    if !tail.iter().all(is_blank) && tail.first() != Some(&0) {
        return None;
    }
    digits.iter().try_fold(0i64, |sum, digit| match digit {
        b'0'..=b'7' => sum.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

/// GNU's base-256: big-endian two's complement, the top bit of the field is the mark.
fn base256(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    let negative = first & 0x40 != 0;
    let mut value: i128 = if negative { -1 } else { 0 };
    for (place, &byte) in field.iter().enumerate() {
        let byte = match (place, negative) {
            (0, false) => byte & 0x7f,
            _ => byte,
        };
        value = (value << 8) | i128::from(byte);
    }
    i64::try_from(value).ok()
}

pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    bytes.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256_or_nothing() {
        let huge = [0x80, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0];
        let too_big = [0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0];
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"00000000017 ", Some(15)),
            (b"\0\0\0\0", Some(0)),
            (b"0000648\0", None),
            (b"-000001\0", None),
            (b"\x80\0\0\x01\0\0\0\0", Some(1 << 32)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (&huge, Some(1 << 62)),
            (&too_big, None),
        ] {
            assert_eq!(number(field), expected, "{field:?}");
        }
    }
}
