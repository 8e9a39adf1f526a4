//! `ocicat restore`: bring a saved container back with CRIU.

use super::arguments::Given;
use super::checkpoint::{
    self, AUTO_DEDUP, CGROUPS_MODE, EMPTY_NS, EXT_UNIX_SK, FILE_LOCKS, IMAGE_PATH, LAZY_PAGES, NETWORK_LOCK, SHELL_JOB,
    TCP_ESTABLISHED, WORK_PATH,
};
use super::command::{Command, Flag, Positionals};
use super::create::{self, BUNDLE, CONSOLE_SOCKET, NO_PIVOT, PID_FILE};
use super::run::{DETACH, NO_SUBREAPER};
use super::{Ended, Invocation};
use crate::container::Restore;
use anyhow::{Result, bail};

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "restore",
    about: "Brings a container back that `checkpoint` saved",
    details: "",
    positionals: Positionals::ID,
    flags: &[
        CONSOLE_SOCKET,
        IMAGE_PATH,
        WORK_PATH,
        TCP_ESTABLISHED,
        Flag::switch("tcp-close", "close the TCP connections that were open"),
        EXT_UNIX_SK,
        SHELL_JOB,
        FILE_LOCKS,
        CGROUPS_MODE,
        BUNDLE,
        DETACH,
        PID_FILE,
        NO_SUBREAPER,
        NO_PIVOT,
        EMPTY_NS,
        AUTO_DEDUP,
        LAZY_PAGES,
        Flag::value("lsm-profile", "TYPE:NAME", "security profile of the restored processes"),
        Flag::value("lsm-mount-context", "CONTEXT", "SELinux context of the restored mounts"),
        NETWORK_LOCK,
    ],
    examples: &[
        ("restore --image-path /tmp/web --bundle ./web web", "restore the container `web` in the foreground"),
        ("restore --detach --pid-file web.pid --image-path /tmp/web web", "and leave it in the background"),
    ],
    failure: 1,
    run,
};

fn run(invocation: &Invocation) -> Result<Ended> {
    let _request = request(&invocation.given)?;
    bail!("restore is not implemented yet")
}

fn request(given: &Given) -> Result<Restore> {
    Ok(Restore {
        create: create::request(given)?,
        criu: checkpoint::criu(given)?,
        detach: given.is("detach"),
        no_subreaper: given.is("no-subreaper"),
        tcp_close: given.is("tcp-close"),
        lsm_profile: given.owned("lsm-profile"),
        lsm_mount_context: given.owned("lsm-mount-context"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments;

    #[test]
    fn every_option_of_the_managers_is_taken() {
        let line = "--bundle B --pid-file P --detach --image-path I --work-path B --no-pivot -no-subreaper --tcp-close \
                    --lsm-profile=selinux:x --lsm-mount-context=y --console-socket S web";
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let asked = request(&arguments::command(&COMMAND, &words).unwrap()).unwrap();
        assert!(asked.detach && asked.no_subreaper && asked.tcp_close && asked.create.no_pivot);
        assert_eq!(asked.lsm_profile.as_deref(), Some("selinux:x"));
        assert_eq!(asked.lsm_mount_context.as_deref(), Some("y"));
    }
}
