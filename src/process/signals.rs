//! Foreground `run` and `exec`: passes signals on, relays the terminal, reaps, and answers with how the process ended.

use crate::process::relay::{Relay, Stream};
use crate::sys::pidfd::{self, Ended};
use crate::sys::{Asked, children, signals};
use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::OwnedFd;

/// How the process is looked after.
#[derive(Debug, Default)]
pub struct Options {
    /// The master of the process' terminal: standard input and output are relayed.
    pub terminal: Option<OwnedFd>,
}

/// Signals that have arrived before [`Supervisor::supervise`] wait; made before the clone, so that none is lost.
#[derive(Debug)]
pub struct Supervisor {
    signals: OwnedFd,
}

impl Supervisor {
    /// Blocks the signals that are to be passed on; as a subreaper also orphans of the container come to us.
    pub fn prepare(subreaper: bool) -> Result<Supervisor> {
        let all = held_back();
        signals::set_mask(all)?;
        if subreaper {
            rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
                .asked(|| "prctl PR_SET_CHILD_SUBREAPER".to_owned())?;
        }
        Ok(Supervisor { signals: signals::descriptor(all)? })
    }

    /// Looks after `pid` until it ends.
    pub fn supervise(self, pidfd: &OwnedFd, pid: i32, options: Options) -> Result<Ended> {
        let mut relay = options.terminal.map(Relay::new).transpose()?;
        loop {
            let ready = self.wait(pidfd, relay.as_ref())?;
            if ready.signal {
                self.pass_on(pidfd, pid, relay.as_mut())?;
            }
            if let Some(relay) = &mut relay {
                ready.streams.iter().for_each(|(stream, happened)| relay.work(*stream, *happened));
            }
            if ready.ended {
                break;
            }
        }
        let ended = pidfd::reap(pidfd).context("wait for the container's process")?;
        if let Some(relay) = &mut relay {
            relay.drain();
        }
        reap_others(pid);
        // Meant for the program, and too late for it: a hook that comes now is not to be ended by them.
        while signals::next(&self.signals)?.is_some() {}
        Ok(ended)
    }

    fn wait(&self, pidfd: &OwnedFd, relay: Option<&Relay>) -> Result<Ready> {
        let mut descriptors = vec![PollFd::new(&self.signals, PollFlags::IN), PollFd::new(pidfd, PollFlags::IN)];
        let mut streams = Vec::new();
        for (stream, descriptor) in relay.iter().flat_map(|relay| relay.interests()) {
            streams.push(stream);
            descriptors.push(descriptor);
        }
        match poll(&mut descriptors, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Ready::default()),
            Err(errno) => return Err(errno).asked(|| "poll".to_owned()).map_err(Into::into),
        }
        let happened = |index: usize| descriptors.get(index).is_some_and(|fd| !fd.revents().is_empty());
        let results = descriptors.iter().skip(2).map(PollFd::revents);
        Ok(Ready { signal: happened(0), ended: happened(1), streams: streams.into_iter().zip(results).collect() })
    }

    fn pass_on(&self, pidfd: &OwnedFd, pid: i32, mut relay: Option<&mut Relay>) -> Result<()> {
        while let Some((signal, _)) = signals::next(&self.signals)? {
            match (signal, &mut relay) {
                (libc::SIGCHLD, _) => reap_others(pid),
                (libc::SIGWINCH, Some(relay)) => relay.resize(),
                // Of our own making: a closed output.
                (libc::SIGPIPE, _) => {}
                (_, relay) => {
                    if let (libc::SIGCONT, Some(relay)) = (signal, relay) {
                        relay.go_on();
                    }
                    // ESRCH: it has ended just now, which the next poll says.
                    drop(pidfd::send_signal(pidfd, signal));
                }
            }
        }
        Ok(())
    }
}

/// What a poll found.
#[derive(Debug, Default)]
struct Ready {
    signal: bool,
    ended: bool,
    streams: Vec<(Stream, PollFlags)>,
}

/// Faults of our own code: blocked, they would kill us all the same.
const SYNCHRONOUS: [i32; 6] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGABRT];

/// Signals by which the kernel stops a job in the background of its shell (termios(3), credentials(7)).
const JOB_CONTROL: [i32; 2] = [libc::SIGTTIN, libc::SIGTTOU];

/// What a supervisor keeps from ending or stopping this process.
fn held_back() -> signals::Mask {
    let left_out = SYNCHRONOUS.iter().chain(&JOB_CONTROL).fold(0, |mask, signal| mask | signals::bit(*signal));
    signals::Mask::MAX & !left_out
}

/// Whether there is a supervisor in this process: signals wait for it. The kernel lets nobody block the two that are left out.
pub(super) fn are_held_back() -> Result<bool> {
    let wanted = held_back() & !signals::bit(libc::SIGKILL) & !signals::bit(libc::SIGSTOP);
    Ok(signals::mask()? & wanted == wanted)
}

/// Reaps ended children that are not `pid`: orphans of the container when we are its subreaper.
fn reap_others(pid: i32) {
    while let Ok(Some(ended)) = children::ended() {
        if ended == pid || children::reap(ended).is_err() {
            return;
        }
    }
}

/// Default actions and an empty mask, for the container's process: it inherits masks and ignored signals otherwise, and
/// Rust itself ignores SIGPIPE.
pub fn reset() -> Result<()> {
    for signal in (1..=signals::LAST).filter(|signal| !matches!(*signal, libc::SIGKILL | libc::SIGSTOP)) {
        signals::set_default(signal)?;
    }
    signals::set_mask(0)?;
    Ok(())
}

