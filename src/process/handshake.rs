//! The conversation of parent and child while a container is made: the child asks, the parent answers.
//!
//! ```text
//!   child   MapIds ─▶  RunHooks ─▶  Ready ─▶            each ask waits for its answer
//!   parent          Done        Done      Done
//! ```
//!
//! Each ask turns the child's end into the next state's type, so a skipped or swapped step does not compile. A failure
//! crosses as a [`Failure`]; end of file says that the other side is gone, and nothing else does.

use crate::sys::launcher::{self, Outcome};
use crate::sys::{self, Errno, channel};
use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What the child says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Ask {
    /// A helper made init, whose number this is; its pidfd travels along.
    Cloned(i32),
    /// I am in my new user namespace: write its mappings.
    MapIds,
    /// My namespaces and mounts are there: run the hooks of the runtime's namespace.
    RunHooks,
    /// Only the program itself is missing; the terminal's master and the seccomp listener travel along.
    Ready(Carried),
    /// I cannot go on.
    Failed(Failure),
}

/// Which descriptors travel with `Ready`, in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Carried {
    terminal: bool,
    seccomp: bool,
}

/// A failure of the child, whole: what it did, the places that it named, the call and the errno.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The step of the child's table.
    pub step: String,
    /// What each layer added, outermost first.
    pub places: Vec<String>,
    /// The system call at the bottom, if one failed.
    pub call: Option<(String, i32)>,
}

impl Failure {
    /// Takes an error apart.
    ///
    /// Each part is kept short enough for the whole to fit one message.
    pub fn new(step: &str, error: &anyhow::Error) -> Failure {
        let mut places: Vec<String> = Vec::new();
        let mut call = None;
        for cause in error.chain() {
            match cause.downcast_ref::<sys::Error>() {
                Some(failed) => {
                    call = Some((shortened(&failed.call), failed.errno.0));
                    break;
                }
                None => places.push(shortened(&cause.to_string())),
            }
        }
        Failure { step: step.to_owned(), places, call }
    }

    /// Puts the error together again.
    pub fn into_error(self) -> anyhow::Error {
        let mut places = self.places.into_iter().rev();
        let bottom = match self.call {
            Some((call, errno)) => anyhow::Error::new(sys::Error { call, errno: Errno(errno) }),
            None => anyhow!(places.next().unwrap_or(self.step)),
        };
        places.fold(bottom, |error, place| error.context(place))
    }
}

/// The call of the error that says that the launcher could not execute the program.
pub const EXECVE: &str = "execve";
/// What stands in the place of the call when the kernel refuses the label: the launcher leaves only a number.
pub const LABEL: &str = "write the label of the process";

