//! One layer from its compressed bytes to a tree of files, in one pass.

use crate::config::IdMapping;

/// What an image may demand of this machine: an archive that wants more is refused with the limit's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one unpacked layer.
    pub bytes: u64,
    /// Unpacked bytes for each compressed byte, once more than 64 MiB are unpacked.
    pub ratio: u64,
    /// Entries of one layer.
    pub entries: u64,
    /// Components of a name.
    pub depth: usize,
    /// Bytes of one PAX header or GNU long name.
    pub header: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes: 1 << 40, ratio: 1000, entries: 2_000_000, depth: 512, header: 1 << 20 }
    }
}

/// Who owns the unpacked files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Ids {
    /// The ids of the archive as they are (root).
    #[default]
    Kept,
    /// Everything belongs to the caller, who is not root; the archive's ids are kept in an xattr.
    Caller,
    /// The archive's ids through a mapping; an id without a mapping is an error.
    Mapped {
        /// Users.
        uids: Vec<IdMapping>,
        /// Groups.
        gids: Vec<IdMapping>,
    },
}
