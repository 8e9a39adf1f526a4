//! `process.terminal`: the pseudoterminal of the container, made from its own devpts, and the standard streams.

use crate::config::{ConsoleSize, Process};
use crate::sys::{self, Asked, descriptors};
use anyhow::{Context, Result, bail};
use rustix::fs::{FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::termios::Winsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Rows and columns; the kernel's 0x0 when not given.
    pub size: Option<ConsoleSize>,
    /// Owner of the terminal inside of the container.
    pub uid: u32,
}

/// `None` for a process without a terminal. A size without a terminal is ignored (config.md, "consoleSize").
pub fn plan(process: &Process) -> Result<Option<Plan>> {
    if !process.terminal {
        return Ok(None);
    }
    let size = process.console_size.filter(|size| *size != ConsoleSize::default());
    for (name, value) in size.iter().flat_map(|size| [("height", size.height), ("width", size.width)]) {
        if u16::try_from(value).is_err() {
            bail!("process.consoleSize.{name}: {value} is more than a terminal can have (65535)");
        }
    }
    Ok(Some(Plan { size, uid: process.user.uid }))
}

/// Both ends of a pseudoterminal.
#[derive(Debug)]
pub struct Terminal {
    /// For the manager.
    pub master: OwnedFd,
    /// For the container.
    pub slave: OwnedFd,
}

/// Opens a pseudoterminal of the devpts that is mounted at dev/pts below `root` (an O_PATH or directory descriptor of
/// the container's root). The other end comes from the master itself and never from a path, which the container
/// could have replaced (CVE-2025-52565).
pub fn open(root: BorrowedFd<'_>, plan: &Plan) -> Result<Terminal> {
    let master = multiplexer(root).context("process.terminal")?;
    rustix::pty::unlockpt(&master).asked(|| "unlockpt /dev/pts/ptmx".to_owned()).context("process.terminal")?;
    let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY | rustix::pty::OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)
        .asked(|| "ioctl TIOCGPTPEER /dev/pts/ptmx".to_owned())
        .context("process.terminal")?;
    if let Some(size) = plan.size {
        let size = Winsize { ws_row: size.height as u16, ws_col: size.width as u16, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&slave, size)
            .asked(|| format!("ioctl TIOCSWINSZ {}x{}", size.ws_col, size.ws_row))
            .context("process.consoleSize")?;
    }
    own(&slave, plan.uid).context("process.terminal")?;
    Ok(Terminal { master, slave })
}

fn multiplexer(root: BorrowedFd<'_>) -> Result<OwnedFd> {
    const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(root, "dev/pts/ptmx", flags, Mode::empty(), resolve)
        .asked(|| "open /dev/pts/ptmx".to_owned())
        .context("the container has no devpts at /dev/pts")?;
    let kind = rustix::fs::fstatfs(&file).asked(|| "fstatfs /dev/pts/ptmx".to_owned())?;
    if kind.f_type as u64 != DEVPTS_SUPER_MAGIC || character_device(&file)? != Some((5, 2)) {
        bail!("the container's /dev/pts/ptmx is no terminal multiplexer of a devpts (character device 5:2)");
    }
    Ok(file)
}

/// Major and minor number of a character device; `None` for anything else.
fn character_device(file: impl AsFd) -> sys::Result<Option<(u32, u32)>> {
    let status = rustix::fs::fstat(file).asked(|| "fstat".to_owned())?;
    let is_device = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice;
    Ok(is_device.then(|| (rustix::fs::major(status.st_rdev), rustix::fs::minor(status.st_rdev))))
}

/// Gives a stream to the user and leaves its group, which is devpts' own `tty`.
fn own(file: impl AsFd, uid: u32) -> sys::Result<()> {
    let file = file.as_fd();
    let status = rustix::fs::fstat(file).asked(|| "fstat".to_owned())?;
    if status.st_uid == uid {
        return Ok(());
    }
    rustix::fs::fchown(file, Some(Uid::from_raw(uid)), None::<Gid>).asked(|| format!("fchown {uid}"))
}

/// Makes the slave the controlling terminal and the standard streams of the calling process, in a session of its own.
pub fn attach(slave: &OwnedFd) -> Result<()> {
    // EPERM: a leader already. Not asked with getsid(2), which answers 0 where the leader of the session is outside of
    // the pid namespace, and rustix takes no 0 for a process.
    match rustix::process::setsid() {
        Ok(_) | Err(rustix::io::Errno::PERM) => {}
        Err(errno) => return Err(errno).asked(|| "setsid".to_owned()).context("process.terminal"),
    }
    rustix::process::ioctl_tiocsctty(slave).asked(|| "ioctl TIOCSCTTY".to_owned()).context("process.terminal")?;
    for stream in 0..3 {
        descriptors::become_stream(slave, stream)?;
    }
    Ok(())
}

/// Gives the caller's streams to the container's user, so that it may open /dev/stdout again, as the other runtimes do:
/// pipes and files only, never the null device or a terminal, which belong to everybody or to somebody else.
pub fn own_streams(uid: u32) {
    for (_, stream) in descriptors::streams() {
        let kind = rustix::fs::fstat(stream).map(|status| FileType::from_raw_mode(status.st_mode));
        if matches!(kind, Ok(FileType::Fifo | FileType::Socket | FileType::RegularFile)) {
            // Not allowed on read-only files, or for a user that the namespace does not map: it keeps its owner then.
            let _ = own(stream, uid);
        }
    }
}

