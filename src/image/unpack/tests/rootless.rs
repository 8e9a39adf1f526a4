//! Unpacking by somebody who is not root: in a thread that gave its privileges away.

use super::archive::{Raw, Tar, octal};
use super::{Heard, flat, image, never, stacked};
use crate::image::layers::{self, Options};
use crate::image::store::Store;
use crate::image::unpack::Ids;

const NOBODY: u32 = 65534;

/// False when this process is nobody who could become somebody else.
fn become_nobody() -> bool {
    let root = rustix::process::geteuid().is_root();
    !root || (crate::sys::credentials::set_gid(NOBODY).is_ok() && crate::sys::credentials::set_uid(NOBODY).is_ok())
}

fn raw(kind: u8, name: &str, mode: u32, id: u64) -> Raw {
    Raw { mode, uid: octal(id), gid: octal(id), ..Raw::new(kind, name) }
}

#[test]
fn somebody_unpacks_read_only_directories_foreign_owners_and_devices() {
    if !become_nobody() {
        return;
    }
    let layers = [
        Tar::new()
            .with(raw(b'5', "closed", 0o555, 0), b"")
            .with(raw(b'0', "closed/a", 0o4755, 33), b"1")
            .with(raw(b'5', "closed/in", 0o500, 0), b"")
            .with(raw(b'0', "closed/in/b", 0o000, 0), b"2")
            .device(b'3', "null", (1, 3))
            .end(),
        Tar::new().file("closed/new", "3").file("closed/in/.wh.b", "").end(),
    ];
    for (way, unpack) in
        [("flat", flat as fn(&[Vec<u8>], &Options, &Heard) -> Result<Vec<String>, String>), ("stacked", stacked)]
    {
        let heard = Heard::default();
        let lines =
            unpack(&layers, &Options::default(), &heard).unwrap_or_else(|error| panic!("{way}: {error}")).join("\n");
        for line in [
            "d 555 65534:65534 1000000000.0 closed\n",
            "closed/a = 1",
            "closed/new = 3",
            "d 500 65534:65534 1000000000.0 closed/in\n",
            "null = ",
        ] {
            assert!(lines.contains(line), "{way}: no {line:?} in\n{lines}");
        }
        assert!(lines.contains("f 4755 ") && !lines.contains("in/b"), "{way}: {lines}");
        assert!(heard.0.lock().unwrap().iter().any(|w| w.contains("stands for a device")), "{way}");
    }
}

#[test]
fn the_owner_that_a_file_should_have_is_remembered() {
    if !become_nobody() {
        return;
    }
    assert_eq!(Ids::default(), Ids::Caller);
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(&place.path().join("s")).unwrap();
    let layer = Tar::new().with(raw(b'0', "a", 0o644, 33), b"1").file("b", "2").end();
    let made =
        layers::prepare(&store, &image(&store, &[layer]), &never, &Options::default(), &Heard::default()).unwrap();
    let of = |name: &str| crate::image::unpack::all_xattrs(made[0].path.join(name).as_os_str()).unwrap();
    let kept = of("a");
    // A file system without user attributes keeps nothing.
    if !kept.is_empty() {
        assert_eq!(kept, [(b"user.rootlesscontainers".to_vec(), vec![8, 33, 16, 33])]);
    }
    assert!(of("b").is_empty());
}
