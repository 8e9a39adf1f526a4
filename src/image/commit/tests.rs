//! What is changed in a bundle, committed, and unpacked again is the same tree.

use super::*;
use crate::image::bundle::{Options as Wishes, Request, create, remove};
use crate::image::layers::{self, Layer, Options as Unpacking};
use crate::image::store::LayerDirectory;
use crate::image::unpack::tests::archive::{Raw, Tar, octal};
use crate::image::unpack::tests::{Heard, image as image_of, listing, never, open_stack, sys_open, when_not_busy};
use rustix::fs::{FileType, Mode, XattrFlags};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::process::Command;

mod limits;

/// A name of 255 bytes: that of its whiteout has more.
const LONGEST: &str = concat!(
    "123456789.123456789.123456789.123456789.123456789.123456789.123456789.123456789.123456789.123456789.",
    "123456789.123456789.123456789.123456789.123456789.123456789.123456789.123456789.123456789.123456789.",
    "123456789.123456789.123456789.123456789.123456789.12345"
);

struct Place {
    directory: tempfile::TempDir,
    store: Store,
    manifest: Digest,
    image: ImageConfiguration,
    layers: Vec<LayerDirectory>,
}

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
        .dir("etc")
        .file("etc/passwd", "root:x:0:0::/root:/bin/sh\n")
        .dir("gone")
        .file("gone/x", "1")
        .dir("emptied")
        .file("emptied/a", "1")
        .file("emptied/b", "1")
        .dir("d")
        .file("d/a", "1")
        .with(owned("mine"), b"1")
        .file("removed", "1")
        .file("becomes-directory", "1")
        .dir("one")
        .file("one/f", "first")
        .dir("two")
        .file("two/f", "other")
        .pax(&[("path", LONGEST.as_bytes())])
        .file("", "removed")
        .link("link", "d")
        .end();
    let layers = image_of(&store, &[base]);
    let made = layers::prepare(&store, &layers, &never, &Unpacking::default(), &Heard::default()).unwrap();
    let image = ImageConfiguration {
        architecture: "amd64".into(),
        os: "linux".into(),
        config: crate::image::configuration::Execution { cmd: vec!["/bin/sh".into()], ..Default::default() },
        rootfs: crate::image::configuration::LayerIds {
            diff_ids: vec![layers[0].diff_id.clone()],
            ..Default::default()
        },
        ..ImageConfiguration::default()
    };
    let config = serde_json::to_vec(&image).unwrap();
    store.put(&config).unwrap();
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::MANIFEST.into()),
        artifact_type: None,
        config: Descriptor::of(media::CONFIG, &config),
        layers: layers.iter().map(|layer| layer.descriptor.clone()).collect(),
        subject: None,
        annotations: None,
    };
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let manifest = store.put(&bytes).unwrap();
    store.tag("base:1", &Descriptor::of(media::MANIFEST, &bytes)).unwrap();
    Some(Place { directory, store, manifest, image, layers: made })
}

