//! The process `criu swrk 3`: where it is born, what it inherits, and the talk with it.

use super::message::{Kind, Notification, Request, Response};
use crate::process::{handshake, signals};
use crate::sys::clone::{Child, Cloned, clone3};
use crate::sys::{Asked, Errno, channel, children, descriptors, files, pidfd, proc};
use anyhow::{Context, Result, bail};
use rustix::fs::{Access, AtFlags, CWD, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The descriptor of the worker's end of the talk, and the first one that it is given besides.
const SOCKET: RawFd = 3;
const FIRST_GIVEN: RawFd = 4;

/// Where programs of the system are when the caller has no PATH: podman's cleanup has none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Finds criu on the path.
///
/// # Errors
/// It is not there.
pub(in crate::container) fn program() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").filter(|path| !path.is_empty()).unwrap_or_else(|| DEFAULT_PATH.into());
    let candidates = std::env::split_paths(&path).filter(|directory| directory.is_absolute());
    let executable =
        |path: &PathBuf| rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::empty()).is_ok() && !path.is_dir();
    candidates.map(|directory| directory.join("criu")).find(executable).context(
        "exec: \"criu\": executable file not found in $PATH; hint: checkpoint and restore need CRIU (criu.org): install \
         the package criu, or put the program on the runtime's PATH",
    )
}

/// The standard streams of the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::container) enum Streams {
    /// /dev/null: they are the container's, which a worker that only looks at it must not write to.
    Null,
    /// The runtime's own: what is restored may have them.
    Own,
}

/// What surrounds the worker.
pub(in crate::container) struct Surroundings<'a> {
    /// Its standard streams.
    pub(in crate::container) streams: Streams,
    /// Descriptors that it gets as 4 and on.
    pub(in crate::container) given: Vec<BorrowedFd<'a>>,
    /// The cgroup2 directory that it is born in.
    pub(in crate::container) cgroup: Option<OwnedFd>,
    /// The version 1 files that it writes "0" into.
    pub(in crate::container) cgroup_files: Vec<OwnedFd>,
}

impl Surroundings<'_> {
    /// Only to be asked something.
    pub(in crate::container) fn plain() -> Surroundings<'static> {
        Surroundings { streams: Streams::Null, given: Vec::new(), cgroup: None, cgroup_files: Vec::new() }
    }

    /// The number that a descriptor will have in the worker.
    pub(in crate::container) fn number_of_next(&self) -> RawFd {
        FIRST_GIVEN + self.given.len() as RawFd
    }
}

/// A worker.
///
/// It does not die with the runtime: whoever kills criu in the middle of a dump leaves the container with a foreign piece
/// of code in it. When the runtime is gone criu cannot tell it the next thing that happens, and takes everything back.
#[derive(Debug)]
pub(in crate::container) struct Worker {
    child: Child,
    socket: OwnedFd,
}

impl Worker {
    /// Starts criu; `program` is its absolute path.
    ///
    /// # Errors
    /// It cannot be executed, or its surroundings cannot be made.
    pub(in crate::container) fn start(program: &Path, surroundings: Surroundings<'_>) -> Result<Worker> {
        let become_criu = Become::new(program)?;
        let (socket, theirs) = channel::pair()?;
        let (told, refused) = pipe_with(PipeFlags::CLOEXEC).asked(|| "pipe".to_owned())?;
        let cloned = clone3(0, surroundings.cgroup.as_ref().map(AsFd::as_fd))?;
        let child = match cloned {
            Cloned::Child => become_criu.never_returning(surroundings, &theirs, &refused),
            Cloned::Parent(child) => child,
        };
        drop((theirs, refused, surroundings));
        let said = files::read_fd(&told, channel::LONGEST).unwrap_or_default();
        if !said.is_empty() {
            let _ = pidfd::reap(&child.pidfd);
            return Err(handshake::launcher_or_failure(&said));
        }
        Ok(Worker { child, socket })
    }

