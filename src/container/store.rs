//! What a container is on disk: one directory below the root, locked by flock(2) on itself.
//!
//! ```text
//! ROOT/ID/  record       written before the first thing exists, removed last: the record, config.json as it was at
//!                        create, and amendments, one JSON value after the other
//!           seccomp.bpf  the compiled filter, for exec
//!           start        fifo: init reads one byte from it; gone once the container was started
//!           outcome      fifo: closed by init's execve, or four bytes of errno
//! ROOT/ID~INODE/         the same of one that was deleted, while its poststop hooks run: the id is free by then
//! ```
//!
//! Only one file is written for every container, because making a file is what costs. An amendment is appended by one
//! write; what a killed runtime left of one is not read.

use super::ContainerId;
use super::record::{Amendment, Record};
use crate::sys::{self, Asked, Errno, cgroupfs, files};
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags};
use serde_json::value::RawValue;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const RECORD: &str = "record";
/// The fifo that init waits on.
pub const START: &str = "start";
/// The fifo that tells whether the execve succeeded.
pub const OUTCOME: &str = "outcome";
/// The compiled system call filter.
pub const SECCOMP: &str = "seccomp.bpf";
/// Longest record and config that we read back, in bytes.
const LONGEST: usize = 64 << 20;
/// How long another call may work on a container before it is taken for one that hangs.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Stands between the id and the inode number of one that was deleted; no id has it.
const DELETED: char = '~';

/// The directory of one container, open.
#[derive(Debug)]
pub struct Directory {
    id: ContainerId,
    fd: OwnedFd,
    root: PathBuf,
    /// Its name below the root: the id, until it is deleted.
    name: String,
}

/// A record that somebody else has changed: what the container consists of is not known any more.
#[derive(Debug)]
pub struct Damaged {
    id: String,
    file: PathBuf,
}

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Damaged { id, file } = self;
        let file = file.display();
        write!(
            f,
            "the record of container {id} is damaged: {file}; hint: end its processes and remove its cgroups, then delete --force"
        )
    }
}

impl std::error::Error for Damaged {}

/// Claims an id: makes its directory, and the root above it where that is missing (0700, CVE-2021-41103), and locks it.
///
/// # Errors
/// An id that is taken says so in words that managers know.
pub fn claim(root: &Path, id: &ContainerId) -> Result<Directory> {
    let path = root.join(id);
    let made = match rustix::fs::mkdir(&path, Mode::RWXU) {
        Err(rustix::io::Errno::NOENT) => make_root(root).and_then(|()| rustix::fs::mkdir(&path, Mode::RWXU)),
        made => made,
    };
    match made {
        Ok(()) => {}
        Err(rustix::io::Errno::EXIST) => bail!(taken(id)),
        Err(errno) => {
            let errno = Errno(errno.raw_os_error());
            return Err(sys::Error { call: format!("mkdir {}", path.display()), errno }.into());
        }
    }
    match open(root, id) {
        Err(error) if sys::errno_of(&error) == Some(Errno(libc::ENOENT)) => bail!(deleted_meanwhile(id)),
        opened => first(opened?),
    }
}

/// Takes a directory that was just made. Until it is locked a `delete --force` may remove it, and another call make it anew:
/// then what is in it is that one's, and never to be taken back by this one.
fn first(directory: Directory) -> Result<Directory> {
    directory.lock()?;
    if directory.has(RECORD) {
        bail!(taken(&directory.id));
    }
    if !directory.exists() {
        bail!(deleted_meanwhile(&directory.id));
    }
    Ok(directory)
}

fn taken(id: &ContainerId) -> String {
    format!("container with given ID already exists: {id}")
}

fn deleted_meanwhile(id: &ContainerId) -> String {
    format!("container {id} was deleted by another call before it was made")
}

fn make_root(root: &Path) -> rustix::io::Result<()> {
    match rustix::fs::mkdir(root, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(rustix::io::Errno::NOENT) => {
            make_root(root.parent().ok_or(rustix::io::Errno::NOENT)?)?;
            rustix::fs::mkdir(root, Mode::RWXU)
        }
        Err(errno) => Err(errno),
    }
}

/// Finds a container.
///
/// # Errors
/// `container does not exist`, the words that managers look for.
pub fn find(root: &Path, id: &ContainerId) -> Result<Directory> {
    match open(root, id) {
        Ok(directory) => Ok(directory),
        Err(error) if sys::errno_of(&error) == Some(Errno(libc::ENOENT)) => bail!("container does not exist: {id}"),
        Err(error) => Err(error),
    }
}

fn open(root: &Path, id: &ContainerId) -> Result<Directory> {
    open_named(root, id, id.to_string())
}

