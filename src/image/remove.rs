//! Removes trees by descriptor: nothing outside is reached, whatever links or mounts lie in them.

use crate::sys::{self, Asked};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Removes the file, link or whole directory `name`; what is not there is no error.
pub(crate) fn tree(directory: BorrowedFd<'_>, name: &CStr) -> sys::Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno).asked(|| format!("unlink {}", name.to_string_lossy())),
    }
    // A way down without recursion: the open directories from the top.
    let mut open = vec![Emptied::open(directory, name)?];
    while let Some(current) = open.last_mut() {
        if let Some(child) = current.next_directory()? {
            let inner = Emptied::open(current.entries.fd(), &child)?;
            open.push(inner);
            continue;
        }
        let Some(mut emptied) = open.pop() else { break };
        let above = open.last().map_or(directory, |level| level.entries.fd());
        match rustix::fs::unlinkat(above, &emptied.name, AtFlags::REMOVEDIR) {
            // Something came while we read, or the file system passed over what moved: once more, as long as that helps.
            Err(Errno::NOTEMPTY) if std::mem::take(&mut emptied.progressed) => {
                emptied.entries.rewind()?;
                open.push(emptied);
            }
            other => other.asked(|| format!("rmdir {}", emptied.name.to_string_lossy()))?,
        }
    }
    Ok(())
}

/// A directory that is being emptied, with its name in the one above.
struct Emptied {
    entries: Entries,
    name: CString,
    /// Something was taken out since the last beginning.
    progressed: bool,
}

impl Emptied {
    fn open(directory: BorrowedFd<'_>, name: &CStr) -> sys::Result<Emptied> {
        let entries = Entries::new(descend(directory, name)?);
        Ok(Emptied { entries, name: name.to_owned(), progressed: false })
    }

    /// Unlinks what comes before the next directory, and answers its name.
    fn next_directory(&mut self) -> sys::Result<Option<CString>> {
        while let Some((name, kind)) = self.entries.next()? {
            self.progressed = true;
            if kind == FileType::Directory || !unlink(self.entries.fd(), &name)? {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }
}

/// Unlinks a file; false when it is a directory.
fn unlink(directory: BorrowedFd<'_>, name: &CStr) -> sys::Result<bool> {
    let unlink = || rustix::fs::unlinkat(directory, name, AtFlags::empty());
    match unlink() {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR) => Ok(false),
        // Not even our own directory may be writable for us.
        Err(Errno::ACCESS) => {
            let _ = rustix::fs::fchmod(directory, Mode::RWXU);
            unlink().map(|()| true)
        }
        Err(errno) => Err(errno),
    }
    .asked(|| format!("unlink {}", name.to_string_lossy()))
}

/// The entries of a directory, a few at a time: it may be emptied meanwhile, and have any number of them.
pub(crate) struct Entries {
    directory: OwnedFd,
    /// Read and not yet given, the last first.
    read: Vec<(CString, FileType)>,
}

impl Entries {
    /// Of a directory that is open for reading; its offset is ours.
    pub(crate) fn new(directory: OwnedFd) -> Entries {
        Entries { directory, read: Vec::new() }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// The next name, with its type where the file system tells it.
    pub(crate) fn next(&mut self) -> sys::Result<Option<(CString, FileType)>> {
        if self.read.is_empty() {
            self.fill()?;
        }
        Ok(self.read.pop())
    }

    /// Begins anew.
    fn rewind(&mut self) -> sys::Result<()> {
        self.read.clear();
        rustix::fs::seek(&self.directory, rustix::fs::SeekFrom::Start(0)).asked(|| "lseek".to_owned()).map(|_| ())
    }

    /// One getdents64(2). Small, because thousands of directories may be open within each other.
    fn fill(&mut self) -> sys::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 2048];
        let mut entries = RawDir::new(self.directory.as_fd(), &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry.asked(|| "getdents64".to_owned())?;
            let found = known(self.directory.as_fd(), entry.file_name(), entry.file_type())?;
            self.read.extend(found.map(|kind| (entry.file_name().to_owned(), kind)));
            // A buffer of nothing but `.` and `..` is followed by another.
            if entries.is_buffer_empty() && !self.read.is_empty() {
                break;
            }
        }
        self.read.reverse();
        Ok(())
    }
}

/// The type of an entry; `None` for `.`, `..` and what is gone.
fn known(directory: BorrowedFd<'_>, name: &CStr, kind: FileType) -> sys::Result<Option<FileType>> {
    if name == c"." || name == c".." {
        return Ok(None);
    }
    if kind != FileType::Unknown {
        return Ok(Some(kind));
    }
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).asked(|| format!("stat {}", name.to_string_lossy())),
    }
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
        if let Some(kind) = known(directory, entry.file_name(), entry.file_type())? {
            act(entry.file_name(), kind)?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's paths are its own")]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_tree_of_any_shape_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("tree");
        // Wide, with more entries than one call reads, and deep.
        for n in 0..500 {
            fs::create_dir_all(root.join(format!("wide/{n}/below"))).unwrap();
            fs::write(root.join(format!("wide/file-with-quite-a-name-{n}")), "").unwrap();
        }
        fs::create_dir_all(root.join("d/".repeat(200))).unwrap();
        std::os::unix::fs::symlink("/", root.join("link")).unwrap();
        let above = sys::files::open(place.path(), OFlags::RDONLY | OFlags::DIRECTORY).unwrap();
        tree(above.as_fd(), c"tree").unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        tree(above.as_fd(), c"tree").unwrap();
    }

    #[test]
    fn entries_come_once_while_the_directory_is_emptied() {
        let place = tempfile::tempdir().unwrap();
        (0..1000).for_each(|n| fs::write(place.path().join(format!("{n}")), "").unwrap());
        let mut entries = Entries::new(sys::files::open(place.path(), OFlags::RDONLY | OFlags::DIRECTORY).unwrap());
        let mut seen = std::collections::BTreeSet::new();
        while let Some((name, kind)) = entries.next().unwrap() {
            assert_eq!(kind, FileType::RegularFile);
            fs::remove_file(place.path().join(name.to_str().unwrap())).unwrap();
            assert!(seen.insert(name));
        }
        assert_eq!(seen.len(), 1000);
    }
}
