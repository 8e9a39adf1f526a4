//! Writes an archive: ustar headers, and a PAX header before an entry that ustar cannot hold.
//!
//! The same entries give the same bytes: nothing of the writing machine or moment goes in.

use super::pax::{XATTRS, encoded};
use super::{BLOCK, Entry, Kind, Time};
use anyhow::{Result, bail};
use std::io::Write;

/// An archive that is being written.
pub struct Writer<W> {
    to: W,
    /// Data that the current entry still owes, and its padding.
    owed: u64,
    padding: usize,
    /// Bytes up to the end of the current entry.
    size: u64,
    /// Most bytes of the extended header of one entry, and of a sparse map.
    limit: u64,
}

const ZEROS: [u8; BLOCK] = [0; BLOCK];
/// The largest number of eleven octal digits.
const OCTAL_11: u64 = 0o777_7777_7777;
/// The largest number of seven octal digits.
const OCTAL_7: u64 = 0o777_7777;

impl<W: Write> Writer<W> {
    /// Begins an archive.
    pub fn new(to: W) -> Writer<W> {
        Writer { to, owed: 0, padding: 0, size: 0, limit: u64::MAX }
    }

    /// Refuses what a reader with this limit refuses (bytes).
    pub fn with_limit(self, limit: u64) -> Writer<W> {
        Writer { limit, ..self }
    }

    /// Bytes of the archive up to the end of the current entry, with data that it still owes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Writes the headers of an entry; `entry.size` bytes of `data` must follow (for a sparse file the map goes first,
    /// and `size` counts the data alone).
    pub fn entry(&mut self, entry: &Entry) -> Result<()> {
        self.end_entry()?;
        let map = entry.sparse.as_ref().map(|(_, segments)| sparse_map(segments)).unwrap_or_default();
        let size = if entry.kind == Kind::File { entry.size + map.len() as u64 } else { 0 };
        let path = spelled(entry);
        let records = records(entry, &path, size);
        if records.len().max(map.len()) as u64 > self.limit {
            bail!("extended tar headers of more than {} bytes (limits.header)", self.limit);
        }
        if entry.xattrs.len() > XATTRS {
            bail!("more than {XATTRS} extended attributes");
        }
        if !records.is_empty() {
            self.size += BLOCK as u64 + padded(records.len() as u64);
            let mut block = header(b"././@PaxHeader", b'x', records.len() as u64, Time::default());
            seal(&mut block);
            self.to.write_all(&block)?;
            self.to.write_all(&records)?;
            self.to.write_all(padding_of(records.len() as u64))?;
        }
        let mut block = header(&path, typeflag(entry.kind), size.min(OCTAL_11), entry.mtime);
        octal(&mut block, 100, 8, u64::from(entry.mode & 0o7777));
        octal(&mut block, 108, 8, if u64::from(entry.uid) > OCTAL_7 { 0 } else { entry.uid.into() });
        octal(&mut block, 116, 8, if u64::from(entry.gid) > OCTAL_7 { 0 } else { entry.gid.into() });
        put(&mut block, 157, 100, &entry.link);
        octal(&mut block, 329, 8, entry.device.0.into());
        octal(&mut block, 337, 8, entry.device.1.into());
        seal(&mut block);
        self.to.write_all(&block)?;
        self.to.write_all(&map)?;
        self.owed = size - map.len().min(usize::try_from(size).unwrap_or(usize::MAX)) as u64;
        self.padding = padding_of(size).len();
        self.size += BLOCK as u64 + padded(size);
        Ok(())
    }

    /// Writes data of the current entry.
    pub fn data(&mut self, bytes: &[u8]) -> Result<()> {
        match self.owed.checked_sub(bytes.len() as u64) {
            Some(owed) => self.owed = owed,
            None => bail!("more data than the entry's size"),
        }
        Ok(self.to.write_all(bytes)?)
    }

    /// Data that the current entry still owes (bytes).
    pub fn owed(&self) -> u64 {
        self.owed
    }

    /// Ends the archive and gives back what it was written to.
    pub fn finish(mut self) -> Result<W> {
        self.end_entry()?;
        self.to.write_all(&ZEROS)?;
        self.to.write_all(&ZEROS)?;
        Ok(self.to)
    }

