//! `USER[:GROUP]` of an image becomes ids, by the image's own /etc/passwd and /etc/group.
//!
//! A number is a number and never a name (CVE-2016-3697), and one that does not fit is refused (CVE-2024-40635). The files
//! are the image's: they are opened within its root, must be regular, and are read up to a limit (CVE-2026-47262).

use crate::config::User;
use crate::sys::{self, Asked};
use anyhow::{Context, Result, bail};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

/// Bytes of passwd or group that are read.
const LIMIT: usize = 4 << 20;
/// Groups that one user can be in (NGROUPS_MAX of the kernel is 65536; no image means this many).
const GROUPS: usize = 4096;
/// The largest id: 2^31 - 1, what every tool agrees on.
const LARGEST: u32 = i32::MAX as u32;

/// Ids, and what /etc/passwd says about the user.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Account {
    pub(super) user: User,
    pub(super) home: Option<String>,
}

/// The two files of an image.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    /// Reads them below `root`; an image without them has no names.
    pub(super) fn read(root: BorrowedFd<'_>) -> Result<Accounts> {
        Ok(Accounts { passwd: read(root, "etc/passwd")?, group: read(root, "etc/group")? })
    }

    /// Looks `text` up; nothing at all is root.
    pub(super) fn find(&self, text: &str) -> Result<Account> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
            None => (text, None),
        };
        let user = if user.is_empty() { "0" } else { user };
        let number = number(user).with_context(|| format!("user {text:?}"))?;
        let entry = self.passwd.lines().filter_map(PasswdLine::read).find(|line| match number {
            Some(uid) => line.uid == uid,
            None => line.name == user,
        });
        let uid = match (number, &entry) {
            (Some(uid), _) => uid,
            (None, Some(line)) => line.uid,
            (None, None) => bail!("user {user:?} is not in the image's /etc/passwd"),
        };
        let gid = match group {
            Some(group) => self.group(group)?,
            None => entry.as_ref().map_or(0, |line| line.gid),
        };
        // The primary group is in the list too: without it a file could be readable by leaving the group out.
        let mut additional_gids = vec![gid];
        if let (None, Some(line)) = (group, &entry) {
            let others = self.member_of(line.name).filter(|other| *other != gid).take(GROUPS);
            additional_gids.extend(others);
        }
        additional_gids.dedup();
        let home = entry.map(|line| line.home.to_owned()).filter(|home| home.starts_with('/'));
        Ok(Account { user: User { uid, gid, umask: None, additional_gids }, home })
    }

    fn group(&self, group: &str) -> Result<u32> {
        if let Some(gid) = number(group).with_context(|| format!("group {group:?}"))? {
            return Ok(gid);
        }
        let found = self.group.lines().filter_map(GroupLine::read).find(|line| line.name == group);
        found.map(|line| line.gid).with_context(|| format!("group {group:?} is not in the image's /etc/group"))
    }

    fn member_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = u32> + 'a {
        let lines = self.group.lines().filter_map(GroupLine::read);
        lines.filter(move |line| line.members.split(',').any(|member| member == name)).map(|line| line.gid)
    }
}

/// A number within range, or `None` for a name.
fn number(text: &str) -> Result<Option<u32>> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'+') {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(number) if number <= LARGEST => Ok(Some(number)),
        _ => bail!("id {text} is out of range (0 to {LARGEST})"),
    }
}

struct PasswdLine<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl PasswdLine<'_> {
    /// passwd(5); a line that is none is passed over.
    fn read(line: &str) -> Option<PasswdLine<'_>> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = id(fields.nth(1)?)?;
        let gid = id(fields.next()?)?;
        Some(PasswdLine { name, uid, gid, home: fields.nth(1).unwrap_or("") })
    }
}

struct GroupLine<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl GroupLine<'_> {
    /// group(5).
    fn read(line: &str) -> Option<GroupLine<'_>> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = id(fields.nth(1)?)?;
        Some(GroupLine { name, gid, members: fields.next().unwrap_or("").trim() })
    }
}

fn id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id <= LARGEST)
}

fn read(root: BorrowedFd<'_>, path: &str) -> Result<String> {
    // O_NONBLOCK: a fifo of that name would wait for somebody.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
        Err(errno) => return Ok(Err(errno).asked(|| format!("open /{path} of the image"))?),
    };
    let stat = rustix::fs::fstat(&file).asked(|| format!("fstat /{path} of the image"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        bail!("/{path} of the image is no regular file");
    }
    let bytes = sys::files::read_fd(file, LIMIT).with_context(|| format!("/{path} of the image"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_or_number() {
        let accounts = Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44::/srv:/bin/false\n1000:x:0:0::/:/bin/sh\nbad line\nbig:x:4294967296:1:::\n".into(),
            group: "root:x:0:\nwww:x:44:\naudio:x:29:root,web\nvideo:x:30:web\n".into(),
        };
        for (text, expected) in [
            ("", "0:0 [0, 29] /root"),
            ("root", "0:0 [0, 29] /root"),
            ("web", "33:44 [44, 29, 30] /srv"),
            ("33", "33:44 [44, 29, 30] /srv"),
            ("web:audio", "33:29 [29] /srv"),
            ("web:7", "33:7 [7] /srv"),
            ("1000", "1000:0 [0] -"),
            ("1000:1000", "1000:1000 [1000] -"),
            ("2147483647", "2147483647:0 [0] -"),
            (":www", "0:44 [44] /root"),
            ("4294967296:1", "id 4294967296 is out of range"),
            ("2147483648", "is out of range"),
            ("-1", "id -1 is out of range"),
            ("0:4294967296", "is out of range"),
            ("nobody", "is not in the image's /etc/passwd"),
            ("big", "is not in the image's /etc/passwd"),
            ("web:nogroup", "is not in the image's /etc/group"),
        ] {
            let found = match accounts.find(text) {
                Ok(a) => format!(
                    "{}:{} {:?} {}",
                    a.user.uid,
                    a.user.gid,
                    a.user.additional_gids,
                    a.home.as_deref().unwrap_or("-")
                ),
                Err(error) => format!("{error:#}"),
            };
            assert!(found.contains(expected), "{text}: {found}");
        }
    }

    #[test]
    fn the_files_are_the_images_own() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/../../../../../etc/passwd", root.path().join("etc/passwd")).unwrap();
        let open = sys::files::open(root.path(), OFlags::PATH).unwrap();
        let accounts = Accounts::read(std::os::fd::AsFd::as_fd(&open));
        // The link leads to itself within the root.
        assert!(accounts.is_err());
        std::fs::remove_file(root.path().join("etc/passwd")).unwrap();
        rustix::fs::mknodat(&open, "etc/passwd", FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
        let error = Accounts::read(std::os::fd::AsFd::as_fd(&open)).unwrap_err();
        assert!(format!("{error:#}").contains("no regular file"));
    }
}
