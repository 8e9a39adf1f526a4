//! The program itself: environment, working directory, search in PATH, and why it cannot run, said precisely.
//!
//! Managers match the words of the errors here (docker's exit codes 126 and 127): they are Go's.

use crate::config::Process;
use crate::process::interpreter;
use crate::sys::{self, Asked, Errno, files, nodes, reach};
use anyhow::{Context, Result, bail};
use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags, ResolveFlags, StatVfsMountFlags};
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where programs are searched when the container's environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// `process.args`.
    pub arguments: Vec<CString>,
    /// `process.env` without duplicates, the last one wins.
    pub environment: Vec<CString>,
    /// `process.cwd`.
    pub directory: CString,
    /// A directory that is missing is made: init's, not that of an `exec`, where it is a typing error.
    pub makes_directory: bool,
}

/// Checks and converts; `additional` is appended to the environment (LISTEN_FDS, NOTIFY_SOCKET).
pub fn plan(process: &Process, additional: &[String]) -> Result<Plan> {
    if process.args.is_empty() {
        bail!("process.args: nothing to execute");
    }
    if !process.cwd.starts_with('/') {
        bail!("process.cwd: {:?} is not an absolute path", process.cwd);
    }
    let mut arguments = Vec::with_capacity(process.args.len());
    for (index, argument) in process.args.iter().enumerate() {
        arguments.push(text(argument, || format!("process.args[{index}]"))?);
    }
    let directory = text(&process.cwd, || "process.cwd".to_owned())?;
    Ok(Plan { arguments, environment: environment(&process.env, additional)?, directory, makes_directory: true })
}

fn text(value: &str, place: impl FnOnce() -> String) -> Result<CString> {
    CString::new(value).map_err(|_| anyhow::anyhow!("{}: {value:?} has a zero byte", place()))
}

/// Of two variables with one name the last one counts, and keeps its place. An empty HOME counts as none.
fn environment(asked: &[String], additional: &[String]) -> Result<Vec<CString>> {
    let mut names = std::collections::HashSet::new();
    let mut kept = Vec::with_capacity(asked.len() + additional.len() + 1);
    let numbered = asked.iter().enumerate().map(|(index, entry)| (Some(index), entry));
    for (index, entry) in numbered.chain(additional.iter().map(|entry| (None, entry))).rev() {
        let place = || index.map_or_else(|| "environment".to_owned(), |index| format!("process.env[{index}]"));
        let Some((name, value)) = entry.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            bail!("{}: {entry:?} has no form NAME=VALUE", place());
        };
        if names.insert(name) && !(name == "HOME" && value.is_empty()) {
            kept.push(text(entry, place)?);
        }
    }
    kept.reverse();
    Ok(kept)
}

fn variable<'a>(environment: &'a [CString], name: &str) -> Option<&'a [u8]> {
    let begins = |entry: &'a CString| entry.to_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"=");
    environment.iter().find_map(begins)
}

/// Adds HOME from the container's own /etc/passwd where the environment has none, as the other runtimes do; `/` for an
/// unknown user. `root` is a descriptor of the container's root.
pub fn fill_home(plan: &mut Plan, root: BorrowedFd<'_>, uid: u32) -> Result<()> {
    if variable(&plan.environment, "HOME").is_some() {
        return Ok(());
    }
    let home = passwd(root).and_then(|file| home_of(&file, uid)).unwrap_or_else(|| "/".to_owned());
    plan.environment.push(text(&format!("HOME={home}"), || "home directory in /etc/passwd".to_owned())?);
    Ok(())
}