    fn end_entry(&mut self) -> Result<()> {
        if self.owed > 0 {
            bail!("{} bytes of data are missing", self.owed);
        }
        let padding = std::mem::take(&mut self.padding);
        Ok(self.to.write_all(ZEROS.get(..padding).unwrap_or_default())?)
    }
}

fn padded(size: u64) -> u64 {
    size.saturating_add(padding_of(size).len() as u64)
}

fn padding_of(size: u64) -> &'static [u8] {
    let over = (size % BLOCK as u64) as usize;
    ZEROS.get(..if over == 0 { 0 } else { BLOCK - over }).unwrap_or_default()
}

/// A directory's name ends with a slash.
fn spelled(entry: &Entry) -> Vec<u8> {
    let mut path = entry.path.clone();
    if entry.kind == Kind::Directory && path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path
}

fn typeflag(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::CharacterDevice => b'3',
        Kind::BlockDevice => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    }
}

fn header(path: &[u8], typeflag: u8, size: u64, mtime: Time) -> [u8; BLOCK] {
    let mut block = [0u8; BLOCK];
    put(&mut block, 0, 100, path);
    octal(&mut block, 100, 8, 0o644);
    octal(&mut block, 108, 8, 0);
    octal(&mut block, 116, 8, 0);
    octal(&mut block, 124, 12, size);
    octal(&mut block, 136, 12, u64::try_from(mtime.seconds).unwrap_or(0).min(OCTAL_11));
    put(&mut block, 156, 1, &[typeflag]);
    put(&mut block, 257, 8, b"ustar\x0000");
    octal(&mut block, 329, 8, 0);
    octal(&mut block, 337, 8, 0);
    block
}

fn seal(block: &mut [u8; BLOCK]) {
    put(block, 148, 8, b"        ");
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    put(block, 148, 8, format!("{sum:06o}\0 ").as_bytes());
}

fn octal(block: &mut [u8; BLOCK], at: usize, length: usize, number: u64) {
    put(block, at, length, format!("{number:0width$o}", width = length - 1).as_bytes());
}

fn put(block: &mut [u8; BLOCK], at: usize, length: usize, bytes: &[u8]) {
    let length = length.min(bytes.len());
    if let (Some(to), Some(from)) = (block.get_mut(at..at + length), bytes.get(..length)) {
        to.copy_from_slice(from);
    }
}

