//! `ocicat checkpoint`: write a running container to files.

use super::arguments::Given;
use super::command::{Command, Flag, Positionals};
use super::{Ended, Invocation};
use crate::container::{self, Checkpoint, Criu};
use anyhow::Result;

pub(super) const IMAGE_PATH: Flag = Flag::value("image-path", "DIR", "directory of the images (default ./checkpoint)");
pub(super) const WORK_PATH: Flag = Flag::value("work-path", "DIR", "directory of criu's log and work files");
pub(super) const TCP_ESTABLISHED: Flag = Flag::switch("tcp-established", "keep open TCP connections");
pub(super) const EXT_UNIX_SK: Flag = Flag::switch("ext-unix-sk", "allow unix sockets to the outside");
pub(super) const SHELL_JOB: Flag = Flag::switch("shell-job", "allow a terminal of the caller's");
pub(super) const FILE_LOCKS: Flag = Flag::switch("file-locks", "keep file locks");
pub(super) const LAZY_PAGES: Flag = Flag::switch("lazy-pages", "move memory only when it is used (userfaultfd)");
pub(super) const AUTO_DEDUP: Flag = Flag::switch("auto-dedup", "drop pages from images that have them twice");
pub(super) const MANAGE_CGROUPS_MODE: Flag =
    Flag::value("manage-cgroups-mode", "MODE", "cgroups below the container's: soft (default), full, strict, ignore");
pub(super) const EMPTY_NS: Flag =
    Flag::value("empty-ns", "KIND", "make a namespace of this kind without its content (network)").repeated();

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "checkpoint",
    about: "Writes the processes of a running container to files, with CRIU",
    details: "The container is stopped afterwards, unless --leave-running or --pre-dump is given; `restore` makes it run again. \
              It needs the program criu (criu.org). The images have the container's memory: they are readable by their owner \
              only.",
    positionals: Positionals::ID,
    flags: &[
        IMAGE_PATH,
        WORK_PATH,
        Flag::value("parent-path", "DIR", "images of an earlier --pre-dump, relative to the new ones"),
        Flag::switch("leave-running", "let the container run on"),
        TCP_ESTABLISHED,
        Flag::switch("tcp-skip-in-flight", "leave out TCP connections that are not established yet"),
        Flag::switch("link-remap", "allow files that are open and have no name any more"),
        EXT_UNIX_SK,
        SHELL_JOB,
        LAZY_PAGES,
        Flag::value("status-fd", "FD", "file descriptor that gets a zero byte when lazy pages can be fetched"),
        Flag::value("page-server", "ADDRESS:PORT", "send memory there instead of to files"),
        FILE_LOCKS,
        Flag::switch("pre-dump", "write only the memory, and let the container run on"),
        MANAGE_CGROUPS_MODE,
        EMPTY_NS,
        AUTO_DEDUP,
    ],
    examples: &[
        ("checkpoint --image-path /var/lib/web-images web", "write the container `web` and stop it"),
        ("checkpoint --leave-running --image-path images web", "write it and let it run on"),
    ],
    failure: 1,
    run,
};

fn run(invocation: &Invocation) -> Result<Ended> {
    container::checkpoint(&invocation.runtime()?, &request(&invocation.given)?)?;
    Ok(Ended::Done)
}

fn request(given: &Given) -> Result<Checkpoint> {
    Ok(Checkpoint {
        id: given.argument(0).to_owned(),
        criu: criu(given),
        parent_path: given.owned("parent-path"),
        leave_running: given.is("leave-running"),
        tcp_skip_in_flight: given.is("tcp-skip-in-flight"),
        link_remap: given.is("link-remap"),
        pre_dump: given.is("pre-dump"),
        // -1 is runc's default, and go-runc may pass it on.
        status_fd: if given.value("status-fd") == Some("-1") { None } else { given.number("status-fd")? },
        page_server: given.owned("page-server"),
    })
}

/// What `checkpoint` and `restore` have in common.
pub(super) fn criu(given: &Given) -> Criu {
    Criu {
        image_path: given.owned("image-path"),
        work_path: given.owned("work-path"),
        tcp_established: given.is("tcp-established"),
        ext_unix_sk: given.is("ext-unix-sk"),
        shell_job: given.is("shell-job"),
        file_locks: given.is("file-locks"),
        lazy_pages: given.is("lazy-pages"),
        auto_dedup: given.is("auto-dedup"),
        manage_cgroups_mode: given.owned("manage-cgroups-mode"),
        empty_ns: given.all("empty-ns"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments;
    use std::path::PathBuf;

    fn of(line: &str) -> Result<Checkpoint> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        request(&arguments::command(&COMMAND, &words)?)
    }

    #[test]
    fn the_options_become_a_request() {
        let all = of("--image-path /i --work-path=/w --parent-path ../p --leave-running --tcp-established \
                      --tcp-skip-in-flight --link-remap --ext-unix-sk --shell-job --lazy-pages --status-fd 5 \
                      --page-server 127.0.0.1:27 --file-locks --pre-dump --manage-cgroups-mode full \
                      --empty-ns network --auto-dedup web")
        .unwrap();
        assert_eq!(all.id, "web");
        assert_eq!(all.criu.image_path, Some(PathBuf::from("/i")));
        assert_eq!(all.criu.work_path, Some(PathBuf::from("/w")));
        assert_eq!(all.parent_path, Some(PathBuf::from("../p")));
        assert_eq!(all.criu.empty_ns, ["network"]);
        assert_eq!((all.status_fd, all.page_server.as_deref()), (Some(5), Some("127.0.0.1:27")));
        assert_eq!(all.criu.manage_cgroups_mode.as_deref(), Some("full"));
        assert!(all.leave_running && all.tcp_skip_in_flight && all.link_remap && all.pre_dump);
        let criu = &all.criu;
        assert!(criu.tcp_established && criu.ext_unix_sk && criu.shell_job && criu.lazy_pages);
        assert!(criu.file_locks && criu.auto_dedup);
    }

    #[test]
    fn what_is_not_given_is_off() {
        let none = of("--status-fd -1 web").unwrap();
        assert_eq!((none.status_fd, none.criu.image_path, none.leave_running), (None, None, false));
        assert!(of("--status-fd x web").is_err() && of("").is_err());
    }
}
