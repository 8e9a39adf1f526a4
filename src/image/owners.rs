//! The image's owner of a file on disk: through the mapping of a user namespace, or remembered beside a file that belongs to
//! the caller, who is not root (user.rootlesscontainers, as umoci writes it).

use crate::config::IdMapping;
use anyhow::{Context, Result};
use rustix::fs::Stat;

/// The extended attribute: a protobuf message, field 1 uid, field 2 gid.
pub(crate) const REMEMBERED: &str = "user.rootlesscontainers";

type Attributes = [(Vec<u8>, Vec<u8>)];

/// How owners were changed on their way to the disk.
pub(crate) struct Owners<'a> {
    /// Users and groups of the bundle's user namespace.
    pub(crate) namespace: Option<&'a (Vec<IdMapping>, Vec<IdMapping>)>,
    /// Everything belongs to the caller, in the layers of the store too.
    pub(crate) are_remembered: bool,
}

impl Owners<'_> {
    /// User and group of a file of a bundle.
    pub(crate) fn of(&self, stat: &Stat, xattrs: &Attributes) -> Result<(u32, u32)> {
        let remembered = xattrs.iter().find(|(name, _)| self.are_remembered && name == REMEMBERED.as_bytes());
        if let Some(ids) = remembered.and_then(|(_, value)| decoded(value)) {
            return Ok(ids);
        }
        let (uids, gids) = (self.namespace.map(|n| &n.0), self.namespace.map(|n| &n.1));
        Ok((original(uids, stat.st_uid, "uid")?, original(gids, stat.st_gid, "gid")?))
    }

    /// The same of a file of a layer in the store.
    pub(crate) fn of_layer(&self, stat: &Stat, xattrs: &Attributes) -> Result<(u32, u32)> {
        if self.are_remembered { self.of(stat, xattrs) } else { Ok((stat.st_uid, stat.st_gid)) }
    }
}

/// The id in the image of an id on disk.
fn original(ranges: Option<&Vec<IdMapping>>, id: u32, what: &str) -> Result<u32> {
    let Some(ranges) = ranges else { return Ok(id) };
    let found = ranges.iter().find_map(|range| {
        let offset = id.checked_sub(range.host_id).filter(|offset| *offset < range.size)?;
        range.container_id.checked_add(offset)
    });
    found.with_context(|| format!("{what} {id} is not in the bundle's id mapping"))
}

/// The two varints of the message; a field that is not there is 0 (proto3).
fn decoded(message: &[u8]) -> Option<(u32, u32)> {
    let (mut uid, mut gid) = (0, 0);
    let mut rest = message;
    while let Some((tag, after)) = rest.split_first() {
        let length = after.iter().position(|byte| *byte < 0x80)? + 1;
        let (number, next) = after.split_at_checked(length)?;
        let value = number
            .iter()
            .rev()
            .try_fold(0u64, |value, byte| Some(value.checked_mul(0x80)? | u64::from(*byte & 0x7f)))?;
        match tag {
            0x08 => uid = u32::try_from(value).ok()?,
            0x10 => gid = u32::try_from(value).ok()?,
            _ => return None,
        }
        rest = next;
    }
    Some((uid, gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembered_ids_are_read_and_nothing_else() {
        for (message, ids) in [
            (&[0x08, 33, 0x10, 44][..], Some((33, 44))),
            (&[0x08, 0, 0x10, 0xe8, 0x07], Some((0, 1000))),
            (&[0x10, 5], Some((0, 5))),
            (&[], Some((0, 0))),
            (&[0x08, 0xff, 0xff, 0xff, 0xff, 0x0f], Some((u32::MAX, 0))),
            (&[0x08, 0xff, 0xff, 0xff, 0xff, 0x1f], None),
            (&[0x08], None),
            (&[0x08, 0x80], None),
            (&[0x1a, 1], None),
        ] {
            assert_eq!(decoded(message), ids, "{message:?}");
        }
    }
}