/// The beginning of a text that somebody may have made very long (a path of config.json).
fn shortened(text: &str) -> String {
    const ENOUGH: usize = 700;
    match text.char_indices().nth(ENOUGH) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A connected pair of ends.
pub fn pair() -> Result<(Parent, ChildEnd)> {
    let (parent, child) = channel::pair()?;
    Ok((Parent { socket: parent, early: RefCell::default() }, ChildEnd(child)))
}

/// The parent's end.
#[derive(Debug)]
pub struct Parent {
    socket: OwnedFd,
    /// What init said before its helper had told of it: they write to the same socket.
    early: RefCell<VecDeque<Message>>,
}

type Message = (Vec<u8>, Vec<OwnedFd>);

/// What came with `Ready`.
#[derive(Debug, Default)]
pub struct Ready {
    /// Master of the container's terminal.
    pub terminal: Option<OwnedFd>,
    /// The seccomp listener.
    pub seccomp: Option<OwnedFd>,
}

impl Parent {
    /// Waits for the helper's message: init's number and pidfd.
    pub fn cloned(&self) -> Result<sys::clone::Child> {
        loop {
            let Some((bytes, mut fds)) = channel::receive(&self.socket)? else {
                // The helper is gone without an init: what it said last is the reason.
                return self.ask().and_then(|(ask, _)| unexpected(&ask));
            };
            match serde_json::from_slice(&bytes).context("a message of init is garbled")? {
                Ask::Cloned(pid) => {
                    return Ok(sys::clone::Child { pid, pidfd: fds.pop().context("the pidfd of init is missing")? });
                }
                _ => self.early.borrow_mut().push_back((bytes, fds)),
            }
        }
    }

    /// Waits until the child wants its ids mapped.
    pub fn map_ids(&self) -> Result<()> {
        match self.ask()? {
            (Ask::MapIds, _) => Ok(()),
            (other, _) => unexpected(&other),
        }
    }

    /// Waits until namespaces and mounts are made.
    pub fn run_hooks(&self) -> Result<()> {
        match self.ask()? {
            (Ask::RunHooks, _) => Ok(()),
            (other, _) => unexpected(&other),
        }
    }

    /// Waits until only the program is missing.
    pub fn ready(&self) -> Result<Ready> {
        match self.ask()? {
            (Ask::Ready(carried), fds) => {
                let mut fds = fds.into_iter();
                let mut take = |is_there: bool| if is_there { fds.next() } else { None };
                Ok(Ready { terminal: take(carried.terminal), seccomp: take(carried.seccomp) })
            }
            (other, _) => unexpected(&other),
        }
    }

    /// Answers: go on.
    pub fn done(&self) -> Result<()> {
        channel::send(&self.socket, b"done", &[]).context("the container's init is gone")
    }

    /// Waits for the execve: `None` when it succeeded (the descriptor closed with it), else what init said last.
    pub fn executed(&self) -> Result<Option<anyhow::Error>> {
        match self.next()? {
            None => Ok(None),
            Some((bytes, _)) => Ok(Some(launcher_or_failure(&bytes))),
        }
    }

    fn next(&self) -> Result<Option<Message>> {
        let early = self.early.borrow_mut().pop_front();
        Ok(if early.is_some() { early } else { channel::receive(&self.socket)? })
    }

    fn ask(&self) -> Result<(Ask, Vec<OwnedFd>)> {
        let (bytes, fds) = self.next()?.ok_or(Gone)?;
        match serde_json::from_slice(&bytes).context("a message of init is garbled")? {
            Ask::Failed(failure) => Err(failure.into_error()),
            ask => Ok((ask, fds)),
        }
    }
}

impl AsFd for Parent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The other side ended without a word.
#[derive(Debug, Clone, Copy)]
pub struct Gone;

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the process ended without a word")
    }
}

impl std::error::Error for Gone {}

fn unexpected<T>(ask: &Ask) -> Result<T> {
    bail!("init said {ask:?} out of turn")
}

/// A failure as it crosses, short enough for one write to a fifo to be whole (PIPE_BUF, pipe(7)).
pub fn frame(step: &str, error: &anyhow::Error) -> Vec<u8> {
    const WHOLE: usize = 4096;
    let bytes = serde_json::to_vec(&Ask::Failed(Failure::new(step, error))).unwrap_or_default();
    if bytes.len() <= WHOLE {
        return bytes;
    }
    let places = vec![format!("{error:#}").chars().take(WHOLE / 8).collect()];
    serde_json::to_vec(&Ask::Failed(Failure { step: step.to_owned(), places, call: None })).unwrap_or_default()
}

/// Four bytes are the launcher's; anything else is a frame.
pub fn launcher_or_failure(bytes: &[u8]) -> anyhow::Error {
    if let Some(outcome) = launcher::outcome(bytes).filter(|_| bytes.len() == 4) {
        return match outcome {
            Outcome::Execute(errno) => sys::Error { call: EXECVE.to_owned(), errno }.into(),
            Outcome::Label(errno) => sys::Error { call: LABEL.to_owned(), errno }.into(),
        };
    }
    match serde_json::from_slice(bytes) {
        Ok(Ask::Failed(failure)) => failure.into_error(),
        _ => anyhow!("a message of init is garbled"),
    }
}

/// Just cloned.
#[derive(Debug)]
pub struct Born;
/// In its namespaces, with its ids.
#[derive(Debug)]
pub struct Isolated;
/// In its mounts; the runtime's hooks have run.
#[derive(Debug)]
pub struct Rooted;
/// Only the program is missing.
#[derive(Debug)]
pub struct Waiting;

/// The child's end. It closes with the execve, which is how the parent knows that the program runs.
#[derive(Debug)]
pub struct ChildEnd(OwnedFd);

