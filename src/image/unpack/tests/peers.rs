//! Random archives, unpacked by us and by GNU tar, and random images of several layers, unpacked by us and by umoci: the
//! same trees. And GNU tar's own archives in all its formats.

use super::archive::{Raw, Tar, octal};
use super::{Descriptor, Heard, Store, flat, image, listing, media, stacked, sys_open};
use crate::image::layers::Options;
use crate::image::tar::{Entry, Writer};
use proptest::prelude::*;
use std::path::Path;
use std::process::Command;

/// One entry of a random archive.
#[derive(Debug, Clone)]
enum Thing {
    File(String, u32, u32, Vec<u8>),
    Directory(String, u32, u32),
    Symlink(String, String),
    /// To one of the files before it, of lower layers too.
    HardLink(String, usize),
    /// A value of `user.random` for the entry that follows.
    Attribute(Vec<u8>),
    /// Only in layers.
    Whiteout(String),
    Opaque(String),
}

fn name() -> impl Strategy<Value = String> {
    // Few names, so that they meet; no links among directories, whose meaning differs between tools on purpose.
    proptest::collection::vec(proptest::sample::select(vec!["a", "b", "c", "ü", "long name with spaces"]), 1..4)
        .prop_map(|parts| parts.join("/"))
}

/// Files have less than so many bytes.
fn thing(most: usize) -> impl Strategy<Value = Thing> {
    let mode = proptest::sample::select(vec![0o644u32, 0o755, 0o600, 0o4755, 0o2755, 0o1777, 0o444]);
    let id = proptest::sample::select(vec![0u32, 1, 1000, 65534]);
    prop_oneof![
        4 => (name(), mode.clone(), id.clone(), proptest::collection::vec(any::<u8>(), 0..most))
            .prop_map(|(name, mode, id, data)| Thing::File(format!("{name}.f"), mode, id, data)),
        3 => (name(), mode, id).prop_map(|(name, mode, id)| Thing::Directory(name, mode, id)),
        1 => (name(), "[a-z/.]{1,20}").prop_map(|(name, target)| Thing::Symlink(format!("{name}.l"), target)),
        1 => (name(), any::<usize>()).prop_map(|(name, which)| Thing::HardLink(format!("{name}.h"), which)),
        1 => proptest::collection::vec(any::<u8>(), 1..30).prop_map(Thing::Attribute),
    ]
}

/// What hides lower entries comes first: tools differ about what a whiteout means for entries before it.
fn layer() -> impl Strategy<Value = Vec<Thing>> {
    let suffix = proptest::sample::select(vec!["", ".f", ".l", ".h"]);
    let hiding = prop_oneof![
        3 => (name(), suffix).prop_map(|(name, suffix)| Thing::Whiteout(format!("{name}{suffix}"))),
        1 => name().prop_map(Thing::Opaque),
    ];
    (proptest::collection::vec(hiding, 0..4), proptest::collection::vec(thing(3000), 0..15))
        .prop_map(|(hiding, things)| hiding.into_iter().chain(things).collect())
}

fn archive(things: &[Thing]) -> Vec<u8> {
    archive_upon(&mut Vec::new(), things)
}

