//! `gc` removes what nothing refers to; `check` holds every blob against its digest.

use super::{Store, lock};
use crate::image::configuration::ImageConfiguration;
use crate::image::digest::{self, Digest, Hasher};
use crate::image::manifest::{self, Descriptor, Document};
use crate::image::remove;
use crate::sys;
use anyhow::{Context, Result};
use rustix::fs::OFlags;
use std::collections::BTreeSet;
use std::ffi::CString;
use std::io::Read;
use std::os::fd::AsFd;

/// What `gc` removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs removed.
    pub blobs: u64,
    /// Unpacked layers removed.
    pub layers: u64,
    /// Bytes of the removed blobs.
    pub bytes: u64,
}

/// One thing that `check` found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The blob.
    pub digest: Digest,
    /// What is wrong with it.
    pub what: String,
}

/// Everything that a name or a bundle needs.
#[derive(Debug, Default)]
struct Reachable {
    blobs: BTreeSet<Digest>,
    /// Chain ids.
    layers: BTreeSet<Digest>,
    /// Referred to and not here.
    missing: BTreeSet<Digest>,
}

impl Store {
    /// Removes blobs, layers and leftovers that no name and no bundle refers to. Waits until nobody else uses the store.
    pub fn gc(&self) -> Result<Collected> {
        let collected = self.alone(|| self.collect())?;
        self.make_durable()?;
        Ok(collected)
    }

    /// Does something while nobody else uses the store; waits for that.
    pub(crate) fn alone<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        if !lock::try_exclusive(&self.lock)? {
            lock::exclusive(&self.lock)?;
        }
        let done = act();
        lock::shared(&self.lock)?;
        done
    }

    /// Does something that needs nothing of the store and may take long: `gc` need not wait for it.
    pub(crate) fn while_unlocked<T>(&self, act: impl FnOnce() -> T) -> Result<T> {
        lock::unlock(&self.lock)?;
        let done = act();
        lock::shared(&self.lock)?;
        Ok(done)
    }

    fn collect(&self) -> Result<Collected> {
        let reachable = self.reachable()?;
        let mut collected = Collected::default();
        for digest in self.blobs()? {
            if !reachable.blobs.contains(&digest) {
                collected.bytes += self.size(&digest).unwrap_or(0);
                collected.blobs += 1;
                self.remove_blob(&digest)?;
            }
        }
        let used: BTreeSet<&str> = reachable.layers.iter().map(Digest::hex).collect();
        for hex in self.names("ocicat/layers")? {
            if !used.contains(hex.as_str()) {
                collected.layers += 1;
                self.remove_layer(&hex)?;
            }
        }
        for leftovers in ["ocicat/tmp", "ocicat/locks"] {
            let directory = sys::files::open_at(self.root(), leftovers, OFlags::RDONLY | OFlags::DIRECTORY)?;
            for name in self.names(leftovers)? {
                remove::tree(directory.as_fd(), &CString::new(name)?)?;
            }
        }
        Ok(collected)
    }

    /// Verifies every blob against its digest, and that every blob that is referred to is here.
    pub fn check(&self) -> Result<Vec<Problem>> {
        let mut problems = Vec::new();
        for digest in self.blobs()? {
            let found = self.content_digest(&digest)?;
            if found != digest {
                problems.push(Problem { digest, what: format!("its content has the digest {found}") });
            }
        }
        let missing = self.reachable()?.missing.into_iter();
        problems
            .extend(missing.map(|digest| Problem { digest, what: "an image refers to it and it is not here".into() }));
        Ok(problems)
    }

    /// Removes a blob that `check` found wrong.
    pub fn drop_blob(&self, digest: &Digest) -> Result<()> {
        self.remove_blob(digest)
    }

    /// The digest that the content of a blob really has.
    pub(super) fn content_digest(&self, digest: &Digest) -> Result<Digest> {
        let mut file = self.open_blob(digest)?;
        let mut hasher = Hasher::new(digest.algorithm());
        let mut buffer = vec![0u8; 256 << 10];
        loop {
            let length = file.read(&mut buffer).with_context(|| format!("blob {digest}"))?;
            if length == 0 {
                return Ok(hasher.finish());
            }
            hasher.update(buffer.get(..length).unwrap_or_default());
        }
    }

    /// All blobs of the store.
    pub fn blobs(&self) -> Result<Vec<Digest>> {
        let mut digests = Vec::new();
        let algorithms = match self.names("blobs") {
            // A store that is being made.
            Err(error) if sys::errno_of(&error) == Some(sys::Errno(libc::ENOENT)) => Vec::new(),
            other => other?,
        };
        for algorithm in algorithms {
            let names = match self.names(&format!("blobs/{algorithm}")) {
                // A file of somebody, and no directory of blobs.
                Err(error) if sys::errno_of(&error) == Some(sys::Errno(libc::ENOTDIR)) => continue,
                other => other?,
            };
            for hex in names {
                // What is no digest is not ours, and stays.
                digests.extend(format!("{algorithm}:{hex}").parse::<Digest>());
            }
        }
        Ok(digests)
    }

    /// The names in a directory of the store, sorted.
    pub(super) fn names(&self, directory: &str) -> Result<Vec<String>> {
        let open = sys::files::open_at(self.root(), directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
        let mut names = Vec::new();
        remove::for_each(open.as_fd(), |name, _| -> Result<(), sys::Error> {
            names.push(name.to_string_lossy().into_owned());
            Ok(())
        })?;
        names.sort();
        Ok(names)
    }

    fn reachable(&self) -> Result<Reachable> {
        let mut reachable = Reachable::default();
        for root in self.roots()? {
            self.reach(&root, &mut reachable)?;
        }
        for bundle in self.bundles()? {
            reachable.layers.extend(bundle.chain_ids);
            let descriptor = Descriptor::new("", bundle.manifest, 0);
            self.reach(&descriptor, &mut reachable)?;
        }
        Ok(reachable)
    }

    /// Follows a document to what it refers to; one that cannot be read refers to nothing.
    fn reach(&self, descriptor: &Descriptor, reachable: &mut Reachable) -> Result<()> {
        if !self.has(&descriptor.digest) {
            reachable.missing.insert(descriptor.digest.clone());
            return Ok(());
        }
        if !reachable.blobs.insert(descriptor.digest.clone()) {
            return Ok(());
        }
        let Ok(bytes) = self.read_blob(&descriptor.digest, manifest::LIMIT as usize) else { return Ok(()) };
        match manifest::parse(&bytes, None) {
            Ok(Document::Index(index)) => {
                // Of the platforms of an index only those that were pulled are here.
                for manifest in index.manifests.iter().filter(|manifest| self.has(&manifest.digest)) {
                    self.reach(manifest, reachable)?;
                }
            }
            Ok(Document::Manifest(manifest)) => {
                let config = self.read_blob(&manifest.config.digest, manifest::LIMIT as usize);
                if let Ok(config) = config.and_then(|bytes| ImageConfiguration::parse(&bytes)) {
                    reachable.layers.extend(digest::chain_ids(&config.rootfs.diff_ids));
                }
                for part in manifest.layers.iter().chain([&manifest.config]) {
                    let set = if self.has(&part.digest) { &mut reachable.blobs } else { &mut reachable.missing };
                    set.insert(part.digest.clone());
                }
            }
            Err(_) => {}
        }
        Ok(())
    }
}
