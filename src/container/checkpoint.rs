//! `checkpoint`: a running container becomes files, by CRIU.

use super::criu::{self, Directories, Features, Kind, Notification, Options, Request, Surroundings, Worker, field};
use super::find::{self, Found};
use super::record::Amendment;
use super::status::Status;
use super::{Checkpoint, Runtime};
use crate::config::Config;
use crate::namespaces::{self, Kind as Namespace};
use crate::process::notify;
use crate::spec;
use crate::sys::{Asked, descriptors, files, pidfd};
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::OFlags;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// What criu calls a namespace that is there already when a container is restored; runc's and crun's names.
pub(super) const EXTERNAL_NAMESPACES: [(Namespace, &str, &str); 2] =
    [(Namespace::Network, "net", "extRootNetNS"), (Namespace::Pid, "pid", "extRootPidNS")];

/// How long the processes of a container that was written may take to end, in milliseconds.
const DEADLINE_MS: i32 = 10_000;

/// Writes the processes of a container to files. They end with that, unless they are to go on.
///
/// # Errors
/// The container does not run, or criu cannot write it: then it runs on.
pub fn checkpoint(runtime: &Runtime, request: &Checkpoint) -> Result<()> {
    let program = criu::program()?;
    let found = find::take(runtime, &request.id)?;
    match found.status {
        Status::Running | Status::Paused => {}
        other => bail!("container not running: {} is {other}, and only what runs can be checkpointed", request.id),
    }
    let config = found.config()?;
    let status_fd = status_fd(request)?;
    let directories = Directories::open(&request.criu, true)?;
    check_parent(request, &directories)?;
    let possible = Features { memory_tracking: request.pre_dump, lazy_pages: request.criu.lazy_pages };
    if possible != Features::default() {
        criu::is_possible(&program, possible, if request.pre_dump { "--pre-dump" } else { "--lazy-pages" })?;
    }
    let (pid, init) = found.init()?;
    let options = options(runtime, request, &found, &config, (pid, &directories))?;
    if !request.pre_dump {
        directories.keep_streams(&found.record.streams)?;
    }
    dump(&program, request, options, &directories, status_fd)?;
    if request.leave_running || request.pre_dump {
        return Ok(());
    }
    finish(&found, &init)
}

/// Has criu do it.
fn dump(
    program: &Path,
    request: &Checkpoint,
    options: Options,
    directories: &Directories,
    mut status_fd: Option<OwnedFd>,
) -> Result<()> {
    let kind = if request.pre_dump { Kind::PreDump } else { Kind::Dump };
    let mut act = |happened: &Notification, _: Vec<OwnedFd>| match (happened.script.as_str(), status_fd.take()) {
        // Whoever waits for the pages may ask for them now; the end of the file says it too.
        ("status-ready", Some(fd)) => files::write_fd(fd, b"\0").context("--status-fd"),
        (_, kept) => {
            status_fd = kept;
            Ok(())
        }
    };
    let worker = Worker::start(program, Surroundings::plain())?;
    let response = worker.ask(&Request::Do(kind, options), &mut act)?;
    if response.success { Ok(()) } else { Err(directories.failure(kind, &response)) }
}

/// Everything of the container has been killed by criu.
fn finish(found: &Found, init: &OwnedFd) -> Result<()> {
    if let Some(paths) = found.record.cgroups.as_ref().filter(|_| found.status == Status::Paused) {
        // Version 1: what is frozen does not die.
        paths.thaw()?;
    }
    ensure!(pidfd::wait_end(init, DEADLINE_MS)?, "the container was written and its init does not end");
    found.directory.amend(&Amendment { checkpointed: true, ..Amendment::default() })
}

/// What criu is told.
fn options(
    runtime: &Runtime,
    request: &Checkpoint,
    found: &Found,
    config: &Config,
    (pid, directories): (i32, &Directories),
) -> Result<Options> {
    let mut options = directories.options(&request.criu, config)?;
    options
        .set(field::PID, pid)
        .set(field::ROOT, found.record.rootfs.as_path())
        .switch(field::LEAVE_RUNNING, request.leave_running)
        .switch(field::TCP_SKIP_IN_FLIGHT, request.tcp_skip_in_flight)
        .switch(field::LINK_REMAP, request.link_remap)
        .given(field::PARENT_IMG, request.parent_path.as_deref())
        .switch(field::TRACK_MEM, request.pre_dump || request.parent_path.is_some())
        .given(field::FREEZE_CGROUP, found.record.cgroups.as_ref().and_then(|paths| paths.freezer()));
    if let Some(text) = &request.page_server {
        let (address, port) = address_and_port(text)?;
        options.page_server(address, port);
    }
    let namespaces = namespaces::plan(config, &runtime.host)?;
    for (kind, word, key) in EXTERNAL_NAMESPACES.iter().filter(|row| namespaces.joins(row.0)) {
        let link = namespace_of(pid, word)?;
        let number = link.trim_start_matches(|c: char| !c.is_ascii_digit()).trim_end_matches(']');
        ensure!(!number.is_empty(), "/proc/{pid}/ns/{word}: {link:?} is no {} namespace", kind.word());
        options.set(field::EXTERNAL, format!("{word}[{number}]:{key}").as_str());
    }
    if namespaces.makes(Namespace::Network) {
        empty_network(&mut options);
    }
    if !request.pre_dump {
        external_mounts(&mut options, runtime, found, config, pid)?;
    }
    Ok(options)
}

