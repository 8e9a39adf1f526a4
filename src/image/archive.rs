//! The files of a layout, whether they lie in a directory or in a tar file: read by name, written one after the other.

use crate::image::manifest::Compression;
use crate::image::store::Store;
use crate::image::tar::{Entry, Kind, Reader, Writer};
use crate::image::unpack::Limits;
use crate::image::zstd::{Decoder, Windows};
use crate::sys::{self, Asked, files};
use anyhow::{Context, Result, bail};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes copied at once.
const BUFFER: usize = 256 << 10;
/// Extended headers of an archive of a few files need no more (bytes).
const HEADER_LIMIT: u64 = 1 << 20;
/// Names of an archive that are kept, with what a table needs for each (bytes): 50,000 blobs.
const NAMES_LIMIT: usize = 8 << 20;
/// Links that lead to links, not further than this.
const LINKS: usize = 8;

/// Files by name.
pub(super) enum Source {
    /// Below a directory.
    Directory(OwnedFd),
    /// In a tar file: where the data of each member begins, and its size; links by their target.
    Archive { file: File, members: HashMap<String, (u64, u64)>, links: HashMap<String, String> },
}

impl Source {
    /// Opens a directory or a tar file. What is compressed, or cannot be read twice (`-`, a pipe), is written
    /// to a nameless file of the store first.
    pub(super) fn open(path: &Path, store: &Store, limits: &Limits) -> Result<Source> {
        if path == Path::new("-") {
            let stdin = rustix::io::dup(rustix::stdio::stdin()).asked(|| "dup 0".to_owned())?;
            return Source::index(spooled(File::from(stdin), store, limits)?);
        }
        let opened = files::open(path, OFlags::RDONLY).map_err(|error| match path.to_str() {
            // As skopeo and umoci name images.
            Some(text) if error.errno == sys::Errno(libc::ENOENT) && text.contains(':') => {
                anyhow::anyhow!("{error}; hint: the path alone, and --ref NAME for one image of several")
            }
            _ => error.into(),
        })?;
        let kind = rustix::fs::fstat(&opened).map(|s| rustix::fs::FileType::from_raw_mode(s.st_mode));
        match kind.asked(|| format!("fstat {}", path.display()))? {
            rustix::fs::FileType::Directory => Ok(Source::Directory(opened)),
            rustix::fs::FileType::RegularFile => {
                let file = File::from(opened);
                let mut magic = [0; 4];
                let count = file.read_at(&mut magic, 0).asked(|| format!("read {}", path.display()))?;
                let compressed = compression_of(magic.get(..count).unwrap_or_default()) != Compression::None;
                Source::index(if compressed { spooled(file, store, limits)? } else { file })
            }
            _ => Source::index(spooled(File::from(opened), store, limits)?),
        }
    }

    fn index(file: File) -> Result<Source> {
        let counted = Counted { inner: BufReader::with_capacity(BUFFER, file.try_clone()?), at: 0 };
        let mut reader = Reader::new(counted, HEADER_LIMIT);
        let (mut members, mut links) = (HashMap::new(), HashMap::new());
        let mut kept = 0;
        let mut entry = Entry::default();
        let mut found = reader.next(&mut entry).context("this is no archive of an image")?;
        while found {
            // What a document names is text.
            let name = String::from_utf8_lossy(&entry.path).trim_start_matches("./").to_owned();
            kept += name.len() + entry.link.len() + 2 * size_of::<(String, String)>();
            if kept > NAMES_LIMIT {
                bail!("archive has more than {NAMES_LIMIT} bytes of names: no archive of images has");
            }
            match entry.kind {
                Kind::File if entry.sparse.is_none() => drop(members.insert(name, (reader.position().at, entry.size))),
                Kind::HardLink => drop(links.insert(name, String::from_utf8_lossy(&entry.link).into_owned())),
                Kind::Symlink => {
                    let target = join(&name, &String::from_utf8_lossy(&entry.link));
                    links.insert(name, target);
                }
                _ => {}
            }
            found = reader.next(&mut entry).context("archive")?;
        }
        Ok(Source::Archive { file, members, links })
    }

