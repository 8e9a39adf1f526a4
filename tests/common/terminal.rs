//! A terminal for a runtime that is called as a person would call it.

use super::outcome::{Outcome, readable_within};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The master end of a pseudo-terminal.
pub struct Terminal {
    master: File,
    slave: String,
    /// What has come out so far.
    pub seen: String,
}

impl Terminal {
    pub fn new() -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let slave = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        Terminal { master: File::from(master), slave, seen: String::new() }
    }

    /// The terminal behind a descriptor that came from a runtime.
    pub fn from_master(master: OwnedFd) -> Terminal {
        Terminal { master: File::from(master), slave: String::new(), seen: String::new() }
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.master, size).unwrap();
    }

    pub fn size(&self) -> (u16, u16) {
        let size = rustix::termios::tcgetwinsize(&self.master).unwrap();
        (size.ws_row, size.ws_col)
    }

    /// Starts the command in a session of its own with this as its controlling terminal.
    pub fn spawn(&self, command: &Command) -> Child {
        let slave = OpenOptions::new().read(true).write(true).open(&self.slave).unwrap();
        let mut session = Command::new("setsid");
        session.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        if let Some(dir) = command.get_current_dir() {
            session.current_dir(dir);
        }
        session
            .stdin(Stdio::from(slave.try_clone().unwrap()))
            .stdout(Stdio::from(slave.try_clone().unwrap()))
            .stderr(Stdio::from(slave));
        session.spawn().unwrap()
    }

    /// Types.
    pub fn write(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until this text has come out, at most 20 seconds.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        while !self.seen.contains(text) {
            assert!(
                readable_within(&self.master, Duration::from_secs(20)),
                "no {text:?} on the terminal, only {:?}",
                self.seen
            );
            assert!(self.read_some(), "the terminal ended without {text:?}: {:?}", self.seen);
        }
    }

    /// Reads what there is; false when the other side is closed.
    fn read_some(&mut self) -> bool {
        let mut bytes = [0; 4096];
        match self.master.read(&mut bytes) {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.seen += &String::from_utf8_lossy(&bytes[..count]);
                true
            }
        }
    }

    /// Waits for the end of what was spawned; its output is all that came out.
    #[track_caller]
    pub fn finish(mut self, mut child: Child) -> Outcome {
        while readable_within(&self.master, Duration::from_secs(20)) && self.read_some() {}
        assert!(
            super::outcome::ends_within(&child, Duration::from_secs(20)),
            "did not end; on the terminal: {:?}",
            self.seen
        );
        let code = child.wait().unwrap().code().unwrap_or(-1);
        Outcome { code, out: self.seen.replace("\r\n", "\n"), err: String::new(), asked: "on a terminal".to_owned() }
    }
}