/// The archive of a layer upon others with these files.
fn archive_upon(files: &mut Vec<String>, things: &[Thing]) -> Vec<u8> {
    let mut tar = Tar::new();
    for (number, thing) in things.iter().enumerate() {
        let mtime = 1_000_000_000 + number as u64;
        let raw = |kind, name: &str, mode, id: u32| Raw {
            mode,
            uid: octal(id.into()),
            gid: octal(id.into()),
            mtime,
            ..Raw::new(kind, name)
        };
        tar = match thing {
            Thing::File(name, mode, id, data) => {
                files.push(name.clone());
                tar.with(raw(b'0', name, *mode, *id), data)
            }
            Thing::Directory(name, mode, id) => tar.with(raw(b'5', name, *mode | 0o700, *id), b""),
            Thing::Symlink(name, target) => {
                tar.with(Raw { link: target.as_bytes().to_vec(), ..raw(b'2', name, 0o777, 0) }, b"")
            }
            Thing::HardLink(name, which) => match files.get(which % files.len().max(1)) {
                Some(file) => tar.with(Raw { link: file.as_bytes().to_vec(), ..raw(b'1', name, 0o644, 0) }, b""),
                None => tar,
            },
            // Of attributes that follow one another, and of one before nothing, nothing is left.
            Thing::Attribute(value) => match things.get(number + 1) {
                Some(Thing::File(..) | Thing::Directory(..)) => {
                    tar.pax(&[("SCHILY.xattr.user.random", value.as_slice())])
                }
                _ => tar,
            },
            Thing::Whiteout(name) => {
                let (directory, last) = name.rsplit_once('/').unwrap_or((".", name));
                tar.with(raw(b'0', &format!("{directory}/.wh.{last}"), 0o644, 0), b"")
            }
            Thing::Opaque(name) => tar.with(raw(b'0', &format!("{name}/.wh..wh..opq"), 0o644, 0), b""),
        };
    }
    tar.end()
}

/// A layer in which whiteouts and opaque markers stand anywhere.
fn layer_in_any_order() -> impl Strategy<Value = Vec<Thing>> {
    let suffix = proptest::sample::select(vec!["", "", ".f", ".l", ".h"]);
    let any = prop_oneof![
        10 => thing(3),
        3 => (name(), suffix).prop_map(|(name, suffix)| Thing::Whiteout(format!("{name}{suffix}"))),
        1 => name().prop_map(Thing::Opaque),
    ];
    proptest::collection::vec(any, 0..15)
}

fn by_gnu_tar(archive: &[u8], more: &[&str]) -> Vec<String> {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("a.tar");
    let into = place.path().join("tree");
    std::fs::create_dir(&into).unwrap();
    let mut to = std::fs::OpenOptions::new().write(true).create_new(true).open(&file).unwrap();
    std::io::Write::write_all(&mut to, archive).unwrap();
    // -P: no placeholders for links that point upwards.
    let arguments =
        ["--numeric-owner", "-P", "-p", "--xattrs", "--xattrs-include=*", "--delay-directory-restore", "-xf"];
    let output = Command::new("tar")
        .args(arguments)
        .arg(&file)
        .arg("-C")
        .arg(&into)
        .args(more)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    listing(&[sys_open(&into)])
}

/// The tree that umoci makes of an image of these layers.
fn by_umoci(layers: &[Vec<u8>]) -> Vec<String> {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(&place.path().join("layout")).unwrap();
    let parts = image(&store, layers);
    let ids: Vec<_> = parts.iter().map(|layer| layer.diff_id.to_string()).collect();
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": ids}});
    let config = serde_json::to_vec(&config).unwrap();
    store.put(&config).unwrap();
    let descriptors: Vec<_> = parts.into_iter().map(|layer| layer.descriptor).collect();
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": media::MANIFEST,
        "config": Descriptor::of(media::CONFIG, &config), "layers": descriptors});
    let manifest = serde_json::to_vec(&manifest).unwrap();
    store.put(&manifest).unwrap();
    store.tag("x", &Descriptor::of(media::MANIFEST, &manifest)).unwrap();
    let bundle = place.path().join("bundle");
    let source = format!("{}:x", place.path().join("layout").display());
    let output = Command::new("umoci").args(["unpack", "--image", &source]).arg(&bundle).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    listing(&[sys_open(&bundle.join("rootfs"))])
}

/// Directories that are not set-group-id: umoci leaves the bit, as the kernel hands it on, to a directory in it that no entry
/// describes, and so makes another tree of other layers with the same content. We make such a directory with 755 anywhere.
fn without_inheritance(things: &[Thing]) -> Vec<Thing> {
    let plain = |thing: &Thing| match thing {
        Thing::Directory(name, mode, id) => Thing::Directory(name.clone(), mode & !0o2000, *id),
        other => other.clone(),
    };
    things.iter().map(plain).collect()
}

