//! Puts device rules in force: lines for version 1, a program for cgroup2.

use super::devices::Rules;
use super::path::{Hierarchy, Paths};
use super::program::program;
use crate::sys::{Asked, Errno, bpf, files};
use anyhow::{Context, Result};
use rustix::fs::OFlags;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// Applies `rules` to the container; `made` are the directories that are new and have no program yet.
pub(super) fn apply(paths: &Paths, rules: &Rules, made: &[PathBuf]) -> Result<()> {
    if let Some(devices) = paths.v1("devices") {
        return write_lines(devices, &rules.v1_lines()?);
    }
    match paths.unified() {
        Some(unified) => attach(unified, rules, made.contains(&unified.directory)),
        None => anyhow::bail!("linux.resources.devices: this host has no cgroup controller for devices"),
    }
}

/// Changes the rules of a container that runs. cgroup2 changes programs in one step; in version 1 what is new is allowed
/// before what is gone is denied, so that nothing that stays is ever refused.
pub(super) fn change(paths: &Paths, rules: &Rules) -> Result<()> {
    let Some(devices) = paths.v1("devices") else { return apply(paths, rules, &[]) };
    let now = files::read_text(devices.directory.join("devices.list"))?;
    let lines = rules.v1_lines()?;
    let only_allows = |line: &&(&str, String)| line.0 == "devices.allow";
    if rules.allowed || now.starts_with('a') || !lines.iter().skip(1).all(|line| only_allows(&line)) {
        return write_lines(devices, &lines);
    }
    let new = lines.iter().skip(1).filter(|(_, line)| !now.lines().any(|old| old == line));
    let gone = now.lines().filter(|old| !lines.iter().any(|(_, line)| line == old));
    let mut changes: Vec<(&str, String)> = new.cloned().collect();
    changes.extend(gone.map(|line| ("devices.deny", line.to_owned())));
    write_lines(devices, &changes)
}

/// The rules that were in force before a change.
#[derive(Debug)]
pub(super) enum Former {
    /// devices.list as it was.
    V1(String),
    /// The programs that were attached.
    V2(Vec<OwnedFd>),
}

/// Reads what `put_back` needs; `None` without a cgroup that has rules.
pub(super) fn former(paths: &Paths) -> Result<Option<Former>> {
    if let Some(devices) = paths.v1("devices") {
        return Ok(Some(Former::V1(files::read_text(devices.directory.join("devices.list"))?)));
    }
    let Some(unified) = paths.unified() else { return Ok(None) };
    let cgroup = files::open(&unified.directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
    Ok(Some(Former::V2(bpf::device_programs(&cgroup)?)))
}

/// Puts the former rules in force again, whatever part of a change was made.
pub(super) fn put_back(paths: &Paths, former: &Former) -> Result<()> {
    match (former, paths.v1("devices"), paths.unified()) {
        (Former::V1(list), Some(devices), _) => put_back_list(devices, list),
        (Former::V2(programs), _, Some(unified)) => put_back_programs(unified, programs),
        _ => Ok(()),
    }
}

fn put_back_list(devices: &Hierarchy, list: &str) -> Result<()> {
    if list.starts_with('a') {
        return write_lines(devices, &[("devices.allow", "a".to_owned())]);
    }
    let now = files::read_text(devices.directory.join("devices.list"))?;
    let mut changes = Vec::new();
    if now.starts_with('a') {
        changes.push(("devices.deny", "a".to_owned()));
    }
    let missing = list.lines().filter(|old| !now.lines().any(|line| line == *old));
    changes.extend(missing.map(|line| ("devices.allow", line.to_owned())));
    let added = now.lines().filter(|line| !line.starts_with('a') && !list.lines().any(|old| old == *line));
    changes.extend(added.map(|line| ("devices.deny", line.to_owned())));
    write_lines(devices, &changes)
}

fn put_back_programs(unified: &Hierarchy, programs: &[OwnedFd]) -> Result<()> {
    let cgroup = files::open(&unified.directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let now = bpf::device_programs(&cgroup)?;
    match (programs, now.as_slice()) {
        ([old], [new]) => return Ok(bpf::attach_device_program(&cgroup, old, Some(new))?),
        (old, now) if old.len() == now.len() => return Ok(()),
        _ => {}
    }
    for program in programs {
        match bpf::attach_device_program(&cgroup, program, None) {
            // It is attached still.
            Err(e) if e.errno == Errno(libc::EINVAL) => {}
            other => other?,
        }
    }
    // They are listed in the order in which they were attached.
    now.last().map_or(Ok(()), |new| bpf::detach_device_program(&cgroup, new)).map_err(Into::into)
}

fn write_lines(devices: &Hierarchy, lines: &[(&str, String)]) -> Result<()> {
    let open = |file: &str| files::open(devices.directory.join(file), OFlags::WRONLY);
    let (allow, deny) = (open("devices.allow")?, open("devices.deny")?);
    for (file, line) in lines {
        let fd = if *file == "devices.allow" { &allow } else { &deny };
        rustix::io::write(fd, line.as_bytes())
            .asked(|| format!("write {line:?} to {}", devices.directory.join(file).display()))
            .context("linux.resources.devices")?;
    }
    Ok(())
}

/// Attaches the program, in one step in the place of the one that is there. With nothing denied there is no program.
fn attach(unified: &Hierarchy, rules: &Rules, is_new: bool) -> Result<()> {
    if is_new && rules.allow_everything() {
        return Ok(());
    }
    let cgroup = files::open(&unified.directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut old = if is_new { Vec::new() } else { bpf::device_programs(&cgroup)? };
    if !rules.allow_everything() {
        let new = load(rules).context("linux.resources.devices")?;
        let replaced = if old.len() == 1 { old.pop() } else { None };
        bpf::attach_device_program(&cgroup, &new, replaced.as_ref())?;
    }
    old.iter().try_for_each(|program| bpf::detach_device_program(&cgroup, program)).map_err(Into::into)
}

/// Kernels before 5.11 count programs as locked memory, and EPERM is all that they say when it is too much.
fn load(rules: &Rules) -> crate::sys::Result<OwnedFd> {
    let code = program(rules);
    match bpf::load_device_program(&code) {
        Err(e) if e.errno == Errno(libc::EPERM) => {
            bpf::raise_memlock();
            bpf::load_device_program(&code)
        }
        other => other,
    }
}
