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
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const RECORD: &str = "record";
/// The fifo that init waits on.
pub const START: &str = "start";
/// The fifo that tells whether the execve succeeded.
pub const OUTCOME: &str = "outcome";
/// The compiled system call filter.
pub const SECCOMP: &str = "seccomp.bpf";
/// All of them, in the order in which they are removed.
const OWN: [&str; 4] = [START, OUTCOME, SECCOMP, RECORD];
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
    if !directory.exists() {
        bail!(deleted_meanwhile(&directory.id));
    }
    if directory.has(RECORD) {
        bail!(taken(&directory.id));
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

/// What is left of containers, or of those of one id, that were deleted, when the call that did it was killed before their poststop
/// hooks had ended: locked, so that each is finished by one call.
pub fn unfinished(root: &Path, of: Option<&ContainerId>) -> Result<Vec<Directory>> {
    let open = |name: String| {
        let id: ContainerId = name.split_once(DELETED)?.0.parse().ok()?;
        if of.is_some_and(|of| *of != id) { None } else { open_named(root, &id, name).ok() }
    };
    let opened = names_below(root)?.into_iter().filter_map(open);
    // Whatever else somebody has named like that is not ours.
    let ours = opened.filter(|directory| directory.name_aside().is_ok_and(|name| name == directory.name));
    Ok(ours.filter(|directory| directory.try_lock() && directory.exists()).collect())
}

/// The ids of all containers below `root`, sorted; a root that does not exist has none.
pub fn ids(root: &Path) -> Result<Vec<ContainerId>> {
    let mut ids: Vec<ContainerId> = names_below(root)?.iter().filter_map(|name| name.parse().ok()).collect();
    ids.sort();
    Ok(ids)
}

fn names_below(root: &Path) -> Result<Vec<String>> {
    let names = match files::open(root, OFlags::RDONLY | OFlags::DIRECTORY) {
        Err(error) if error.errno == Errno(libc::ENOENT) => return Ok(Vec::new()),
        opened => files::names(opened?).with_context(|| root.display().to_string())?,
    };
    Ok(names.iter().map(|name| name.to_string_lossy().into_owned()).collect())
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
    /// wait for us. It may also delete it: then there is nothing to take any more, which [`Directory::exists`] tells.
    ///
    /// # Errors
    /// The other one works on it still.
    pub fn lock(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.try_lock() && self.exists() {
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
        let name = self.name_aside()?;
        let fd = self.fd.try_clone().asked(|| format!("dup {}", self.path().display()))?;
        rustix::fs::rename(self.path(), self.root.join(&name))
            .asked(|| format!("rename {} to {name}", self.path().display()))?;
        Ok(Directory { id: self.id.clone(), fd, root: self.root.clone(), name })
    }

    /// As many digits of the inode number as fit a file name behind the longest id.
    fn name_aside(&self) -> sys::Result<String> {
        let inode = rustix::fs::fstat(&self.fd).asked(|| format!("fstat {}", self.path().display()))?.st_ino;
        Ok(format!("{}{DELETED}{:x}", self.id, inode & 0xffff_ffff_ffff))
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
        let file = self.open_regular(RECORD, OFlags::WRONLY | OFlags::APPEND)?;
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

    /// The same of what must be a regular file: whatever else somebody has put there is not waited for, and refused.
    fn open_regular(&self, name: &str, flags: OFlags) -> sys::Result<OwnedFd> {
        let file = self.open_file(name, flags | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let status = rustix::fs::fstat(&file).asked(|| format!("fstat {name}"))?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile => Ok(file),
            _ => Err(sys::Error { call: format!("open {name}, which is no regular file"), errno: Errno(libc::EINVAL) }),
        }
    }

    /// True when the file is there.
    pub fn has(&self, name: &str) -> bool {
        rustix::fs::accessat(&self.fd, name, rustix::fs::Access::EXISTS, AtFlags::empty()).is_ok()
    }

    /// The record with its amendments, and config.json as it was at create; `None` when there is none, or only the
    /// beginning of one: then nothing else of the container exists.
    ///
    /// # Errors
    /// [`Damaged`]: it was whole once, and somebody has changed it or put something else in its place.
    pub fn record(&self) -> Result<Option<(Record, Box<RawValue>)>> {
        // A link, a socket or a device that is not there; no regular file; one that is too long.
        const NOT_OURS: [i32; 4] = [libc::ELOOP, libc::ENXIO, libc::EINVAL, libc::EFBIG];
        let damaged = || Err(Damaged { id: self.id.to_string(), file: self.path().join(RECORD) }.into());
        let read = self.open_regular(RECORD, OFlags::RDONLY).and_then(|file| files::read_fd(file, LONGEST));
        let bytes = match read {
            Err(error) if error.errno == Errno(libc::ENOENT) => Vec::new(),
            Err(error) if NOT_OURS.contains(&error.errno.0) => return damaged(),
            read => read.with_context(|| self.path().join(RECORD).display().to_string())?,
        };
        match read_record(&bytes) {
            // The first line ends once the record is whole; what else there is came after it.
            None if bytes.contains(&b'\n') || [START, OUTCOME, SECCOMP].iter().any(|name| self.has(name)) => damaged(),
            read => Ok(read),
        }
    }

    /// Reads a small file of the directory.
    pub fn read(&self, name: &str) -> sys::Result<Vec<u8>> {
        files::read_fd(self.open_regular(name, OFlags::RDONLY)?, LONGEST)
    }

    /// Removes one file; one that is not there is fine.
    pub fn unlink(&self, name: &str) -> sys::Result<()> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).asked(|| format!("unlink {}", self.path().join(name).display())),
        }
    }

    /// Removes a directory of which no record says that it is a container's, unless it has something that no container has.
    ///
    /// # Errors
    /// What else there is; nothing is removed then.
    pub fn remove_unknown(&self) -> Result<()> {
        let refused = |what: String| sys::Error { call: what, errno: Errno(libc::ENOTEMPTY) };
        let is_foreign = |name: &&CString| !OWN.iter().any(|own| own.as_bytes() == name.as_bytes());
        if let Some(foreign) = files::names(&self.fd)?.iter().find(is_foreign) {
            let foreign = foreign.to_string_lossy();
            let call = format!("rmdir {}, which holds {foreign}", self.path().display());
            let hint = "that is no file of a container's: remove it by hand, if you do not need it".to_owned();
            return Err(sys::Hinted { error: refused(call), hint }.into());
        }
        // A directory in the place of a file goes when nothing is in it.
        for name in OWN {
            if let Err(rustix::io::Errno::NOTEMPTY) = rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
                return Err(refused(format!("rmdir {}", self.path().join(name).display())).into());
            }
        }
        Ok(self.remove_own()?)
    }

    /// Removes the directory of a container and what is in it, the record last: whenever this is cut short, it can be done again.
    pub fn remove(&self) -> Result<()> {
        // What a directory in the place of a file, and one more file, are answered with; POSIX knows EPERM and EEXIST too.
        const NOT_OURS: [i32; 4] = [libc::EISDIR, libc::ENOTEMPTY, libc::EPERM, libc::EEXIST];
        match self.remove_own() {
            Err(error) if NOT_OURS.contains(&error.errno.0) => {
                files::empty(&self.fd).with_context(|| self.path().display().to_string())?;
                Ok(self.remove_own()?)
            }
            removed => Ok(removed?),
        }
    }

    fn remove_own(&self) -> sys::Result<()> {
        OWN.iter().try_for_each(|name| self.unlink(name))?;
        match rustix::fs::unlinkat(CWD, self.path(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).asked(|| format!("rmdir {}", self.path().display())),
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
    fn whoever_waits_for_a_container_stops_when_it_is_deleted_and_nobody_finishes_that_as_long_as_it_goes_on() {
        let root = tempfile::tempdir().unwrap();
        let id: ContainerId = "box".parse().unwrap();
        let deleter = claim(root.path(), &id).unwrap();
        deleter.write_first(&Record::new("box", Identity { pid: 1, start: 2, clock_ahead: 0 }), b"{}").unwrap();
        let waiting = find(root.path(), &id).unwrap();
        assert!(!waiting.try_lock());
        let aside = deleter.set_aside().unwrap();
        drop(deleter);
        waiting.lock().unwrap();
        assert!(!waiting.exists() && aside.exists() && find(root.path(), &id).is_err());
        let unfinished = |of| unfinished(root.path(), of).unwrap();
        assert_eq!(unfinished(None).len(), 0);
        // Killed, its lock is free.
        drop(aside);
        let other = "bo".parse().unwrap();
        assert_eq!(unfinished(Some(&other)).len(), 0);
        let found = unfinished(Some(&id));
        assert!(found[0].record().unwrap().is_some());
        found[0].remove().unwrap();
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
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
