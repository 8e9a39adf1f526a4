//! Bundles of hand-made images, with real mounts (root only) in a mount namespace of the test's own thread.

use super::*;
use crate::image::layers::{self, Options as Unpacking};
use crate::image::unpack::tests::archive::{Raw, Tar, octal};
use crate::image::unpack::tests::{Heard, image as image_of, listing, never, sys_open, when_not_busy};
use std::fmt::Write;

/// A place with a store, and an image of three layers in it.
struct Place {
    directory: tempfile::TempDir,
    store: Store,
    layers: Vec<LayerDirectory>,
    image: ImageConfiguration,
}

const CONFIG: &str = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},
    "config":{"Cmd":["/bin/sh"],"User":"web","Volumes":{"/../../data":{},"/link/v":{}},"WorkingDir":"/../../srv"}}"#;

fn place() -> Option<Place> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    sys::clone::unshare(libc::CLONE_NEWNS as u64).ok()?;
    sys::mount::change_propagation("/", sys::mount::Propagation::Private).ok();
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    let owned = |name: &str| Raw { uid: octal(33), gid: octal(44), ..Raw::new(b'0', name) };
    let base = Tar::new()
        .with(Raw { mode: 0o751, mtime: 7, ..Raw::new(b'5', ".") }, b"")
        .dir("etc")
        .file("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:33:44::/srv:/bin/sh\n")
        .file("etc/group", "www:x:44:\n")
        .dir("data")
        .file("data/seed", "grown")
        .link("link", "/data")
        .with(owned("mine"), b"1")
        .end();
    let second = Tar::new().dir("d").file("d/a", "1").hard("d/b", "d/a").file(".wh.mine", "").end();
    let third = Tar::new().dir("d").file("d/.wh.a", "").with(owned("d/own"), b"2").end();
    let image = image_of(&store, &[base, second, third]);
    let layers = layers::prepare(&store, &image, &never, &Unpacking::default(), &Heard::default()).unwrap();
    Some(Place { directory, store, layers, image: ImageConfiguration::parse(CONFIG.as_bytes()).unwrap() })
}

impl Place {
    fn request<'a>(
        &'a self,
        directory: &'a Path,
        rootfs: Rootfs,
        options: &'a Options,
        manifest: &'a Digest,
    ) -> Request<'a> {
        Request {
            directory,
            reference: "x:1",
            manifest,
            image: &self.image,
            layers: &self.layers,
            tree: None,
            temporary: false,
            rootfs,
            options,
        }
    }
}

/// The tree, without times that the moment decides.
fn tree(directory: &Path) -> String {
    listing(&[sys_open(directory)]).iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{line}");
        text
    })
}

#[test]
fn an_overlay_and_a_copy_show_the_same_tree() {
    let Some(place) = place() else { return };
    let (options, manifest) = (Options::default(), Digest::of(b"m"));
    let (overlay, copy) = (place.directory.path().join("o"), place.directory.path().join("c"));
    create(&place.store, &place.request(&overlay, Rootfs::Overlay, &options, &manifest)).unwrap();
    create(&place.store, &place.request(&copy, Rootfs::Copy, &options, &manifest)).unwrap();
    assert_eq!(Record::read(&overlay).unwrap().rootfs, Rootfs::Overlay);
    let shown = tree(&overlay.join("rootfs"));
    // A hard link whose other name was removed counts one name in the copy and two in the layer.
    assert_eq!(shown.replace("d/b (2)", "d/b"), tree(&copy.join("rootfs")));
    assert!(shown.contains("d 751 .") && shown.contains(" 33:44 ") && !shown.contains(" mine"), "{shown}");
    let config: Config =
        serde_json::from_slice(&sys::files::read(overlay.join("config.json"), 1 << 20).unwrap()).unwrap();
    let process = config.process.unwrap();
    assert_eq!((process.user.uid, process.user.gid, process.cwd.as_str()), (33, 44, "/srv"));
    assert!(process.env.contains(&"HOME=/srv".to_owned()));
    let volumes: Vec<&Mount> =
        config.mounts.iter().filter(|m| m.source.as_ref().is_some_and(|s| s.starts_with(&overlay))).collect();
    assert_eq!(volumes.len(), 2);
    assert_eq!(volumes[0].destination, Path::new("/data"));
    assert!(tree(volumes[0].source.as_ref().unwrap()).contains("seed = grown"));
    for bundle in [&overlay, &copy] {
        when_not_busy(|| remove(&place.store, bundle));
        assert!(!bundle.exists());
    }
    assert!(place.store.bundles().unwrap().is_empty());
}

#[test]
fn a_user_namespace_shows_shifted_owners() {
    let Some(place) = place() else { return };
    let range = vec![IdMapping { container_id: 0, host_id: 100_000, size: 1000 }];
    let options = Options { user_namespace: Some((range.clone(), range)), ..Options::default() };
    let manifest = Digest::of(b"m");
    for rootfs in [Rootfs::Overlay, Rootfs::Copy] {
        let bundle = place.directory.path().join(format!("{rootfs:?}"));
        create(&place.store, &place.request(&bundle, rootfs, &options, &manifest)).unwrap();
        let shown = tree(&bundle.join("rootfs"));
        assert!(shown.contains("f 644 100033:100044 1000000000.0 d/own = 2"), "{rootfs:?}: {shown}");
        assert!(shown.contains("d 755 100000:100000 1000000000.0 d\n"), "{rootfs:?}: {shown}");
        when_not_busy(|| remove(&place.store, &bundle));
    }
}