/// The devices of a network namespace are not ours: hooks or plugins made them, and make them again at restore (as runc
/// has it). What is in the namespace by itself, its loopback, is ours.
pub(super) fn empty_network(options: &mut Options) {
    options.set(field::EMPTY_NS, Namespace::Network.flag() as i32);
}

/// Mounts that come from the host are named and not written.
fn external_mounts(options: &mut Options, runtime: &Runtime, found: &Found, config: &Config, pid: i32) -> Result<()> {
    let plan = spec::plan::plan(&spec::plan::Request {
        config,
        host: &runtime.host,
        bundle: &found.record.bundle,
        id: &found.record.id,
        driver: found.record.cgroups.as_ref().map_or(runtime.driver(), |paths| paths.driver),
        no_pivot: false,
        no_new_keyring: found.record.no_new_keyring,
        preserve_fds: 0,
        // Whether `create` had a service manager is seen in the container: its mount is there or not.
        notify: &notify::Socket::File(notify::DESTINATION.into()),
        variable: &|_| None,
    })?;
    let root = files::open(format!("/proc/{pid}/root"), OFlags::PATH | OFlags::DIRECTORY)?;
    let mountinfo = files::read(format!("/proc/{pid}/mountinfo"), 64 << 20)?;
    let mountinfo = String::from_utf8_lossy(&mountinfo);
    for mount in plan.init.rootfs.external() {
        if let Some(point) = mount.mount_point(root.as_fd(), &mountinfo)? {
            options.set(field::EXTERNAL, external(&point, &mount.target).as_path());
        }
    }
    Ok(())
}

/// `mnt[POINT]:KEY` in a dump, `mnt[KEY]:SOURCE` in a restore (criu(8), `--external`).
pub(super) fn external(left: &Path, right: &Path) -> std::path::PathBuf {
    let mut text = std::ffi::OsString::from("mnt[");
    text.push(left);
    text.push("]:");
    text.push(right);
    text.into()
}

/// The link /proc/PID/ns/WORD: `net:[4026531840]`.
pub(super) fn namespace_of(pid: i32, word: &str) -> Result<String> {
    let path = format!("/proc/{pid}/ns/{word}");
    let link = rustix::fs::readlink(&path, Vec::new()).asked(|| format!("readlink {path}"))?;
    Ok(link.to_string_lossy().into_owned())
}

/// Images of an earlier dump are found relative to the new ones, and so they are still when both have been moved.
fn check_parent(request: &Checkpoint, directories: &Directories) -> Result<()> {
    let Some(parent) = &request.parent_path else { return Ok(()) };
    ensure!(!parent.is_absolute(), "--parent-path {}: must be relative to --image-path", parent.display());
    files::open_at(directories.images(), parent, OFlags::PATH | OFlags::DIRECTORY).context("--parent-path")?;
    Ok(())
}

fn status_fd(request: &Checkpoint) -> Result<Option<OwnedFd>> {
    let Some(number) = request.status_fd else { return Ok(None) };
    let taken = descriptors::take_inherited(number)
        .with_context(|| format!("--status-fd {number}: no such descriptor is open"))?;
    let flags = rustix::fs::fcntl_getfl(&taken).asked(|| "fcntl F_GETFL".to_owned())?;
    let access = flags & OFlags::ACCMODE;
    ensure!(access == OFlags::WRONLY || access == OFlags::RDWR, "--status-fd {number}: it is not open for writing");
    Ok(Some(taken))
}

/// `ADDRESS:PORT`; an IPv6 address stands in brackets.
fn address_and_port(text: &str) -> Result<(&str, u16)> {
    let wrong = || format!("--page-server {text}: must be ADDRESS:PORT");
    let (address, port) = text.rsplit_once(':').with_context(wrong)?;
    let port: u16 = port.parse().with_context(wrong)?;
    let address = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
    ensure!(!address.is_empty() && port != 0, "{}", wrong());
    Ok((address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_server_has_an_address_and_a_port() {
        let rows = [
            ("127.0.0.1:27", Some(("127.0.0.1", 27))),
            ("[::1]:9876", Some(("::1", 9876))),
            ("host", None),
            (":27", None),
            ("host:", None),
            ("host:0", None),
            ("host:70000", None),
        ];
        for (text, expected) in rows {
            assert_eq!(address_and_port(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn external_mounts_are_written_as_criu_reads_them() {
        let shown = external(Path::new("/real data"), Path::new("/data"));
        assert_eq!(shown, Path::new("mnt[/real data]:/data"));
    }
}
