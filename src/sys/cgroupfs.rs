//! What the cgroup filesystem is used with: directories that are cgroups, one-value files, and files that tell of a change.

use super::{Asked, Errno, Error, Result, files};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
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

/// Visits a cgroup and all below it: `enter` gets each one before those below it, `leave` the one above and the name of each
/// after them; the first one is only entered. What does not exist, or goes away meanwhile, has nothing below it.
///
/// Who may write a cgroup can nest others deeper than a path may be long (PATH_MAX), and no end is set to that: so all go by
/// descriptor, of which one is open at a time, and no stack grows with the depth.
///
/// # Errors
/// What a visit answers, or a cgroup that cannot be opened or listed.
pub fn walk<E: From<Error>>(
    first: &Path,
    enter: &mut dyn FnMut(&OwnedFd) -> std::result::Result<(), E>,
    leave: &mut dyn FnMut(&OwnedFd, &CStr) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let mut here = match files::open(first, flags) {
        Err(error) if error.errno == Errno(libc::ENOENT) => return Ok(()),
        opened => opened?,
    };
    enter(&here)?;
    let mut left = sub_cgroups(&here)?;
    // The names on the way down, each with what is still to be visited above it.
    let mut way: Vec<(CString, Vec<CString>)> = Vec::new();
    loop {
        if let Some(name) = left.pop() {
            here = match files::open_at(&here, Path::new(OsStr::from_bytes(name.to_bytes())), flags) {
                Err(error) if error.errno == Errno(libc::ENOENT) => continue,
                opened => opened?,
            };
            enter(&here)?;
            let above = std::mem::replace(&mut left, sub_cgroups(&here)?);
            way.push((name, above));
        } else if let Some((name, above)) = way.pop() {
            // Always the one it was made in: a cgroup is never moved elsewhere.
            here = files::open_at(&here, "..", flags)?;
            left = above;
            leave(&here, &name)?;
        } else {
            return Ok(());
        }
    }
}

fn sub_cgroups(cgroup: &OwnedFd) -> Result<Vec<CString>> {
    let mut names = Vec::new();
    let listed = rustix::fs::Dir::read_from(cgroup).and_then(|entries| {
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type().is_dir() && name != c"." && name != c".." {
                names.push(name.to_owned());
            }
        }
        Ok(())
    });
    match listed {
        // It was removed meanwhile.
        Err(rustix::io::Errno::NOENT) => Ok(Vec::new()),
        listed => listed.asked(|| "getdents of a cgroup".to_owned()).map(|()| names),
    }
}

/// Removes an empty sub-cgroup of the cgroup that is open.
pub fn remove_at(above: &OwnedFd, name: &CStr) -> Result<()> {
    rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR).asked(|| format!("rmdir {}", name.to_string_lossy()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_are_visited_however_deep_they_are_and_each_below_is_left_before_the_one_above() {
        // Deeper than a path (4096 bytes) and a table of descriptors (1024) go.
        const DEPTH: usize = 1500;
        let top = tempfile::tempdir().unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let mut here = files::open(top.path(), flags).unwrap();
        for _ in 0..DEPTH {
            for name in ["deeper", "wide"] {
                rustix::fs::mkdirat(&here, name, Mode::RWXU).unwrap();
            }
            here = files::open_at(&here, "deeper", flags).unwrap();
        }
        let mut entered = 0;
        let enter = &mut |_: &OwnedFd| -> Result<()> {
            entered += 1;
            Ok(())
        };
        // A directory with others below it could not be removed.
        walk(top.path(), enter, &mut |above, name| remove_at(above, name)).unwrap();
        assert_eq!(entered, 1 + 2 * DEPTH);
        assert_eq!(std::fs::read_dir(top.path()).unwrap().count(), 0);
        walk(&top.path().join("no"), &mut |_| Ok(()), &mut |above, name| remove_at(above, name)).unwrap();
    }
}
