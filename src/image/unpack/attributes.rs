//! Owners, modes and extended attributes.

use super::Ids;
use super::merged::by_descriptor;
use crate::image::owners::REMEMBERED;
use crate::image::progress::Progress;
use crate::image::tar::shown;
use crate::sys::Asked;
use anyhow::{Context, Result};
use rustix::fs::{AtFlags, Gid, Uid, XattrFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

/// Sets attributes and remembers which complaints were made: each once for a layer.
pub(super) struct Attributes<'a> {
    ids: &'a Ids,
    root: bool,
    /// Root of the host, who may set every attribute.
    privileged: bool,
    said: BTreeSet<String>,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(ids: &'a Ids) -> Attributes<'a> {
        let root = rustix::process::geteuid().is_root();
        Attributes { ids, root, privileged: super::privileged(), said: BTreeSet::new() }
    }

    /// The owner that chown must give; `None` when a new file has it already.
    pub(super) fn owner(&self, uid: u32, gid: u32, directory_gives_group: bool) -> Result<Option<(Uid, Gid)>> {
        let Some((uid, gid)) = self.ids.owner(uid, gid)? else { return Ok(None) };
        let ours = self.root && uid == 0 && gid == 0 && !directory_gives_group;
        Ok((!ours).then(|| (Uid::from_raw(uid), Gid::from_raw(gid))))
    }

    /// The archive's ids where the file itself cannot have them.
    pub(super) fn remembered(&self, uid: u32, gid: u32) -> Option<Vec<u8>> {
        (*self.ids == Ids::Caller && (uid, gid) != (0, 0)).then(|| rootless_ids(uid, gid))
    }

    /// Sets the extended attributes of an open file (not O_PATH).
    pub(super) fn set(
        &mut self,
        file: impl AsFd,
        xattrs: &[(Vec<u8>, Vec<u8>)],
        ids: (u32, u32),
        progress: &dyn Progress,
    ) -> Result<()> {
        self.each(xattrs, ids, true, progress, |name, value| {
            rustix::fs::fsetxattr(file.as_fd(), name, value, XattrFlags::empty())
        })
    }

    /// Sets the extended attributes of an O_PATH descriptor.
    pub(super) fn set_path(
        &mut self,
        file: impl AsFd,
        xattrs: &[(Vec<u8>, Vec<u8>)],
        ids: (u32, u32),
        progress: &dyn Progress,
    ) -> Result<()> {
        let path = by_descriptor(file.as_fd());
        self.each(xattrs, ids, true, progress, |name, value| {
            rustix::fs::setxattr(path.as_str(), name, value, XattrFlags::empty())
        })
    }

    /// Sets the extended attributes of a link or device `name` itself.
    pub(super) fn set_at(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        xattrs: &[(Vec<u8>, Vec<u8>)],
        progress: &dyn Progress,
    ) -> Result<()> {
        let path = [by_descriptor(directory).as_bytes(), b"/", name].concat();
        self.each(xattrs, (0, 0), false, progress, |name, value| {
            rustix::fs::lsetxattr(std::ffi::OsStr::from_bytes(&path), name, value, XattrFlags::empty())
        })
    }

    fn each(
        &mut self,
        xattrs: &[(Vec<u8>, Vec<u8>)],
        (uid, gid): (u32, u32),
        takes_user: bool,
        progress: &dyn Progress,
        set: impl Fn(&[u8], &[u8]) -> rustix::io::Result<()>,
    ) -> Result<()> {
        for (name, value) in xattrs {
            if belongs_to_the_host(name) {
                continue;
            }
            if belongs_to_overlay(name) {
                self.say(
                    progress,
                    format!("extended attribute {} of the image is left out: it would steer overlayfs", shown(name)),
                );
                continue;
            }
            match set(name, value) {
                Ok(()) => {}
                Err(Errno::OPNOTSUPP) => {
                    self.say(progress, format!("extended attribute {}: the file system does not take it", shown(name)));
                }
                Err(Errno::PERM) if !self.privileged || (!takes_user && name.starts_with(b"user.")) => {
                    self.say(progress, format!("extended attribute {}: not permitted, left out", shown(name)));
                }
                Err(errno) => {
                    return Err(errno).asked(|| "setxattr".to_owned()).with_context(|| shown(name));
                }
            }
        }
        if takes_user && let Some(value) = self.remembered(uid, gid) {
            let _ = set(REMEMBERED.as_bytes(), &value);
        }
        Ok(())
    }

    /// Tells the user something, once.
    pub(super) fn say(&mut self, progress: &dyn Progress, text: String) {
        if !self.said.contains(&text) && self.said.len() < 100 {
            progress.warning(&text);
            self.said.insert(text);
        }
    }
}

/// What only overlayfs itself may set.
pub(crate) fn belongs_to_overlay(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

/// Labels of the machine where the image was made mean nothing here.
pub(crate) fn belongs_to_the_host(name: &[u8]) -> bool {
    name == b"security.selinux" || name == b"system.nfs4_acl"
}

/// The protobuf message of user.rootlesscontainers: field 1 uid, field 2 gid, as varints.
fn rootless_ids(uid: u32, gid: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(12);
    for (tag, mut number) in [(0x08, uid), (0x10, gid)] {
        bytes.push(tag);
        while number >= 0x80 {
            bytes.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
    }
    bytes
}

/// All extended attributes of a file by its name: `name` itself, not where it leads.
pub(crate) fn all(path: &std::ffi::OsStr) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = vec![0u8; 1024];
    let length = loop {
        match rustix::fs::llistxattr(path, &mut names[..]) {
            Ok(length) => break length,
            Err(Errno::RANGE) => names.resize(names.len() * 4, 0),
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(errno) => return Ok(Err(errno).asked(|| format!("llistxattr {}", path.display()))?),
        }
    };
    names.truncate(length);
    let mut found = Vec::new();
    for name in names.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0u8; 256];
        let length = loop {
            match rustix::fs::lgetxattr(path, name, &mut value[..]) {
                Ok(length) => break Some(length),
                Err(Errno::RANGE) => value.resize(value.len() * 16, 0),
                Err(Errno::NODATA | Errno::OPNOTSUPP) => break None,
                Err(errno) => return Ok(Err(errno).asked(|| format!("lgetxattr {}", path.display()))?),
            }
        };
        if let Some(length) = length {
            value.truncate(length);
            found.push((name.to_vec(), value));
        }
    }
    found.sort();
    Ok(found)
}

/// The access control list of a file, which a new one may have from its directory.
pub(super) const ACL: &str = "system.posix_acl_access";

/// Takes the extended attributes of an open or O_PATH directory away, access control lists among them.
pub(super) fn drop_all(directory: BorrowedFd<'_>) -> Result<()> {
    let path = format!("{}/.", by_descriptor(directory));
    for (name, _) in all(path.as_ref())? {
        if !belongs_to_the_host(&name) && !belongs_to_overlay(&name) {
            let _ = rustix::fs::removexattr(path.as_str(), name.as_slice());
        }
    }
    Ok(())
}

/// Changes the owner of an open file or O_PATH descriptor.
pub(super) fn chown(file: BorrowedFd<'_>, (uid, gid): (Uid, Gid)) -> Result<()> {
    Ok(rustix::fs::chownat(file, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH).asked(|| "chown".to_owned())?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn remembered_ids_are_a_protobuf_message() {
        assert_eq!(super::rootless_ids(0, 1000), [0x08, 0x00, 0x10, 0xe8, 0x07]);
    }
}
