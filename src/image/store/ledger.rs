//! `unsynced/`: what was published and may not have reached the disk yet.
//!
//! Syncing gigabytes before every rename would cost more than downloading them. A mark (an empty file named after the
//! thing, in a directory named after this boot) goes before the rename; the file system keeps that order in its journal.
//! After a crash the store holds a mark of another boot: then, and only then, the content is verified.

use super::{Store, lock, make_directory};
use crate::image::digest::Digest;
use crate::image::remove;
use crate::sys::{self, Asked};
use anyhow::Result;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::AsFd;

const LEDGER: &str = "ocicat/unsynced";

impl Store {
    /// Marks something as published in this boot; goes before the rename that publishes it.
    pub(super) fn mark_unsynced(&self, kind: &str, digest: &Digest) -> Result<()> {
        let name = format!("{LEDGER}/{}/{kind}-{}-{}", self.boot, digest.algorithm().name(), digest.hex());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mark = || rustix::fs::openat(self.root(), &name, flags, Mode::from_raw_mode(0o600));
        let made = match mark() {
            Err(Errno::NOENT) => {
                make_directory(self.root(), &format!("{LEDGER}/{}", self.boot))?;
                mark()
            }
            other => other,
        };
        made.asked(|| format!("create {name}"))?;
        Ok(())
    }

    /// Puts everything on the disk that was published so far (syncfs), and takes the marks away.
    pub fn make_durable(&self) -> Result<()> {
        let name = format!("{LEDGER}/{}", self.boot);
        let Ok(directory) = sys::files::open_at(self.root(), &name, OFlags::RDONLY | OFlags::DIRECTORY) else {
            return Ok(());
        };
        let mut marks = Vec::new();
        remove::for_each(directory.as_fd(), |name, _| -> Result<(), sys::Error> {
            marks.push(name.to_owned());
            Ok(())
        })?;
        if marks.is_empty() {
            return Ok(());
        }
        rustix::fs::syncfs(self.root()).asked(|| "syncfs".to_owned())?;
        for mark in marks {
            let _ = rustix::fs::unlinkat(&directory, mark, AtFlags::empty());
        }
        Ok(())
    }

    /// After a reboot: verifies the blobs that the last boot published and did not sync, and drops the layers, which can
    /// be unpacked again.
    pub(super) fn verify_unsynced(&self) -> Result<()> {
        let ledger = sys::files::open_at(self.root(), LEDGER, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut boots = Vec::new();
        remove::for_each(ledger.as_fd(), |name, kind| -> Result<(), sys::Error> {
            if kind == FileType::Directory && name.to_bytes() != self.boot.as_bytes() {
                boots.push(name.to_owned());
            }
            Ok(())
        })?;
        if boots.is_empty() {
            return Ok(());
        }
        let _held = lock::hold(self.root(), "ocicat/unsynced.lock")?;
        for boot in boots {
            let Ok(directory) =
                sys::files::open_at(&ledger, boot.to_string_lossy().as_ref(), OFlags::RDONLY | OFlags::DIRECTORY)
            else {
                continue;
            };
            remove::for_each(directory.as_fd(), |name, _| self.verify_mark(&name.to_string_lossy()))?;
            remove::tree(ledger.as_fd(), &boot)?;
        }
        Ok(())
    }

    fn verify_mark(&self, mark: &str) -> Result<()> {
        let mut parts = mark.splitn(3, '-');
        let (kind, algorithm, hex) = (parts.next(), parts.next(), parts.next());
        let (Some(kind), Some(algorithm), Some(hex)) = (kind, algorithm, hex) else { return Ok(()) };
        let Ok(digest) = format!("{algorithm}:{hex}").parse::<Digest>() else { return Ok(()) };
        match kind {
            "layer" => self.remove_layer(digest.hex()),
            _ if self.has(&digest) && self.content_digest(&digest)? != digest => self.remove_blob(&digest),
            _ => Ok(()),
        }
    }
}
