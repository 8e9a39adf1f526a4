//! What is committed can be unpacked again, or the commit says why not.

use super::*;

/// Makes directories below each other; their path may be longer than the kernel takes.
fn nest(root: &Path, name: &str, depth: usize) {
    let mut directory = sys_open(root);
    for _ in 0..depth {
        rustix::fs::mkdirat(&directory, name, Mode::RWXU).unwrap();
        directory = sys::files::open_at(&directory, name, OFlags::RDONLY | OFlags::DIRECTORY).unwrap();
    }
}

#[test]
fn a_layer_that_unpacking_refuses_is_not_committed() {
    let Some(place) = place() else { return };
    let all = Limits::default();
    let refused = "such a layer would be refused when it is unpacked";
    let long = "x".repeat(200);
    for (name, act, limits, path, reason) in [
        (
            "nested too deep",
            (&|root: &Path| nest(root, "n", 600)) as &dyn Fn(&Path),
            all,
            format!("{}...", "n/".repeat(100)),
            format!("{refused}: name has more than 512 parts (limits.depth)"),
        ),
        (
            "too long a path",
            &|root| nest(&root.join("d"), &long, 30),
            all,
            format!("d/{}...", &long[2..]),
            format!("{refused}: name is longer than 4095 bytes"),
        ),
        (
            "too many entries",
            &|root| (1..4).for_each(|n| write(&root.join(format!("d/new{n}")), "")),
            Limits { entries: 3, ..all },
            "d/new3".to_owned(),
            format!("{refused}: layer has more than 3 entries (limits.entries)"),
        ),
        (
            "too much data",
            &|root| write(&root.join("new"), &"x".repeat(10_000)),
            Limits { bytes: 10_000, ..all },
            "new".to_owned(),
            format!("{refused}: layer is larger than 10000 bytes unpacked (limits.bytes)"),
        ),
        (
            "too much to hide",
            &|root| std::fs::remove_file(root.join("d/a")).unwrap(),
            Limits { deferred: 50, ..all },
            "d/a".to_owned(),
            format!(
                "{refused}: layer has more than 50 bytes of whiteouts, implied directories and links (limits.deferred)"
            ),
        ),
        (
            "too large an attribute",
            &|root| rustix::fs::setxattr(root.join("d/a"), "user.x", &[b'x'; 2000], XattrFlags::empty()).unwrap(),
            Limits { header: 1000, ..all },
            "d/a".to_owned(),
            "extended tar headers of more than 1000 bytes (limits.header)".to_owned(),
        ),
    ] {
        for rootfs in [Rootfs::Overlay, Rootfs::Copy] {
            let bundle = place.directory.path().join("b");
            bundle_of(&place, &bundle, rootfs);
            act(&bundle.join("rootfs"));
            let error = commit_within(&place.store, &bundle, "new:1", &Options::default(), &limits).unwrap_err();
            let said = format!("{error:#}");
            assert!(said.starts_with(&path) && said.ends_with(&format!(": {reason}")), "{name}, {rootfs:?}: {said}");
            assert_eq!(said.len(), said.replace(&path, "").len() + path.len(), "the path is named once: {said}");
            assert!(place.store.resolve("new:1").unwrap().is_none(), "{name}, {rootfs:?}");
            when_not_busy(|| remove(&place.store, &bundle));
        }
    }
    assert_eq!(place.store.check().unwrap(), []);
}

#[test]
fn a_layer_of_zeros_and_repetitions_is_not_taken_for_a_bomb() {
    let Some(place) = place() else { return };
    let limits = Limits { ratio: 20, ratio_from: 1 << 20, ..Limits::default() };
    for (name, content) in [("zeros", "\0".repeat(3 << 20)), ("text", "all work and no play\n".repeat(150_000))] {
        let bundle = place.directory.path().join("b");
        bundle_of(&place, &bundle, Rootfs::Overlay);
        write(&bundle.join("rootfs/disk.img"), &content);
        let tag = format!("{name}:1");
        commit_within(&place.store, &bundle, &tag, &Options::default(), &limits).unwrap();
        when_not_busy(|| remove(&place.store, &bundle));
        let listed = unpacked_within(&place, &tag, limits);
        assert!(listed.iter().any(|line| line.contains("disk.img")), "{listed:?}");
        peers_read(&place, &tag);
    }
}