    /// Asks, acts on what happens meanwhile, and waits until criu has ended. An error of `act` makes criu take everything
    /// back, and is what is returned.
    ///
    /// # Errors
    /// criu ended without an answer, or `act` failed. That criu could not do it is an answer.
    pub(in crate::container) fn ask(
        self,
        request: &Request,
        act: &mut dyn FnMut(&Notification, Vec<OwnedFd>) -> Result<()>,
    ) -> Result<Response> {
        let talked = self.talk(request, act);
        let Worker { child, socket } = self;
        // After a pre-dump criu waits for the next request: the end of the talk is its end.
        drop(socket);
        let ended = pidfd::reap(&child.pidfd).context("wait for criu")?;
        match talked? {
            Some(response) => Ok(response),
            None => match ended {
                pidfd::Ended::Exited(code) => bail!("criu exited with {code} without an answer"),
                pidfd::Ended::Signaled(signal) => bail!("criu was killed by signal {signal}"),
            },
        }
    }

    fn talk(
        &self,
        request: &Request,
        act: &mut dyn FnMut(&Notification, Vec<OwnedFd>) -> Result<()>,
    ) -> Result<Option<Response>> {
        match channel::send(&self.socket, request.message().as_bytes(), &[]) {
            Err(error) if error.errno == Errno(libc::EPIPE) => return Ok(None),
            sent => sent.context("ask criu")?,
        }
        let mut failed = None;
        while let Some((bytes, descriptors)) = channel::receive(&self.socket)? {
            let response = Response::read(&bytes)?;
            let Some(notification) = &response.notification else {
                return match failed {
                    Some(error) => Err(error),
                    None if response.answers(request.kind()) || !response.success => Ok(Some(response)),
                    None => bail!("criu answered something else than was asked"),
                };
            };
            let acted = if failed.is_none() { act(notification, descriptors) } else { Ok(()) };
            failed = failed.or(acted.err());
            let heard = Request::Notified(failed.is_none());
            if channel::send(&self.socket, heard.message().as_bytes(), &[]).is_err() {
                break;
            }
        }
        failed.map_or(Ok(None), Err)
    }
}

/// The call of execve, ready before the clone.
struct Become {
    path: CString,
    arguments: [CString; 3],
    environment: Vec<CString>,
}

impl Become {
    fn new(program: &Path) -> Result<Become> {
        let path = CString::new(program.as_os_str().as_bytes()).context("criu")?;
        let environment = std::env::vars_os().map(|(name, value)| {
            let mut line = name.into_vec();
            line.push(b'=');
            line.extend(value.into_vec());
            CString::new(line)
        });
        Ok(Become {
            path,
            arguments: [c"criu".to_owned(), c"swrk".to_owned(), c"3".to_owned()],
            environment: environment.filter_map(Result::ok).collect(),
        })
    }

    fn never_returning(&self, surroundings: Surroundings<'_>, socket: &OwnedFd, refused: &OwnedFd) -> ! {
        // Out of the way of the numbers that are about to be taken.
        let above = surroundings.number_of_next();
        let refused = rustix::io::fcntl_dupfd_cloexec(refused, above);
        let error = match self.try_become(surroundings, socket) {
            Ok(never) => match never {},
            Err(error) => error,
        };
        if let Ok(refused) = refused {
            let _ = files::write_fd(refused, &handshake::frame("start criu", &error));
        }
        proc::exit_now(127)
    }

    fn try_become(&self, surroundings: Surroundings<'_>, socket: &OwnedFd) -> Result<Never> {
        signals::reset()?;
        // What criu makes is in the container's cgroup from the first process on.
        for file in &surroundings.cgroup_files {
            rustix::io::write(file, b"0").asked(|| "write \"0\" to the tasks of a cgroup".to_owned())?;
        }
        if surroundings.streams == Streams::Null {
            let null = files::open("/dev/null", OFlags::RDWR)?;
            (0..SOCKET).try_for_each(|stream| descriptors::become_stream(&null, stream))?;
        }
        let mut all = vec![socket.as_fd()];
        all.extend(surroundings.given.iter().copied());
        descriptors::become_numbers(&all, SOCKET)?;
        Err(children::execute(&self.path, &self.arguments, &self.environment).into())
    }
}

enum Never {}

/// The request that asks what can be done here.
pub(in crate::container) fn is_possible(program: &Path, wanted: super::Features, what: &str) -> Result<()> {
    let request = Request::Features(wanted);
    let response = Worker::start(program, Surroundings::plain())?.ask(&request, &mut |_, _| Ok(()))?;
    let missing = (wanted.memory_tracking && !response.features.memory_tracking)
        || (wanted.lazy_pages && !response.features.lazy_pages);
    if !response.success || missing {
        bail!("{what}: this kernel or this criu cannot do it (criu {})", Kind::FeatureCheck.word());
    }
    Ok(())
}
