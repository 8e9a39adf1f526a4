//! Names that come twice, and what files and directories have besides their content.

use super::super::archive::{Raw, Tar, octal};
use super::super::{Heard, Store, flat, image, never, stacked};
use super::{ACL, Case, Options, Tree, WAYS, all, judge, known, outside, t};
use crate::image::layers::prepare;
use crate::image::unpack::Ids;

#[test]
fn the_later_entry_wins() {
    let (dir, _) = outside();
    let cases: Vec<Case> = vec![
        ("file under a file", vec![t().file("a", "1").file("a/b", "2").end()], Tree(&["d 755 a", "f 644 a/b = 2"])),
        (
            "file under a file of an earlier layer",
            vec![t().file("a", "1").end(), t().file("a/b", "2").end()],
            Tree(&["d 755 a", "f 644 a/b = 2"]),
        ),
        ("file to directory", vec![t().file("a", "1").dir("a").end()], Tree(&["d 755 a"])),
        ("file to directory in layers", vec![t().file("a", "1").end(), t().dir("a").end()], Tree(&["d 755 a"])),
        (
            "directory to file",
            vec![t().dir("a").file("a/b", "1").file("a", "2").end()],
            Tree(&["f 644 a = 2", "! a/b"]),
        ),
        (
            "directory to file in layers",
            vec![t().dir("a").file("a/b", "1").end(), t().file("a", "2").end()],
            Tree(&["f 644 a = 2", "! a/b"]),
        ),
        ("twice the same name", vec![t().file("a", "1").file("a", "2").end()], Tree(&["f 644 a = 2"])),
        (
            "root described by the lowest layer alone",
            vec![t().with(Raw { mode: 0o751, ..Raw::new(b'5', "./") }, b"").end(), t().file("a", "1").end()],
            Tree(&["d 751 .", "f 644 a = 1"]),
        ),
        ("missing parents", vec![t().file("a/b/c", "1").end()], Tree(&["d 755 a", "d 755 a/b", "f 644 a/b/c = 1"])),
        (
            "missing parents in a set-group-id directory",
            vec![t().with(Raw { mode: 0o2755, ..Raw::new(b'5', "d") }, b"").file("d/a/b/c", "1").end()],
            Tree(&["d 2755 d", "d 755 d/a", "d 755 d/a/b"]),
        ),
        (
            "missing parents in a set-group-id directory of an earlier layer",
            vec![
                t().with(Raw { mode: 0o2755, ..Raw::new(b'5', "d") }, b"").end(),
                t().file("d/a/b/c", "1").end(),
                t().file("d/a/e/c", "1").end(),
            ],
            Tree(&["d 2755 d", "d 755 d/a", "d 755 d/a/b", "d 755 d/a/e"]),
        ),
        ("file with a slash at its end", vec![t().file("a/", "").end()], Tree(&["d 644 a"])),
    ];
    all("the_later_entry_wins", &cases, dir.path());
}

#[test]
fn uids_up_to_the_kernels_last_are_kept_by_root() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let layer = t().pax(&[("uid", b"2147483647"), ("gid", b"4294967294")]).file("a", "1").end();
    for made in [
        flat(std::slice::from_ref(&layer), &Options::default(), &Heard::default()),
        stacked(std::slice::from_ref(&layer), &Options::default(), &Heard::default()),
    ] {
        let lines = made.unwrap();
        assert!(lines.iter().any(|l| l.contains(" 2147483647:4294967294 ")), "{}", lines.join("\n"));
    }
}

#[test]
fn directories_keep_their_times_and_files_their_set_id_bits() {
    let old = |name: &str| Raw { mtime: 7, ..Raw::new(b'5', name) };
    let owned = Raw { mode: 0o6755, uid: octal(0), gid: octal(0), ..Raw::new(b'0', "d/s") };
    let layers = [
        t().with(old("d"), b"").with(owned, b"x").dir("d/e").file("d/e/f", "1").end(),
        t().file("d/e/g", "1").file("d/.wh.s2", "").end(),
    ];
    let options = Options { ids: Ids::of_caller(), ..Options::default() };
    for made in [flat(&layers, &options, &Heard::default()), stacked(&layers, &options, &Heard::default())] {
        let lines = made.unwrap().join("\n");
        assert!(lines.contains(" 7.0 d\n"), "{lines}");
        assert!(lines.contains("f 6755 "), "{lines}");
        assert!(lines.contains(" 1000000000.0 d/e\n"), "{lines}");
    }
}

