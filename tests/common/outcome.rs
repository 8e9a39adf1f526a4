//! A command run to its end with a deadline, and what it said.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code, or 128 and the signal.
    pub code: i32,
    pub out: String,
    pub err: String,
    /// The command line, for the message of a failed test.
    pub asked: String,
}

impl Outcome {
    /// The call succeeded.
    #[track_caller]
    pub fn ok(self) -> Outcome {
        assert!(self.code == 0, "{self}");
        self
    }

    /// The call succeeded and said this, but for white space at the ends.
    #[track_caller]
    pub fn says(self, text: &str) -> Outcome {
        let this = self.ok();
        assert_eq!(this.out.trim(), text, "{this}");
        this
    }

    /// The call succeeded and its output contains this.
    #[track_caller]
    pub fn mentions(self, text: &str) -> Outcome {
        let this = self.ok();
        assert!(this.out.contains(text), "no {text:?} in the output of {this}");
        this
    }

    /// The call ended with this exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Outcome {
        assert!(self.code == code, "expected exit code {code}: {self}");
        self
    }

    /// The call failed and its error text contains this.
    #[track_caller]
    pub fn fails(self, text: &str) -> Outcome {
        assert!(self.code != 0, "should have failed: {self}");
        assert!(self.err.to_lowercase().contains(&text.to_lowercase()), "no {text:?} in the error of {self}");
        self
    }

    /// Nothing on the error output.
    #[track_caller]
    pub fn silently(self) -> Outcome {
        assert!(self.err.is_empty(), "should have been silent: {self}");
        self
    }

    /// The output without white space at the ends.
    pub fn text(&self) -> String {
        self.out.trim().to_owned()
    }

    /// The output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// The value of `name:` or `name=` at the beginning of a line, as in /proc/PID/status.
    #[track_caller]
    pub fn field(&self, name: &str) -> String {
        let found = self.out.lines().find_map(|line| {
            line.trim().strip_prefix(name)?.strip_prefix([':', '=']).map(|rest| rest.trim().to_owned())
        });
        found.unwrap_or_else(|| panic!("no field {name} in {self}"))
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}` ended with {}\n--- its output\n{}\n--- its error output\n{}\n---",
            self.asked, self.code, self.out, self.err
        )
    }
}

/// An unnamed file that a child may write to and that is read when it has ended. Not a pipe: a container that lives on
/// keeps it open.
pub fn scratch() -> File {
    tempfile::tempfile().unwrap()
}

pub fn content(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Runs the command to its end, at most 60 seconds.
#[track_caller]
pub fn finish(command: Command) -> Outcome {
    finish_within(command, Duration::from_secs(60))
}

/// Runs the command to its end. Panics with what it was doing when the deadline passes.
#[track_caller]
pub fn finish_within(command: Command, limit: Duration) -> Outcome {
    match try_finish(command, limit) {
        Ok(outcome) => outcome,
        Err(why) => panic!("{why}"),
    }
}

/// Runs the command to its end; the error tells what it was doing when the deadline passed.
pub fn try_finish(mut command: Command, limit: Duration) -> Result<Outcome, String> {
    let (mut out, mut err) = (scratch(), scratch());
    command.stdout(Stdio::from(out.try_clone().unwrap())).stderr(Stdio::from(err.try_clone().unwrap()));
    let asked = shown(&command);
    let mut child = command.spawn().map_err(|error| format!("{asked}: {error}"))?;
    if !ends_within(&child, limit) {
        let doing = doing(child.id());
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!(
            "`{asked}` did not end in {limit:?}; it was at:\n{doing}\n--- its error output\n{}",
            content(&mut err)
        ));
    }
    let status = child.wait().unwrap();
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(Outcome { code, out: content(&mut out), err: content(&mut err), asked })
}

/// Waits at most 30 seconds for a child, then kills it: its exit code, or 128 and the signal.
#[track_caller]
pub fn code_of(child: &mut Child) -> i32 {
    if !ends_within(child, Duration::from_secs(30)) {
        let doing = doing(child.id());
        let _ = child.kill();
        let _ = child.wait();
        panic!("did not end: {doing}");
    }
    let status = child.wait().unwrap();
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Waits for the end of a child without reaping it.
pub fn ends_within(child: &Child, limit: Duration) -> bool {
    let pid = rustix::process::Pid::from_child(child);
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    readable_within(&pidfd, limit)
}

/// Waits until a descriptor has something to read (a pidfd: until its process has ended).
pub fn readable_within(fd: &impl AsFd, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(fd, PollFlags::IN)];
        match poll(&mut fds, Some(&Timespec::try_from(left).unwrap())) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }
}

/// The same command with redirections of the shell, for descriptors beyond 2.
pub fn through_shell(command: &Command, redirections: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell
        .arg("-c")
        .arg(format!("exec \"$@\" {redirections}"))
        .arg("sh")
        .arg(command.get_program())
        .args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        shell.current_dir(dir);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.stdin(Stdio::null());
    shell
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Where a process and its children hang, for the message of a test that timed out.
fn doing(pid: u32) -> String {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let mut text = format!("pid {pid} {} wchan {} syscall {}", read("comm").trim(), read("wchan"), read("syscall"));
    for child in read(&format!("task/{pid}/children")).split_whitespace() {
        text += &doing(child.parse().unwrap_or(0));
    }
    text
}
