//! The store as other processes and other tools see it.

use super::*;
use crate::image::manifest::{Descriptor, media};
use std::io::Write;

fn store() -> (tempfile::TempDir, Store) {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(&place.path().join("a/b")).unwrap();
    (place, store)
}

/// An image without content beside its documents: manifest, config and one layer.
fn image(store: &Store, layer: &[u8]) -> Descriptor {
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        Digest::of(layer)
    );
    let (config_digest, layer_digest) = (store.put(config.as_bytes()).unwrap(), store.put(layer).unwrap());
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{config_digest}","size":{}}},"layers":[{{"mediaType":"{}","digest":"{layer_digest}","size":{}}}]}}"#,
        media::MANIFEST,
        media::CONFIG,
        config.len(),
        media::LAYER,
        layer.len(),
    );
    store.put(manifest.as_bytes()).unwrap();
    Descriptor::of(media::MANIFEST, manifest.as_bytes())
}

#[test]
fn a_name_points_to_the_last_thing_given() {
    let (_place, store) = store();
    let (one, two) = (image(&store, b"one"), image(&store, b"two"));
    store.tag("x:1", &one).unwrap();
    store.tag("y:1", &one).unwrap();
    store.tag("x:1", &two).unwrap();
    assert_eq!(store.resolve("x:1").unwrap(), Some(two));
    let names: Vec<String> = store.list().unwrap().into_iter().map(|tag| tag.reference).collect();
    assert_eq!(names, ["y:1", "x:1"]);
    assert!(store.remove("y:1").unwrap() && !store.remove("y:1").unwrap());
    assert!(store.tag("z", &Descriptor::of("x", b"not here")).is_err());
}

#[test]
fn gc_keeps_what_names_and_bundles_need() {
    let (place, store) = store();
    let (one, two) = (image(&store, b"one"), image(&store, b"two"));
    store.tag("x:1", &one).unwrap();
    store
        .note_bundle(&BundleUse {
            path: place.path().to_owned(),
            manifest: two.digest.clone(),
            chain_ids: vec![Digest::of(b"two")],
            mount: None,
        })
        .unwrap();
    for layer in [b"one", b"two", b"ten"] {
        let record = LayerRecord { diff_id: Digest::of(layer), entries: 0, bytes: 0 };
        store.layer_draft().unwrap().publish(&Digest::of(layer), &record).unwrap();
    }
    store.put(b"nobody wants me").unwrap();
    std::mem::forget(store.new_blob().unwrap());
    assert_eq!(store.gc().unwrap(), Collected { blobs: 1, layers: 1, bytes: 15 });
    assert_eq!(store.blobs().unwrap().len(), 6);
    assert!(store.layer(&Digest::of(b"two")).is_some() && store.layer(&Digest::of(b"ten")).is_none());
    assert_eq!(store.names("ocicat/tmp").unwrap(), Vec::<String>::new());
    store.forget_bundle(place.path()).unwrap();
    assert_eq!(store.gc().unwrap().blobs, 3);
}

#[test]
fn check_finds_changed_and_missing_blobs() {
    let (place, store) = store();
    let one = image(&store, b"one");
    store.tag("x:1", &one).unwrap();
    assert_eq!(store.check().unwrap(), []);
    let blob = place.path().join("a/b").join(blob_path(&Digest::of(b"one")));
    std::fs::OpenOptions::new().append(true).open(blob).unwrap().write_all(b"more").unwrap();
    let problems = store.check().unwrap();
    assert_eq!(problems.len(), 1);
    store.drop_blob(&problems[0].digest).unwrap();
    assert!(store.check().unwrap()[0].what.contains("not here"));
}

