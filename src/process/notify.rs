//! NOTIFY_SOCKET (sd_notify(3)): a service manager's socket reaches into the container.
//!
//! runc and crun make a socket of their own and a process that waits for READY=1 to pass it on. Here the manager's own socket is
//! bound into the container: nothing has to stay behind for it, every kind of message gets through, and a manager
//! that looks at the sender's credentials (NotifyAccess=) sees the container's process itself.

use crate::config::Mount;
use anyhow::{Result, bail};
use std::path::PathBuf;

/// The variable by which a service manager names its socket.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// Where the container finds the socket: the place that runc and crun use.
pub const DESTINATION: &str = "/run/notify/notify.sock";

/// What the container gets.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    mount: Mount,
    /// To be added to the environment.
    pub environment: String,
}

/// From the value of the runtime's own NOTIFY_SOCKET; `None` without one. A socket in the abstract namespace (`@name`) has no
/// file that could be bound; it reaches a container that shares the host's network namespace under its own name.
pub fn plan(notify_socket: Option<&str>, host_network: bool) -> Result<Option<Plan>> {
    match notify_socket {
        None | Some("") => Ok(None),
        Some(path) if path.starts_with('/') => Ok(Some(Plan {
            mount: Mount {
                destination: PathBuf::from(DESTINATION),
                source: Some(PathBuf::from(path)),
                options: ["bind", "nosuid", "nodev", "noexec"].map(str::to_owned).to_vec(),
                ..Mount::default()
            },
            environment: format!("NOTIFY_SOCKET={DESTINATION}"),
        })),
        Some(name) if name.starts_with('@') && host_network => {
            Ok(Some(Plan { mount: Mount::default(), environment: format!("NOTIFY_SOCKET={name}") }))
        }
        Some(name) if name.starts_with('@') => Ok(None),
        Some(other) => bail!("NOTIFY_SOCKET: {other:?} is neither an absolute path nor an abstract socket"),
    }
}

impl Plan {
    /// To be appended to the mounts, so that a mount over /run does not cover it; `None` for an abstract socket.
    pub fn mount(&self) -> Option<&Mount> {
        self.mount.source.as_ref().map(|_| &self.mount)
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "environment {}", self.environment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_file_is_bound_and_an_abstract_one_needs_the_hosts_network() {
        let rows = [
            (None, false, "none"),
            (Some("/run/systemd/notify"), false, "/run/systemd/notify NOTIFY_SOCKET=/run/notify/notify.sock"),
            (Some("@/org/x"), false, "none"),
            (Some("@/org/x"), true, "- NOTIFY_SOCKET=@/org/x"),
            (Some("relative"), true, "NOTIFY_SOCKET: \"relative\" is neither an absolute path nor an abstract socket"),
        ];
        for (socket, host_network, expected) in rows {
            let shown = match plan(socket, host_network) {
                Ok(None) => "none".to_owned(),
                Ok(Some(plan)) => {
                    let source = plan.mount().and_then(|mount| mount.source.clone());
                    format!("{} {}", source.map_or("-".to_owned(), |s| s.display().to_string()), plan.environment)
                }
                Err(error) => error.to_string(),
            };
            assert_eq!(shown, expected);
        }
    }
}
