//! Carries the plan out.

use super::Plan;
use anyhow::Result;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What the parent opened for the child before it was born.
#[derive(Debug, Default)]
pub struct Prepared {}

/// The container's root while it is made.
#[derive(Debug)]
pub struct Root {
    tree: OwnedFd,
}

impl Plan {
    /// Opens in the parent what only the parent may open; no system call in the plain case.
    ///
    /// `user_namespace` is the container's user namespace if it exists already (joined by path).
    ///
    /// # Errors
    ///
    /// A bind source that cannot be opened, or an id mapping that the kernel refuses.
    pub fn prepare(&self, _user_namespace: Option<BorrowedFd>) -> Result<Prepared> {
        Ok(Prepared {})
    }

    /// Makes the root, its mounts and its devices; runs in the child, in the container's mount namespace.
    ///
    /// # Errors
    ///
    /// The step that failed, named by its place in config.json.
    pub fn build(&self, _prepared: Prepared) -> Result<Root> {
        Ok(Root { tree: crate::sys::files::open_path("/")? })
    }
}

impl Root {
    /// The root as a descriptor: where paths of the container begin.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.tree.as_fd()
    }

    /// Makes the tree the root of this process; after the createContainer hooks.
    ///
    /// # Errors
    ///
    /// pivot_root(2), or what stands in for it, failed.
    pub fn pivot(&mut self) -> Result<()> {
        Ok(())
    }

    /// The last word: masked and read-only paths, a read-only root, its propagation.
    ///
    /// # Errors
    ///
    /// A path that exists and cannot be masked or made read-only.
    pub fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}