/// The PAX records for what ustar cannot hold.
fn records(entry: &Entry, path: &[u8], size: u64) -> Vec<u8> {
    let mut records = Vec::new();
    let mut add = |key: &[u8], value: &[u8]| records.extend_from_slice(&record(key, value));
    if let Some((real, _)) = &entry.sparse {
        add(b"GNU.sparse.major", b"1");
        add(b"GNU.sparse.minor", b"0");
        add(b"GNU.sparse.name", &entry.path);
        add(b"GNU.sparse.realsize", real.to_string().as_bytes());
    }
    if path.len() > 100 {
        add(b"path", path);
    }
    if entry.link.len() > 100 {
        add(b"linkpath", &entry.link);
    }
    if size > OCTAL_11 {
        add(b"size", size.to_string().as_bytes());
    }
    if u64::from(entry.uid) > OCTAL_7 {
        add(b"uid", entry.uid.to_string().as_bytes());
    }
    if u64::from(entry.gid) > OCTAL_7 {
        add(b"gid", entry.gid.to_string().as_bytes());
    }
    let whole = u64::try_from(entry.mtime.seconds).is_ok_and(|s| s <= OCTAL_11) && entry.mtime.nanoseconds == 0;
    if !whole {
        add(b"mtime", time(entry.mtime).as_bytes());
    }
    for (name, value) in &entry.xattrs {
        add(&[b"SCHILY.xattr.", encoded(name).as_slice()].concat(), value);
    }
    records
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let digits = |number: usize| number.to_string().len();
    let mut length = rest + digits(rest);
    if digits(length) != digits(rest) {
        length = rest + digits(length);
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

fn time(time: Time) -> String {
    match (time.seconds, time.nanoseconds) {
        (seconds, 0) => seconds.to_string(),
        (seconds, nanoseconds) if seconds < 0 => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds),
        (seconds, nanoseconds) => format!("{seconds}.{nanoseconds:09}"),
    }
}

/// The map of PAX 1.0: decimal lines, in whole blocks.
fn sparse_map(segments: &[(u64, u64)]) -> Vec<u8> {
    let mut map = format!("{}\n", segments.len()).into_bytes();
    for (offset, length) in segments {
        map.extend_from_slice(format!("{offset}\n{length}\n").as_bytes());
    }
    map.extend_from_slice(padding_of(map.len() as u64));
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::tar::Reader;

    fn round_trip(entry: &Entry, data: &[u8]) -> (Entry, Vec<u8>) {
        let mut writer = Writer::new(Vec::new());
        writer.entry(entry).unwrap();
        writer.data(data).unwrap();
        let size = writer.size();
        let bytes = writer.finish().unwrap();
        assert_eq!(bytes.len() as u64, size + 2 * BLOCK as u64);
        assert_eq!(bytes.len() % BLOCK, 0);
        let mut reader = Reader::new(&bytes[..], 1 << 20);
        let mut read = Entry::default();
        assert!(reader.next(&mut read).unwrap());
        let mut found = Vec::new();
        loop {
            let piece = reader.data().unwrap().to_vec();
            if piece.is_empty() {
                break;
            }
            reader.consume(piece.len());
            found.extend(piece);
        }
        assert!(!reader.next(&mut Entry::default()).unwrap());
        (read, found)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let time = |seconds, nanoseconds| Time { seconds, nanoseconds };
        let base = Entry { path: b"a/b".to_vec(), mode: 0o4755, size: 3, ..Entry::default() };
        let long = [b'x'; 200].to_vec();
        for entry in [
            base.clone(),
            Entry { path: [b"d/".as_slice(), &long].concat(), ..base.clone() },
            Entry { uid: u32::MAX - 1, gid: 1 << 31, mtime: time(-5, 250), ..base.clone() },
            Entry { xattrs: vec![(b"user.a".to_vec(), vec![0, 10, 61])], mtime: time(1 << 40, 1), ..base.clone() },
            Entry { sparse: Some((1 << 33, vec![(4096, 2), (1 << 32, 1)])), ..base.clone() },
            Entry { sparse: Some((99, (0..3).map(|n| (n * 10, 1)).collect())), ..base.clone() },
        ] {
            assert_eq!(round_trip(&entry, b"abc"), (entry, b"abc".to_vec()));
        }
        for entry in [
            Entry { kind: Kind::Symlink, size: 0, link: long.clone(), ..base.clone() },
            Entry { kind: Kind::Directory, size: 0, path: long.clone(), ..base.clone() },
            Entry { kind: Kind::CharacterDevice, size: 0, device: (5, 1), ..base.clone() },
        ] {
            assert_eq!(round_trip(&entry, b""), (entry, Vec::new()));
        }
    }

    #[test]
    fn what_readers_refuse_is_not_written() {
        let base = Entry { path: b"a".to_vec(), ..Entry::default() };
        let attribute = |number: usize, length| (format!("user.{number}").into_bytes(), vec![b'x'; length]);
        for (entry, refused) in [
            (Entry { xattrs: vec![attribute(1, 900)], ..base.clone() }, ""),
            (Entry { xattrs: vec![attribute(1, 1000)], ..base.clone() }, "(limits.header)"),
            (Entry { sparse: Some((1 << 40, (0..40).map(|n| (n << 20, 0)).collect())), ..base.clone() }, ""),
            (
                Entry { sparse: Some((1 << 40, (0..200).map(|n| (n << 20, 0)).collect())), ..base.clone() },
                "(limits.header)",
            ),
        ] {
            let mut bytes = Vec::new();
            let mut writer = Writer::new(&mut bytes).with_limit(1000);
            let said = writer.entry(&entry).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(said.ends_with(refused) && said.is_empty() == refused.is_empty(), "{said}");
            if refused.is_empty() {
                assert!(Reader::new(&bytes[..], 1000).next(&mut Entry::default()).unwrap());
            }
        }
        let many = Entry { xattrs: (0..4097).map(|number| attribute(number, 1)).collect(), ..base };
        assert_eq!(Writer::new(Vec::new()).entry(&many).unwrap_err().to_string(), "more than 4096 extended attributes");
    }
}
