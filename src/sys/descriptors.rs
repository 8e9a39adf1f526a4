//! The descriptor table: close_range(2), fcntl(2), dup3(2).

use super::{Asked, Result, checked, files, procfs::Procfs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// True when the number names a file that the caller left open for us: it outlived our own execve, which no file does that
/// we opened ourselves.
pub fn is_inherited(descriptor: u32) -> bool {
    let Ok(descriptor) = RawFd::try_from(descriptor) else { return false };
    // SAFETY: F_GETFD only asks, and a closed number is EBADF.
    let returned = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
    returned >= 0 && returned & libc::FD_CLOEXEC == 0
}

/// True when the number names an open file.
pub fn is_open(descriptor: u32) -> bool {
    let Ok(descriptor) = RawFd::try_from(descriptor) else { return false };
    // SAFETY: F_GETFD only asks, and a closed number is EBADF.
    let returned = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
    returned >= 0
}

/// Marks every descriptor from `first` on close-on-exec.
/// KERNEL(5.11): CLOSE_RANGE_CLOEXEC; before, one by one.
pub fn close_on_exec_from(first: u32) -> Result<()> {
    // SAFETY: three numbers are passed; no descriptor is closed, only marked.
    let returned = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if checked(returned).is_ok() {
        return Ok(());
    }
    let procfs = Procfs::open()?;
    let directory = procfs.open_file("self/fd", rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY)?;
    let entries = rustix::fs::Dir::read_from(directory).asked(|| "read /proc/self/fd".to_owned())?;
    for entry in entries.flatten() {
        let number = entry.file_name().to_str().ok().and_then(|name| name.parse::<RawFd>().ok());
        if let Some(number) = number.filter(|number| *number >= 0 && *number as u32 >= first) {
            // SAFETY: F_SETFD takes a number and closes nothing.
            unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// dup3(2) onto one of the standard streams 0 to 2.
pub fn become_stream(file: impl AsFd, stream: RawFd) -> Result<()> {
    let file: BorrowedFd<'_> = file.as_fd();
    if file.as_raw_fd() == stream {
        return Ok(());
    }
    // SAFETY: the standard streams are owned by nobody in this program; what was open there is replaced.
    let returned = unsafe { libc::syscall(libc::SYS_dup3, file.as_raw_fd(), stream, 0) };
    checked(returned).asked(|| format!("dup3 {stream}")).map(drop)
}

/// Puts copies of the files at `first` and the numbers after it, open over an execve, and marks all above close-on-exec.
///
/// Only right before an execve: whatever had these numbers is gone, also where something in this process owned it.
pub fn become_numbers(files: &[BorrowedFd<'_>], first: RawFd) -> Result<()> {
    let above = first + files.len() as RawFd;
    let copy = |file: &BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(file, above);
    let copies: Vec<_> =
        files.iter().map(copy).collect::<std::result::Result<_, _>>().asked(|| "fcntl F_DUPFD".to_owned())?;
    for (file, number) in copies.iter().zip(first..) {
        // SAFETY: dup3(2) takes three numbers. What was open there is closed under whoever owned it, and the caller has
        // promised that this process executes another program or ends.
        let returned = unsafe { libc::syscall(libc::SYS_dup3, file.as_raw_fd(), number, 0) };
        checked(returned).asked(|| format!("dup3 {number}"))?;
    }
    close_on_exec_from(above as u32)
}

/// Takes a descriptor that the caller of the program left open for it, given by its number on the command line; `None` where
/// there is none. It is closed with what is returned, and not passed on.
pub fn take_inherited(descriptor: u32) -> Option<OwnedFd> {
    let number = RawFd::try_from(descriptor).ok().filter(|_| descriptor > 2 && is_inherited(descriptor))?;
    // SAFETY: it is open, it is none of the standard streams, and no file that we opened ourselves outlived our execve: so
    // nobody else in this program owns it, unless it is asked for twice.
    let taken = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&taken, rustix::io::FdFlags::CLOEXEC).ok().map(|()| taken)
}

/// The three standard streams, as far as they are open.
pub fn streams() -> impl Iterator<Item = (RawFd, BorrowedFd<'static>)> {
    (0..3).filter(|fd| is_open(*fd as u32)).map(|fd| {
        // SAFETY: the standard streams stay open for the life of this program, which never closes them.
        (fd, unsafe { BorrowedFd::borrow_raw(fd) })
    })
}

/// Opens /dev/null on the standard streams that the caller left closed: else the next file we open would become one.
pub fn fill_closed_streams() -> Result<()> {
    for stream in (0..3).filter(|fd| !is_open(*fd)) {
        let null = files::open("/dev/null", rustix::fs::OFlags::RDWR)?;
        become_stream(&null, stream as RawFd)?;
        if null.as_raw_fd() == stream as RawFd {
            // It took the lowest free number, which is the stream itself: it stays open, and over an execve.
            let fd = std::os::fd::IntoRawFd::into_raw_fd(null);
            // SAFETY: F_SETFD takes a number.
            unsafe { libc::fcntl(fd, libc::F_SETFD, 0) };
        }
    }
    Ok(())
}
