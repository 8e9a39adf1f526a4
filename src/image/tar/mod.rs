//! The tar format as layers use it: ustar, PAX, GNU long names, base-256 numbers and sparse files.
//!
//! Two programs that read one archive differently is how an archive smuggles (a second member in the data of the first).
//! So what GNU tar and Go's reader understand differently is refused here, and where they agree we do as they do: the PAX
//! size wins over the header's.

mod header;
mod pax;
mod reader;
mod sparse;
mod write;

pub use reader::Reader;
pub use write::Writer;

/// Bytes of one block: headers are blocks, data is padded to blocks.
pub const BLOCK: usize = 512;

/// What an entry makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// A regular file with data.
    #[default]
    File,
    /// Another name of the file `link`.
    HardLink,
    /// A symbolic link to `link`.
    Symlink,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// A piece of a sparse file that has data: offset and length in bytes.
pub type Segment = (u64, u64);

/// A point in time: seconds since 1970 (negative: before), and nanoseconds after that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Time {
    /// Seconds.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// One member of an archive, without its data.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entry {
    /// As the archive spells it, without trailing slashes.
    pub path: Vec<u8>,
    /// What it makes.
    pub kind: Kind,
    /// Permission bits with set-user-id, set-group-id and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of data that follow in the archive.
    pub size: u64,
    /// Modification time.
    pub mtime: Time,
    /// Access time, where the archive has one.
    pub atime: Option<Time>,
    /// Target of a link.
    pub link: Vec<u8>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes: name and value.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of a sparse file: its size with holes, and where the data of the archive goes.
    pub sparse: Option<(u64, Vec<Segment>)>,
}

impl Entry {
    /// Size of the file that this entry makes, holes included (bytes).
    pub fn file_size(&self) -> u64 {
        self.sparse.as_ref().map_or(self.size, |sparse| sparse.0)
    }

    /// The name for messages: at most 200 characters, control characters escaped.
    pub fn shown(&self) -> String {
        shown(&self.path)
    }
}

/// A name of an archive as messages show it.
pub fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let short: String = text.chars().take(200).flat_map(char::escape_debug).collect();
    if text.chars().nth(200).is_some() { format!("{short}...") } else { short }
}
