//! Images for somebody who is not root and has ranges in /etc/subuid and /etc/subgid: this process enters a user namespace
//! of his own, in which it is root and files can have every owner of the ranges. As `podman unshare` does.
//!
//! ```text
//!   this process                         a helper, which stays outside
//!     clone ────────────────────────────▶ waits
//!     unshare(user, mount) ─ "mine" ────▶ newuidmap, newgidmap (set-user-id programs of the host)
//!     root of its own     ◀─ "0" or why ─ ends
//! ```

use crate::config::IdMapping;
use crate::sys::clone::{Cloned, clone3, unshare};
use crate::sys::{self, channel, credentials, pidfd, proc};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The mappings of the namespace that this process entered, as the host sees them.
static ENTERED: OnceLock<(Vec<IdMapping>, Vec<IdMapping>)> = OnceLock::new();

/// What `enter` mapped, if it did: users and groups.
pub fn entered() -> Option<&'static (Vec<IdMapping>, Vec<IdMapping>)> {
    ENTERED.get()
}

/// Enters a user namespace with the caller's ranges; false when the caller is root or has no ranges. Must be called while
/// the process has one thread.
pub fn enter() -> Result<bool> {
    let (uid, gid) = credentials::effective_ids();
    if uid == 0 || proc::in_user_namespace() {
        return Ok(false);
    }
    let user = user_name(uid);
    let uids = mapping(Path::new("/etc/subuid"), uid, uid, user.as_deref());
    let gids = mapping(Path::new("/etc/subgid"), gid, uid, user.as_deref());
    let (Some(uids), Some(gids)) = (uids, gids) else { return Ok(false) };
    let (ours, theirs) = channel::pair()?;
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let helper = match clone3(0, None)? {
        Cloned::Child => {
            let _ = proc::die_with_parent();
            drop(ours);
            let answer = match channel::receive(&theirs) {
                Ok(Some(_)) => {
                    map_ids(pid, &uids, &gids).map_or_else(|error| format!("{error:#}"), |()| "0".to_owned())
                }
                _ => "the caller ended".to_owned(),
            };
            let _ = channel::send(&theirs, answer.as_bytes(), &[]);
            proc::exit_now(0);
        }
        Cloned::Parent(helper) => helper,
    };
    drop(theirs);
    let entered =
        unshare((libc::CLONE_NEWUSER | libc::CLONE_NEWNS) as u64).and_then(|()| channel::send(&ours, b"mine", &[]));
    let answer = entered.and_then(|()| channel::receive(&ours));
    pidfd::reap(&helper.pidfd)?;
    match answer? {
        Some((answer, _)) if answer == b"0" => {}
        Some((why, _)) => bail!("{}", String::from_utf8_lossy(&why)),
        None => bail!("the helper that maps ids ended"),
    }
    credentials::set_gid(0)?;
    credentials::set_uid(0)?;
    sys::mount::change_propagation("/", sys::mount::Propagation::Slave)?;
    let _ = ENTERED.set((uids, gids));
    Ok(true)
}

/// The caller as root, and his range from id 1 up (subuid(5): `USER:START:COUNT`, user by name or number).
fn mapping(file: &Path, own: u32, uid: u32, user: Option<&str>) -> Option<Vec<IdMapping>> {
    let text = sys::files::read_text(file).ok()?;
    let number = uid.to_string();
    let (start, count) = text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let who = fields.next()?;
        let range = (fields.next()?.parse::<u32>().ok()?, fields.next()?.parse::<u32>().ok()?);
        (who == number || Some(who) == user).then_some(range)
    })?;
    // 2^32 - 1 is no id.
    let fits = count > 0 && start.checked_add(count).is_some();
    let root = IdMapping { container_id: 0, host_id: own, size: 1 };
    fits.then(|| vec![root, IdMapping { container_id: 1, host_id: start, size: count }])
}

/// The caller's name in the host's own /etc/passwd.
fn user_name(uid: u32) -> Option<String> {
    let text = String::from_utf8(sys::files::read("/etc/passwd", 4 << 20).ok()?).ok()?;
    let line = text.lines().find(|line| line.split(':').nth(2) == Some(uid.to_string().as_str()))?;
    line.split(':').next().map(str::to_owned)
}

fn map_ids(pid: i32, uids: &[IdMapping], gids: &[IdMapping]) -> Result<()> {
    for (program, ranges) in [("newuidmap", uids), ("newgidmap", gids)] {
        let numbers = ranges.iter().flat_map(|range| [range.container_id, range.host_id, range.size]);
        let mut command = Command::new(program);
        command.arg(pid.to_string()).args(numbers.map(|number| number.to_string()));
        let output = command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("{program}; hint: install the package uidmap"))?;
        if !output.status.success() {
            bail!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn ranges_are_found_by_name_or_number() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "other:1:2\nbroken\nanna:100000:65536\n1001:200000:10\n1002:4294967295:5\n1003:5:0").unwrap();
        let of = |uid, name| {
            let found = mapping(file.path(), uid, uid, name)?;
            Some(
                found
                    .iter()
                    .map(|r| format!("{} {} {}", r.container_id, r.host_id, r.size))
                    .collect::<Vec<_>>()
                    .join(", "),
            )
        };
        assert_eq!(of(1000, Some("anna")).as_deref(), Some("0 1000 1, 1 100000 65536"));
        assert_eq!(of(1001, None).as_deref(), Some("0 1001 1, 1 200000 10"));
        assert_eq!((of(1002, None), of(1003, None), of(7, Some("nobody"))), (None, None, None));
    }
}
