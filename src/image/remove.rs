//! Removes trees by descriptor: nothing outside is reached, whatever links or mounts lie in them.

use crate::sys::{self, Asked};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Removes the file, link or whole directory `name`; what is not there is no error.
pub(crate) fn tree(directory: BorrowedFd<'_>, name: &CStr) -> sys::Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno).asked(|| format!("unlink {}", name.to_string_lossy())),
    }
    // A way down without recursion: the open directories from the top, each with its name in the one above.
    let mut open: Vec<(OwnedFd, CString)> = vec![(descend(directory, name)?, name.to_owned())];
    while let Some((current, _)) = open.last() {
        if let Some(child) = empty_files(current.as_fd())? {
            let inner = descend(current.as_fd(), &child)?;
            open.push((inner, child));
            continue;
        }
        let Some((_, emptied)) = open.pop() else { break };
        let above = open.last().map_or(directory, |(fd, _)| fd.as_fd());
        rustix::fs::unlinkat(above, &emptied, AtFlags::REMOVEDIR)
            .asked(|| format!("rmdir {}", emptied.to_string_lossy()))?;
    }
    Ok(())
}

/// Opens a directory for emptying; one on another file system is somebody's mount and refused (EXDEV).
pub(crate) fn descend(directory: BorrowedFd<'_>, name: &CStr) -> sys::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    let open = || rustix::fs::openat2(directory, name, flags, Mode::empty(), resolve);
    match open() {
        // A directory of ours without permissions, when we are not root.
        Err(Errno::ACCESS) => {
            let _ = rustix::fs::chmodat(directory, name, Mode::RWXU, AtFlags::empty());
            open()
        }
        other => other,
    }
    .asked(|| format!("open {}", name.to_string_lossy()))
}

/// Unlinks everything that is no directory; returns the first directory found.
fn empty_files(directory: BorrowedFd<'_>) -> sys::Result<Option<CString>> {
    let mut found = None;
    for_each(directory, |name, kind| {
        if kind != FileType::Directory {
            match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::ISDIR) => {}
                // Not even our own directory may be writable for us.
                Err(Errno::ACCESS) => {
                    let _ = rustix::fs::fchmod(directory, Mode::RWXU);
                    return rustix::fs::unlinkat(directory, name, AtFlags::empty())
                        .asked(|| format!("unlink {}", name.to_string_lossy()));
                }
                Err(errno) => return Err(errno).asked(|| format!("unlink {}", name.to_string_lossy())),
            }
        }
        found = Some(name.to_owned());
        Ok(())
    })?;
    Ok(found)
}

/// Calls `act` for every entry of a directory, with its type where the file system tells it.
pub(crate) fn for_each<E>(
    directory: BorrowedFd<'_>,
    mut act: impl FnMut(&CStr, FileType) -> Result<(), E>,
) -> Result<(), E>
where
    E: From<sys::Error>,
{
    // A descriptor of our own: its offset is ours.
    let own = sys::files::open_at(directory, ".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut buffer = Vec::with_capacity(16384);
    let mut entries = RawDir::new(own.as_fd(), buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry.asked(|| "getdents64".to_owned())?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(errno) => Err(errno).asked(|| format!("stat {}", name.to_string_lossy()))?,
            },
            known => known,
        };
        act(name, kind)?;
    }
    Ok(())
}
