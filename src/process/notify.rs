//! NOTIFY_SOCKET (sd_notify(3)): a service manager's socket reaches into the container.
//!
//! runc and crun make a socket of their own and a process that waits for READY=1 to pass it on. Here the manager's own socket is
//! bound into the container: nothing has to stay behind for it, every kind of message gets through, and a manager
//! that looks at the sender's credentials (NotifyAccess=) sees the container's process itself.

use crate::config::Mount;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// The variable by which a service manager names its socket.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// Where the container finds the socket: the place that runc and crun use.
pub const DESTINATION: &str = "/run/notify/notify.sock";

/// The socket that a service manager has named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Socket {
    /// There is no manager.
    None,
    /// A file, to be bound into the container.
    File(PathBuf),
    /// One of the abstract namespace, with its `@`. It has no file that could be bound; it reaches a container that shares the
    /// host's network namespace under its own name.
    Abstract(String),
    /// A path at which nothing is: a variable that was left over, as in a shell of the manager's child. Nobody listens, so
    /// nobody misses the container's word.
    Missing(PathBuf),
}

/// From the value of the runtime's own NOTIFY_SOCKET. `is_missing` looks at the host.
pub fn plan(notify_socket: Option<&str>, is_missing: impl Fn(&Path) -> bool) -> Result<Socket> {
    match notify_socket {
        None | Some("") => Ok(Socket::None),
        Some(path) if path.starts_with('/') && is_missing(path.as_ref()) => Ok(Socket::Missing(path.into())),
        Some(path) if path.starts_with('/') => Ok(Socket::File(path.into())),
        Some(name) if name.starts_with('@') => Ok(Socket::Abstract(name.to_owned())),
        Some(other) => bail!("{VARIABLE}: {other:?} is neither an absolute path nor an abstract socket"),
    }
}

/// The socket of the runtime's own environment.
pub fn of_caller() -> Result<Socket> {
    plan(std::env::var(VARIABLE).ok().as_deref(), is_missing)
}

/// Whether nothing is there. A place that cannot be looked at is not missing: the mount will say why.
pub fn is_missing(path: &Path) -> bool {
    matches!(rustix::fs::stat(path), Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR))
}

impl Socket {
    /// To be appended to the mounts, so that a mount over /run does not cover it.
    pub fn mount(&self) -> Option<Mount> {
        let Socket::File(path) = self else { return None };
        Some(Mount {
            destination: PathBuf::from(DESTINATION),
            source: Some(path.clone()),
            options: ["bind", "nosuid", "nodev", "noexec"].map(str::to_owned).to_vec(),
            ..Mount::default()
        })
    }

    /// To be added to the environment.
    pub fn environment(&self, host_network: bool) -> Option<String> {
        match self {
            Socket::File(_) => Some(format!("{VARIABLE}={DESTINATION}")),
            Socket::Abstract(name) if host_network => Some(format!("{VARIABLE}={name}")),
            Socket::Abstract(_) | Socket::None | Socket::Missing(_) => None,
        }
    }

    /// What the container does not get although it was asked for.
    pub fn warning(&self) -> Option<String> {
        let Socket::Missing(path) = self else { return None };
        Some(format!(
            "{VARIABLE}: {} does not exist: the container gets no socket of a service manager",
            path.display()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_file_is_bound_an_abstract_one_needs_the_hosts_network_and_one_that_is_missing_is_left_out() {
        let rows = [
            (None, false, "- - -"),
            (Some(""), true, "- - -"),
            (Some("/run/systemd/notify"), false, "/run/systemd/notify NOTIFY_SOCKET=/run/notify/notify.sock -"),
            (Some("@/org/x"), false, "- - -"),
            (Some("@/org/x"), true, "- NOTIFY_SOCKET=@/org/x -"),
            (
                Some("/run/gone"),
                true,
                "- - NOTIFY_SOCKET: /run/gone does not exist: the container gets no socket of a service manager",
            ),
            (Some("relative"), true, "NOTIFY_SOCKET: \"relative\" is neither an absolute path nor an abstract socket"),
        ];
        for (socket, host_network, expected) in rows {
            let shown = match plan(socket, |path| path.ends_with("gone")) {
                Ok(plan) => {
                    let source = plan.mount().and_then(|mount| mount.source).map(|path| path.display().to_string());
                    let parts = [source, plan.environment(host_network), plan.warning()];
                    parts.map(|part| part.unwrap_or_else(|| "-".to_owned())).join(" ")
                }
                Err(error) => error.to_string(),
            };
            assert_eq!(shown, expected);
        }
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_missing() {
        for (path, missing) in [("/no/such", true), ("/proc/self/status/x", true), ("/proc/self/status", false)] {
            assert_eq!(is_missing(Path::new(path)), missing, "{path}");
        }
        let long = "x".repeat(300);
        assert!(!is_missing(&Path::new("/").join(long)));
    }
}