/// umoci 0.4 gives a directory the present as its time when it makes an undescribed one in it.
fn without_directory_times(lines: &str) -> String {
    let without = |line: &str| {
        let parts: Vec<&str> = line.splitn(5, ' ').collect();
        match parts.as_slice() {
            ["d", mode, owner, _, rest] => format!("d {mode} {owner} {rest}"),
            _ => line.to_owned(),
        }
    };
    lines.lines().map(without).collect::<Vec<_>>().join("\n")
}

/// Names of one file count differently in a layer and in one tree: a name that is hidden still counts.
fn without_counts(lines: &str) -> String {
    let count = |rest: &str| rest.find(')').filter(|end| rest[..*end].bytes().all(|byte| byte.is_ascii_digit()));
    let without =
        |line: &str| match line.split_once(" (").and_then(|(name, rest)| Some((name, &rest[count(rest)? + 1..]))) {
            Some((name, rest)) => format!("{name}{rest}"),
            None => line.to_owned(),
        };
    lines.lines().map(without).collect::<Vec<_>>().join("\n")
}

/// Directories that no entry describes are made at the moment of unpacking; everything else has its time.
fn comparable(lines: &[String]) -> String {
    let fixed = |line: &String| {
        let parts: Vec<&str> = line.splitn(5, ' ').collect();
        match parts.as_slice() {
            [kind, mode, owner, time, rest] if !time.starts_with("10000000") => {
                format!("{kind} {mode} {owner} now {rest}")
            }
            _ => line.clone(),
        }
    };
    lines.iter().skip(1).map(fixed).collect::<Vec<_>>().join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_random_archive_is_the_tree_that_gnu_tar_makes(things in proptest::collection::vec(thing(3000), 0..25)) {
        if !rustix::process::geteuid().is_root() || Command::new("tar").arg("--version").output().is_err() {
            return Ok(());
        }
        let bytes = archive(&things);
        let ours = flat(std::slice::from_ref(&bytes), &Options::default(), &Heard::default()).unwrap();
        prop_assert_eq!(comparable(&ours), comparable(&by_gnu_tar(&bytes, &[])));
    }

    #[test]
    fn a_random_image_is_the_tree_that_umoci_makes(layers in proptest::collection::vec(layer(), 1..4)) {
        if !rustix::process::geteuid().is_root() || Command::new("umoci").arg("--version").output().is_err() {
            return Ok(());
        }
        let layers: Vec<Vec<u8>> = layers.iter().map(|things| archive(&without_inheritance(things))).collect();
        let shown = |lines: &[String]| without_directory_times(&comparable(lines));
        let theirs = shown(&by_umoci(&layers));
        let (options, heard) = (Options::default(), Heard::default());
        prop_assert_eq!(shown(&flat(&layers, &options, &heard).unwrap()), theirs.clone());
        let ours = shown(&stacked(&layers, &options, &heard).unwrap());
        prop_assert_eq!(without_counts(&ours), without_counts(&theirs));
    }

    #[test]
    fn a_random_image_is_the_same_in_one_tree_and_in_a_directory_for_each_layer(
        layers in proptest::collection::vec(layer_in_any_order(), 1..5)
    ) {
        let mut files = Vec::new();
        let layers: Vec<Vec<u8>> = layers.iter().map(|things| archive_upon(&mut files, things)).collect();
        let options = Options { ids: crate::image::unpack::Ids::of_caller(), ..Options::default() };
        let of = |unpacked: Result<Vec<String>, String>| match unpacked {
            Ok(lines) => without_counts(&comparable(&lines)),
            // A hard link to what is hidden.
            Err(error) => error.rsplit(": ").next().unwrap_or_default().to_owned(),
        };
        let one = of(flat(&layers, &options, &Heard::default()));
        let many = of(stacked(&layers, &options, &Heard::default()));
        prop_assert_eq!(one, many);
    }

    #[test]
    fn no_bytes_make_the_reader_panic_or_leave_something(mut bytes in proptest::collection::vec(any::<u8>(), 0..2000), seed in any::<u64>()) {
        let options = Options { ids: crate::image::unpack::Ids::of_caller(), ..Options::default() };
        let _ = flat(std::slice::from_ref(&bytes), &options, &Heard::default());
        // Bytes of a real archive with a few changed.
        let mut real = Tar::new().pax(&[("path", b"x/y"), ("size", b"3")]).file("a", "abc").dir("d").hard("h", "x/y").link("l", "d").end();
        for (number, byte) in bytes.drain(..).enumerate().take(8) {
            let place = (seed.rotate_left(number as u32 * 7) as usize) % real.len();
            real[place] = byte;
        }
        let _ = flat(&[real], &options, &Heard::default());
    }
}