fn open_named(root: &Path, id: &ContainerId, name: String) -> Result<Directory> {
    let fd = files::open(root.join(&name), OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
    Ok(Directory { id: id.clone(), fd, root: root.to_owned(), name })
}

/// What is left of containers of this id that were deleted, when the call that did it was killed before their poststop hooks
/// had ended: locked, so that each is finished by one call.
pub fn unfinished(root: &Path, id: &ContainerId) -> Result<Vec<Directory>> {
    let names = match files::open(root, OFlags::RDONLY | OFlags::DIRECTORY) {
        Err(error) if error.errno == Errno(libc::ENOENT) => return Ok(Vec::new()),
        opened => names(opened?).with_context(|| root.display().to_string())?,
    };
    let is_of = |name: &&String| name.split_once(DELETED).is_some_and(|(before, _)| before == id.as_str());
    let opened = names.iter().filter(is_of).filter_map(|name| open_named(root, id, name.clone()).ok());
    Ok(opened.filter(|directory| directory.try_lock() && directory.exists()).collect())
}

/// The ids of all containers below `root`, sorted; a root that does not exist has none.
pub fn ids(root: &Path) -> Result<Vec<ContainerId>> {
    let fd = match files::open(root, OFlags::RDONLY | OFlags::DIRECTORY) {
        Err(error) if error.errno == Errno(libc::ENOENT) => return Ok(Vec::new()),
        opened => opened?,
    };
    let names = names(&fd).with_context(|| root.display().to_string())?;
    let mut ids: Vec<ContainerId> = names.iter().filter_map(|name| name.parse().ok()).collect();
    ids.sort();
    Ok(ids)
}

fn names(directory: impl AsFd) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory).asked(|| "getdents".to_owned())? {
        let name = entry.asked(|| "getdents".to_owned())?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            found.push(name);
        }
    }
    Ok(found)
}

impl Directory {
    /// The container's id.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The directory of all containers that it stands in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the directory is.
    pub fn path(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    /// Takes the container for this process; waits while another one works on it, but not for ever: that one may hang, or
    /// wait for us.
    ///
    /// # Errors
    /// The other one works on it still.
    pub fn lock(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.try_lock() {
            ensure!(Instant::now() < deadline, "{}", busy(&self.id));
            cgroupfs::let_others_run();
        }
        Ok(())
    }

    /// Lets other processes work on the container again.
    pub fn unlock(&self) -> Result<()> {
        Ok(rustix::fs::flock(&self.fd, FlockOperation::Unlock).asked(|| format!("unlock {}", self.path().display()))?)
    }

    /// True when no other process works on the container; it is then ours.
    pub fn try_lock(&self) -> bool {
        rustix::fs::flock(&self.fd, FlockOperation::NonBlockingLockExclusive).is_ok()
    }

    /// Frees the id: what is left goes by another name until the poststop hooks have ended. The lock stays ours.
    pub fn set_aside(&self) -> Result<Directory> {
        let ask = |what: &str| format!("{what} {}", self.path().display());
        let inode = rustix::fs::fstat(&self.fd).asked(|| ask("fstat"))?.st_ino;
        // As many of its digits as fit a file name behind the longest id.
        let name = format!("{}{DELETED}{:x}", self.id, inode & 0xffff_ffff_ffff);
        let fd = self.fd.try_clone().asked(|| ask("dup"))?;
        rustix::fs::rename(self.path(), self.root.join(&name)).asked(|| ask("rename"))?;
        Ok(Directory { id: self.id.clone(), fd, root: self.root.clone(), name })
    }

    /// True while the directory is still the one that the id names, and not one that was deleted meanwhile.
    pub fn exists(&self) -> bool {
        let (Ok(own), Ok(named)) = (rustix::fs::fstat(&self.fd), rustix::fs::stat(self.path())) else { return false };
        (own.st_dev, own.st_ino) == (named.st_dev, named.st_ino)
    }

    /// Writes the record and config.json as it is now; nothing else of the container may exist yet.
    pub fn write_first(&self, record: &Record, config: &[u8]) -> Result<()> {
        let mut bytes = serde_json::to_vec(record)?;
        bytes.push(b'\n');
        bytes.extend_from_slice(config);
        bytes.push(b'\n');
        self.write_new(RECORD, &bytes)
    }

    /// Adds to the record what has come to be since.
    pub fn amend(&self, amendment: &Amendment) -> Result<()> {
        let mut bytes = serde_json::to_vec(amendment)?;
        bytes.push(b'\n');
        let file = self.open_file(RECORD, OFlags::WRONLY | OFlags::APPEND)?;
        Ok(files::write_fd(&file, &bytes)?)
    }

    /// Makes a file that does not exist yet.
    pub fn write_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o600))
            .asked(|| format!("create {}", self.path().join(name).display()))?;
        files::write_fd(&file, bytes).with_context(|| self.path().join(name).display().to_string())
    }

    /// Makes a fifo.
    pub fn make_fifo(&self, name: &str) -> Result<()> {
        rustix::fs::mknodat(&self.fd, name, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .asked(|| format!("mkfifo {}", self.path().join(name).display()))
            .map_err(Into::into)
    }

    /// Opens a file of the directory.
    pub fn open_file(&self, name: &str, flags: OFlags) -> sys::Result<OwnedFd> {
        files::open_at(&self.fd, name, flags | OFlags::NOFOLLOW)
    }

    /// True when the file is there.
    pub fn has(&self, name: &str) -> bool {
        rustix::fs::accessat(&self.fd, name, rustix::fs::Access::EXISTS, AtFlags::empty()).is_ok()
    }

    /// The record with its amendments, and config.json as it was at create; `None` when there is none, or only the
    /// beginning of one: then nothing else of the container exists.
    ///
    /// # Errors
    /// [`Damaged`]: it was whole once, and somebody has changed it.
    pub fn record(&self) -> Result<Option<(Record, Box<RawValue>)>> {
        let read = self.open_file(RECORD, OFlags::RDONLY).and_then(|file| files::read_fd(file, LONGEST));
        let bytes = match read {
            Err(error) if error.errno == Errno(libc::ENOENT) => Vec::new(),
            read => read.with_context(|| self.path().join(RECORD).display().to_string())?,
        };
        match read_record(&bytes) {
            // The first line ends once the record is whole; what else there is came after it.
            None if bytes.contains(&b'\n') || [START, OUTCOME, SECCOMP].iter().any(|name| self.has(name)) => {
                Err(Damaged { id: self.id.to_string(), file: self.path().join(RECORD) }.into())
            }
            read => Ok(read),
        }
    }

    /// Reads a small file of the directory.
    pub fn read(&self, name: &str) -> sys::Result<Vec<u8>> {
        files::read_fd(self.open_file(name, OFlags::RDONLY)?, LONGEST)
    }

    /// Removes one file; one that is not there is fine.
    pub fn unlink(&self, name: &str) -> Result<()> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(errno) => Ok(Err(errno).asked(|| format!("unlink {}", self.path().join(name).display()))?),
        }
    }

    /// Removes the directory and what is in it, the record last: whenever this is cut short, it can be done again.
    pub fn remove(&self) -> Result<()> {
        for name in [START, OUTCOME, SECCOMP, RECORD] {
            self.unlink(name)?;
        }
        match rustix::fs::unlinkat(CWD, self.path(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(errno) => Ok(Err(errno).asked(|| format!("rmdir {}", self.path().display()))?),
        }
    }
}

