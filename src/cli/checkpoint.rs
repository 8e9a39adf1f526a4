//! `ocicat checkpoint`: save a running container with CRIU.

use super::arguments::Given;
use super::command::{Command, Flag, Positionals};
use super::{Ended, Invocation};
use crate::container::{Checkpoint, Criu};
use anyhow::{Result, bail};

pub(super) const IMAGE_PATH: Flag = Flag::value("image-path", "DIR", "directory of CRIU's image files");
pub(super) const WORK_PATH: Flag = Flag::value("work-path", "DIR", "directory of CRIU's work files and logs");
pub(super) const TCP_ESTABLISHED: Flag = Flag::switch("tcp-established", "allow open TCP connections");
pub(super) const EXT_UNIX_SK: Flag = Flag::switch("ext-unix-sk", "allow external unix sockets");
pub(super) const SHELL_JOB: Flag = Flag::switch("shell-job", "allow a terminal that belongs to a shell outside");
pub(super) const LAZY_PAGES: Flag = Flag::switch("lazy-pages", "fetch memory pages on demand with userfaultfd");
pub(super) const FILE_LOCKS: Flag = Flag::switch("file-locks", "save and restore file locks");
pub(super) const CGROUPS_MODE: Flag =
    Flag::value("manage-cgroups-mode", "MODE", "how CRIU treats cgroups: soft, full, strict or ignore");
pub(super) const EMPTY_NS: Flag =
    Flag::value("empty-ns", "NAMESPACE", "restore this namespace empty: network").repeated();
pub(super) const AUTO_DEDUP: Flag = Flag::switch("auto-dedup", "drop memory images that a later one replaces");
pub(super) const NETWORK_LOCK: Flag =
    Flag::value("network-lock", "METHOD", "how the network stands still: iptables, nftables or skip").hidden();

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "checkpoint",
    about: "Saves a running container with CRIU, to be restored later",
    details: "The container is stopped unless --leave-running or --pre-dump is given.",
    positionals: Positionals::ID,
    flags: &[
        IMAGE_PATH,
        WORK_PATH,
        Flag::value("parent-path", "DIR", "images of an earlier --pre-dump, relative to the image path"),
        Flag::switch("leave-running", "let the container continue"),
        TCP_ESTABLISHED,
        Flag::switch("tcp-skip-in-flight", "skip TCP connections that are not yet established"),
        Flag::switch("link-remap", "allow files that were unlinked but are open"),
        EXT_UNIX_SK,
        SHELL_JOB,
        LAZY_PAGES,
        Flag::value("status-fd", "FD", "descriptor that gets a zero byte when the lazy pages server is ready"),
        Flag::value("page-server", "ADDRESS:PORT", "send memory pages there"),
        FILE_LOCKS,
        Flag::switch("pre-dump", "save only memory, and let the container continue"),
        CGROUPS_MODE,
        EMPTY_NS,
        AUTO_DEDUP,
        NETWORK_LOCK,
    ],
    examples: &[
        ("checkpoint --image-path /tmp/web web", "save the container `web` and stop it"),
        ("checkpoint --leave-running --image-path /tmp/web web", "save it and let it continue"),
    ],
    failure: 1,
    run,
};

fn run(invocation: &Invocation) -> Result<Ended> {
    let _request = request(&invocation.given)?;
    bail!("checkpoint is not implemented yet")
}

fn request(given: &Given) -> Result<Checkpoint> {
    Ok(Checkpoint {
        id: given.argument(0).to_owned(),
        criu: criu(given)?,
        parent_path: given.owned("parent-path"),
        leave_running: given.is("leave-running"),
        tcp_skip_in_flight: given.is("tcp-skip-in-flight"),
        link_remap: given.is("link-remap"),
        pre_dump: given.is("pre-dump"),
        status_fd: given.number("status-fd")?.filter(|fd| *fd >= 0),
        page_server: given.owned("page-server"),
    })
}

/// What `checkpoint` and `restore` have in common.
pub(super) fn criu(given: &Given) -> Result<Criu> {
    match given.value("manage-cgroups-mode") {
        None | Some("" | "soft" | "full" | "strict" | "ignore") => {}
        Some(other) => bail!("invalid manage-cgroups-mode {other:?}: must be soft, full, strict or ignore"),
    }
    let empty_ns = given.all("empty-ns");
    if let Some(other) = empty_ns.iter().find(|name| *name != "network") {
        bail!("invalid empty-ns {other:?}: must be network");
    }
    Ok(Criu {
        image_path: given.owned("image-path"),
        work_path: given.owned("work-path"),
        tcp_established: given.is("tcp-established"),
        ext_unix_sk: given.is("ext-unix-sk"),
        shell_job: given.is("shell-job"),
        file_locks: given.is("file-locks"),
        lazy_pages: given.is("lazy-pages"),
        auto_dedup: given.is("auto-dedup"),
        manage_cgroups_mode: given.owned("manage-cgroups-mode"),
        empty_ns,
        network_lock: given.owned("network-lock"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments;

    #[test]
    fn every_option_of_the_managers_is_taken() {
        let line = "--image-path /i --work-path /w --parent-path p --leave-running --tcp-established --ext-unix-sk \
                    --shell-job --file-locks --pre-dump --empty-ns network --status-fd 3 --page-server :99 \
                    --manage-cgroups-mode soft --lazy-pages --auto-dedup --link-remap --tcp-skip-in-flight web";
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let asked = request(&arguments::command(&COMMAND, &words).unwrap()).unwrap();
        assert!(asked.leave_running && asked.pre_dump && asked.link_remap && asked.tcp_skip_in_flight);
        assert!(asked.criu.tcp_established && asked.criu.ext_unix_sk && asked.criu.shell_job && asked.criu.file_locks);
        assert!(asked.criu.lazy_pages && asked.criu.auto_dedup);
        assert_eq!(asked.status_fd, Some(3));
        assert_eq!(asked.criu.empty_ns, ["network"]);
    }
}