    /// Opens a file; an error if there is none of that name.
    pub(super) fn file(&self, name: &str) -> Result<Box<dyn Read + '_>> {
        match self {
            Source::Directory(root) => regular(root, name, ResolveFlags::NO_MAGICLINKS),
            Source::Archive { file, .. } => {
                let (at, size) = self.member(name).with_context(|| format!("{name} is not in the archive"))?;
                Ok(Box::new(Window { file, at, end: at + size }))
            }
        }
    }

    /// The same for a name that a document of the source says: it cannot lead out of the directory.
    pub(super) fn named(&self, name: &str) -> Result<Box<dyn Read + '_>> {
        match self {
            Source::Directory(root) => regular(root, name, ResolveFlags::NO_MAGICLINKS | ResolveFlags::BENEATH),
            Source::Archive { .. } => self.file(name),
        }
    }

    /// True if there is a file of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Source::Directory(root) => files::open_at(root, name, OFlags::PATH | OFlags::NOFOLLOW).is_ok(),
            Source::Archive { .. } => self.member(name).is_some(),
        }
    }

    /// Reads a whole file of at most `limit` bytes.
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        read_all(self.file(name)?, name, limit)
    }

    /// The same of [`Source::named`].
    pub(super) fn read_named(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        read_all(self.named(name)?, name, limit)
    }

    fn member(&self, name: &str) -> Option<(u64, u64)> {
        let Source::Archive { members, links, .. } = self else { return None };
        let mut name = name;
        for _ in 0..LINKS {
            match members.get(name) {
                Some(found) => return Some(*found),
                None => name = links.get(name)?,
            }
        }
        None
    }
}

fn read_all(from: impl Read, name: &str, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit + 1).read_to_end(&mut bytes).with_context(|| name.to_owned())?;
    if bytes.len() as u64 > limit {
        bail!("{name}: more than the limit of {limit} bytes");
    }
    Ok(bytes)
}

/// Opens a regular file; O_NONBLOCK: a fifo of that name would wait for somebody.
fn regular(root: &OwnedFd, name: &str, resolve: ResolveFlags) -> Result<Box<dyn Read>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat2(root, name, flags, Mode::empty(), resolve).asked(|| format!("open {name}"))?;
    let stat = rustix::fs::fstat(&opened).asked(|| format!("fstat {name}"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        bail!("{name} is no regular file");
    }
    Ok(Box::new(File::from(opened)))
}

/// Where the relative link of a member leads, `..` included: `a/layer.tar` and `../b/layer.tar` is `b/layer.tar`.
fn join(name: &str, link: &str) -> String {
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A buffered reader that knows how far it was read.
struct Counted {
    inner: BufReader<File>,
    at: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl BufRead for Counted {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
        self.at += count as u64;
    }
}

/// A part of a file, read without moving anybody's position.
struct Window<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let room = buffer.len().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        let count = self.file.read_at(buffer.get_mut(..room).unwrap_or_default(), self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// What the first bytes say.
pub(super) fn compression_of(magic: &[u8]) -> Compression {
    match magic {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        _ => Compression::None,
    }
}

/// The uncompressed bytes.
pub(super) fn uncompressed<'a>(
    from: impl Read + 'a,
    compression: Compression,
    store: &'a Store,
) -> Result<Box<dyn Read + 'a>> {
    let from = BufReader::with_capacity(BUFFER, from);
    Ok(match compression {
        Compression::None => Box::new(from),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(from)),
        Compression::Zstd => Box::new(Decoder::new(from, Windows { share: None, store }).context("zstd")?),
    })
}

/// A file that is read, and how much of it was.
struct Metered<'a> {
    inner: File,
    count: &'a Cell<u64>,
}

impl Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count.set(self.count.get() + count as u64);
        Ok(count)
    }
}

/// The uncompressed content in a nameless file, which goes when it is closed. A file that claims to be much more than it is
/// must not fill the disk: the limits are those of a layer.
fn spooled(from: File, store: &Store, limits: &Limits) -> Result<File> {
    let mut file = File::from(store.scratch()?);
    let read = Cell::new(0);
    let mut from = BufReader::with_capacity(BUFFER, Metered { inner: from, count: &read });
    let compression = compression_of(from.fill_buf().context("archive")?);
    let mut from = uncompressed(from, compression, store)?;
    let (mut buffer, mut made) = (vec![0; BUFFER], 0);
    loop {
        let count = from.read(&mut buffer).context("archive")?;
        if count == 0 {
            break;
        }
        made += count as u64;
        if made > limits.bytes {
            bail!("archive is larger than {} bytes unpacked (limits.bytes)", limits.bytes);
        }
        let is_packed = compression != Compression::None;
        if is_packed && made > limits.ratio_from && made / limits.ratio.max(1) > read.get() {
            bail!("archive unpacks to more than {} times its size (limits.ratio)", limits.ratio);
        }
        files::write_fd(&file, buffer.get(..count).unwrap_or_default())
            .with_context(|| store.path().display().to_string())?;
    }
    drop(from);
    file.seek(SeekFrom::Start(0)).asked(|| "lseek 0".to_owned())?;
    Ok(file)
}