fn write(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Makes a bundle of the image.
fn bundle_of(place: &Place, bundle: &Path, rootfs: Rootfs) {
    let request = Request {
        directory: bundle,
        reference: "base:1",
        manifest: &place.manifest,
        image: &place.image,
        layers: &place.layers,
        tree: None,
        temporary: false,
        rootfs,
        options: &Wishes::default(),
    };
    create(&place.store, &request).unwrap();
}

/// What a container might do.
fn change(root: &Path) {
    std::fs::remove_file(root.join("removed")).unwrap();
    std::fs::remove_file(root.join(LONGEST)).unwrap();
    std::fs::remove_file(root.join("gone/x")).unwrap();
    std::fs::remove_dir(root.join("gone")).unwrap();
    for name in ["emptied/a", "emptied/b", "becomes-directory"] {
        std::fs::remove_file(root.join(name)).unwrap();
    }
    std::fs::remove_dir(root.join("emptied")).unwrap();
    for name in ["emptied", "becomes-directory", "new"] {
        std::fs::DirBuilder::new().mode(0o750).create(root.join(name)).unwrap();
    }
    write(&root.join("emptied/c"), "new");
    write(&root.join("d/a"), "changed");
    write(&root.join("new/one"), "linked");
    std::fs::hard_link(root.join("new/one"), root.join("new/two")).unwrap();
    std::fs::set_permissions(root.join("mine"), std::fs::Permissions::from_mode(0o4711)).unwrap();
    std::os::unix::fs::symlink("two", root.join("new/link")).unwrap();
    let fd = sys_open(root);
    rustix::fs::mknodat(
        &fd,
        "new/null",
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o666),
        rustix::fs::makedev(1, 3),
    )
    .unwrap();
    rustix::fs::mknodat(&fd, "new/pipe", FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    rustix::fs::setxattr(root.join("new/one"), "user.note", b"kept", XattrFlags::empty()).unwrap();
    // A new name of a file that is as it was, and the attributes of the root itself.
    std::fs::hard_link(root.join("etc/passwd"), root.join("z-passwd")).unwrap();
    std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o1711)).unwrap();
    rustix::fs::setxattr(root, "user.note", b"of the root", XattrFlags::empty()).unwrap();
    std::os::unix::fs::chown(root, Some(5), Some(6)).unwrap();
    let sparse = std::fs::OpenOptions::new().write(true).create_new(true).open(root.join("new/sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", 1 << 22).unwrap();
}

fn unpacked(place: &Place, reference: &str) -> Vec<String> {
    unpacked_within(place, reference, Limits::default())
}

fn unpacked_within(place: &Place, reference: &str, limits: Limits) -> Vec<String> {
    let descriptor = place.store.resolve(reference).unwrap().unwrap();
    let bytes = place.store.read_blob(&descriptor.digest, 1 << 20).unwrap();
    let Document::Manifest(manifest) = manifest::parse(&bytes, None).unwrap() else { panic!("no manifest") };
    let image = ImageConfiguration::parse(&place.store.read_blob(&manifest.config.digest, 1 << 20).unwrap()).unwrap();
    let pairs = manifest.layers.into_iter().zip(image.rootfs.diff_ids);
    let layers: Vec<Layer> = pairs.map(|(descriptor, diff_id)| Layer { descriptor, diff_id }).collect();
    let options = Unpacking { limits, ..Unpacking::default() };
    let made = layers::prepare(&place.store, &layers, &never, &options, &Heard::default()).unwrap();
    let sparse = made.last().unwrap().path.join("new/sparse");
    if sparse.exists() {
        let stat = rustix::fs::stat(&sparse).unwrap();
        assert!(stat.st_blocks * 512 < stat.st_size / 2, "holes were filled");
        let note = crate::image::unpack::all_xattrs(made.last().unwrap().path.join("new/two").as_os_str()).unwrap();
        assert_eq!(note, [(b"user.note".to_vec(), b"kept".to_vec())]);
    }
    listing(&open_stack(&made))
}

#[test]
fn a_committed_bundle_unpacks_to_the_same_tree() {
    let Some(place) = place() else { return };
    for rootfs in [Rootfs::Overlay, Rootfs::Copy] {
        let bundle = place.directory.path().join(format!("{rootfs:?}"));
        bundle_of(&place, &bundle, rootfs);
        change(&bundle.join("rootfs"));
        let shown = listing(&[sys_open(&bundle.join("rootfs"))]);
        let name = format!("committed:{rootfs:?}");
        let options =
            Options { comment: Some("a note".into()), command: Some(vec!["/new".into()]), ..Options::default() };
        commit(&place.store, &bundle, &name, &options).unwrap();
        when_not_busy(|| remove(&place.store, &bundle));
        assert_eq!(unpacked(&place, &name).join("\n"), shown.join("\n"), "{rootfs:?}");
        peers_read(&place, &name);
    }
    assert_eq!(place.store.check().unwrap(), []);
}