fn files_for_gnu_tar(root: &Path) {
    let write = |name: &str, data: &[u8]| {
        let file = std::fs::OpenOptions::new().write(true).create_new(true).open(root.join(name)).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, data, 0).unwrap();
        file
    };
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(250));
    std::fs::create_dir(root.join("d".repeat(200))).unwrap();
    write(&long, b"long");
    write("plain", &[7; 100_000]);
    std::fs::hard_link(root.join(&long), root.join("hard")).unwrap();
    std::os::unix::fs::symlink("x".repeat(300), root.join("symlink")).unwrap();
    let sparse = write("sparse", b"start");
    for block in 1..60u64 {
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"piece", block * 65536).unwrap();
    }
    sparse.set_len(5 << 20).unwrap();
    for name in ATTRIBUTES {
        rustix::fs::setxattr(root.join("plain"), name, b"a=%3D", rustix::fs::XattrFlags::empty()).unwrap();
    }
}

/// Names that a PAX record cannot have as they are, or that GNU tar would read as others.
const ATTRIBUTES: [&str; 6] = ["user.a=b", "user.100%", "user.%3D", "user.%25", "user.%3d", "user.%%="];

#[test]
fn archives_of_gnu_tar_in_all_its_formats_come_out_alike() {
    if !rustix::process::geteuid().is_root() || Command::new("tar").arg("--version").output().is_err() {
        return;
    }
    let source = tempfile::tempdir().unwrap();
    files_for_gnu_tar(source.path());
    for format in [
        &["--format=gnu", "-S"][..],
        &["--format=posix", "-S"],
        &["--format=posix", "-S", "--sparse-version=0.1"],
        &["--format=posix", "-S", "--sparse-version=0.0"],
        &["--format=gnu"],
        &["--format=posix"],
        &["--format=posix", "--xattrs"],
    ] {
        let output =
            Command::new("tar").args(format).args(["-cf", "-", "-C"]).arg(source.path()).arg(".").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let ours = flat(std::slice::from_ref(&output.stdout), &Options::default(), &Heard::default()).unwrap();
        let theirs = by_gnu_tar(&output.stdout, &[]);
        assert_eq!(ours.join("\n"), theirs.join("\n"), "{format:?}");
        let has_attributes = ours.iter().any(|line| line.contains("{user.a=b=a=%3D}"));
        assert_eq!(has_attributes, format.contains(&"--xattrs"), "{format:?}: {ours:?}");
    }
}

#[test]
fn attributes_of_any_name_that_we_write_gnu_tar_reads() {
    if !rustix::process::geteuid().is_root() || Command::new("tar").arg("--version").output().is_err() {
        return;
    }
    let xattrs = ATTRIBUTES.iter().map(|name| (name.as_bytes().to_vec(), b"a=%3D".to_vec())).collect();
    let mut writer = Writer::new(Vec::new());
    writer.entry(&Entry { path: b"f".to_vec(), mode: 0o644, xattrs, ..Entry::default() }).unwrap();
    let archive = writer.finish().unwrap();
    let theirs = by_gnu_tar(&archive, &[]);
    assert_eq!(flat(&[archive], &Options::default(), &Heard::default()).unwrap().join("\n"), theirs.join("\n"));
    assert!(ATTRIBUTES.iter().all(|name| theirs[1].contains(&format!("{{{name}=a=%3D}}"))), "{theirs:?}");
}
