//! Copies between the user's streams and the master of the container's terminal, both ways, without threads.
//!
//! The user's terminal is raw meanwhile, so that every key reaches the container; it gets its mode back on each way out. In the
//! background of a shell it is the shell's: its mode is not touched, and who wants to read from it is stopped, as the kernel
//! would do it, until the shell has the job go on (`fg`).

use crate::sys::{Asked, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use std::os::fd::{AsFd, OwnedFd};

/// A pipe takes so much at once when it is ready (PIPE_BUF), so a write never blocks longer than its reader.
const CHUNK: usize = 4096;

/// One of the three descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// The user's standard input.
    Input,
    /// The user's standard output.
    Output,
    /// The master of the container's terminal.
    Terminal,
}

/// The relay at work.
#[derive(Debug)]
pub(super) struct Relay {
    /// `None` once it was hung up.
    master: Option<OwnedFd>,
    /// On its way to the container.
    input: Vec<u8>,
    input_ended: bool,
    /// It is the shell's, until we are told to go on.
    input_waits: bool,
    at_line_start: bool,
    /// Standard input was a terminal when it began.
    from_terminal: bool,
    /// On its way to the user.
    output: Vec<u8>,
    output_ended: bool,
    raw: Option<RawMode>,
}

impl Relay {
    pub(super) fn new(master: OwnedFd) -> Result<Relay> {
        let flags = rustix::fs::fcntl_getfl(&master).asked(|| "fcntl F_GETFL terminal".to_owned())?;
        rustix::fs::fcntl_setfl(&master, flags | OFlags::NONBLOCK).asked(|| "fcntl F_SETFL terminal".to_owned())?;
        let mut relay = Relay {
            master: Some(master),
            input: Vec::new(),
            input_ended: false,
            input_waits: false,
            at_line_start: true,
            from_terminal: is_terminal(),
            output: Vec::new(),
            output_ended: false,
            raw: None,
        };
        if in_background() {
            relay.stop();
        }
        relay.go_on();
        Ok(relay)
    }

    /// As every job that would read from the terminal of its shell: all of it stops. Where nobody watches it, or the signal
    /// is ignored, the kernel lets it go on; there is no input then before it is told to go on (SIGCONT).
    fn stop(&mut self) {
        self.input_waits = true;
        let _ = rustix::process::kill_current_process_group(rustix::process::Signal::TTIN);
    }

    /// After the beginning, and after each stop: the terminal may be ours now, and the shell has changed its mode meanwhile.
    pub(super) fn go_on(&mut self) {
        self.input_waits = false;
        if !in_background() {
            match &self.raw {
                Some(raw) => raw.set(),
                None => self.raw = RawMode::begin(),
            }
        }
        self.resize();
    }

    /// What to poll for. A descriptor of which nothing is wanted is left out: its hang-up would wake us without end.
    pub(super) fn interests(&self) -> impl Iterator<Item = (Stream, PollFd<'_>)> {
        let mut master = PollFlags::empty();
        master.set(PollFlags::IN, self.output.is_empty() && !self.output_ended);
        master.set(PollFlags::OUT, !self.input.is_empty());
        let takes_input = self.input.is_empty() && !self.input_ended && !self.input_waits;
        let input = if takes_input { PollFlags::IN } else { PollFlags::empty() };
        let output = if self.output.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        let all = [
            Some((Stream::Input, rustix::stdio::stdin(), input)),
            Some((Stream::Output, rustix::stdio::stdout(), output)),
            self.master.as_ref().map(|fd| (Stream::Terminal, fd.as_fd(), master)),
        ];
        let wanted = all.into_iter().flatten().filter(|(_, _, flags)| !flags.is_empty());
        wanted.map(|(stream, descriptor, flags)| (stream, PollFd::from_borrowed_fd(descriptor, flags)))
    }

    /// Copies what is ready.
    pub(super) fn work(&mut self, stream: Stream, happened: PollFlags) {
        match stream {
            _ if happened.is_empty() => {}
            Stream::Input => self.take_input(),
            Stream::Output => self.give_output(),
            Stream::Terminal => {
                if !self.input.is_empty() {
                    self.give_input();
                }
                if self.output.is_empty() {
                    self.take_output();
                }
            }
        }
    }

