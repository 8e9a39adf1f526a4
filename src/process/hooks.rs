//! Runs the hooks of one moment of the life cycle (config.md, "POSIX-platform Hooks"), in the order they are written.
//!
//! A hook gets the container's state on its standard input, exactly the arguments and the environment of config.json, and a
//! process group of its own that is killed when the time is up. Where config.json says nothing of an environment, a hook of the
//! host has the runtime's, as with runc and crun; in the child this is empty. What it prints is kept for the error text: the
//! runtime's own output belongs to the container.

use crate::config::Hook;
use crate::process::{interrupt::Interrupts, signals};
use crate::sys::clone::{Child, Cloned, clone3};
use crate::sys::{self, Asked, children, descriptors, files, memory, pidfd, proc};
use anyhow::{Context, Result, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const STDOUT: &str = "run.oci.hooks.stdout";
const STDERR: &str = "run.oci.hooks.stderr";

/// Where the hooks' output goes instead of the error text (annotations run.oci.hooks.stdout and .stderr).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// Appended to, when given.
    pub stdout: Option<PathBuf>,
    /// Appended to, when given.
    pub stderr: Option<PathBuf>,
}

/// The files of an [`Output`], open.
#[derive(Debug, Default)]
pub struct Files {
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl Output {
    /// The files that the annotations of a container name.
    pub fn of(annotations: &std::collections::BTreeMap<String, String>) -> Output {
        let file = |name: &str| annotations.get(name).map(PathBuf::from);
        Output { stdout: file(STDOUT), stderr: file(STDERR) }
    }

    /// Opens the files; hooks inside of the container need that while the host's are still in sight.
    pub fn open(&self) -> Result<Files> {
        let open = |path: &Option<PathBuf>, annotation: &str| {
            let open = |path: &PathBuf| files::append_to(path, OFlags::NOFOLLOW, 0o600);
            path.as_ref().map(open).transpose().with_context(|| format!("annotations[{annotation}]"))
        };
        Ok(Files { stdout: open(&self.stdout, STDOUT)?, stderr: open(&self.stderr, STDERR)? })
    }
}

impl Files {
    /// Those that are open.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.stdout, &self.stderr].into_iter().flatten().map(AsFd::as_fd)
    }
}

/// Runs each hook with the container's state on its standard input; stops at the first that fails. `place` is the field
/// of config.json: `hooks.prestart`.
pub fn run(hooks: &[Hook], place: &str, state: &str, output: &Output) -> Result<()> {
    if hooks.is_empty() { Ok(()) } else { run_into(hooks, place, state, &output.open()?) }
}

/// The same with the files open.
pub fn run_into(hooks: &[Hook], place: &str, state: &str, output: &Files) -> Result<()> {
    for (index, hook) in hooks.iter().enumerate() {
        one(hook, state, output).with_context(|| format!("{place}[{index}] {}", hook.path.display()))?;
    }
    Ok(())
}

/// Runs each hook even when one fails, as `poststop` wants it (runtime.md, "Lifecycle" 13: a warning); the failures.
pub fn run_all(hooks: &[Hook], place: &str, state: &str, output: &Output) -> Vec<anyhow::Error> {
    let (files, unopened) = match output.open() {
        Ok(files) => (files, None),
        Err(error) => (Files::default(), Some(error)),
    };
    let numbered = hooks.iter().enumerate();
    let ran = numbered.map(|(index, hook)| {
        one(hook, state, &files).with_context(|| format!("{place}[{index}] {}", hook.path.display()))
    });
    unopened.into_iter().chain(ran.filter_map(Result::err)).collect()
}

