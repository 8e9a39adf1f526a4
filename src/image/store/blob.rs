//! Blobs: written under a temporary name while they are hashed, published by rename when digest and size agree.

use super::{Store, blob_path};
use crate::image::digest::{Digest, Hasher};
use crate::image::manifest::Descriptor;
use crate::registry::Algorithm;
use crate::sys::{self, Asked};
use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, Mode, OFlags};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};

impl Store {
    /// True when the blob is here, whole.
    pub fn has(&self, digest: &Digest) -> bool {
        self.size(digest).is_some()
    }

    /// True when a blob is here with the size that its descriptor says. Shorter or longer, it is not that blob any more.
    pub fn has_whole(&self, descriptor: &Descriptor) -> bool {
        self.size(&descriptor.digest) == Some(descriptor.size)
    }

    /// The size of a blob in bytes, if it is here.
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        let stat = rustix::fs::statat(self.root(), blob_path(digest), AtFlags::SYMLINK_NOFOLLOW).ok()?;
        u64::try_from(stat.st_size).ok()
    }

    /// Opens a blob for reading.
    pub fn open_blob(&self, digest: &Digest) -> Result<BlobReader<'_>> {
        let path = blob_path(digest);
        let file = sys::files::open_at(self.root(), &path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK)
            .with_context(|| format!("blob {digest}"))?;
        Ok(BlobReader { file: File::from(file), store: self })
    }

    /// Reads a small blob (a manifest or config) of at most `limit` bytes and verifies it against its digest.
    pub fn read_blob(&self, digest: &Digest, limit: usize) -> Result<Vec<u8>> {
        let bytes =
            sys::files::read_fd(self.open_blob(digest)?.file, limit).with_context(|| format!("blob {digest}"))?;
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        let found = hasher.finish();
        if found != *digest {
            bail!("blob {digest}: its content has the digest {found}; hint: `ocicat-image check --repair` removes it");
        }
        Ok(bytes)
    }

    /// Begins a blob. `size` is what the descriptor says, if there is one: more than that is never written.
    pub fn blob_writer(&self, expected: &Digest, size: Option<u64>) -> Result<BlobWriter<'_>> {
        BlobWriter::new(self, Some(expected.clone()), size)
    }

    /// Begins a blob whose digest its content decides.
    pub fn new_blob(&self) -> Result<BlobWriter<'_>> {
        BlobWriter::new(self, None, None)
    }

    /// Stores a small blob whole; returns its digest.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let mut writer = self.new_blob()?;
        writer.write_all(bytes)?;
        writer.finish()
    }

    /// Removes a blob; one that is not here is no error.
    pub(super) fn remove_blob(&self, digest: &Digest) -> Result<()> {
        match rustix::fs::unlinkat(self.root(), blob_path(digest), AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(errno) => Ok(Err(errno).asked(|| format!("unlink blob {digest}"))?),
        }
    }
}

/// A blob that is being read; it ends early with an error when the store's work is to stop.
#[derive(Debug)]
pub struct BlobReader<'a> {
    file: File,
    store: &'a Store,
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.store.go_on().map_err(std::io::Error::other)?;
        self.file.read(buffer)
    }
}

impl Seek for BlobReader<'_> {
    fn seek(&mut self, position: SeekFrom) -> std::io::Result<u64> {
        self.file.seek(position)
    }
}

/// A blob that is being written. Dropped without `finish`, nothing of it stays.
pub struct BlobWriter<'a> {
    store: &'a Store,
    file: OwnedFd,
    temporary: String,
    hasher: Hasher,
    written: u64,
    expected: Option<Digest>,
    size: Option<u64>,
    published: bool,
}

impl<'a> BlobWriter<'a> {
    fn new(store: &'a Store, expected: Option<Digest>, size: Option<u64>) -> Result<BlobWriter<'a>> {
        let hasher = Hasher::new(expected.as_ref().map_or(Algorithm::Sha256, Digest::algorithm));
        let temporary = store.temporary("blob");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(store.root(), &temporary, flags, Mode::from_raw_mode(0o600))
            .asked(|| format!("create {temporary}"))?;
        Ok(BlobWriter { store, file, temporary, hasher, written: 0, expected, size, published: false })
    }

    /// Bytes written so far: where a broken download goes on.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Verifies digest and size, then gives the blob its name.
    pub fn finish(mut self) -> Result<Digest> {
        let found = std::mem::replace(&mut self.hasher, Hasher::new(Algorithm::Sha256)).finish();
        if let Some(size) = self.size
            && size != self.written
        {
            bail!("blob {found}: {} bytes came where the descriptor says {size}", self.written);
        }
        if let Some(expected) = &self.expected
            && *expected != found
        {
            bail!("blob {expected}: its content has the digest {found}");
        }
        let path = blob_path(&found);
        self.store.mark_unsynced("blob", &found)?;
        if let Some((directory, _)) = path.rsplit_once('/') {
            super::make_directory(self.store.root(), directory)?;
        }
        rustix::fs::renameat(self.store.root(), &self.temporary, self.store.root(), &path)
            .asked(|| format!("rename {} to {path}", self.temporary))?;
        self.published = true;
        Ok(found)
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        self.store.go_on()?;
        let after = self.written + bytes.len() as u64;
        if let Some(size) = self.size
            && after > size
        {
            bail!("more than the {size} bytes that the descriptor says");
        }
        self.hasher.update(bytes);
        sys::files::write_fd(self.file.as_fd(), bytes).with_context(|| format!("write {}", self.temporary))?;
        self.written = after;
        Ok(())
    }
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.take(bytes).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for BlobWriter<'_> {
    fn drop(&mut self) {
        if !self.published {
            let _ = rustix::fs::unlinkat(self.store.root(), &self.temporary, AtFlags::empty());
        }
    }
}