#[test]
fn what_another_boot_left_unsynced_is_verified() {
    let (place, store) = store();
    let path = place.path().join("a/b");
    let (good, bad) = (store.put(b"good").unwrap(), store.put(b"bad").unwrap());
    let layer = Digest::of(b"layer");
    let record = LayerRecord { diff_id: layer.clone(), entries: 0, bytes: 0 };
    store.layer_draft().unwrap().publish(&layer, &record).unwrap();
    let blob = path.join(blob_path(&bad));
    std::fs::OpenOptions::new().write(true).truncate(true).open(blob).unwrap();
    drop(store);
    let ledger = path.join("ocicat/unsynced");
    let boot = std::fs::read_dir(&ledger).unwrap().next().unwrap().unwrap().path();
    std::fs::rename(boot, ledger.join("another-boot")).unwrap();
    let store = Store::open(&path).unwrap();
    assert!(store.has(&good) && !store.has(&bad) && store.layer(&layer).is_none());
    assert_eq!(std::fs::read_dir(ledger).unwrap().count(), 0);
}

#[test]
fn a_synced_store_has_no_marks() {
    let (_place, store) = store();
    store.put(b"x").unwrap();
    assert!(store.durable_in().is_some());
    store.make_durable().unwrap();
    assert_eq!(store.names("ocicat/unsynced").unwrap(), Vec::<String>::new());
    assert!(store.durable_in().is_none());
    // And what comes afterwards is marked again.
    store.put(b"y").unwrap();
    assert_eq!(store.names(&format!("ocicat/unsynced/{}", store.boot)).unwrap().len(), 1);
}

/// A reboot, a clean one too, took every layer that no `gc` had synced.
#[test]
fn marks_go_with_a_later_command_and_not_with_the_next_one() {
    let (place, store) = store();
    let path = place.path().join("a/b");
    let layer = Digest::of(b"layer");
    let record = LayerRecord { diff_id: layer.clone(), entries: 0, bytes: 0 };
    store.layer_draft().unwrap().publish(&layer, &record).unwrap();
    let boot = store.boot.clone();
    drop(store);
    let ledger = path.join("ocicat/unsynced");
    let marked = || std::fs::read_dir(&ledger).unwrap().count();
    let mut store = Store::open(&path).unwrap();
    store.make_durable_if(|| true).unwrap();
    assert_eq!(marked(), 1, "a mark of this minute");
    // What a killed command had put away is no other boot's.
    std::fs::rename(ledger.join(&boot), ledger.join(format!("{boot}.0"))).unwrap();
    drop(store);
    store = Store::open(&path).unwrap();
    assert_eq!(marked(), 1);
    let time = std::time::SystemTime::now() - std::time::Duration::from_secs(90);
    std::fs::File::open(ledger.join(format!("{boot}.0"))).unwrap().set_modified(time).unwrap();
    store.make_durable_if(|| false).unwrap();
    assert_eq!(marked(), 1, "the disk is busy");
    store.make_durable_if(|| true).unwrap();
    assert_eq!(marked(), 0);
    assert!(store.layer(&layer).is_some());
}

#[test]
fn two_at_once_share_a_store() {
    let (place, one) = store();
    let two = Store::open(&place.path().join("a/b")).unwrap();
    let digest = Digest::of(b"same");
    let (mut a, mut b) = (one.blob_writer(&digest, Some(4)).unwrap(), two.blob_writer(&digest, Some(4)).unwrap());
    a.write_all(b"same").unwrap();
    b.write_all(b"same").unwrap();
    a.finish().unwrap();
    b.finish().unwrap();
    assert!(one.has(&digest));
    let held = one.lock_layer(&digest).unwrap();
    assert!(two.try_lock_layer(&digest).unwrap().is_none());
    drop(held);
    assert!(two.try_lock_layer(&digest).unwrap().is_some());
}

