//! Signals by name and number (signal(7)).

use anyhow::{Result, bail};

const NAMES: &[(&str, i32)] = &[
    ("ABRT", libc::SIGABRT),
    ("ALRM", libc::SIGALRM),
    ("BUS", libc::SIGBUS),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("FPE", libc::SIGFPE),
    ("HUP", libc::SIGHUP),
    ("ILL", libc::SIGILL),
    ("INT", libc::SIGINT),
    ("IO", libc::SIGIO),
    ("IOT", libc::SIGIOT),
    ("KILL", libc::SIGKILL),
    ("PIPE", libc::SIGPIPE),
    ("POLL", libc::SIGPOLL),
    ("PROF", libc::SIGPROF),
    ("PWR", libc::SIGPWR),
    ("QUIT", libc::SIGQUIT),
    ("SEGV", libc::SIGSEGV),
    ("STKFLT", libc::SIGSTKFLT),
    ("STOP", libc::SIGSTOP),
    ("SYS", libc::SIGSYS),
    ("TERM", libc::SIGTERM),
    ("TRAP", libc::SIGTRAP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
    ("VTALRM", libc::SIGVTALRM),
    ("WINCH", libc::SIGWINCH),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
];

/// The kernel's real-time signals, as `RTMIN+3` and `RTMAX-1` name them.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// `15`, `TERM`, `SIGTERM`, `sigterm`, `RTMIN+3` → the number.
///
/// # Errors
/// No signal has this name or number.
pub fn number(text: &str) -> Result<i32> {
    if let Ok(number) = text.parse::<i32>() {
        // 0 sends nothing and only asks whether the process is there (kill(2)).
        if (0..=*REAL_TIME.end()).contains(&number) {
            return Ok(number);
        }
        bail!("unknown signal {text:?}: numbers are 0 to 64");
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*number);
    }
    real_time(name).ok_or_else(|| anyhow::anyhow!("unknown signal {text:?}"))
}

fn real_time(name: &str) -> Option<i32> {
    let offset = |rest: &str| if rest.is_empty() { Some(0) } else { rest.parse::<i32>().ok() };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => REAL_TIME.start() + offset(rest)?,
        (_, Some(rest)) => REAL_TIME.end() + offset(rest)?,
        _ => return None,
    };
    REAL_TIME.contains(&number).then_some(number)
}

/// The name that `number` takes, with SIG.
pub fn name(number: i32) -> String {
    let (first, last) = (*REAL_TIME.start(), *REAL_TIME.end());
    match NAMES.iter().find(|(_, known)| *known == number) {
        Some((name, _)) => format!("SIG{name}"),
        None if number == first => "SIGRTMIN".to_owned(),
        None if (first..first + 16).contains(&number) => format!("SIGRTMIN+{}", number - first),
        None if number == last => "SIGRTMAX".to_owned(),
        None if REAL_TIME.contains(&number) => format!("SIGRTMAX-{}", last - number),
        None => format!("signal {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, expected) in [
            ("15", Some(15)),
            ("KILL", Some(9)),
            ("SIGUSR1", Some(10)),
            ("sigterm", Some(15)),
            ("RTMIN", Some(34)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("RTMAX+1", None),
            ("0", Some(0)),
            ("65", None),
            ("-9", None),
            ("NOPE", None),
            ("", None),
        ] {
            assert_eq!(number(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_name_is_one_that_is_taken() {
        for (signal, expected) in [
            (9, "SIGKILL"),
            (17, "SIGCHLD"),
            (34, "SIGRTMIN"),
            (37, "SIGRTMIN+3"),
            (63, "SIGRTMAX-1"),
            (64, "SIGRTMAX"),
        ] {
            assert_eq!(name(signal), expected);
            assert_eq!(number(expected).ok(), Some(signal));
        }
        assert_eq!(name(32), "signal 32");
    }
}
