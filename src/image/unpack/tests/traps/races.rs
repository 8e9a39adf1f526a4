//! Somebody else changes the tree while it is made.

use super::super::{Heard, Store, image, never, sys_open};
use super::{Options, fingerprint, outside, t};
use crate::image::layers::flatten;
use crate::image::unpack::Ids;
use rustix::fs::RenameFlags;
use std::sync::atomic::{AtomicBool, Ordering};

/// CVE-2018-15664 and CVE-2025-47290: a directory becomes a symbolic link between the check and the use.
#[test]
fn a_directory_that_is_exchanged_for_a_link_leads_nowhere_else() {
    let (v, name) = outside();
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(&place.path().join("store")).unwrap();
    let into = place.path().join("tree");
    std::fs::create_dir(&into).unwrap();
    let files = |tar: super::Tar, layer: usize| {
        (0..1500).fold(tar, |tar, n| tar.file(&format!("d/{layer}-{n}"), "x").file("d/secret", "mine"))
    };
    // Other directories in between, so that `d` is looked up again and again.
    let many = |tar: super::Tar| (0..150).fold(tar, |tar, n| tar.dir(&format!("e{n}")).file(&format!("e{n}/f"), ""));
    let layers =
        [files(t().dir("d"), 0).end(), files(many(t()), 1).end(), files(many(t()), 2).file("d/.wh.secret", "").end()];
    let image = image(&store, &layers);
    let before = fingerprint(v.path());
    let done = AtomicBool::new(false);
    let swaps = std::thread::scope(|scope| {
        let swapping = scope.spawn(|| {
            // The link waits beside the tree, which must be empty at the beginning.
            std::os::unix::fs::symlink(&name, place.path().join("link")).unwrap();
            let (tree, beside) = (sys_open(&into), sys_open(place.path()));
            let mut swaps = 0u32;
            while !done.load(Ordering::Relaxed) {
                let swapped = rustix::fs::renameat_with(&tree, "d", &beside, "link", RenameFlags::EXCHANGE);
                swaps += u32::from(swapped.is_ok());
            }
            swaps
        });
        let options = Options { ids: Ids::of_caller(), ..Options::default() };
        // What becomes of the tree is up to who exchanges: an error, or whatever is there.
        let _ = flatten(&store, &image, &never, &into, &options, &Heard::default());
        done.store(true, Ordering::Relaxed);
        swapping.join().unwrap()
    });
    assert!(swaps > 0, "nothing was exchanged");
    assert_eq!(fingerprint(v.path()), before);
}