#[test]
fn a_bundle_survives_unmounting_and_keeps_what_was_written() {
    let Some(place) = place() else { return };
    let (options, manifest) = (Options::default(), Digest::of(b"m"));
    let bundle = place.directory.path().join("b");
    create(&place.store, &place.request(&bundle, Rootfs::Overlay, &options, &manifest)).unwrap();
    let again = create(&place.store, &place.request(&bundle, Rootfs::Overlay, &options, &manifest)).unwrap_err();
    assert!(format!("{again:#}").contains("is there already"));
    std::os::unix::fs::symlink("x", bundle.join("rootfs/written")).unwrap();
    when_not_busy(|| unmount(&bundle));
    assert!(!overlay::is_mounted(&bundle.join("rootfs")) && !bundle.join("rootfs/written").is_symlink());
    mount(&place.store, &bundle).unwrap();
    mount(&place.store, &bundle).unwrap();
    assert!(bundle.join("rootfs/written").is_symlink());
    std::fs::create_dir(bundle.join("kept")).unwrap();
    when_not_busy(|| remove(&place.store, &bundle));
    let left: Vec<_> = std::fs::read_dir(&bundle).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["kept"]);
}

#[test]
fn what_fails_leaves_nothing() {
    let Some(place) = place() else { return };
    let manifest = Digest::of(b"m");
    let options = Options { user: Some("nobody-here".into()), ..Options::default() };
    let bundle = place.directory.path().join("b");
    let error = create(&place.store, &place.request(&bundle, Rootfs::Overlay, &options, &manifest)).unwrap_err();
    assert!(format!("{error:#}").contains("is not in the image's /etc/passwd"));
    assert!(!bundle.exists());
    assert!(place.store.bundles().unwrap().is_empty());
}

#[test]
fn a_temporary_bundle_is_not_synced_when_it_is_unmounted() {
    let Some(place) = place() else { return };
    let (options, manifest) = (Options::default(), Digest::of(b"m"));
    for (temporary, name) in [(true, "passing"), (false, "lasting")] {
        let bundle = place.directory.path().join(name);
        let request = place.request(&bundle, Rootfs::Overlay, &options, &manifest);
        create(&place.store, &Request { temporary, ..request }).unwrap();
        let mounts = String::from_utf8(sys::files::read("/proc/thread-self/mounts", 1 << 20).unwrap()).unwrap();
        let line = mounts.lines().find(|line| line.contains(&format!("{name}/rootfs "))).unwrap();
        assert_eq!(line.contains("volatile"), temporary, "{line}");
        when_not_busy(|| remove(&place.store, &bundle));
    }
}

#[test]
fn a_copy_that_is_interrupted_leaves_nothing() {
    let Some(mut place) = place() else { return };
    let options = Options::default();
    let manifest = Digest::of(b"manifest");
    for stops_after in [0, 3] {
        let asked = std::sync::atomic::AtomicU32::new(0);
        place.store.stop_when(move || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= stops_after);
        let directory = place.directory.path().join("b");
        let error = create(&place.store, &place.request(&directory, Rootfs::Copy, &options, &manifest)).unwrap_err();
        assert!(format!("{error:#}").ends_with("interrupted"), "{error:#}");
        assert!(!directory.exists(), "after {stops_after} entries");
    }
}

/// `mv`: the record names a place where nothing is any more, and gc took the layers from under the mount.
#[test]
fn a_bundle_that_was_moved_keeps_its_layers_while_it_is_mounted() {
    let Some(place) = place() else { return };
    let (options, manifest) = (Options::default(), Digest::of(b"m"));
    let (first, second) = (place.directory.path().join("first"), place.directory.path().join("second"));
    create(&place.store, &place.request(&first, Rootfs::Overlay, &options, &manifest)).unwrap();
    std::fs::rename(&first, &second).unwrap();
    assert_eq!(place.store.gc().unwrap().layers, 0);
    assert!(second.join("rootfs/d/b").exists());
    // Mounted anew, it is known at its new place, mounted or not.
    when_not_busy(|| unmount(&second));
    mount(&place.store, &second).unwrap();
    when_not_busy(|| unmount(&second));
    assert!(place.store.bundles().unwrap().iter().map(|bundle| &bundle.path).eq([&second]));
    assert_eq!(place.store.gc().unwrap().layers, 0);
    // What is moved when nothing is mounted cannot be told from what was removed.
    std::fs::rename(&second, &first).unwrap();
    assert_eq!(place.store.gc().unwrap().layers, 3);
    assert_eq!(place.store.bundles().unwrap(), []);
    when_not_busy(|| remove(&place.store, &first));
}