/// The same for a clone of ours that has still files to write: the caller's RLIMIT_FSIZE is then an error with a name (EFBIG). What
/// it becomes has the default action, [`let_file_size_end`].
pub fn reset_at_birth() -> Result<()> {
    reset()?;
    Ok(signals::ignore(libc::SIGXFSZ)?)
}

/// The last own file is written.
pub fn let_file_size_end() -> Result<()> {
    Ok(signals::set_default(libc::SIGXFSZ)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::forked;
    use std::os::fd::AsFd;

    /// Supervises a shell in a child of the test, and sends what `disturb` says to the supervisor.
    fn supervised(script: &'static str, disturb: &'static [i32]) -> String {
        let said = forked::in_child(|| {
            let supervisor = Supervisor::prepare(true).map_err(|e| format!("{e:#}"))?;
            let (ready, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
            let shell = forked::start(|| {
                reset().unwrap();
                crate::sys::descriptors::become_stream(&write, 1).unwrap();
                use std::os::unix::process::CommandExt;
                std::process::Command::new("/bin/sh").args(["-c", script]).exec().to_string()
            });
            drop(write);
            let mut byte = [0];
            while !disturb.is_empty() && rustix::io::read(&ready, &mut byte).unwrap() == 0 {}
            for signal in disturb {
                let own = rustix::process::getpid();
                rustix::process::kill_process(own, rustix::process::Signal::from_named_raw(*signal).unwrap()).unwrap();
            }
            let pidfd = pidfd::open(shell).unwrap();
            let ended = supervisor.supervise(&pidfd, shell, Options::default()).map_err(|e| format!("{e:#}"))?;
            Ok(ended.code().to_string())
        });
        said.unwrap()
    }

    #[test]
    fn the_exit_code_is_the_status_or_128_and_the_signal() {
        let rows: &[(&str, &[i32], &str)] = &[
            ("exit 0", &[], "0"),
            ("exit 37", &[], "37"),
            ("kill -9 $$", &[], "137"),
            ("echo; while :; do read line < /dev/full; done", &[libc::SIGTERM], "143"),
            ("trap 'exit 5' USR1; echo; while :; do :; done", &[libc::SIGUSR1], "5"),
            ("trap 'exit 6' HUP; echo; while :; do :; done", &[libc::SIGWINCH, libc::SIGHUP], "6"),
            ("(exit 3) & (sleep 0 &) ; wait; exit 9", &[], "9"),
        ];
        for (script, disturb, expected) in rows {
            assert_eq!(supervised(script, disturb), *expected, "{script}");
        }
    }

    /// Runs `script` on a terminal of its own, with `typed` as our standard input; the exit code and what came out.
    fn relayed(script: &'static str, typed: &'static str) -> String {
        let (read, stdout) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let said = forked::in_child(|| {
            let text = |error: anyhow::Error| format!("{error:#}");
            let supervisor = Supervisor::prepare(false).map_err(text)?;
            let root = crate::sys::files::open("/", rustix::fs::OFlags::PATH).unwrap();
            let plan = crate::process::terminal::Plan { size: None, uid: 0 };
            let terminal = crate::process::terminal::open(root.as_fd(), &plan).map_err(text)?;
            let stdin = crate::sys::memory::file_with(c"typed", typed.as_bytes()).unwrap();
            crate::sys::descriptors::become_stream(&stdin, 0).unwrap();
            crate::sys::descriptors::become_stream(&stdout, 1).unwrap();
            let shell = forked::start(|| {
                reset().unwrap();
                crate::process::terminal::attach(&terminal.slave).unwrap();
                use std::os::unix::process::CommandExt;
                std::process::Command::new("/bin/sh").args(["-c", script]).exec().to_string()
            });
            drop(terminal.slave);
            let pidfd = pidfd::open(shell).unwrap();
            let ended = supervisor.supervise(&pidfd, shell, Options { terminal: Some(terminal.master) });
            Ok(ended.map_err(text)?.code().to_string())
        });
        drop(stdout);
        let out = String::from_utf8(crate::sys::files::read_fd(&read, 1 << 22).unwrap()).unwrap();
        format!("{} {}", said.unwrap(), if out.len() > 200 { out.len().to_string() } else { format!("{out:?}") })
    }

    #[test]
    fn a_terminal_is_relayed_both_ways_and_drained_at_the_end() {
        let rows = [
            ("echo hello; exit 3", "", "3 \"hello\\r\\n\""),
            ("read line; echo got $line", "typed\n", "got typed\\r\\n\""),
            ("cat", "one\ntwo", "two\""),
            ("test -t 0 && test -t 2 && tty", "", "0 \"/dev/pts/"),
            // More than the terminal's and the pipe's buffers hold.
            ("head -c 50000 /dev/zero | tr '\\0' x", "", "0 50000"),
            // Somebody else keeps the terminal open.
            ("sleep 3 & echo done", "", "0 \"done\\r\\n\""),
        ];
        for (script, typed, expected) in rows {
            let said = relayed(script, typed);
            // What is typed may be echoed before it is read.
            assert!(said.contains(expected), "{script}: {said}");
        }
    }

    #[test]
    fn a_reset_process_neither_blocks_nor_ignores_anything() {
        let said = forked::in_child(|| {
            signals::set_mask(signals::bit(libc::SIGTERM)).unwrap();
            reset().unwrap();
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let lines = status.lines().filter(|line| line.starts_with("SigBlk") || line.starts_with("SigIgn"));
            Ok(lines.map(|line| line.replace('\t', "")).collect::<Vec<_>>().join(" "))
        });
        assert_eq!(said.unwrap(), "SigBlk:0000000000000000 SigIgn:0000000000000000");
    }
}