/// umoci and skopeo, where they are installed, read the store and what was committed.
fn peers_read(place: &Place, name: &str) {
    let store = place.store.path().to_str().unwrap();
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    if has("skopeo") {
        let copy = place.directory.path().join("skopeo");
        run(
            "skopeo",
            &["copy", "-q", "--insecure-policy", &format!("oci:{store}:{name}"), &format!("dir:{}", copy.display())],
        );
    }
    if has("umoci") {
        let bundle = place.directory.path().join(format!("umoci-{}", name.replace(':', "-")));
        let plain = name.replace(':', "-");
        let descriptor = place.store.resolve(name).unwrap().unwrap();
        place.store.tag(&plain, &descriptor).unwrap();
        run("umoci", &["unpack", "--image", &format!("{store}:{plain}"), bundle.to_str().unwrap()]);
        let ours = unpacked(place, name);
        let theirs = listing(&[sys_open(&bundle.join("rootfs"))]);
        assert_eq!(theirs[1..].join("\n"), ours[1..].join("\n"), "umoci");
    }
}

/// The names in the top layer of an image, as a tool reads them that has only this layer.
fn top_layer(place: &Place, reference: &str) -> String {
    let descriptor = place.store.resolve(reference).unwrap().unwrap();
    let bytes = place.store.read_blob(&descriptor.digest, 1 << 20).unwrap();
    let Document::Manifest(manifest) = manifest::parse(&bytes, None).unwrap() else { panic!("no manifest") };
    let blob = place.store.open_blob(&manifest.layers.last().unwrap().digest).unwrap();
    let tar = std::io::BufReader::new(flate2::read::GzDecoder::new(blob));
    let mut reader = crate::image::tar::Reader::new(tar, 1 << 20);
    let (mut entry, mut lines) = (crate::image::tar::Entry::default(), Vec::new());
    while reader.next(&mut entry).unwrap() {
        let link = if entry.link.is_empty() { String::new() } else { format!(" = {}", entry.link.escape_ascii()) };
        lines.push(format!("{:o} {}{link}", entry.mode, entry.path.escape_ascii()));
    }
    lines.join(", ")
}

#[test]
fn a_layer_stands_alone() {
    let Some(place) = place() else { return };
    for (name, act, layer) in [
        (
            "a file changed in a directory that is as it was",
            (&|root: &Path| write(&root.join("d/a"), "changed")) as &dyn Fn(&Path),
            "755 d, 644 d/a",
        ),
        (
            "a name taken away there",
            &|root| {
                let times = crate::image::copy::times_of(&rustix::fs::stat(root.join("d")).unwrap());
                std::fs::remove_file(root.join("d/a")).unwrap();
                rustix::fs::utimensat(rustix::fs::CWD, root.join("d"), &times, rustix::fs::AtFlags::empty()).unwrap();
            },
            "755 d, 600 d/.wh.a",
        ),
        (
            "a hard link to a file that is as it was",
            &|root| std::fs::hard_link(root.join("d/a"), root.join("z")).unwrap(),
            "755 d, 644 d/a, 644 z = d/a",
        ),
        (
            "the mode of the root",
            &|root| std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o700)).unwrap(),
            "700 .",
        ),
    ] {
        let bundle = place.directory.path().join("b");
        bundle_of(&place, &bundle, Rootfs::Copy);
        act(&bundle.join("rootfs"));
        commit(&place.store, &bundle, "alone:1", &Options::default()).unwrap();
        assert_eq!(top_layer(&place, "alone:1"), layer, "{name}");
        when_not_busy(|| remove(&place.store, &bundle));
    }
}