/// What to say of a container that another call works on.
pub fn busy(id: &ContainerId) -> String {
    format!("container {id} is busy: another call works on it")
}

fn read_record(bytes: &[u8]) -> Option<(Record, Box<RawValue>)> {
    // Each value ends with a line break; without it the runtime was killed while it wrote.
    let whole = bytes.iter().rposition(|byte| *byte == b'\n')?;
    let mut values = serde_json::Deserializer::from_slice(bytes.get(..whole)?).into_iter::<Box<RawValue>>();
    let mut record: Record = serde_json::from_str(values.next()?.ok()?.get()).ok()?;
    let config = values.next()?.ok()?;
    for amendment in values.map_while(Result::ok) {
        record.amend(serde_json::from_str(amendment.get()).ok()?);
    }
    Some((record, config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::record::Identity;

    #[test]
    fn a_directory_that_another_call_has_removed_and_made_anew_is_left_to_that_one() {
        let root = tempfile::tempdir().unwrap();
        let id: ContainerId = "box".parse().unwrap();
        let record = Record::new("box", Identity { pid: 1, start: 2, clock_ahead: 0 });
        // Each is what a call has that was interrupted between mkdir and flock.
        let removed = claim(root.path(), &id).unwrap();
        removed.remove().unwrap();
        removed.unlock().unwrap();
        let theirs = claim(root.path(), &id).unwrap();
        let anew = open(root.path(), &id).unwrap();
        theirs.write_first(&record, b"{}").unwrap();
        theirs.unlock().unwrap();
        for (interrupted, expected) in [
            (removed, "container box was deleted by another call before it was made"),
            (anew, "container with given ID already exists: box"),
        ] {
            assert_eq!(first(interrupted).unwrap_err().to_string(), expected);
            assert!(theirs.record().unwrap().is_some() && theirs.exists());
        }
    }

    #[test]
    fn a_record_that_was_cut_short_is_none_and_an_amendment_that_was_is_not_read() {
        let identity = Identity { pid: 1, start: 2, clock_ahead: 0 };
        let record = Record::new("box", identity);
        let mut bytes = serde_json::to_vec(&record).unwrap();
        bytes.extend_from_slice(b"\n{\n \"ociVersion\": \"1.3.0\"\n}\n");
        let first = bytes.len();
        bytes.extend(serde_json::to_vec(&Amendment { init: Some(identity), ..Amendment::default() }).unwrap());
        bytes.push(b'\n');
        for length in 0..=bytes.len() {
            let read = read_record(&bytes[..length]);
            assert_eq!(read.is_some(), length >= first, "{length}");
            if let Some((record, config)) = read {
                assert_eq!(record.init.is_some(), length == bytes.len(), "{length}");
                assert!(config.get().contains("1.3.0"));
            }
        }
    }
}
