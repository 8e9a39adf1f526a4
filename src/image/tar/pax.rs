//! PAX extended headers (POSIX pax, "pax Extended Header"): records `LENGTH KEY=VALUE\n` that override the next header.

use super::{Segment, Time};
use anyhow::{Context, Result, bail};

/// Extended attributes of an entry: listxattr(2) lists no more than 64 KiB of names.
pub(super) const XATTRS: usize = 4096;

/// What the extended headers before an entry say about it.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    /// `path` or `link` came from a GNU long name.
    pub(super) gnu_path: bool,
    pub(super) gnu_link: bool,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) mtime: Option<Time>,
    pub(super) atime: Option<Time>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: SparseRecords,
}

/// The `GNU.sparse.*` records of the three PAX formats (0.0, 0.1 and 1.0).
#[derive(Debug, Default)]
pub(super) struct SparseRecords {
    pub(super) version_1: bool,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    pub(super) map: Vec<Segment>,
    pub(super) seen: bool,
    offset: Option<u64>,
}

impl Overrides {
    /// Takes in the data of one `x` header.
    pub(super) fn read(&mut self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            let (key, value, rest) = record(data)?;
            self.set(key, value).with_context(|| format!("PAX record {}", super::shown(key)))?;
            data = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match key {
            b"path" if self.gnu_path => bail!("and a GNU long name: which of them counts differs between tools"),
            b"linkpath" if self.gnu_link => bail!("and a GNU long link: which of them counts differs between tools"),
            b"path" => self.path = Some(name(value)?),
            b"linkpath" => self.link = Some(name(value)?),
            b"size" => self.size = Some(unsigned(value)?),
            b"uid" => self.uid = Some(id(value)?),
            b"gid" => self.gid = Some(id(value)?),
            b"mtime" => self.mtime = Some(time(value)?),
            b"atime" => self.atime = Some(time(value)?),
            _ => {
                if let Some(attribute) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattr(attribute, value)?;
                } else if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.set(key, value)?;
                }
            }
        }
        Ok(())
    }

    fn xattr(&mut self, attribute: &[u8], value: &[u8]) -> Result<()> {
        let attribute = decoded(attribute);
        if attribute.is_empty() || attribute.contains(&0) {
            bail!("the name of an extended attribute is empty or has a NUL");
        }
        self.xattrs.retain(|(name, _)| *name != attribute);
        if self.xattrs.len() >= XATTRS {
            bail!("more than {XATTRS} extended attributes");
        }
        self.xattrs.push((attribute, value.to_vec()));
        Ok(())
    }
}

impl SparseRecords {
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.seen = true;
        match key {
            b"major" => self.version_1 = unsigned(value)? == 1,
            b"name" => self.name = Some(name(value)?),
            b"realsize" | b"size" => self.real_size = Some(unsigned(value)?),
            b"offset" => self.offset = Some(unsigned(value)?),
            b"numbytes" => {
                let Some(offset) = self.offset.take() else { bail!("length without an offset") };
                self.map.push((offset, unsigned(value)?));
            }
            b"map" => {
                let numbers: Vec<u64> = value.split(|b| *b == b',').map(unsigned).collect::<Result<_>>()?;
                let (pairs, odd) = numbers.as_chunks::<2>();
                if !odd.is_empty() {
                    bail!("an odd count of numbers");
                }
                self.map = pairs.iter().map(|[offset, length]| (*offset, *length)).collect();
            }
            _ => {}
        }
        Ok(())
    }
}

/// A global header (`g`) changes nothing, because Go's reader ignores what GNU tar applies; one that tries to is refused.
pub(super) fn check_global(mut data: &[u8]) -> Result<()> {
    while !data.is_empty() {
        let (key, _, rest) = record(data)?;
        let changes = matches!(key, b"path" | b"linkpath" | b"size" | b"uid" | b"gid")
            || key.starts_with(b"SCHILY.")
            || key.starts_with(b"GNU.sparse.");
        if changes {
            bail!("global PAX header sets {} for all entries, which tools understand differently", super::shown(key));
        }
        data = rest;
    }
    Ok(())
}

/// The name of an extended attribute as a key: `=` would end it, so GNU tar (1.28, xheader.c) writes `%3D` for it and `%25`
/// for `%`, and reads these two and no other. Other tools know nothing of that: of a `%` that is read as itself, it stays.
pub(super) fn encoded(attribute: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(attribute.len());
    let mut rest = attribute;
    while let Some((first, after)) = rest.split_first() {
        match first {
            b'=' => key.extend_from_slice(b"%3D"),
            b'%' if after.starts_with(b"3D") || after.starts_with(b"25") => key.extend_from_slice(b"%25"),
            other => key.push(*other),
        }
        rest = after;
    }
    key
}