#[test]
fn overlays_own_attributes_are_left_out_and_capabilities_kept() {
    let capability = [1u8, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let layer = t()
        .pax(&[
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.user.overlay.redirect", b"/x"),
            ("SCHILY.xattr.user.mine", b"kept"),
        ])
        .dir("d")
        .pax(&[("SCHILY.xattr.security.capability", &capability)])
        .with(Raw { uid: octal(7), mode: 0o4755, ..Raw::new(b'0', "ping") }, b"x")
        .end();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(&place.path().join("s")).unwrap();
    let heard = Heard::default();
    let image = image(&store, &[layer]);
    let made = prepare(&store, &image, &never, &Options::default(), &heard).unwrap();
    let names = |path: &str| -> Vec<String> {
        let all = crate::image::unpack::all_xattrs(made[0].path.join(path).as_os_str()).unwrap();
        all.into_iter().map(|(name, _)| String::from_utf8(name).unwrap()).collect()
    };
    assert_eq!(names("d"), ["user.mine"]);
    assert_eq!(names("ping"), ["security.capability"]);
    let heard = heard.0.lock().unwrap().join("\n");
    assert!(heard.contains("trusted.overlay.opaque") && heard.contains("user.overlay.redirect"), "{heard}");
}

#[test]
fn devices_are_made_by_root_and_stood_for_otherwise() {
    let (dir, _) = outside();
    let layer = t().dir("dev").device(b'3', "dev/null", (1, 3)).device(b'4', "dev/loop9", (7, 9)).end();
    let heard = Heard::default();
    let options = Options { ids: Ids::of_caller(), ..Options::default() };
    let lines = flat(&[layer], &options, &heard).unwrap();
    let warned = !heard.0.lock().unwrap().is_empty();
    if warned {
        judge("rootless", &["f 644 dev/null = "], &lines);
    } else {
        judge("root", &["c 644 dev/null 1:3", "b 644 dev/loop9 7:9"], &lines);
    }
    drop(dir);
}

/// What is made in a directory with a default access control list has the mode that the archive says and no list.
#[test]
fn entries_inherit_no_access_control_list() {
    let open = || t().pax(&[("SCHILY.xattr.system.posix_acl_default", ACL)]).dir("d");
    let content = |tar: Tar| {
        let tar = tar.file("d/a", "1").device(b'6', "d/p", (0, 0)).dir("d/e").file("d/e/b", "2");
        tar.file("d/f/g/c", "3").end()
    };
    for (name, layers) in [
        ("of the same layer", vec![content(open())]),
        ("of an earlier layer", vec![open().end(), content(t())]),
        (
            "of an earlier layer, with a link below it",
            vec![open().file("d/x", "4").end(), content(t().hard("d/y", "d/x"))],
        ),
    ] {
        for (way, unpack) in WAYS {
            let lines = unpack(&layers, &Options::default(), &Heard::default())
                .unwrap_or_else(|e| panic!("{name} ({way}): {e}"));
            for (begin, end) in [
                ("f 644", "d/a = 1"),
                ("p 644", "d/p 0:0"),
                ("d 755", "d/e"),
                ("f 644", "d/e/b = 2"),
                ("d 755", "d/f"),
                ("d 755", "d/f/g"),
                ("f 644", "d/f/g/c = 3"),
            ] {
                let found = lines.iter().any(|line| line.starts_with(begin) && line.ends_with(&format!(" {end}")));
                assert!(found, "{name} ({way}): no {begin} {end} in\n{}", lines.join("\n"));
            }
        }
    }
    known(
        "entries_inherit_no_access_control_list",
        &[
            ("default access control list of a directory", None),
            ("default access control list of an earlier layer's", None),
        ],
    );
}