#[test]
fn a_socket_is_left_out_and_what_it_replaced_is_gone() {
    let Some(place) = place() else { return };
    let bind = |path: &Path| drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    for (name, act, layer) in [
        (
            "instead of a file",
            (&|root: &Path| {
                std::fs::remove_file(root.join("d/a")).unwrap();
                bind(&root.join("d/a"));
            }) as &dyn Fn(&Path),
            "755 d, 600 d/.wh.a",
        ),
        (
            "instead of a directory",
            &|root| {
                std::fs::remove_file(root.join("gone/x")).unwrap();
                std::fs::remove_dir(root.join("gone")).unwrap();
                bind(&root.join("gone"));
            },
            "600 .wh.gone",
        ),
        ("where nothing was", &|root| bind(&root.join("d/new")), "755 d"),
    ] {
        for rootfs in [Rootfs::Overlay, Rootfs::Copy] {
            let bundle = place.directory.path().join("b");
            bundle_of(&place, &bundle, rootfs);
            act(&bundle.join("rootfs"));
            commit(&place.store, &bundle, "socket:1", &Options::default()).unwrap();
            assert_eq!(top_layer(&place, "socket:1"), layer, "{name}, {rootfs:?}");
            when_not_busy(|| remove(&place.store, &bundle));
        }
    }
}

#[test]
fn content_of_the_same_size_and_time_is_not_taken_for_the_same() {
    let Some(place) = place() else { return };
    let rename = |root: &Path, from: &str, to: &str| std::fs::rename(root.join(from), root.join(to)).unwrap();
    for (name, act, layer) in [
        (
            "a file is moved over another",
            (&|root: &Path| rename(root, "one/f", "two/f")) as &dyn Fn(&Path),
            "755 one, 600 one/.wh.f, 755 two, 644 two/f",
        ),
        (
            "its directory is moved",
            &|root| {
                std::fs::remove_file(root.join("two/f")).unwrap();
                std::fs::remove_dir(root.join("two")).unwrap();
                rename(root, "one", "two");
            },
            "600 .wh.one, 755 two, 644 two/f",
        ),
        (
            "it is written and its time put back",
            &|root| {
                let times = crate::image::copy::times_of(&rustix::fs::stat(root.join("two/f")).unwrap());
                write(&root.join("two/f"), "first");
                rustix::fs::utimensat(rustix::fs::CWD, root.join("two/f"), &times, rustix::fs::AtFlags::empty())
                    .unwrap();
            },
            "755 two, 644 two/f",
        ),
        (
            "everything is moved and comes back",
            &|root| {
                for name in ["one", "two", "two/f"] {
                    rename(root, name, "away");
                    rename(root, "away", name);
                }
                let times = crate::image::copy::times_of(&rustix::fs::stat(root.join("one")).unwrap());
                rustix::fs::utimensat(rustix::fs::CWD, root.join("two"), &times, rustix::fs::AtFlags::empty()).unwrap();
                write(&root.join("z"), "new");
            },
            "644 z",
        ),
    ] {
        for is_known in [true, false] {
            let bundle = place.directory.path().join("b");
            bundle_of(&place, &bundle, Rootfs::Copy);
            let path = bundle.join("ocicat-image.json");
            let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let made = record.as_object_mut().unwrap().remove("made");
            assert!(made.is_some(), "{record}");
            if !is_known {
                // As a bundle of an earlier version has it.
                write(&path, &record.to_string());
            }
            act(&bundle.join("rootfs"));
            commit(&place.store, &bundle, "content:1", &Options::default()).unwrap();
            assert_eq!(top_layer(&place, "content:1"), layer, "{name}, time known: {is_known}");
            when_not_busy(|| remove(&place.store, &bundle));
        }
    }
}

#[test]
fn nothing_changed_is_no_layer() {
    let Some(place) = place() else { return };
    let bundle = place.directory.path().join("b");
    bundle_of(&place, &bundle, Rootfs::Copy);
    let digest = commit(&place.store, &bundle, "same:1", &Options::default()).unwrap();
    let bytes = place.store.read_blob(&digest, 1 << 20).unwrap();
    let Document::Manifest(manifest) = manifest::parse(&bytes, None).unwrap() else { panic!("no manifest") };
    assert_eq!(manifest.layers.len(), 1);
    when_not_busy(|| remove(&place.store, &bundle));
}