fn decoded(key: &[u8]) -> Vec<u8> {
    let mut attribute = Vec::with_capacity(key.len());
    let mut rest = key;
    while let Some((first, after)) = rest.split_first() {
        let (byte, after) = match after.split_at_checked(2) {
            Some((b"3D", after)) if *first == b'%' => (b'=', after),
            Some((b"25", after)) if *first == b'%' => (b'%', after),
            _ => (*first, after),
        };
        attribute.push(byte);
        rest = after;
    }
    attribute
}

/// The first record: key, value and what follows it.
fn record(data: &[u8]) -> Result<(&[u8], &[u8], &[u8])> {
    let malformed = || anyhow::anyhow!("malformed PAX record");
    let space = data.iter().take(20).position(|b| *b == b' ').ok_or_else(malformed)?;
    let length = unsigned(data.get(..space).unwrap_or_default())?;
    let length = usize::try_from(length).map_err(|_| malformed())?;
    let (whole, rest) = data.split_at_checked(length).ok_or_else(malformed)?;
    let body = whole.get(space + 1..).and_then(|body| body.strip_suffix(b"\n")).ok_or_else(malformed)?;
    let equals = body.iter().position(|b| *b == b'=').ok_or_else(malformed)?;
    let (key, value) = body.split_at_checked(equals).ok_or_else(malformed)?;
    if key.is_empty() || key.contains(&0) {
        return Err(malformed());
    }
    Ok((key, value.get(1..).unwrap_or_default(), rest))
}

fn name(value: &[u8]) -> Result<Vec<u8>> {
    if value.contains(&0) {
        bail!("a name has a NUL");
    }
    Ok(value.to_vec())
}

/// Decimal digits alone.
pub(super) fn unsigned(text: &[u8]) -> Result<u64> {
    let digits = std::str::from_utf8(text).ok().filter(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(number) => Ok(number),
        None => bail!("{} is no number", super::shown(text)),
    }
}

fn id(text: &[u8]) -> Result<i64> {
    Ok(i64::try_from(unsigned(text)?)?)
}

/// `SECONDS[.FRACTION]`, perhaps negative; digits after the ninth are cut.
fn time(text: &[u8]) -> Result<Time> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let dot = digits.iter().position(|b| *b == b'.').unwrap_or(digits.len());
    let seconds = i64::try_from(unsigned(digits.get(..dot).unwrap_or_default())?)?;
    let fraction = digits.get(dot + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        bail!("{} is no time", super::shown(text));
    }
    let nine = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds = nine.fold(0u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    Ok(match (negative, nanoseconds) {
        (false, _) => Time { seconds, nanoseconds },
        (true, 0) => Time { seconds: -seconds, nanoseconds: 0 },
        (true, _) => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_attributes_are_spelled_as_gnu_tar_reads_them() {
        // What GNU tar 1.34 writes where that is not ours, and reads all the same.
        for (name, ours, gnu) in [
            ("user.plain", "user.plain", "user.plain"),
            ("user.with=eq", "user.with%3Deq", "user.with%3Deq"),
            ("user.100%", "user.100%", "user.100%25"),
            ("user.%%=", "user.%%%3D", "user.%25%25%3D"),
            ("user.%3d%41", "user.%3d%41", "user.%253d%2541"),
            ("user.%3D", "user.%253D", "user.%253D"),
            ("user.%25", "user.%2525", "user.%2525"),
            ("user.%253D", "user.%25253D", "user.%25253D"),
            ("user.%%3D", "user.%%253D", "user.%25%253D"),
        ] {
            assert_eq!(encoded(name.as_bytes()), ours.as_bytes(), "{name}");
            assert_eq!(decoded(ours.as_bytes()), name.as_bytes(), "{ours}");
            assert_eq!(decoded(gnu.as_bytes()), name.as_bytes(), "{gnu}");
        }
    }

    #[test]
    fn records_are_counted_exactly() {
        let mut overrides = Overrides::default();
        overrides.read(b"12 path=a=b\n19 mtime=-1.500000\n26 SCHILY.xattr.user.a=x\0\n").unwrap();
        assert_eq!(overrides.path.as_deref(), Some(&b"a=b"[..]));
        assert_eq!(overrides.mtime, Some(Time { seconds: -2, nanoseconds: 500_000_000 }));
        assert_eq!(overrides.xattrs, [(b"user.a".to_vec(), b"x\0".to_vec())]);
        for wrong in
            [&b"99 path=a\n"[..], b"3 path=a\n", b"path=a\n", b"10 path=a\0\n", b"0 ", b"11 path=a", b"13 size=-1234\n"]
        {
            assert!(Overrides::default().read(wrong).is_err(), "{}", crate::image::tar::shown(wrong));
        }
    }
}
