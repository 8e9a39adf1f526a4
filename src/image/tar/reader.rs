//! Reads an archive as a stream: one entry after the other, data as slices of the source's own buffer.

use super::header::{Header, until_nul};
use super::pax::{Overrides, check_global};
use super::{BLOCK, Entry, Kind, Segment, sparse};
use anyhow::{Context, Result, bail};
use std::io::BufRead;

/// Bytes that nobody is asked for.
const SMALL: u64 = 192 << 10;

/// An archive that is being read.
pub struct Reader<'r, R> {
    source: R,
    /// Data of the current entry that was not read.
    data: u64,
    /// Zeros after it up to the block.
    padding: u64,
    /// Most bytes of the extended headers of one entry.
    limit: u64,
    /// Asked before more than `SMALL` bytes of them are read: gives memory.
    room: &'r dyn Fn(u64) -> Result<()>,
    /// What it gave (bytes).
    granted: u64,
    ended: bool,
    block: [u8; BLOCK],
}

impl<'r, R: BufRead> Reader<'r, R> {
    /// Reads `source`; `limit` is for PAX headers, GNU long names and sparse maps of one entry (bytes).
    pub fn new(source: R, limit: u64) -> Reader<'r, R> {
        Reader {
            source,
            data: 0,
            padding: 0,
            limit,
            room: &|_| Ok(()),
            granted: SMALL,
            ended: false,
            block: [0; BLOCK],
        }
    }

    /// Asks `room` for memory before it reads headers that need much; an error of it ends the reading.
    pub fn with_room(self, room: &'r dyn Fn(u64) -> Result<()>) -> Reader<'r, R> {
        Reader { room, ..self }
    }

    /// Goes to the next entry, over data that was not read. False at the end of the archive.
    pub fn next(&mut self, entry: &mut Entry) -> Result<bool> {
        if self.ended {
            return Ok(false);
        }
        self.skip()?;
        let mut overrides = Overrides::default();
        let mut extended = false;
        let mut limit = self.limit;
        loop {
            if !self.header_block()? {
                self.ended = true;
                if extended {
                    bail!("archive ends after an extended header");
                }
                return Ok(false);
            }
            let block = self.block;
            let header = Header::verified(&block)?;
            match header.typeflag() {
                b'x' => overrides.read(&self.extended(&header, &mut limit)?).context("PAX header")?,
                b'g' => check_global(&self.extended(&header, &mut limit)?).context("global PAX header")?,
                b'L' if overrides.path.is_some() => bail!("GNU long name after another name for the same entry"),
                b'K' if overrides.link.is_some() => bail!("GNU long link after another link for the same entry"),
                b'L' => {
                    overrides.gnu_path = true;
                    overrides.path = Some(until_nul(&self.extended(&header, &mut limit)?).to_vec());
                }
                b'K' => {
                    overrides.gnu_link = true;
                    overrides.link = Some(until_nul(&self.extended(&header, &mut limit)?).to_vec());
                }
                // A volume label names the archive and makes nothing.
                b'V' => continue,
                _ => {
                    self.entry(&header, overrides, entry)?;
                    return Ok(true);
                }
            }
            extended |= header.typeflag() != b'g';
        }
    }

    /// The next piece of the entry's data; empty at its end. Say with `consume` how much of it was used.
    pub fn data(&mut self) -> Result<&[u8]> {
        if self.data == 0 {
            return Ok(&[]);
        }
        let available = self.source.fill_buf().context("archive")?;
        if available.is_empty() {
            bail!("archive is truncated: {} bytes of data are missing", self.data);
        }
        let length = available.len().min(usize::try_from(self.data).unwrap_or(usize::MAX));
        Ok(available.get(..length).unwrap_or_default())
    }

    /// `bytes` of what `data` returned were used.
    pub fn consume(&mut self, bytes: usize) {
        self.source.consume(bytes);
        self.data = self.data.saturating_sub(bytes as u64);
    }

    /// What the archive is read from, as far as it was read: the data of the entry that `next` found begins there.
    pub fn position(&self) -> &R {
        &self.source
    }

    /// Reads what follows the archive, so that a digest sees all of it.
    pub fn drain(mut self) -> Result<R> {
        loop {
            let available = self.source.fill_buf().context("archive")?.len();
            if available == 0 {
                return Ok(self.source);
            }
            self.source.consume(available);
        }
    }

    fn skip(&mut self) -> Result<()> {
        loop {
            let length = self.data()?.len();
            if length == 0 {
                break;
            }
            self.consume(length);
        }
        self.data = std::mem::take(&mut self.padding);
        loop {
            // An archive may end without the padding of its last data.
            let available = if self.data == 0 { 0 } else { self.source.fill_buf().context("archive")?.len() };
            let length = available.min(usize::try_from(self.data).unwrap_or(usize::MAX));
            if length == 0 {
                self.data = 0;
                return Ok(());
            }
            self.consume(length);
        }
    }

    /// Reads a block; false when there is none.
    fn block(&mut self) -> Result<bool> {
        let mut filled = 0;
        while filled < BLOCK {
            let available = self.source.fill_buf().context("archive")?;
            let length = available.len().min(BLOCK - filled);
            if length == 0 && filled == 0 {
                return Ok(false);
            }
            if length == 0 {
                bail!("archive is truncated within a header");
            }
            if let (Some(to), Some(from)) = (self.block.get_mut(filled..filled + length), available.get(..length)) {
                to.copy_from_slice(from);
            }
            self.source.consume(length);
            filled += length;
        }
        Ok(true)
    }

    /// Reads a header; false at the end: two blocks of zeros, or no more bytes.
    fn header_block(&mut self) -> Result<bool> {
        if !self.block()? {
            return Ok(false);
        }
        if self.block.iter().any(|byte| *byte != 0) {
            return Ok(true);
        }
        if self.block()? && self.block.iter().any(|byte| *byte != 0) {
            bail!("archive has a single block of zeros between entries");
        }
        Ok(false)
    }

    /// The whole data of an extended header; `left` is what the headers of this entry may still have.
    fn extended(&mut self, header: &Header<'_>, left: &mut u64) -> Result<Vec<u8>> {
        let size = header.size()?;
        // A header without anything in it is a block all the same.
        *left = match left.checked_sub(size.max(BLOCK as u64)) {
            Some(left) => left,
            None => bail!("extended tar headers of more than {} bytes (limits.header)", self.limit),
        };
        // The bytes, what is read out of them, and what the entry before had.
        self.ask((self.limit - *left).saturating_mul(3))?;
        self.set_data(size);
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        loop {
            let piece = self.data()?;
            if piece.is_empty() {
                break;
            }
            bytes.extend_from_slice(piece);
            let length = piece.len();
            self.consume(length);
        }
        self.skip()?;
        Ok(bytes)
    }

    fn ask(&mut self, bytes: u64) -> Result<()> {
        if bytes > self.granted {
            (self.room)(bytes - self.granted)?;
            self.granted = bytes;
        }
        Ok(())
    }

    fn set_data(&mut self, size: u64) {
        self.data = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    fn entry(&mut self, header: &Header<'_>, mut overrides: Overrides, entry: &mut Entry) -> Result<()> {
        header.path(&mut entry.path);
        if let Some(path) = overrides.sparse.name.take().or(overrides.path.take()) {
            entry.path = path;
        }
        self.fill(header, entry, overrides.size, overrides.link).with_context(|| super::shown(&entry.path))?;
        let ids = [
            ("uid", overrides.uid.map_or_else(|| header.uid(), Ok)?, &mut entry.uid),
            ("gid", overrides.gid.map_or_else(|| header.gid(), Ok)?, &mut entry.gid),
        ];
        for (name, number, place) in ids {
            // 2^32 - 1 means "no change" to chown(2); 2^32 would be root if it were cut to 32 bits.
            *place = match u32::try_from(number) {
                Ok(id) if id != u32::MAX => id,
                _ => bail!("{}: {name} {number} is out of range", super::shown(&entry.path)),
            };
        }
        entry.mtime = overrides.mtime.map_or_else(|| header.mtime(), Ok)?;
        entry.atime = overrides.atime;
        entry.xattrs = overrides.xattrs;
        let records = overrides.sparse;
        let map = if header.typeflag() == b'S' {
            let real = sparse::old_real_size(&self.block).context("sparse file without a size")?;
            Some((real, self.old_map()?))
        } else if records.seen && entry.kind == Kind::File {
            let real = records.real_size.context("sparse file without a size")?;
            let map = if records.version_1 { self.map_before_data(entry)? } else { records.map };
            Some((real, map))
        } else {
            None
        };
        if let Some((real, map)) = &map {
            sparse::check(map, entry.size, *real).with_context(|| super::shown(&entry.path))?;
        }
        entry.sparse = map;
        Ok(())
    }

    fn fill(&mut self, header: &Header<'_>, entry: &mut Entry, size: Option<u64>, link: Option<Vec<u8>>) -> Result<()> {
        let slash = entry.path.last() == Some(&b'/');
        entry.kind = match header.typeflag() {
            // Before ustar a directory was a file with a slash at its end.
            b'0' | 0 | b'7' if slash => Kind::Directory,
            b'0' | 0 | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharacterDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => bail!("tar entry of unknown type {:?}", char::from(other)),
        };
        while entry.path.len() > 1 && entry.path.last() == Some(&b'/') {
            entry.path.pop();
        }
        entry.mode = header.mode()?;
        entry.size = match size {
            Some(size) => size,
            None => header.size()?,
        };
        if entry.kind != Kind::File {
            entry.size = 0;
        }
        self.set_data(entry.size);
        entry.link = link.unwrap_or_else(|| header.link().to_vec());
        let is_device = matches!(entry.kind, Kind::CharacterDevice | Kind::BlockDevice);
        entry.device = if is_device { header.device()? } else { (0, 0) };
        Ok(())
    }

    /// The map of an old GNU sparse header; its continuation blocks come before the data and do not count as data.
    fn old_map(&mut self) -> Result<Vec<Segment>> {
        let mut map = Vec::new();
        let (data, padding) = (std::mem::take(&mut self.data), std::mem::take(&mut self.padding));
        sparse::add_header(&self.block, &mut map)?;
        let mut more = sparse::header_continues(&self.block);
        while more {
            if (map.len() as u64) * 24 > self.limit {
                bail!("sparse map of more than {} bytes (limits.header)", self.limit);
            }
            if !self.block()? {
                bail!("archive is truncated within a sparse map");
            }
            self.ask((map.len() * 2 * size_of::<Segment>()) as u64)?;
            sparse::add_continuation(&self.block, &mut map)?;
            more = sparse::continuation_continues(&self.block);
        }
        (self.data, self.padding) = (data, padding);
        Ok(map)
    }

    /// The map of PAX 1.0: decimal lines in whole blocks at the beginning of the data.
    fn map_before_data(&mut self, entry: &mut Entry) -> Result<Vec<Segment>> {
        let mut lines = Vec::new();
        let mut map = Vec::new();
        let mut used = 0u64;
        let mut wanted = None;
        let mut offset = None;
        loop {
            if wanted == Some(map.len() as u64) {
                break;
            }
            if used.saturating_add(BLOCK as u64) > entry.size || used > self.limit || !self.block()? {
                bail!("sparse map is truncated or longer than {} bytes", self.limit);
            }
            used += BLOCK as u64;
            // The shortest line has two bytes, and two lines make a segment.
            self.ask(used * 8)?;
            for byte in self.block {
                if wanted == Some(map.len() as u64) {
                    break;
                }
                if byte != b'\n' {
                    lines.push(byte);
                    continue;
                }
                let number = super::pax::unsigned(&lines)?;
                lines.clear();
                match (wanted, offset.take()) {
                    (None, _) => wanted = Some(number),
                    (Some(_), None) => offset = Some(number),
                    (Some(_), Some(start)) => map.push((start, number)),
                }
            }
        }
        entry.size -= used;
        self.data = entry.size;
        Ok(map)
    }
}
