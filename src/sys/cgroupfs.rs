//! What the cgroup filesystem is used with: directories that are cgroups, one-value files, and files that tell of a change.

use super::{Asked, Result, files};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Makes a cgroup (mkdir(2), mode 0755 less the umask).
pub fn make(path: &Path) -> Result<()> {
    rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(0o755)).asked(|| format!("mkdir {}", path.display()))
}

/// Removes an empty cgroup (rmdir(2)): EBUSY while it has a process or a sub-cgroup.
pub fn remove(path: &Path) -> Result<()> {
    rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR).asked(|| format!("rmdir {}", path.display()))
}

/// True when there is something at `path`.
pub fn exists(path: &Path) -> bool {
    rustix::fs::accessat(CWD, path, rustix::fs::Access::EXISTS, AtFlags::empty()).is_ok()
}

/// True when a cgroup hierarchy is mounted at `path`.
pub fn is_hierarchy(path: &Path) -> bool {
    exists(&path.join("tasks"))
}

/// Writes `value` into an existing file, in one write.
pub fn write(path: &Path, value: &str) -> Result<()> {
    let file = files::open(path, OFlags::WRONLY)?;
    rustix::io::write(&file, value.as_bytes()).asked(|| format!("write {value:?} to {}", path.display())).map(drop)
}

/// Reads a one-line file, with one read.
pub fn read(path: &Path) -> Result<String> {
    let file = files::open(path, OFlags::RDONLY)?;
    let mut bytes = [0; 4096];
    let length = rustix::io::read(&file, &mut bytes).asked(|| format!("read {}", path.display()))?;
    Ok(String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned())
}

/// The sub-cgroups of a cgroup; none when it does not exist.
pub fn children(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.asked(|| format!("readdir {}", path.display()))?,
    };
    let directories = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(directories.map(|entry| entry.path()).collect())
}

/// Hands a file or directory to `uid`; the group stays.
pub fn give_to(path: &Path, uid: u32) -> Result<()> {
    rustix::fs::chownat(CWD, path, Some(rustix::fs::Uid::from_raw(uid)), None, AtFlags::SYMLINK_NOFOLLOW)
        .asked(|| format!("chown {uid} {}", path.display()))
}

/// Waits until the kernel says that an open `cgroup.events`-like file has changed since it was last read (POLLPRI);
/// false when `deadline` came first.
pub fn wait_change(file: impl AsFd, deadline: Instant) -> Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let spec = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let mut fds = [PollFd::new(&file, PollFlags::PRI)];
        match poll(&mut fds, Some(&spec)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).asked(|| "poll cgroup.events".to_owned()),
        }
    }
}

/// Waits until `first` has changed (POLLPRI, or POLLIN if `readable`), `second` can be read, or `deadline` has come, and
/// tells which of the two it was.
pub fn wait_two(
    first: BorrowedFd<'_>,
    readable: bool,
    second: Option<BorrowedFd<'_>>,
    deadline: Option<Instant>,
) -> Result<(bool, bool)> {
    let wanted = if readable { PollFlags::IN } else { PollFlags::PRI };
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let spec = left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) });
        let mut fds = vec![PollFd::new(&first, wanted)];
        fds.extend(second.iter().map(|second| PollFd::new(second, PollFlags::IN)));
        match poll(&mut fds, spec.as_ref()) {
            Ok(_) => {
                let ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
                return Ok((ready(0), ready(1)));
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).asked(|| "poll".to_owned()),
        }
    }
}

/// Gives the processor away for a moment, at most one millisecond: only for states of version 1 that nothing tells of.
pub fn let_others_run() {
    let millisecond = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    let _ = poll(&mut [], Some(&millisecond));
}
