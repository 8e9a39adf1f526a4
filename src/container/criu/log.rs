//! Why criu failed: the errors in its log, in the words of criu.

use crate::sys::files;
use rustix::fs::OFlags;
use std::os::fd::AsFd;

/// A log of level 4 has some kilobytes a process; more than this of one is not read.
const LONGEST: usize = 64 << 20;

/// The cause in the log `name` of the directory; `None` where there is no log, or no error in it.
pub(in crate::container) fn cause_in(directory: impl AsFd, name: &str) -> Option<String> {
    let file = files::open_at(directory, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK).ok()?;
    cause(&String::from_utf8_lossy(&files::read_fd(file, LONGEST).ok()?))
}

/// What the errors in a log say: the first of them, which is the cause, and the last, which is what could not be done.
///
/// Each function of criu that fails because another one did adds a line of its own, so a log has five or ten of them; and
/// the outermost says only that everything failed.
fn cause(log: &str) -> Option<String> {
    let mut errors: Vec<String> = log.lines().filter_map(error).collect();
    errors.dedup();
    match errors.as_slice() {
        [first, .., last] => Some(format!("{first}; {last}")),
        [only] => Some(only.clone()),
        [] => None,
    }
}

/// `(00.012)    7: Error (criu/files-ext.c:98): Can't dump it` → `Can't dump it (files-ext.c:98)`
fn error(line: &str) -> Option<String> {
    // criu (4.1) does not mark this one, and what fails for it is all that it marks.
    if let Some(at) = line.find("Can't connect to server ").filter(|_| !line.contains("Error (")) {
        return line.get(at..).map(|words| words.trim().to_owned());
    }
    let (_, said) = line.split_once("Error (")?;
    let (place, words) = said.split_once("): ")?;
    let place = place.rsplit('/').next().unwrap_or(place);
    let says_nothing = ["Dumping FAILED.", "Pre-dumping FAILED.", "Restoring FAILED."].contains(&words.trim());
    (!says_nothing).then(|| format!("{} ({place})", words.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_the_first_error_and_the_last_that_says_something() {
        let rows = [
            ("", None),
            ("(00.000001) Dumping processes\n(00.000002) Warn  (criu/x.c:1): odd\n", None),
            (
                "(00.021) Error (criu/files-ext.c:98): Can't dump file 1 of that type [100644] (unknown /tmp/x)\n\
                 (00.022) Error (criu/cr-dump.c:1674): Dump files (pid: 9) failed with -1\n\
                 (00.023) Error (criu/cr-dump.c:2098): Dumping FAILED.\n",
                Some(
                    "Can't dump file 1 of that type [100644] (unknown /tmp/x) (files-ext.c:98); \
                     Dump files (pid: 9) failed with -1 (cr-dump.c:1674)",
                ),
            ),
            (
                "(00.1) pie: 7: Error (criu/pie/restorer.c:1): Can't restore prio (-1)\n\
                 (00.2)      1: Error (criu/cr-restore.c:2): 7 exited, status=1\n\
                 (00.2)      1: Error (criu/cr-restore.c:2): 7 exited, status=1\n\
                 (00.3) Error (criu/cr-restore.c:3): Restoring FAILED.\n",
                Some("Can't restore prio (-1) (restorer.c:1); 7 exited, status=1 (cr-restore.c:2)"),
            ),
            (
                "(06.1) Connecting to server 127.0.0.1:7\n(06.2) Can't connect to server 127.0.0.1:7\n\
                 (06.3) Error (compel/src/lib/infect.c:418): Unable to detach from 7: No such process\n",
                Some("Can't connect to server 127.0.0.1:7; Unable to detach from 7: No such process (infect.c:418)"),
            ),
            ("(00.3) Error (criu/tty.c:1): a (b): c\n", Some("a (b): c (tty.c:1)")),
            ("cut short Error (criu/tt", None),
        ];
        for (log, expected) in rows {
            assert_eq!(cause(log).as_deref(), expected, "{log}");
        }
    }

    #[test]
    fn a_log_is_read_from_its_directory_and_never_through_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let opened = files::open(directory.path(), OFlags::RDONLY | OFlags::DIRECTORY).unwrap();
        assert_eq!(cause_in(&opened, "dump.log"), None);
        files::create_new(directory.path().join("dump.log"), b"Error (a.c:1): no\n", 0o600).unwrap();
        std::os::unix::fs::symlink("dump.log", directory.path().join("link")).unwrap();
        assert_eq!(cause_in(&opened, "dump.log").as_deref(), Some("no (a.c:1)"));
        assert_eq!(cause_in(&opened, "link"), None);
    }
}