/// At most a mebibyte of a regular file inside of the root: a FIFO would block us, a huge file fill the memory
/// (CVE-2026-47262).
fn passwd(root: BorrowedFd<'_>) -> Option<String> {
    const LIMIT: usize = 1 << 20;
    let regular = |fd: &OwnedFd| rustix::fs::fstat(fd).is_ok_and(|s| FileType::from_raw_mode(s.st_mode).is_file());
    in_root(root, "etc/passwd", OFlags::PATH).ok().filter(regular)?;
    let file = in_root(root, "etc/passwd", OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY).ok().filter(regular)?;
    let bytes = files::read_fd(&file, LIMIT).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The sixth field of the first line with that uid (passwd(5)).
fn home_of(passwd: &str, uid: u32) -> Option<String> {
    let of_user = |line: &&str| line.split(':').nth(2).and_then(|field| field.parse::<u32>().ok()) == Some(uid);
    let line = passwd.lines().find(of_user)?;
    line.split(':').nth(5).filter(|home| home.starts_with('/')).map(str::to_owned)
}

fn in_root(root: BorrowedFd<'_>, path: impl AsRef<std::path::Path>, flags: OFlags) -> sys::Result<OwnedFd> {
    let path = path.as_ref();
    rustix::fs::openat2(
        root,
        path,
        flags | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )
    .asked(|| format!("open {}", path.display()))
}

/// Makes `process.cwd` where it is missing; before the change of user, inside of the container's root.
pub fn make_directory(plan: &Plan, root: BorrowedFd<'_>) -> Result<()> {
    if !plan.makes_directory {
        return Ok(());
    }
    // The caller's umask could keep the container's user out.
    let mask = nodes::umask(0);
    let made = make_missing(plan, root);
    nodes::umask(mask);
    made
}

fn make_missing(plan: &Plan, root: BorrowedFd<'_>) -> Result<()> {
    let path = plan.directory.to_bytes();
    let open = |path: &[u8]| in_root(root, OsStr::from_bytes(path), OFlags::PATH | OFlags::DIRECTORY);
    match open(path) {
        Err(error) if error.errno.0 == libc::ENOENT => {}
        // Anything else is said by the change to it, which may be allowed to the user where it is not to us.
        _ => return Ok(()),
    }
    let mut parent = open(b"/").context("process.cwd")?;
    let ends = path.iter().enumerate().filter(|(at, byte)| **byte == b'/' && *at > 0).map(|(at, _)| at);
    for end in ends.chain([path.len()]) {
        let (so_far, _) = path.split_at(end);
        let name = so_far.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if !matches!(name, b"" | b"." | b"..") && open(so_far).is_err_and(|e| e.errno.0 == libc::ENOENT) {
            rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))
                .asked(|| format!("mkdir {}", String::from_utf8_lossy(so_far)))
                .context("process.cwd")?;
        }
        parent = open(so_far).context("process.cwd")?;
    }
    Ok(())
}

/// Changes to `process.cwd` and makes sure that the place is inside of the container's root: a path like
/// /proc/self/fd/7 would lead to a directory of the host that is open in the runtime (CVE-2024-21626). A directory that only
/// the user of the container may enter (EACCES) is tried once more after the change of user.
pub fn enter_directory(plan: &Plan) -> Result<()> {
    let shown = plan.directory.to_string_lossy();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let here = rustix::fs::CWD;
    // No magic link: /proc/self/fd/7 is no directory of the container, wherever it leads.
    let directory =
        rustix::fs::openat2(here, plan.directory.as_c_str(), flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS);
    let outside = || {
        let _ = rustix::process::chdir(c"/");
        anyhow::anyhow!("process.cwd: {shown} is outside of the container's root filesystem")
    };
    if matches!(directory, Err(rustix::io::Errno::LOOP)) {
        return Err(outside());
    }
    let directory = directory.asked(|| format!("chdir {shown}")).context("process.cwd")?;
    rustix::process::fchdir(&directory).asked(|| format!("chdir {shown}")).context("process.cwd")?;
    let inside = rustix::process::getcwd(Vec::new()).is_ok_and(|path| path.to_bytes().starts_with(b"/"));
    if inside { Ok(()) } else { Err(outside()) }
}

/// [`enter_directory`], but false instead of an error where the caller may not enter it.
pub fn try_enter_directory(plan: &Plan) -> Result<bool> {
    match enter_directory(plan) {
        Err(error) if sys::errno_of(&error).is_some_and(|errno| errno.0 == libc::EACCES) => Ok(false),
        other => other.map(|()| true),
    }
}

