//! Layers that are made by hand, unpacked both ways: into one tree, and into a directory for each layer. Both must show
//! the same.

pub(crate) mod archive;
mod limits;
mod peers;
mod rootless;
mod traps;

use super::{Found, Merged, Stack, by_descriptor};
use crate::image::digest::Digest;
use crate::image::layers::{self, Layer, Options};
use crate::image::manifest::{Descriptor, media};
use crate::image::progress::Progress;
use crate::image::store::{LayerDirectory, Store};
use rustix::fs::FileType;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Mutex;

/// Warnings as they come.
#[derive(Default)]
pub(crate) struct Heard(pub(crate) Mutex<Vec<String>>);

impl Progress for Heard {
    fn warning(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

/// An image of these compressed layers.
pub(crate) fn image(store: &Store, layers: &[Vec<u8>]) -> Vec<Layer> {
    let put = |bytes: &Vec<u8>| {
        store.put(bytes).unwrap();
        let mut plain = Vec::new();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(&bytes[..]), &mut plain).ok();
        } else if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            plain = zstd::stream::decode_all(&bytes[..]).unwrap();
        } else {
            plain.clone_from(bytes);
        }
        Layer { descriptor: Descriptor::of(media::LAYER, bytes), diff_id: Digest::of(&plain) }
    };
    layers.iter().map(put).collect()
}

pub(crate) fn never(descriptor: &Descriptor) -> anyhow::Result<Box<dyn std::io::Read + Send>> {
    anyhow::bail!("{} is in the store", descriptor.digest)
}

/// Unpacks into one tree; the listing, or the error.
pub(crate) fn flat(layers: &[Vec<u8>], options: &Options, heard: &Heard) -> Result<Vec<String>, String> {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(&place.path().join("store")).unwrap();
    let into = place.path().join("tree");
    let image = image(&store, layers);
    layers::flatten(&store, &image, &never, &into, options, heard).map_err(|e| format!("{e:#}"))?;
    Ok(listing(&[sys_open(&into)]))
}

/// Unpacks each layer into its own directory; the listing of the merged tree, or the error.
pub(crate) fn stacked(layers: &[Vec<u8>], options: &Options, heard: &Heard) -> Result<Vec<String>, String> {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(place.path()).unwrap();
    let image = image(&store, layers);
    let made = layers::prepare(&store, &image, &never, options, heard).map_err(|e| format!("{e:#}"))?;
    Ok(listing(&open_stack(&made)))
}

/// Does it as soon as no process that another test has just forked holds the mount busy.
pub(crate) fn when_not_busy(mut act: impl FnMut() -> anyhow::Result<()>) {
    let begun = std::time::Instant::now();
    loop {
        match act() {
            Err(error)
                if crate::sys::errno_of(&error) == Some(crate::sys::Errno(libc::EBUSY))
                    && begun.elapsed().as_secs() < 60 =>
            {
                std::thread::yield_now();
            }
            other => return other.unwrap(),
        }
    }
}

pub(crate) fn open_stack(made: &[LayerDirectory]) -> Vec<OwnedFd> {
    made.iter().rev().map(|layer| layer.open().unwrap()).collect()
}

pub(crate) fn sys_open(path: &Path) -> OwnedFd {
    crate::sys::files::open(path, rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY).unwrap()
}

/// One line for everything in the merged tree: type, mode, owner, time, name, content.
pub(crate) fn listing(layers: &[OwnedFd]) -> Vec<String> {
    let stack = Stack::new(layers.iter().map(AsFd::as_fd).collect());
    let mut lines = Vec::new();
    let root = stack.root().unwrap();
    let stat = rustix::fs::fstat(&root[0].1).unwrap();
    lines.push(format!("d {:o} .", stat.st_mode & 0o7777));
    walk(&stack, &root, "", &mut lines);
    lines
}

/// ` {name=value}` of what an image may have in the user's name space, and of access control lists.
fn attributes(path: &Path) -> String {
    let all = super::all_xattrs(path.as_os_str()).unwrap_or_default();
    let of_image = |name: &[u8]| {
        (name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_"))
            && name != b"user.rootlesscontainers"
            && !super::is_overlays(name)
    };
    let shown =
        |(name, value): (Vec<u8>, Vec<u8>)| format!(" {{{}={}}}", String::from_utf8_lossy(&name), value.escape_ascii());
    all.into_iter().filter(|(name, _)| of_image(name)).map(shown).collect()
}

fn walk(stack: &Stack<'_>, directory: &Merged, prefix: &str, lines: &mut Vec<String>) {
    let mut names = BTreeSet::new();
    for (_, fd) in directory {
        crate::image::remove::for_each(fd.as_fd(), |name, _| -> anyhow::Result<()> {
            names.insert(name.to_bytes().to_vec());
            Ok(())
        })
        .unwrap();
    }
    for name in names {
        let Some((_, fd, stat)) = stack.locate(directory, &name).unwrap() else { continue };
        let path = format!("{prefix}{}", String::from_utf8_lossy(&name));
        let rest = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => String::new(),
            FileType::Symlink => {
                format!(" -> {}", rustix::fs::readlinkat(&fd, name.as_slice(), Vec::new()).unwrap().to_string_lossy())
            }
            FileType::RegularFile => {
                let open = crate::sys::files::open_at(
                    &fd,
                    std::ffi::OsStr::new(&*String::from_utf8_lossy(&name)),
                    rustix::fs::OFlags::RDONLY,
                )
                .unwrap();
                let bytes = crate::sys::files::read_fd(open, 1 << 26).unwrap();
                let text = if bytes.len() < 40 {
                    String::from_utf8_lossy(&bytes).into_owned()
                } else {
                    Digest::of(&bytes).short().to_owned()
                };
                format!(" = {text}")
            }
            _ => format!(" {}:{}", rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)),
        };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => 'd',
            FileType::Symlink => 'l',
            FileType::RegularFile => 'f',
            FileType::CharacterDevice => 'c',
            FileType::BlockDevice => 'b',
            FileType::Fifo => 'p',
            _ => '?',
        };
        let links = if kind != 'd' && stat.st_nlink > 1 { format!(" ({})", stat.st_nlink) } else { String::new() };
        let own = format!("{}/{}", by_descriptor(fd.as_fd()), String::from_utf8_lossy(&name));
        let shown = attributes(Path::new(&own));
        lines.push(format!(
            "{kind} {:o} {}:{} {}.{} {path}{links}{rest}{shown}",
            stat.st_mode & 0o7777,
            stat.st_uid,
            stat.st_gid,
            stat.st_mtime,
            stat.st_mtime_nsec
        ));
        if let Found::Directory(merged) = stack.child(directory, &name).unwrap() {
            walk(stack, &merged, &format!("{path}/"), lines);
        }
    }
}
