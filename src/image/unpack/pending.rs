//! What a layer in a directory of its own leaves open until the layers below it are known.

use super::times::Times;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Range;

/// What a kept name takes besides its bytes: its place in a tree whose nodes are half full, and the allocator's share.
const NAME: usize = 96;
/// Memory is asked for in pieces of this size (bytes); the first is everybody's. In unit tests a few names are more.
const PIECE: usize = if cfg!(test) { 256 } else { 256 << 10 };

/// Names are relative to the root, without links in their parents as far as this layer knows.
#[derive(Debug, Default)]
pub struct Pending {
    /// Names that vanish.
    pub(super) whiteouts: BTreeSet<Vec<u8>>,
    /// Directories whose lower entries vanish.
    pub(super) opaque: BTreeSet<Vec<u8>>,
    /// Hard links to files of lower layers: name, target.
    pub(super) links: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Directories that no entry describes.
    pub(super) implicit: BTreeSet<Vec<u8>>,
    /// What directories get at the very end.
    pub(super) times: Times,
    bytes: usize,
}

impl Pending {
    /// Counts what is kept: an archive cannot make us keep more than `limit` bytes. Answers how many bytes of memory have to
    /// be asked for.
    pub(crate) fn account(&mut self, name: &[u8], limit: usize) -> Result<u64> {
        let before = self.bytes / PIECE;
        self.bytes += name.len() + NAME;
        if self.bytes > limit {
            bail!("layer has more than {limit} bytes of whiteouts, implied directories and links (limits.deferred)");
        }
        Ok((self.bytes / PIECE - before) as u64 * PIECE as u64)
    }

    /// What `load` takes of memory (bytes).
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// Writes it at the end of a file, where `load` finds it; answers the place. The times must have been applied.
    pub(crate) fn save(&self, file: &mut File) -> Result<u64> {
        let place = file.seek(SeekFrom::End(0))?;
        let mut to = BufWriter::new(file);
        let sets = [&self.whiteouts, &self.opaque, &self.implicit];
        for set in sets {
            to.write_all(&(set.len() as u64).to_ne_bytes())?;
            set.iter().try_for_each(|name| put(&mut to, name))?;
        }
        to.write_all(&(self.links.len() as u64).to_ne_bytes())?;
        for (name, target) in &self.links {
            put(&mut to, name)?;
            put(&mut to, target)?;
        }
        to.flush()?;
        Ok(place)
    }

    /// Reads what `save` wrote at `place`.
    pub(crate) fn load(file: &mut File, place: u64) -> Result<Pending> {
        file.seek(SeekFrom::Start(place))?;
        let mut from = BufReader::new(file);
        let mut pending = Pending::default();
        for set in [&mut pending.whiteouts, &mut pending.opaque, &mut pending.implicit] {
            for _ in 0..number(&mut from)? {
                set.insert(get(&mut from)?);
            }
        }
        for _ in 0..number(&mut from)? {
            let name = get(&mut from)?;
            pending.links.insert(name, get(&mut from)?);
        }
        Ok(pending)
    }

    /// Whether a name of the lower layers is hidden by what came so far.
    pub(super) fn hides(&self, path: &[u8]) -> bool {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        let mut above = std::iter::once(0).chain(ends).filter_map(|end| path.get(..end));
        self.whiteouts.contains(path)
            || above.any(|above| self.opaque.contains(above) || self.whiteouts.contains(above))
    }

    /// A directory of this layer is gone for the sake of something else: nothing below waits any more. The lower layers'
    /// directory is hidden with everything in it.
    pub(super) fn forget_below(&mut self, path: &[u8]) {
        for set in [&mut self.whiteouts, &mut self.opaque, &mut self.implicit] {
            let gone: Vec<_> = set.range(below(path)).cloned().collect();
            for name in gone {
                set.remove(&name);
            }
        }
        self.opaque.remove(path);
        self.implicit.remove(path);
        let gone: Vec<_> = self.links.range(below(path)).map(|(name, _)| name.clone()).collect();
        for name in gone {
            self.links.remove(&name);
        }
    }
}

fn put(to: &mut impl Write, name: &[u8]) -> Result<()> {
    to.write_all(&(name.len() as u64).to_ne_bytes())?;
    Ok(to.write_all(name)?)
}

fn get(from: &mut impl Read) -> Result<Vec<u8>> {
    let length = number(from)?;
    let mut name = vec![0; usize::try_from(length).context("length of a name")?];
    from.read_exact(&mut name)?;
    Ok(name)
}

fn number(from: &mut impl Read) -> Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// The names below a directory in the order of bytes: from `path/` up to what follows the slash.
fn below(path: &[u8]) -> Range<Vec<u8>> {
    [path, b"/"].concat()..[path, b"0"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_loaded_again() {
        let names = |prefix: &str| (0..3).map(|n| format!("{prefix}/{n}").into_bytes()).collect::<BTreeSet<_>>();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"another layer's").unwrap();
        let mut pending = Pending { whiteouts: names("w"), opaque: names("o"), ..Pending::default() };
        pending.implicit.insert(Vec::new());
        pending.links.insert(b"link".to_vec(), b"target".to_vec());
        let place = pending.save(&mut file).unwrap();
        let empty = Pending::default().save(&mut file).unwrap();
        let again = Pending::load(&mut file, place).unwrap();
        assert_eq!(
            (&again.whiteouts, &again.opaque, &again.implicit, &again.links),
            (&pending.whiteouts, &pending.opaque, &pending.implicit, &pending.links)
        );
        assert!(Pending::load(&mut file, empty).unwrap().whiteouts.is_empty());
        assert!(Pending::load(&mut file, 1 << 40).is_err());
    }
}