/// Finds the program as execvp(3) does, with the container's PATH, and checks that it can run: after the
/// change of user and directory.
pub fn find(plan: &Plan) -> Result<CString> {
    let Some(name) = plan.arguments.first() else { bail!("process.args: nothing to execute") };
    if name.to_bytes().contains(&b'/') {
        check(name, name)?;
        return Ok(name.clone());
    }
    let path = variable(&plan.environment, "PATH").unwrap_or(DEFAULT_PATH.as_bytes());
    let mut denied = None;
    for directory in path.split(|byte| *byte == b':') {
        let directory = if directory.is_empty() { &b"."[..] } else { directory };
        let candidate = CString::new([directory, b"/", name.to_bytes()].concat()).context("PATH")?;
        match check(&candidate, name) {
            Ok(()) => return Ok(candidate),
            Err(Failure::Program(error)) if error.errno.0 == libc::EACCES => denied = Some(error),
            Err(Failure::Program(_)) => {}
            Err(Failure::Interpreter(error)) => return Err(error.into()),
        }
    }
    let shown = name.to_string_lossy();
    Err(denied
        .unwrap_or_else(|| failure(format!("exec: {shown:?}: executable file not found in $PATH"), libc::ENOENT))
        .into())
}

/// What to say when the kernel refuses an execve that [`find`] had thought possible.
pub fn refused(path: &CStr, errno: Errno) -> sys::Error {
    let path = path.to_string_lossy();
    let reason = match errno.0 {
        libc::ENOEXEC => ": no program of this machine's, and without a first line that names an interpreter",
        libc::ENOENT => ": its interpreter or dynamic loader is missing",
        _ => "",
    };
    sys::Error { call: format!("exec {path}{reason}"), errno }
}

/// Why a candidate cannot run: the search goes on after the first kind, the second is the answer.
enum Failure {
    Program(sys::Error),
    Interpreter(sys::Error),
}

impl From<Failure> for anyhow::Error {
    fn from(failure: Failure) -> anyhow::Error {
        match failure {
            Failure::Program(error) | Failure::Interpreter(error) => error.into(),
        }
    }
}

fn failure(call: String, errno: i32) -> sys::Error {
    sys::Error { call, errno: Errno(errno) }
}

/// Whether `path` can be executed; `name` is how config.json calls it.
fn check(path: &CStr, name: &CStr) -> Result<(), Failure> {
    let name = name.to_string_lossy();
    let said = |errno| Failure::Program(failure(format!("exec: {name:?}"), errno));
    let status = rustix::fs::stat(path).map_err(|errno| {
        let barred = reach::barred(Path::new(OsStr::from_bytes(path.to_bytes())));
        let barred = barred.filter(|_| errno == rustix::io::Errno::ACCESS);
        let why = barred.map_or_else(String::new, |dir| format!("this user may not enter {}: ", dir.display()));
        let call = format!("exec: {name:?}: {why}stat {}", path.to_string_lossy());
        Failure::Program(failure(call, errno.raw_os_error()))
    })?;
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(said(libc::EISDIR)),
        _ => return Err(said(libc::EACCES)),
    }
    rustix::fs::accessat(rustix::fs::CWD, path, Access::EXEC_OK, AtFlags::EACCESS).map_err(|errno| {
        let why = why_not_executable(path, status.st_mode & 0o7777);
        Failure::Program(failure(format!("exec: {name:?}{why}"), errno.raw_os_error()))
    })?;
    interpreter::check(path)
        .map_err(|(why, errno)| Failure::Interpreter(failure(format!("exec: {name:?}: {why}"), errno)))
}

/// What forbids to execute a file that is there, as far as it shows. Security modules do not show.
fn why_not_executable(path: &CStr, mode: u32) -> String {
    let no_exec = rustix::fs::statvfs(path).is_ok_and(|facts| facts.f_flag.contains(StatVfsMountFlags::NOEXEC));
    match () {
        () if no_exec => ": it is on a mount with noexec".to_owned(),
        () if mode & 0o111 != 0o111 => format!(": its mode {mode:04o} does not allow it"),
        () => String::new(),
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "environment {} variables", self.environment.len())?;
        writeln!(f, "directory {}", self.directory.to_string_lossy())?;
        writeln!(f, "execute {:?}", self.arguments)
    }
}

#[cfg(test)]
mod tests;