    fn take_input(&mut self) {
        if in_background() {
            return self.stop();
        }
        let mut bytes = [0; CHUNK];
        match rustix::io::read(rustix::stdio::stdin(), &mut bytes) {
            Ok(0) => self.end_input(),
            Ok(length) => {
                self.input.extend(bytes.get(..length).unwrap_or_default());
                self.at_line_start = self.input.last() == Some(&b'\n');
                self.give_input();
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.end_input(),
        }
    }

    /// A terminal has no end of file but a key for it; within a line it must be pressed twice.
    fn end_input(&mut self) {
        self.input_ended = true;
        // The user's was closed; only then does one that is raw end.
        if self.from_terminal && !is_terminal() {
            return self.hang_up();
        }
        let Some(Ok(modes)) = self.master.as_ref().map(rustix::termios::tcgetattr) else { return };
        if modes.local_modes.contains(LocalModes::ICANON) {
            let key = modes.special_codes[SpecialCodeIndex::VEOF];
            self.input.extend(std::iter::repeat_n(key, if self.at_line_start { 1 } else { 2 }));
        }
    }

    fn give_input(&mut self) {
        let Some(master) = &self.master else { return self.input.clear() };
        match rustix::io::write(master, &self.input) {
            Ok(written) => drop(self.input.drain(..written.min(self.input.len()))),
            Err(Errno::INTR | Errno::AGAIN) => {}
            // Nobody has the terminal open: nobody will read this.
            Err(_) => self.input.clear(),
        }
    }

    fn take_output(&mut self) {
        let mut bytes = [0; CHUNK];
        let Some(master) = &self.master else { return };
        match rustix::io::read(master, &mut bytes) {
            Ok(0) => self.output_ended = true,
            Ok(length) => {
                self.output.extend(bytes.get(..length).unwrap_or_default());
                self.give_output();
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            // EIO: nobody has the other end open any more.
            Err(_) => self.output_ended = true,
        }
    }

    fn give_output(&mut self) {
        match rustix::io::write(rustix::stdio::stdout(), &self.output) {
            Ok(written) => drop(self.output.drain(..written.min(self.output.len()))),
            Err(Errno::INTR | Errno::AGAIN) => {}
            // Nobody reads, nor ever will (`yes | head -2`), or the user's terminal was closed.
            Err(Errno::PIPE | Errno::IO) => self.hang_up(),
            // A full disk, which may not stay so.
            Err(_) => self.output.clear(),
        }
    }

    /// As when a connection to a terminal is lost: the program gets SIGHUP, and EIO from the terminal that it had.
    fn hang_up(&mut self) {
        self.master = None;
        self.input.clear();
        self.output.clear();
        (self.input_ended, self.output_ended) = (true, true);
    }

    /// After the end of the process: what it had written and the user has not yet got. Others may still
    /// have the terminal open, so this ends with what is there now.
    pub(super) fn drain(&mut self) {
        const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        self.input.clear();
        self.input_ended = true;
        loop {
            let patience = if self.output.is_empty() { Some(&NOW) } else { None };
            let Some((stream, mut descriptor)) = self.interests().next() else { return };
            let happened = match poll(std::slice::from_mut(&mut descriptor), patience) {
                Ok(0) => return,
                Ok(_) => descriptor.revents(),
                Err(Errno::INTR) => continue,
                Err(_) => return,
            };
            self.work(stream, happened);
        }
    }

    /// Gives the container's terminal the size of the user's.
    pub(super) fn resize(&self) {
        let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
        if let Some(size) = streams.iter().find_map(|stream| rustix::termios::tcgetwinsize(stream).ok()) {
            // The terminal is gone with its last user: there is nothing to be sized.
            let _ = self.master.as_ref().map(|master| rustix::termios::tcsetwinsize(master, size));
        }
    }
}

/// Whether standard input is a terminal; one that was closed is none any more.
fn is_terminal() -> bool {
    rustix::termios::tcgetattr(rustix::stdio::stdin()).is_ok()
}

/// Whether standard input is the terminal of a shell that has another job in its foreground now.
fn in_background() -> bool {
    rustix::termios::tcgetpgrp(rustix::stdio::stdin()).is_ok_and(|group| group != rustix::process::getpgrp())
}

/// The user's terminal in raw mode, until dropped.
#[derive(Debug)]
struct RawMode {
    before: Termios,
    raw: Termios,
}

impl RawMode {
    /// `None` where standard input is no terminal.
    fn begin() -> Option<RawMode> {
        let before = rustix::termios::tcgetattr(rustix::stdio::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        let mode = RawMode { before, raw };
        mode.set();
        Some(mode)
    }

    fn set(&self) {
        let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.raw);
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        if !in_background() {
            let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.before);
        }
    }
}
