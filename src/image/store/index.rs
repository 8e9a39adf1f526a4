//! index.json: the names of the store. Read, changed and replaced under a lock.

use super::{Store, lock};
use crate::config::json;
use crate::image::manifest::{Descriptor, Index, media};
use crate::image::remove;
use crate::sys::{self, Asked};
use anyhow::{Context, Result, bail};
use rustix::fs::{Access, AtFlags, Mode, OFlags};
use std::os::fd::BorrowedFd;

/// The annotation that carries the name (image-spec annotations.md).
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An index.json of this size names a hundred thousand images.
const INDEX_LIMIT: usize = 64 << 20;

/// One named image of the store.
#[derive(Debug, Clone)]
pub struct Tag {
    /// The name, as it was given to `tag`.
    pub reference: String,
    /// A manifest, or an index of manifests.
    pub descriptor: Descriptor,
}

impl Store {
    /// Gives `descriptor` the name `reference`; a name points to one thing, the last one given.
    pub fn tag(&self, reference: &str, descriptor: &Descriptor) -> Result<()> {
        if !self.has(&descriptor.digest) {
            bail!("{reference}: blob {} is not in the store", descriptor.digest);
        }
        let mut named = descriptor.clone();
        named.annotations.get_or_insert_default().insert(REF_NAME.to_owned(), reference.to_owned());
        self.change_index(|manifests| {
            manifests.retain(|d| name_of(d) != Some(reference));
            manifests.push(named);
        })
    }

    /// What `reference` names.
    pub fn resolve(&self, reference: &str) -> Result<Option<Descriptor>> {
        Ok(self.list()?.into_iter().find(|tag| tag.reference == reference).map(|tag| tag.descriptor))
    }

    /// All names, in the order they were given.
    pub fn list(&self) -> Result<Vec<Tag>> {
        let index = self.index()?;
        let named = index.manifests.into_iter().filter_map(|mut descriptor| {
            let annotations = descriptor.annotations.as_mut()?;
            let reference = annotations.remove(REF_NAME)?;
            descriptor.annotations = descriptor.annotations.filter(|rest| !rest.is_empty());
            Some(Tag { reference, descriptor })
        });
        Ok(named.collect())
    }

    /// Takes a name away; the content stays until `gc`. False when there is no such name.
    pub fn remove(&self, reference: &str) -> Result<bool> {
        let mut found = false;
        self.change_index(|manifests| {
            let before = manifests.len();
            manifests.retain(|d| name_of(d) != Some(reference));
            found = manifests.len() != before;
        })?;
        Ok(found)
    }

    /// Every descriptor of index.json, named or not.
    pub(super) fn roots(&self) -> Result<Vec<Descriptor>> {
        Ok(self.index()?.manifests)
    }

    fn index(&self) -> Result<Index> {
        read_index(self.root()).with_context(|| format!("store {}", self.path().display()))
    }

    fn change_index(&self, change: impl FnOnce(&mut Vec<Descriptor>)) -> Result<()> {
        let _held = lock::hold(self.root(), "ocicat/index.lock")?;
        let mut index = read_index(self.root())?;
        change(&mut index.manifests);
        replace_index(self.root(), &index)
    }
}

fn name_of(descriptor: &Descriptor) -> Option<&str> {
    descriptor.annotation(REF_NAME)
}

fn read_index(root: BorrowedFd<'_>) -> Result<Index> {
    let file = match sys::files::open_at(root, "index.json", OFlags::RDONLY | OFlags::NOFOLLOW) {
        Err(error) if error.errno.0 == libc::ENOENT && is_being_made(root)? => return Ok(empty()),
        other => other?,
    };
    let bytes = sys::files::read_fd(file, INDEX_LIMIT).context("index.json")?;
    json::parse(&bytes).context("index.json")
}

fn empty() -> Index {
    Index { schema_version: 2, media_type: Some(media::INDEX.to_owned()), manifests: Vec::new(), annotations: None }
}

/// True of a directory in which somebody makes a store just now, or was killed at it: `index.json` comes last. Any other
/// directory is none.
fn is_being_made(root: BorrowedFd<'_>) -> Result<bool> {
    if rustix::fs::accessat(root, "ocicat", Access::EXISTS, AtFlags::empty()).is_ok() {
        return Ok(true);
    }
    let mut is_empty = true;
    remove::for_each(root, |name, _| -> sys::Result<()> {
        // The first directory that a store gets.
        is_empty &= name == c"blobs";
        Ok(())
    })?;
    Ok(is_empty)
}

/// A new index.json is on the disk before it has the name: names are few, and lost ones nobody can compute again.
fn replace_index(root: BorrowedFd<'_>, index: &Index) -> Result<()> {
    const TEMPORARY: &str = "ocicat/tmp/index.json";
    let bytes = serde_json::to_vec(index).context("index.json")?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(root, TEMPORARY, flags, Mode::from_raw_mode(0o644))
        .asked(|| format!("create {TEMPORARY}"))?;
    sys::files::write_fd(&file, &bytes)?;
    rustix::fs::fsync(&file).asked(|| format!("fsync {TEMPORARY}"))?;
    Ok(rustix::fs::renameat(root, TEMPORARY, root, "index.json").asked(|| "rename index.json".to_owned())?)
}

/// Writes the two files that make a directory an image layout, where they are missing.
pub(super) fn initialise(root: BorrowedFd<'_>) -> Result<()> {
    let _held = lock::hold(root, "ocicat/index.lock")?;
    if sys::files::open_at(root, "oci-layout", OFlags::PATH | OFlags::NOFOLLOW).is_err() {
        sys::files::replace_at(root, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644)?;
    }
    if sys::files::open_at(root, "index.json", OFlags::PATH | OFlags::NOFOLLOW).is_err() {
        replace_index(root, &empty())?;
    }
    Ok(())
}
