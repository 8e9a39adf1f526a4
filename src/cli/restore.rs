//! `ocicat restore`: run a container again from the files of a checkpoint.

use super::arguments::Given;
use super::checkpoint::{
    self, AUTO_DEDUP, EMPTY_NS, EXT_UNIX_SK, FILE_LOCKS, IMAGE_PATH, LAZY_PAGES, MANAGE_CGROUPS_MODE, SHELL_JOB,
    TCP_ESTABLISHED, WORK_PATH,
};
use super::command::{Command, Flag, Positionals};
use super::create::{self, BUNDLE, CONSOLE_SOCKET, NO_PIVOT, PID_FILE};
use super::run::{DETACH, NO_SUBREAPER};
use super::{Ended, Invocation};
use crate::container::{self, Notice, Restore};
use anyhow::Result;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "restore",
    about: "Makes a container run again from the files of a checkpoint, with CRIU",
    details: "Mounts from outside, limits, hooks and namespaces by path come from the bundle's config.json, everything else from \
              the images. Pipes that were the container's standard streams become those of this call. A container of the same \
              id that was stopped by `checkpoint` makes way. Without --detach it is as with `run`: the exit code is the \
              program's, and the container is deleted when it has ended.",
    positionals: Positionals::ID,
    flags: &[
        CONSOLE_SOCKET,
        IMAGE_PATH,
        WORK_PATH,
        TCP_ESTABLISHED,
        Flag::switch("tcp-close", "close TCP connections instead of restoring them"),
        EXT_UNIX_SK,
        SHELL_JOB,
        FILE_LOCKS,
        MANAGE_CGROUPS_MODE,
        BUNDLE,
        DETACH,
        PID_FILE,
        NO_SUBREAPER,
        NO_PIVOT,
        EMPTY_NS,
        AUTO_DEDUP,
        LAZY_PAGES,
        Flag::value("lsm-profile", "TYPE:NAME", "another AppArmor or SELinux label for the processes"),
        Flag::value("lsm-mount-context", "CONTEXT", "another SELinux context for the mounts"),
    ],
    examples: &[
        ("restore --bundle ./web --image-path /var/lib/web-images web", "run it again, in the foreground"),
        ("restore --detach --pid-file web.pid --image-path images web", "from the bundle in this directory"),
    ],
    failure: 1,
    run,
};

fn run(invocation: &Invocation) -> Result<Ended> {
    let request = request(&invocation.given)?;
    let notice = |notice: Notice<'_>| super::log::notice(&invocation.globals, notice);
    Ok(Ended::Program(container::restore(&invocation.runtime()?, &request, &notice)?))
}

fn request(given: &Given) -> Result<Restore> {
    Ok(Restore {
        create: create::request(given)?,
        criu: checkpoint::criu(given),
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
    use std::path::PathBuf;

    fn of(line: &str) -> Result<Restore> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        request(&arguments::command(&COMMAND, &words)?)
    }

    #[test]
    fn the_options_become_a_request() {
        // containerd writes `-no-subreaper`; conmon gives `=` to some.
        let all = of(
            "-d --bundle /b --pid-file p --image-path /i --work-path /w -no-subreaper --no-pivot --console-socket s \
                      --tcp-established --tcp-close --ext-unix-sk --shell-job --file-locks --manage-cgroups-mode soft \
                      --empty-ns network --auto-dedup --lazy-pages --lsm-profile=apparmor:x --lsm-mount-context=c web",
        )
        .unwrap();
        assert!(all.detach && all.no_subreaper && all.create.no_pivot && all.tcp_close);
        assert_eq!((all.create.id.as_str(), all.create.bundle), ("web", PathBuf::from("/b")));
        assert_eq!(all.create.pid_file, Some(PathBuf::from("p")));
        assert_eq!(all.create.console_socket, Some(PathBuf::from("s")));
        assert_eq!((all.lsm_profile.as_deref(), all.lsm_mount_context.as_deref()), (Some("apparmor:x"), Some("c")));
        assert_eq!(all.criu.image_path, Some(PathBuf::from("/i")));
        assert!(all.criu.tcp_established && all.criu.ext_unix_sk && all.criu.lazy_pages && all.criu.auto_dedup);
    }

    #[test]
    fn podman_learns_that_an_option_exists_from_the_error_without_its_argument() {
        let said = of("--lsm-mount-context").unwrap_err().to_string();
        assert!(said.starts_with("flag needs an argument: -lsm-mount-context"), "{said}");
    }
}