#[test]
fn a_full_disk_is_an_error_and_nothing_is_published() {
    use crate::image::layers::{Options, prepare};
    use crate::image::unpack::tests::archive::Tar;
    use crate::image::unpack::tests::{Heard, image as image_of, never};
    let place = tempfile::tempdir().unwrap();
    let small = place.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let alone = crate::sys::clone::unshare(libc::CLONE_NEWNS as u64).is_ok()
        && crate::sys::mount::change_propagation("/", crate::sys::mount::Propagation::Private).is_ok();
    let flags = rustix::mount::MountFlags::empty();
    if !alone || rustix::mount::mount("tmpfs", &small, "tmpfs", flags, Some(c"size=2m")).is_err() {
        return;
    }
    let store = Store::open(&small).unwrap();
    let large = zstd::stream::encode_all(&Tar::new().file("a", &"x".repeat(9 << 20)).end()[..], 1).unwrap();
    let image = image_of(&store, &[large]);
    let error = prepare(&store, &image, &never, &Options::default(), &Heard::default()).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("no space left on device") || error.contains("does not fit"), "{error}");
    assert!(store.layer(&image[0].diff_id).is_none());
    let error = store.put(&vec![7; 4 << 20]).unwrap_err();
    assert!(format!("{error:#}").contains("no space left on device"), "{error:#}");
    assert_eq!(store.names("ocicat/tmp").unwrap(), Vec::<String>::new());
    assert_eq!(store.check().unwrap(), []);
    drop(store);
    rustix::mount::unmount(&small, rustix::mount::UnmountFlags::DETACH).unwrap();
}

/// CVE-2021-41103: set-user-id files of an image lay where everybody could run them.
#[test]
fn a_store_is_closed_to_others() {
    let (place, store) = store();
    store.put(b"x").unwrap();
    for below in ["a/b", "a/b/ocicat", "a/b/ocicat/layers", "a/b/blobs/sha256"] {
        let mode = rustix::fs::stat(place.path().join(below)).unwrap().st_mode & 0o7777;
        assert!(below != "a/b" || mode == 0o700, "{below}: {mode:o}");
        assert_eq!(mode & 0o022, 0, "{below}: {mode:o}");
    }
}

#[test]
fn a_store_whose_maker_was_killed_is_completed() {
    for last in [&["index.json"][..], &["index.json", "oci-layout"], &["index.json", "oci-layout", "ocicat/locks"]] {
        let (place, store) = store();
        drop(store);
        let path = place.path().join("a/b");
        for name in last {
            let name = path.join(name);
            std::fs::remove_file(&name).or_else(|_| std::fs::remove_dir(&name)).unwrap();
        }
        let store = Store::open(&path).unwrap();
        store.tag("x:1", &image(&store, b"one")).unwrap();
        assert_eq!(store.list().unwrap().len(), 1, "{last:?}");
    }
}

/// Who waits for the end of a long work may tell it to stop: nothing is read, written or copied from then on.
#[test]
fn what_is_to_stop_reads_and_writes_no_more() {
    let (_place, mut store) = store();
    let digest = store.put(b"here").unwrap();
    store.stop_when(|| true);
    let mut bytes = Vec::new();
    let read = std::io::Read::read_to_end(&mut store.open_blob(&digest).unwrap(), &mut bytes);
    assert_eq!((read.unwrap_err().to_string().as_str(), bytes.len()), ("interrupted", 0));
    assert_eq!(store.put(b"more").unwrap_err().to_string(), "interrupted");
    assert_eq!(store.names("ocicat/tmp").unwrap(), Vec::<String>::new());
    // Documents are small: with them an error can still be told.
    assert_eq!(store.read_blob(&digest, 10).unwrap(), b"here");
}

#[test]
fn a_store_that_is_being_made_has_no_images_yet_and_another_directory_is_none() {
    for (made, is_store) in [
        (&[][..], true),
        (&["blobs"], true),
        (&["blobs", "blobs/sha256", "ocicat"], true),
        (&DIRECTORIES, true),
        (&["blobs", "home"], false),
        (&["home"], false),
    ] {
        let place = tempfile::tempdir().unwrap();
        for name in made {
            std::fs::create_dir(place.path().join(name)).unwrap();
        }
        let store = Store::open_to_read(place.path()).unwrap().unwrap();
        let (listed, checked) = (store.list(), store.check());
        assert_eq!((listed.is_ok(), checked.is_ok()), (is_store, is_store), "{made:?}: {listed:?} {checked:?}");
        if !is_store {
            let said = format!("{:#}", listed.unwrap_err());
            let path = place.path().display();
            assert_eq!(said, format!("store {path}: open index.json: no such file or directory (ENOENT)"), "{made:?}");
        }
    }
}