impl ChildEnd {
    /// The first state.
    pub fn born(&self) -> Child<'_, Born> {
        Child { end: self, state: PhantomData }
    }

    /// Says what failed; the parent takes everything back.
    pub fn failed(&self, step: &str, error: &anyhow::Error) {
        let ask = Ask::Failed(Failure::new(step, error));
        // A parent that is gone needs no word. A filter that forbids sendmsg(2) may allow write(2).
        if self.say(&ask, &[]).is_err()
            && let Ok(bytes) = serde_json::to_vec(&ask)
        {
            let _ = sys::files::write_fd(&self.0, &bytes);
        }
    }

    fn say(&self, ask: &Ask, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        let mut bytes = serde_json::to_vec(ask)?;
        if bytes.len() > channel::LONGEST {
            let places = vec!["the message of init is too long".to_owned()];
            bytes = serde_json::to_vec(&Ask::Failed(Failure { step: String::new(), places, call: None }))?;
        }
        Ok(channel::send(&self.0, &bytes, descriptors)?)
    }

    fn ask(&self, ask: &Ask, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        self.say(ask, descriptors)?;
        channel::receive(&self.0)?.map(drop).context("the runtime is gone")
    }
}

impl AsFd for ChildEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The child's side of the conversation, in one of its states.
#[derive(Debug)]
pub struct Child<'a, State> {
    end: &'a ChildEnd,
    state: PhantomData<State>,
}

impl<'a, State> Child<'a, State> {
    fn becomes<Next>(self) -> Child<'a, Next> {
        Child { end: self.end, state: PhantomData }
    }
}

impl<'a> Child<'a, Born> {
    /// As the helper: hands init over to the parent. Init goes on with the same socket.
    pub fn cloned(&self, child: &sys::clone::Child) -> Result<()> {
        self.end.say(&Ask::Cloned(child.pid), &[child.pidfd.as_fd()])
    }

    /// Asks for the mappings of a new user namespace, if there is one.
    pub fn isolated(self, map_ids: bool) -> Result<Child<'a, Isolated>> {
        if map_ids {
            self.end.ask(&Ask::MapIds, &[])?;
        }
        Ok(self.becomes())
    }
}

impl<'a> Child<'a, Isolated> {
    /// Asks for the hooks of the runtime's namespace, if there are any.
    pub fn rooted(self, hooks: bool) -> Result<Child<'a, Rooted>> {
        if hooks {
            self.end.ask(&Ask::RunHooks, &[])?;
        }
        Ok(self.becomes())
    }
}

impl<'a> Child<'a, Rooted> {
    /// Says that only the program is missing, and waits until this is recorded.
    pub fn waiting(
        self,
        terminal: Option<BorrowedFd<'_>>,
        seccomp: Option<BorrowedFd<'_>>,
    ) -> Result<Child<'a, Waiting>> {
        let carried = Carried { terminal: terminal.is_some(), seccomp: seccomp.is_some() };
        let descriptors: Vec<_> = terminal.into_iter().chain(seccomp).collect();
        self.end.ask(&Ask::Ready(carried), &descriptors)?;
        Ok(self.becomes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_crosses_with_its_places_its_call_and_its_errno() {
        let bottom = sys::Error { call: "mount /x".to_owned(), errno: Errno(libc::ENOENT) };
        let error = anyhow::Error::new(bottom).context("inner").context("mounts[7] (/data)");
        let crossed = Failure::new("mounts", &error).into_error();
        assert_eq!(format!("{crossed:#}"), "mounts[7] (/data): inner: mount /x: no such file or directory (ENOENT)");
        assert_eq!(sys::errno_of(&crossed), Some(Errno(libc::ENOENT)));
        let plain = Failure::new("x", &anyhow!("bottom").context("top")).into_error();
        assert_eq!(format!("{plain:#}"), "top: bottom");
    }

    #[test]
    fn asks_are_answered_in_order_and_an_end_is_told() {
        let (parent, child) = pair().unwrap();
        parent.done().unwrap();
        let child_end = child;
        let child = child_end.born().isolated(true).unwrap();
        parent.map_ids().unwrap();
        let child = child.rooted(false).unwrap();
        parent.done().unwrap();
        child.waiting(None, None).unwrap();
        assert!(parent.ready().unwrap().terminal.is_none());
        drop(child_end);
        assert!(parent.executed().unwrap().is_none());
    }
}