fn one(hook: &Hook, state: &str, output: &Files) -> Result<()> {
    if hook.timeout.is_some_and(|seconds| seconds <= 0) {
        bail!("timeout: {} is not greater than zero", hook.timeout.unwrap_or_default());
    }
    let program = Program::new(hook)?;
    let interrupts = Interrupts::watch()?;
    interrupts.check()?;
    // A file in memory and no pipe: a hook that does not read cannot make us wait, and cannot make us fail.
    let stdin = memory::file_with(c"state", state.as_bytes())?;
    let (given_stdout, mut stdout) = captured(output.stdout.as_ref())?;
    let (given_stderr, mut stderr) = captured(output.stderr.as_ref())?;
    let (outcome, refused) = pipe_with(PipeFlags::CLOEXEC).asked(|| "pipe".to_owned())?;
    let child = match clone3(0, None)? {
        Cloned::Child => program.become_it([&stdin, &given_stdout, &given_stderr], &refused),
        Cloned::Parent(child) => child,
    };
    drop((refused, stdin, given_stdout, given_stderr));
    let limit =
        hook.timeout.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds.unsigned_abs())));
    let in_time = watch(&child, limit, &mut [&mut stdout, &mut stderr], &interrupts).inspect_err(|_| end(&child))?;
    if !in_time {
        end(&child);
        bail!("timed out after {} s{}", hook.timeout.unwrap_or_default(), excerpt(&stdout, &stderr));
    }
    let ended = pidfd::reap(&child.pidfd)?;
    let said = files::read_fd(&outcome, 16).unwrap_or_default();
    if let Ok(errno) = <[u8; 4]>::try_from(said.as_slice()) {
        let errno = sys::Errno(i32::from_le_bytes(errno));
        return Err(sys::Error { call: format!("execve {}", hook.path.display()), errno }.into());
    }
    match ended {
        pidfd::Ended::Exited(0) => Ok(()),
        pidfd::Ended::Exited(status) => Err(anyhow!("exit status {status}{}", excerpt(&stdout, &stderr))),
        pidfd::Ended::Signaled(signal) => Err(anyhow!("killed by signal {signal}{}", excerpt(&stdout, &stderr))),
    }
}

/// Kills a hook with all that it has started, and reaps it.
fn end(child: &Child) {
    children::kill_group(child.pid);
    // It may not have had the time to make the group.
    let _ = pidfd::send_signal(&child.pidfd, libc::SIGKILL);
    let _ = pidfd::reap(&child.pidfd);
}

/// The hook as execve(2) takes it.
struct Program {
    path: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Program {
    fn new(hook: &Hook) -> Result<Program> {
        if !hook.path.is_absolute() {
            bail!("the path is not absolute");
        }
        let path = CString::new(hook.path.as_os_str().as_bytes()).context("path")?;
        let all = |list: &[String], name: &'static str| -> Result<Vec<CString>> {
            list.iter().map(|text| CString::new(text.as_str()).context(name)).collect()
        };
        let mut arguments = all(&hook.args, "args")?;
        if arguments.is_empty() {
            arguments.push(path.clone());
        }
        let environment = match &hook.env {
            Some(list) => all(list, "env")?,
            None => inherited(),
        };
        Ok(Program { path, arguments, environment })
    }

    /// In the child: never returns.
    fn become_it(&self, streams: [&OwnedFd; 3], refused: &OwnedFd) -> ! {
        let errno = match self.try_become_it(streams) {
            Ok(never) => match never {},
            Err(error) => error.errno,
        };
        let _ = files::write_fd(refused, &errno.0.to_le_bytes());
        proc::exit_now(127)
    }

    fn try_become_it(&self, streams: [&OwnedFd; 3]) -> sys::Result<Never> {
        let [stdin, stdout, stderr] = streams;
        // The runtime's death is the hook's: a hook of a create that is no more would change the host behind its back.
        proc::die_with_parent()?;
        let _ = rustix::process::setpgid(None, None);
        // Where one of them has the number of a standard stream itself, it must not be overwritten before it is used.
        let above = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3).asked(|| "fcntl F_DUPFD_CLOEXEC".to_owned());
        let streams = [above(stdin)?, above(stdout)?, above(stderr)?];
        for (stream, number) in streams.iter().zip(0..) {
            descriptors::become_stream(stream, number)?;
        }
        descriptors::close_on_exec_from(3)?;
        // Cannot fail: every number is a signal's.
        let _ = signals::reset();
        Err(children::execute(&self.path, &self.arguments, &self.environment))
    }
}

/// The runtime's own environment. Nothing in a child that goes into a container: what was there is wiped (`sys::program`).
fn inherited() -> Vec<CString> {
    let entry = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
    };
    std::env::vars_os().filter_map(entry).collect()
}

enum Never {}

