//! Open files: the container inherits 0 to 2 and what was asked for, and nothing of what callers leak.

use crate::sys;
use anyhow::{Result, bail};
use std::ffi::CString;

/// What stays open over the execve.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Descriptors 3 to 2 + `preserved` stay open.
    pub preserved: u32,
    /// Environment to be added: LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES (sd_listen_fds(3)). Whose number it is shows only
    /// once there is a process ([`name_receiver`]).
    pub environment: Vec<String>,
}

/// `preserve_fds` of the command line, after the sockets of socket activation (sd_listen_fds(3)) that the runtime's own
/// environment announces: LISTEN_FDS counts only where LISTEN_PID is the runtime's own pid.
///
/// A descriptor that the caller has promised and not given is an error: the number would later be one of our own.
pub fn plan(preserve_fds: u32, own_pid: u32, variable: impl Fn(&str) -> Option<String>) -> Result<Plan> {
    checked(preserve_fds, own_pid, variable, sys::descriptors::is_inherited)
}

fn checked(
    preserve_fds: u32,
    own_pid: u32,
    variable: impl Fn(&str) -> Option<String>,
    is_open: impl Fn(u32) -> bool,
) -> Result<Plan> {
    let number = |name: &str| variable(name).and_then(|text| text.trim().parse::<u32>().ok());
    let ours = number("LISTEN_PID") == Some(own_pid);
    let sockets = number("LISTEN_FDS").filter(|_| ours).unwrap_or(0);
    let Some(preserved) = sockets.checked_add(preserve_fds).filter(|sum| *sum < i32::MAX as u32 - 3) else {
        bail!("--preserve-fds {preserve_fds}: too many");
    };
    if let Some(missing) = (3..3 + preserved).find(|fd| !is_open(*fd)) {
        let origin = if missing < 3 + sockets { "LISTEN_FDS" } else { "--preserve-fds" };
        bail!("{origin}: descriptor {missing} (of 3 to {}) is not open", 2 + preserved);
    }
    let mut environment = Vec::new();
    if sockets > 0 {
        environment.push(format!("LISTEN_FDS={sockets}"));
        environment.push("LISTEN_PID=1".to_owned());
        environment.extend(variable("LISTEN_FDNAMES").map(|names| format!("LISTEN_FDNAMES={names}")));
    }
    Ok(Plan { preserved, environment })
}

/// Puts the number of the process that calls this in the place of LISTEN_PID: in the pid namespace that it is in, where the program will
/// compare it with its own (sd_listen_fds(3)). Only init of a new one is known to be 1 before it is born.
pub fn name_receiver(plan: &Plan, environment: &mut [CString]) {
    if plan.environment.is_empty() {
        return;
    }
    let own = format!("LISTEN_PID={}", rustix::process::getpid().as_raw_nonzero());
    let listed = environment.iter_mut().find(|entry| entry.to_bytes().starts_with(b"LISTEN_PID="));
    if let (Some(entry), Ok(own)) = (listed, CString::new(own)) {
        *entry = own;
    }
}

/// Marks every other descriptor close-on-exec: the runtime itself still uses some of them until then.
pub fn apply(plan: &Plan) -> Result<()> {
    Ok(sys::descriptors::close_on_exec_from(3 + plan.preserved)?)
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "descriptors 0-{} stay open", 2 + self.preserved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_count_only_for_the_process_they_were_meant_for() {
        // (LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES), --preserve-fds, open up to -> what is planned
        let rows: &[(&[&str], u32, u32, &str)] = &[
            (&[], 0, 2, "0 []"),
            (&[], 2, 4, "2 []"),
            (&[], 2, 3, "--preserve-fds: descriptor 4 (of 3 to 4) is not open"),
            (&["LISTEN_PID=42", "LISTEN_FDS=1"], 0, 3, "1 [\"LISTEN_FDS=1\", \"LISTEN_PID=1\"]"),
            (&["LISTEN_PID=42", "LISTEN_FDS=1"], 0, 2, "LISTEN_FDS: descriptor 3 (of 3 to 3) is not open"),
            (&["LISTEN_PID=41", "LISTEN_FDS=1"], 0, 3, "0 []"),
            (&["LISTEN_FDS=1"], 0, 3, "0 []"),
            (
                &["LISTEN_PID=42", "LISTEN_FDS=2", "LISTEN_FDNAMES=a:b"],
                1,
                5,
                "3 [\"LISTEN_FDS=2\", \"LISTEN_PID=1\", \"LISTEN_FDNAMES=a:b\"]",
            ),
            (&[], u32::MAX, 2, "--preserve-fds 4294967295: too many"),
        ];
        for (environment, preserve, open, expected) in rows {
            let variable = |name: &str| {
                let found = environment.iter().find_map(|row| row.split_once('=').filter(|(n, _)| *n == name));
                found.map(|(_, value)| value.to_owned())
            };
            let shown = match checked(*preserve, 42, variable, |fd| fd <= *open) {
                Ok(plan) => format!("{} {:?}", plan.preserved, plan.environment),
                Err(error) => error.to_string(),
            };
            assert_eq!(&shown, expected);
        }
    }

    #[test]
    fn everything_above_is_closed_by_an_execve() {
        let shown = crate::sys::forked::in_child(|| {
            let file = std::fs::File::open("/dev/null").unwrap();
            let [low, high] = [30, 40].map(|at| rustix::io::fcntl_dupfd_cloexec(&file, at).unwrap());
            rustix::io::fcntl_setfd(&low, rustix::io::FdFlags::empty()).unwrap();
            rustix::io::fcntl_setfd(&high, rustix::io::FdFlags::empty()).unwrap();
            apply(&Plan { preserved: 35 - 2, environment: Vec::new() }).unwrap();
            Ok(format!("{:?} {:?}", rustix::io::fcntl_getfd(&low).unwrap(), rustix::io::fcntl_getfd(&high).unwrap()))
        });
        assert_eq!(shown.unwrap(), "FdFlags(0x0) FdFlags(CLOEXEC)");
    }
}