/// Where a standard stream of the caller is the host's /dev/null, opens the container's instead, after a check that it is
/// the null device (CVE-2025-31133): no descriptor of the host's files stays inside.
pub fn reopen_null(root: BorrowedFd<'_>) -> Result<()> {
    const NULL: Option<(u32, u32)> = Some((1, 3));
    let mut opened = None;
    for (number, stream) in descriptors::streams() {
        if character_device(stream)? != NULL {
            continue;
        }
        if opened.is_none() {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            let file = rustix::fs::openat2(root, "dev/null", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
                .asked(|| "open /dev/null".to_owned())?;
            if character_device(&file)? != NULL {
                bail!("the container's /dev/null is no null device (character device 1:3)");
            }
            let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
            let file = rustix::fs::openat2(root, "dev/null", flags, Mode::empty(), resolve)
                .asked(|| "open /dev/null".to_owned())?;
            if character_device(&file)? != NULL {
                bail!("the container's /dev/null was replaced while it was opened");
            }
            rustix::fs::fcntl_setfl(&file, OFlags::empty()).asked(|| "fcntl F_SETFL /dev/null".to_owned())?;
            opened = Some(file);
        }
        if let Some(file) = &opened {
            descriptors::become_stream(file, number)?;
        }
    }
    Ok(())
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.size {
            Some(size) => writeln!(f, "terminal owner={} size={}x{}", self.uid, size.width, size.height),
            None => writeln!(f, "terminal owner={}", self.uid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::forked::in_child;

    fn root() -> OwnedFd {
        sys::files::open("/", OFlags::PATH | OFlags::DIRECTORY).unwrap()
    }

    #[test]
    fn a_terminal_is_made_owned_sized_and_attached() {
        let said = in_child(|| {
            let plan = Plan { size: Some(ConsoleSize { height: 7, width: 33 }), uid: 1234 };
            let terminal = open(root().as_fd(), &plan).map_err(|e| format!("{e:#}"))?;
            attach(&terminal.slave).map_err(|e| format!("{e:#}"))?;
            let size = rustix::termios::tcgetwinsize(&terminal.master).unwrap();
            let owner = rustix::fs::fstat(rustix::stdio::stdout()).unwrap().st_uid;
            let foreground = rustix::termios::tcgetpgrp(&terminal.slave).unwrap() == rustix::process::getpid();
            rustix::io::write(rustix::stdio::stdout(), b"hello\n").unwrap();
            let mut read = [0; 16];
            let length = rustix::io::read(&terminal.master, &mut read).unwrap();
            let text = String::from_utf8_lossy(&read[..length]).into_owned();
            // Closing the master would hang up on this very process.
            std::mem::forget(terminal);
            Ok(format!("{}x{} owner {owner} foreground {foreground} {text:?}", size.ws_col, size.ws_row))
        });
        assert_eq!(said.unwrap(), "33x7 owner 1234 foreground true \"hello\\r\\n\"");
    }

    #[test]
    fn a_terminal_is_attached_where_the_leader_of_the_session_is_outside_of_the_pid_namespace() {
        let said = in_child(|| {
            let plan = Plan { size: None, uid: 0 };
            let terminal = open(root().as_fd(), &plan).map_err(|e| format!("{e:#}"))?;
            sys::clone::unshare(libc::CLONE_NEWPID as u64).map_err(|e| e.to_string())?;
            let first = sys::forked::start(|| match attach(&terminal.slave) {
                Ok(()) => std::os::unix::process::CommandExt::exec(&mut std::process::Command::new("true")).to_string(),
                Err(error) => format!("{error:#}"),
            });
            Ok(sys::forked::wait(first).to_string())
        });
        assert_eq!(said.unwrap(), "0");
    }

    #[test]
    fn a_root_without_devpts_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let root = sys::files::open(directory.path(), OFlags::PATH).unwrap();
        let plan = Plan { size: None, uid: 0 };
        let missing = format!("{:#}", open(root.as_fd(), &plan).unwrap_err());
        assert_eq!(
            missing,
            "process.terminal: the container has no devpts at /dev/pts: open /dev/pts/ptmx: no such file or directory (ENOENT)"
        );
        std::fs::create_dir(directory.path().join("dev")).unwrap();
        std::fs::create_dir(directory.path().join("dev/pts")).unwrap();
        std::fs::File::create_new(directory.path().join("dev/pts/ptmx")).unwrap();
        let wrong = format!("{:#}", open(root.as_fd(), &plan).unwrap_err());
        assert!(wrong.ends_with("is no terminal multiplexer of a devpts (character device 5:2)"), "{wrong}");
    }

    #[test]
    fn a_null_device_that_is_something_else_is_refused() {
        let said = in_child(|| {
            let null = sys::files::open("/dev/null", OFlags::RDWR).unwrap();
            descriptors::become_stream(&null, 0).unwrap();
            reopen_null(root().as_fd()).map_err(|e| format!("good root: {e:#}"))?;
            let directory = tempfile::tempdir().unwrap();
            std::fs::create_dir(directory.path().join("dev")).unwrap();
            std::fs::File::create_new(directory.path().join("dev/null")).unwrap();
            let bad = sys::files::open(directory.path(), OFlags::PATH).unwrap();
            Ok(reopen_null(bad.as_fd()).unwrap_err().to_string())
        });
        assert_eq!(said.unwrap(), "the container's /dev/null is no null device (character device 1:3)");
    }
}