/// What a hook prints: nothing where it goes to a file.
#[derive(Default)]
struct Captured {
    read: Option<OwnedFd>,
    text: Vec<u8>,
}

/// So much of the end of an output is kept; the rest is read and forgotten, so that the hook never waits for us.
const KEPT: usize = 64 * 1024;

/// The hook's end and ours.
fn captured(file: Option<&OwnedFd>) -> Result<(OwnedFd, Captured)> {
    let Some(file) = file else {
        let (read, given) = pipe_with(PipeFlags::CLOEXEC).asked(|| "pipe".to_owned())?;
        rustix::fs::fcntl_setfl(&read, OFlags::NONBLOCK).asked(|| "fcntl F_SETFL pipe".to_owned())?;
        return Ok((given, Captured { read: Some(read), text: Vec::new() }));
    };
    let given = rustix::io::fcntl_dupfd_cloexec(file, 3).asked(|| "fcntl F_DUPFD_CLOEXEC".to_owned())?;
    Ok((given, Captured::default()))
}

impl Captured {
    /// Reads what is there.
    fn take(&mut self) {
        let mut bytes = [0; 4096];
        while let Some(read) = &self.read {
            match rustix::io::read(read, &mut bytes) {
                Ok(0) => self.read = None,
                Ok(length) => {
                    self.text.extend(bytes.get(..length).unwrap_or_default());
                    // Twice as much before the first half goes: else each read would move it all.
                    if self.text.len() > 2 * KEPT {
                        self.text.drain(..self.text.len() - KEPT);
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Err(_) => self.read = None,
            }
        }
    }
}

/// Reads both outputs until the hook has ended; false when the time was up first. It does not wait for the end of
/// the outputs: a daemon that the hook leaves behind may keep them open. A signal that ends the call is an error.
fn watch(
    child: &Child,
    limit: Option<Instant>,
    outputs: &mut [&mut Captured; 2],
    interrupts: &Interrupts,
) -> Result<bool> {
    loop {
        let left = limit.map(|limit| limit.saturating_duration_since(Instant::now()));
        let left = left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        let mut descriptors = vec![PollFd::new(&child.pidfd, PollFlags::IN)];
        let open = outputs.iter().filter_map(|output| output.read.as_ref());
        descriptors.extend(open.map(|read| PollFd::new(read, PollFlags::IN)));
        descriptors.extend(interrupts.interest());
        let polled = poll(&mut descriptors, left.as_ref());
        let ended = descriptors.first().is_some_and(|fd| !fd.revents().is_empty());
        drop(descriptors);
        outputs.iter_mut().for_each(|output| output.take());
        match polled {
            Ok(0) => return Ok(false),
            Ok(_) if ended => return Ok(true),
            Ok(_) | Err(rustix::io::Errno::INTR) => interrupts.check()?,
            Err(errno) => return Err(errno).asked(|| "poll".to_owned()).map_err(Into::into),
        }
    }
}

/// The end of what it said, on one line: `: the reason`.
fn excerpt(stdout: &Captured, stderr: &Captured) -> String {
    const LONGEST: usize = 512;
    let said = [stderr, stdout].into_iter().map(|output| String::from_utf8_lossy(&output.text).trim().to_owned());
    let Some(said) = said.into_iter().find(|text| !text.is_empty()) else { return String::new() };
    let skipped = said.chars().count().saturating_sub(LONGEST);
    let end: String = said.chars().skip(skipped).map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!(": {}{end}", if skipped > 0 { "..." } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(script: &str) -> Hook {
        Hook {
            path: PathBuf::from("/bin/sh"),
            args: ["sh", "-c", script].map(str::to_owned).to_vec(),
            env: Some(vec!["A=1".to_owned()]),
            timeout: None,
        }
    }

    fn said(hooks: &[Hook], state: &str) -> String {
        run(hooks, "hooks.createRuntime", state, &Output::default())
            .map_or_else(|e| format!("{e:#}"), |()| "ok".to_owned())
    }

    #[test]
    fn a_hook_gets_state_arguments_and_exactly_its_environment() {
        let rows = [
            ("cat > /dev/null", "ok"),
            ("exit 0", "ok"),
            ("test \"$(cat)\" = STATE", "ok"),
            ("test \"$(env | sort | grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD=)\" = A=1", "ok"),
            ("echo out; echo err >&2; exit 3", "hooks.createRuntime[0] /bin/sh: exit status 3: err"),
            ("echo out; exit 3", "hooks.createRuntime[0] /bin/sh: exit status 3: out"),
            ("kill -9 $$", "hooks.createRuntime[0] /bin/sh: killed by signal 9"),
            ("head -c 1000000 /dev/zero; exit 4", "hooks.createRuntime[0] /bin/sh: exit status 4: ..."),
            ("head -c 1000000 /dev/zero >&2; echo; echo last words >&2; exit 4", "...last words"),
            ("test $(ls /proc/self/fd | wc -l) = 4", "ok"),
        ];
        for (script, expected) in rows {
            let text = said(&[hook(script)], "STATE");
            let end = expected.strip_prefix("...").is_some_and(|end| text.contains(": ...") && text.ends_with(end));
            let begin = expected.ends_with("...") && text.starts_with(expected);
            assert!(text == expected || end || begin, "{script}: {text}");
        }
    }

    #[test]
    fn a_hook_without_an_environment_has_the_runtimes_and_one_with_an_empty_one_has_none() {
        let path = std::env::var("PATH").unwrap();
        let script = "env | grep ^PATH= >&2; exit 1";
        for (env, expected) in [(None, format!(": PATH={path}")), (Some(Vec::new()), String::new())] {
            let text = said(&[Hook { env, ..hook(script) }], "");
            assert_eq!(text, format!("hooks.createRuntime[0] /bin/sh: exit status 1{expected}"));
        }
    }

    #[test]
    fn a_large_state_does_not_wait_for_a_hook_that_reads_nothing() {
        let state = "x".repeat(1 << 20);
        assert_eq!(said(&[hook("exit 0")], &state), "ok");
        assert_eq!(said(&[hook("test $(wc -c) = 1048576")], &state), "ok");
    }

    #[test]
    fn hooks_run_in_order_and_stop_at_the_first_failure() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let note = |word: &str, code: i32| hook(&format!("echo {word} >> {}; exit {code}", log.display()));
        let text = said(&[note("one", 0), note("two", 1), note("three", 0)], "");
        assert_eq!(text, "hooks.createRuntime[1] /bin/sh: exit status 1");
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "one\ntwo\n");
        let failures = run_all(&[note("four", 1), note("five", 0)], "hooks.poststop", "", &Output::default());
        assert_eq!((failures.len(), std::fs::read_to_string(&log).unwrap().as_str()), (1, "one\ntwo\nfour\nfive\n"));
    }

    #[test]
    fn a_hook_that_takes_too_long_is_killed_with_what_it_started() {
        let slow = Hook { timeout: Some(1), ..hook("echo waiting; sleep 600 & sleep 600") };
        let began = Instant::now();
        assert_eq!(said(&[slow], ""), "hooks.createRuntime[0] /bin/sh: timed out after 1 s: waiting");
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_hook_that_leaves_a_daemon_behind_is_not_waited_for_longer() {
        let began = Instant::now();
        assert_eq!(said(&[hook("sleep 5 & exit 0")], ""), "ok");
        assert!(began.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn wrong_hooks_are_named() {
        let rows = [
            (
                Hook { path: PathBuf::from("/no/such"), ..Hook::default() },
                "/no/such: execve /no/such: no such file or directory (ENOENT)",
            ),
            (Hook { path: PathBuf::from("sh"), ..Hook::default() }, "sh: the path is not absolute"),
            (Hook { timeout: Some(0), ..hook("exit 0") }, "/bin/sh: timeout: 0 is not greater than zero"),
        ];
        for (wrong, expected) in rows {
            assert_eq!(said(&[wrong], ""), format!("hooks.createRuntime[0] {expected}"));
        }
    }

    #[test]
    fn output_goes_to_the_files_of_the_annotations() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("out");
        let output = Output { stdout: Some(file.clone()), stderr: None };
        for _ in 0..2 {
            run(&[hook("echo said")], "hooks.prestart", "", &output).unwrap();
        }
        assert_eq!(std::fs::read_to_string(file).unwrap(), "said\nsaid\n");
    }
}
