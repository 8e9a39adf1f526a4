//! The data of a regular file: from the buffers of the archive straight into the file, holes left as holes.

use crate::image::tar::{Entry, Reader};
use crate::sys::{self, Asked};
use anyhow::Result;
use rustix::fs::SeekFrom;
use std::io::BufRead;
use std::os::fd::OwnedFd;

/// Writes the data that follows `entry`.
pub(super) fn write<R: BufRead>(file: &OwnedFd, entry: &Entry, reader: &mut Reader<'_, R>) -> Result<()> {
    let Some((size, segments)) = &entry.sparse else {
        return copy(file, reader, entry.size);
    };
    for (offset, length) in segments.iter().filter(|(_, length)| *length > 0) {
        rustix::fs::seek(file, SeekFrom::Start(*offset)).asked(|| "lseek".to_owned())?;
        copy(file, reader, *length)?;
    }
    Ok(rustix::fs::ftruncate(file, *size).asked(|| "ftruncate".to_owned())?)
}

fn copy<R: BufRead>(file: &OwnedFd, reader: &mut Reader<'_, R>, mut length: u64) -> Result<()> {
    while length > 0 {
        let piece = reader.data()?;
        let take = piece.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        let piece = piece.get(..take).unwrap_or_default();
        sys::files::write_fd(file, piece)?;
        reader.consume(take);
        length -= take as u64;
    }
    Ok(())
}
