//! `unsynced/`: what was published and may not have reached the disk yet.
//!
//! Syncing gigabytes before every rename would cost more than downloading them. A mark (an empty file named after the
//! thing, in a directory named after this boot) goes before the rename; the file system keeps that order in its journal.
//! After a crash the store holds a mark of another boot: then, and only then, the content is verified.
//!
//! ```text
//! publish:   data ─▶ BOOT/MARK ─▶ rename
//! later:     BOOT ─▶ BOOT.RANDOM ─▶ syncfs ─▶ BOOT.RANDOM removed    what is marked meanwhile gets a new BOOT
//! ```
//! The second line makes a reboot cost nothing. It comes with the next command when the kernel has written the data itself
//! in the meantime, so that next to nothing is left to wait for; what says that the data is there is syncfs(2) alone.

use super::{Store, lock, make_directory};
use crate::image::digest::Digest;
use crate::image::remove;
use crate::sys::{self, Asked};
use anyhow::Result;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const LEDGER: &str = "ocicat/unsynced";
const LOCK: &str = "ocicat/unsynced.lock";

/// The kernel writes what is older than 30 s, and looks every 5 s (vm.dirty_expire_centisecs, vm.dirty_writeback_centisecs).
const WRITTEN_AFTER: Duration = Duration::from_secs(60);

/// Unwritten bytes of the whole machine that a command waits for on its way: some milliseconds, once after a pull. A file
/// system that is busy with more is left alone.
pub const ON_THE_WAY: u64 = 32 << 20;

/// The same for who has nothing else to do but should be back in a second or two.
pub const WHILE_WAITING: u64 = 256 << 20;

impl Store {
    /// Marks something as published in this boot; goes before the rename that publishes it.
    pub(super) fn mark_unsynced(&self, kind: &str, digest: &Digest) -> Result<()> {
        let name = format!("{LEDGER}/{}/{kind}-{}-{}", self.boot, digest.algorithm().name(), digest.hex());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // No mark goes into a directory that is being put away: what it stands for might come after the syncfs.
        let held = lock::open(self.root(), LOCK)?;
        lock::shared(&held)?;
        loop {
            match rustix::fs::openat(self.root(), &name, flags, Mode::from_raw_mode(0o600)) {
                Err(Errno::NOENT) => make_directory(self.root(), &format!("{LEDGER}/{}", self.boot))?,
                made => return Ok(made.map(drop).asked(|| format!("create {name}"))?),
            }
        }
    }

    /// Puts everything on the disk that was published so far (syncfs), and takes the marks away.
    pub fn make_durable(&self) -> Result<()> {
        let (own, away) =
            (format!("{LEDGER}/{}", self.boot), format!("{LEDGER}/{}.{:08x}", self.boot, super::random()));
        {
            let _held = lock::hold(self.root(), LOCK)?;
            match rustix::fs::renameat(self.root(), &own, self.root(), &away) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => Err(errno).asked(|| format!("rename {own} to {away}"))?,
            }
        }
        let (ledger, directories) = self.ledger()?;
        let put_away = format!("{}.", self.boot);
        let taken = directories.iter().filter(|name| name.to_bytes().starts_with(put_away.as_bytes()));
        let taken: Vec<&CString> = taken.collect();
        if taken.is_empty() {
            return Ok(());
        }
        rustix::fs::syncfs(self.root()).asked(|| "syncfs".to_owned())?;
        for name in taken {
            match remove::tree(ledger.as_fd(), name) {
                // Somebody else does the same.
                Err(error) if error.errno.0 == libc::ENOENT => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// The same, if the marks are so old that the kernel has written by itself what they stand for, and it has at most
    /// `most` bytes of whatever else to write.
    pub fn make_durable_if_cheap(&self, most: u64) -> Result<()> {
        self.make_durable_if(|| unwritten() <= most)
    }

    /// The same, if the marks are old and `is_cheap` agrees.
    pub(super) fn make_durable_if(&self, is_cheap: impl Fn() -> bool) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (ledger, directories) = self.ledger()?;
        let is_old = |name: &CString| {
            let modified = rustix::fs::statat(&ledger, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| stat.st_mtime);
            // A clock that was set back makes no mark young for ever.
            modified.is_ok_and(|modified| now.abs_diff(modified.cast_unsigned()) >= WRITTEN_AFTER.as_secs())
        };
        let is_due = directories.iter().any(|name| self.is_of_this_boot(name) && is_old(name));
        if is_due && is_cheap() { self.make_durable() } else { Ok(()) }
    }

    /// When to ask for [`Store::make_durable_if_cheap`] again; `None`: nothing is marked.
    pub fn durable_in(&self) -> Option<Duration> {
        let (_, directories) = self.ledger().ok()?;
        directories.iter().any(|name| self.is_of_this_boot(name)).then_some(WRITTEN_AFTER)
    }

    /// The ledger and the directories in it.
    fn ledger(&self) -> Result<(OwnedFd, Vec<CString>)> {
        let ledger = sys::files::open_at(self.root(), LEDGER, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut directories = Vec::new();
        remove::for_each(ledger.as_fd(), |name, kind| -> Result<(), sys::Error> {
            if kind == FileType::Directory {
                directories.push(name.to_owned());
            }
            Ok(())
        })?;
        Ok((ledger, directories))
    }

    fn is_of_this_boot(&self, directory: &CString) -> bool {
        directory.to_bytes().starts_with(self.boot.as_bytes())
    }

    /// After a reboot: verifies the blobs that the last boot published and did not sync, and drops the layers, which can
    /// be unpacked again.
    pub(super) fn verify_unsynced(&self) -> Result<()> {
        let (ledger, mut boots) = self.ledger()?;
        boots.retain(|name| !self.is_of_this_boot(name));
        if boots.is_empty() {
            return Ok(());
        }
        let _held = lock::hold(self.root(), LOCK)?;
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

/// Bytes that the kernel has still to write, of all file systems.
fn unwritten() -> u64 {
    let text = sys::files::read_text("/proc/meminfo").unwrap_or_default();
    let kilobytes = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    ["Dirty:", "Writeback:"].into_iter().filter_map(kilobytes).sum::<u64>() * 1024
}
