//! Whiteouts and opaque markers: done at once in a plain tree, kept for later in a directory of the layer's own.

use super::apply::{Applier, Below};
use super::merged::{components, joined};
use crate::image::whiteout;
use anyhow::Result;
use std::os::fd::AsFd;

impl Applier<'_> {
    pub(super) fn whiteout(&mut self, parent: &[u8], hidden: &[u8]) -> Result<()> {
        match &self.below {
            Below::Nothing => Ok(()),
            Below::Tree => {
                let Some(directory) = self.directories.find(parent)? else { return Ok(()) };
                self.keep_times(parent, &directory)?;
                self.directories.forget();
                whiteout::remove_lower(directory.fd.as_fd(), directory.inode(), hidden, &self.marks)
            }
            Below::Unknown | Below::Stack(_) => {
                let path = joined(components(parent).chain([hidden]));
                self.pending.account(&path, self.limits.deferred)?;
                self.pending.whiteouts.push(path);
                Ok(())
            }
        }
    }

    pub(super) fn opaque(&mut self, path: &[u8]) -> Result<()> {
        match &self.below {
            Below::Nothing => Ok(()),
            Below::Tree => {
                let Some(directory) = self.directories.find(path)? else { return Ok(()) };
                self.keep_times(path, &directory)?;
                self.directories.forget();
                whiteout::prune(directory.fd.as_fd(), &self.marks)?;
                Ok(())
            }
            Below::Unknown | Below::Stack(_) => {
                self.pending.account(path, self.limits.deferred)?;
                self.pending.opaque.insert(path.to_vec());
                Ok(())
            }
        }
    }
}