/// Where files are written.
pub(super) enum Sink {
    /// Below a directory.
    Directory(OwnedFd),
    /// Into a tar file.
    Archive(Writer<BufWriter<Output>>, Target),
}

/// A file that is written to; what the kernel says to that is told in its words.
pub(super) struct Output(OwnedFd);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        files::write_fd(&self.0, bytes).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A file that gets its name when it is whole.
pub(super) struct Target {
    temporary: Option<PathBuf>,
    name: PathBuf,
}

impl Sink {
    /// A directory, made if it is absent.
    pub(super) fn directory(path: &Path) -> Result<Sink> {
        make_directory(rustix::fs::CWD, path)?;
        Ok(Sink::Directory(files::open(path, OFlags::DIRECTORY)?))
    }

    /// A tar file; `-` is standard output.
    pub(super) fn archive(path: &Path) -> Result<Sink> {
        let (file, temporary) = if path == Path::new("-") {
            (rustix::io::dup(rustix::stdio::stdout()).asked(|| "dup 1".to_owned())?, None)
        } else {
            if path.is_dir() {
                bail!("{} is a directory; hint: --as oci writes a layout there", path.display());
            }
            let mut name = path.file_name().with_context(|| format!("{}: no file name", path.display()))?.to_owned();
            name.push(format!(".{}", rustix::process::getpid().as_raw_nonzero()));
            let temporary = path.with_file_name(name);
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = rustix::fs::open(&temporary, flags, Mode::from_raw_mode(0o666));
            (made.asked(|| format!("create {}", temporary.display()))?, Some(temporary))
        };
        let writer = Writer::new(BufWriter::with_capacity(BUFFER, Output(file)));
        Ok(Sink::Archive(writer, Target { temporary, name: path.to_owned() }))
    }

    /// Makes a directory.
    pub(super) fn make_directory(&mut self, name: &str) -> Result<()> {
        match self {
            Sink::Directory(root) => Ok(make_directory(root, Path::new(name))?),
            Sink::Archive(writer, _) => {
                writer.entry(&Entry { path: name.into(), kind: Kind::Directory, mode: 0o755, ..Entry::default() })
            }
        }
    }

    /// Writes a file of exactly `size` bytes.
    pub(super) fn file(&mut self, name: &str, size: u64, from: &mut dyn Read) -> Result<()> {
        match self {
            Sink::Directory(root) => {
                let temporary = format!("{name}.{}", rustix::process::getpid().as_raw_nonzero());
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made = rustix::fs::openat(&*root, &temporary, flags, Mode::from_raw_mode(0o644));
                let file = made.asked(|| format!("create {temporary}"))?;
                let count = std::io::copy(from, &mut Output(file)).with_context(|| name.to_owned())?;
                if count != size {
                    bail!("{name}: {count} bytes, not {size}");
                }
                let renamed = rustix::fs::renameat(&*root, &temporary, &*root, name);
                Ok(renamed.asked(|| format!("rename {temporary} to {name}"))?)
            }
            Sink::Archive(writer, _) => {
                writer.entry(&Entry { path: name.into(), mode: 0o644, size, ..Entry::default() })?;
                let mut buffer = vec![0; BUFFER];
                loop {
                    let count = from.read(&mut buffer).with_context(|| name.to_owned())?;
                    if count == 0 {
                        return Ok(());
                    }
                    writer.data(buffer.get(..count).unwrap_or_default())?;
                }
            }
        }
    }

    /// Writes a small file.
    pub(super) fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut from = bytes;
        self.file(name, bytes.len() as u64, &mut from)
    }

    /// Ends the archive and gives it its name.
    pub(super) fn finish(self) -> Result<()> {
        let Sink::Archive(writer, mut target) = self else { return Ok(()) };
        writer.finish()?.flush()?;
        if let Some(temporary) = target.temporary.take() {
            let renamed = rustix::fs::rename(&temporary, &target.name);
            renamed.asked(|| format!("rename {} to {}", temporary.display(), target.name.display()))?;
        }
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = rustix::fs::unlink(temporary);
        }
    }
}

fn make_directory(root: impl std::os::fd::AsFd, path: &Path) -> sys::Result<()> {
    match rustix::fs::mkdirat(root, path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).asked(|| format!("mkdir {}", path.display())),
    }
}

#[cfg(test)]
mod tests;
