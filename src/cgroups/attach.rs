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
        return write_lines(devices, rules);
    }
    match paths.unified() {
        Some(unified) => attach(unified, rules, made.contains(&unified.directory)),
        None => anyhow::bail!("linux.resources.devices: this host has no cgroup controller for devices"),
    }
}

fn write_lines(devices: &Hierarchy, rules: &Rules) -> Result<()> {
    let open = |file: &str| files::open(devices.directory.join(file), OFlags::WRONLY);
    let (allow, deny) = (open("devices.allow")?, open("devices.deny")?);
    for (file, line) in rules.v1_lines()? {
        let fd = if file == "devices.allow" { &allow } else { &deny };
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
