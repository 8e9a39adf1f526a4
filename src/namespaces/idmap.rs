//! Mappings of a user namespace: who writes /proc/PID/{uid_map,gid_map,setgroups} (user_namespaces(7)).

use crate::config::IdMapping;
use crate::sys::{self, files};
use anyhow::{Context, Result, bail};
use std::fmt::{self, Write as _};
use std::process::{Command, Stdio};

/// The mappings of a new user namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mappings {
    /// Ranges of user ids.
    pub uids: Vec<IdMapping>,
    /// Ranges of group ids.
    pub gids: Vec<IdMapping>,
    /// The runtime may write any mapping itself.
    pub privileged: bool,
}

impl Mappings {
    /// Writes the mappings of the process `pid`, which is in its new user namespace and waits.
    ///
    /// A single range that maps the caller's own id needs no privilege, but setgroups(2) must be denied first
    /// (kernel commit 9cc46516ddf4); anything else goes through newuidmap(1) and newgidmap(1).
    pub fn write(&self, pid: i32) -> Result<()> {
        if self.privileged {
            write_map(pid, "uid_map", &self.uids)?;
            return write_map(pid, "gid_map", &self.gids);
        }
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let own = |map: &[IdMapping], id: u32| matches!(map, [only] if only.size == 1 && only.host_id == id);
        if own(&self.uids, uid) {
            write_map(pid, "uid_map", &self.uids)?;
        } else {
            map_by_helper("newuidmap", "/etc/subuid", pid, &self.uids)?;
        }
        if own(&self.gids, gid) {
            files::write_value_at(rustix::fs::CWD, format!("/proc/{pid}/setgroups"), "deny")?;
            write_map(pid, "gid_map", &self.gids)
        } else {
            map_by_helper("newgidmap", "/etc/subgid", pid, &self.gids)
        }
    }
}

impl fmt::Display for Mappings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = |map: &[IdMapping]| {
            map.iter().map(|m| format!("{} {} {}", m.container_id, m.host_id, m.size)).collect::<Vec<_>>().join("; ")
        };
        writeln!(f, "parent: map uids {}, gids {}", ranges(&self.uids), ranges(&self.gids))
    }
}

fn write_map(pid: i32, file: &str, map: &[IdMapping]) -> Result<()> {
    let mut text = String::new();
    for range in map {
        let _ = writeln!(text, "{} {} {}", range.container_id, range.host_id, range.size);
    }
    let field = if file == "uid_map" { "linux.uidMappings" } else { "linux.gidMappings" };
    files::write_value_at(rustix::fs::CWD, format!("/proc/{pid}/{file}"), &text)
        .with_context(|| format!("config.json: {field}"))
}

/// Runs the set-user-ID helper with a fixed argument list (CVE-2017-5985: never anything of the container's).
fn map_by_helper(program: &str, database: &str, pid: i32, map: &[IdMapping]) -> Result<()> {
    let mut command = Command::new(program);
    command.arg(pid.to_string()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    for range in map {
        command.args([range.container_id, range.host_id, range.size].map(|n| n.to_string()));
    }
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => {
            let errno = sys::Errno(error.raw_os_error().unwrap_or(libc::ENOENT));
            bail!("run {program}: {errno}; hint: install {program} (Debian: uidmap) to map more than your own id");
        }
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!("{program}: {}; hint: has {database} a range for you that covers this mapping?", said.trim())
}
