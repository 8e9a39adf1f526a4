//! One layer from its compressed bytes to a tree of files, in one pass.
//!
//! ```text
//!  thread 1 (pipeline): read ─▶ digest (+ blob of the store) ─▶ inflate ─┐ 256 KiB buffers
//!  thread 2 (apply):         ┌── diff id ◀───────────────────────────────┘
//!                            └─▶ tar reader ─▶ *at calls below the root's descriptor
//! ```
//!
//! Nothing is done by path: a parent directory is opened by openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS) from the
//! descriptor of the root, and the last component is never followed. A symbolic link in the way means what it would mean
//! to a process in the container.

mod apply;
mod attributes;
mod data;
mod directories;
mod hide;
mod inflate;
mod marks;
mod memory;
mod merged;
mod names;
mod nodes;
mod pending;
mod pipeline;
mod settle;
mod times;

pub use apply::{Below, Target};
pub use memory::{Pool, Room, Share};
pub use pending::Pending;
pub use pipeline::{Opener, Source, Unpacked, layer, layers};
pub use settle::{Settled, settle};

pub(crate) use attributes::{all as all_xattrs, belongs_to_overlay as is_overlays};
pub(crate) use marks::Marks;
pub(crate) use memory::lock;
pub(crate) use merged::{Found, Merged, OPAQUE, Stack, by_descriptor, is_whiteout, joined};
pub(crate) use names::cleaned;

use crate::config::IdMapping;
use anyhow::{Result, bail};

/// What an image may demand of this machine: an archive that wants more is refused with the limit's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one unpacked layer.
    pub bytes: u64,
    /// Unpacked bytes for each compressed byte, once a layer is larger than `ratio_from`.
    pub ratio: u64,
    /// Bytes that a layer may have at any ratio.
    pub ratio_from: u64,
    /// Entries of one layer, directories that are made without one included.
    pub entries: u64,
    /// Components of a name.
    pub depth: usize,
    /// Bytes of the PAX headers and GNU long names of one entry, and of a sparse map.
    pub header: u64,
    /// Bytes of names that must wait for the lower layers (whiteouts, links to lower files).
    pub deferred: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            bytes: 1 << 40,
            ratio: 200,
            ratio_from: 1 << 30,
            entries: 2_000_000,
            depth: 512,
            header: 1 << 20,
            deferred: 12 << 20,
        }
    }
}

/// Who owns the unpacked files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ids {
    /// The ids of the archive as they are (root).
    Kept,
    /// Everything belongs to the caller, who is not root; the archive's ids are kept in the xattr
    /// `user.rootlesscontainers`, as umoci does.
    Caller,
    /// The archive's ids through a mapping; an id without a mapping is an error.
    Mapped {
        /// Users.
        uids: Vec<IdMapping>,
        /// Groups.
        gids: Vec<IdMapping>,
    },
}

impl Default for Ids {
    fn default() -> Ids {
        Ids::of_caller()
    }
}

impl Ids {
    /// What this process can do: root keeps ids, everybody else owns everything.
    pub fn of_caller() -> Ids {
        if rustix::process::geteuid().is_root() { Ids::Kept } else { Ids::Caller }
    }

    /// The owner on disk; `None` leaves the file to the caller.
    pub(crate) fn owner(&self, uid: u32, gid: u32) -> Result<Option<(u32, u32)>> {
        match self {
            Ids::Kept => Ok(Some((uid, gid))),
            Ids::Caller => Ok(None),
            Ids::Mapped { uids, gids } => Ok(Some((mapped(uids, uid, "uid")?, mapped(gids, gid, "gid")?))),
        }
    }
}

fn mapped(ranges: &[IdMapping], id: u32, what: &str) -> Result<u32> {
    let found = ranges.iter().find_map(|range| {
        let offset = id.checked_sub(range.container_id).filter(|offset| *offset < range.size)?;
        range.host_id.checked_add(offset)
    });
    match found {
        Some(host) => Ok(host),
        None => bail!("{what} {id} is not in the id mapping; hint: give the container a larger range in /etc/subuid"),
    }
}

/// True for root of the initial user namespace, who may set `trusted.` attributes.
pub(crate) fn privileged() -> bool {
    rustix::process::geteuid().is_root() && !crate::sys::proc::in_user_namespace()
}

#[cfg(test)]
pub(crate) mod tests;
