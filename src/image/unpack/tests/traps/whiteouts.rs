//! What hides lower entries, in whatever order it comes.

use super::{ACL, Case, Refused, Tree, WAYS, all, known, outside, t};
use crate::image::layers::Options;
use crate::image::unpack::tests::Heard;
use crate::image::unpack::tests::archive::{Raw, Tar, octal};

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn whiteouts_hide_lower_entries_and_nothing_else() {
    let (dir, v) = outside();
    let base = || t().dir("d").file("d/a", "low").file("d/b", "low").dir("d/sub").file("d/sub/x", "low").end();
    let cases: Vec<Case> = vec![
        (
            "below a symlink to V",
            vec![t().link("s", &v).end(), t().file("s/.wh.secret", "").end()],
            Tree(&["! .wh.secret"]),
        ),
        ("opaque below a symlink to V", vec![t().link("s", &v).end(), t().file("s/.wh..wh..opq", "").end()], Tree(&[])),
        (".wh..", vec![base(), t().file("d/.wh..", "").end()], Refused("whiteout of nothing")),
        (".wh...", vec![base(), t().file("d/.wh...", "").end()], Refused("whiteout of nothing")),
        (".wh.", vec![base(), t().file("d/.wh.", "").end()], Refused("whiteout of nothing")),
        ("a file", vec![base(), t().file("d/.wh.a", "").end()], Tree(&["! d/a", "f 644 d/b = low", "! d/.wh.a"])),
        (
            "a directory",
            vec![base(), t().file("d/.wh.sub", "").end()],
            Tree(&["! d/sub", "! d/sub/x", "f 644 d/a = low"]),
        ),
        (
            "opaque before the new entries",
            vec![base(), t().dir("d").file("d/.wh..wh..opq", "").file("d/new", "1").end()],
            Tree(&["! d/a", "! d/sub", "f 644 d/new = 1", "! d/.wh..wh..opq"]),
        ),
        (
            "opaque after the new entries",
            vec![base(), t().dir("d").file("d/new", "1").file("d/.wh..wh..opq", "").end()],
            Tree(&["! d/a", "! d/sub/x", "f 644 d/new = 1"]),
        ),
        (
            "opaque after a new entry below a lower directory",
            vec![base(), t().dir("d").file("d/sub/y", "1").file("d/.wh..wh..opq", "").end()],
            Tree(&["! d/a", "! d/sub/x", "f 644 d/sub/y = 1"]),
        ),
        (
            "before the same name",
            vec![base(), t().file("d/.wh.a", "").file("d/a", "new").end()],
            Tree(&["f 644 d/a = new"]),
        ),
        (
            "after the same name",
            vec![base(), t().file("d/a", "new").file("d/.wh.a", "").end()],
            Tree(&["f 644 d/a = new"]),
        ),
        (
            "after a directory of the same name",
            vec![base(), t().dir("d/sub").file("d/sub/y", "1").file("d/.wh.sub", "").end()],
            Tree(&["f 644 d/sub/y = 1", "! d/sub/x"]),
        ),
        (
            "before a directory of the same name",
            vec![base(), t().file("d/.wh.sub", "").dir("d/sub").file("d/sub/y", "1").end()],
            Tree(&["f 644 d/sub/y = 1", "! d/sub/x"]),
        ),
        (
            "of what does not exist",
            vec![base(), t().file("d/.wh.none", "").end()],
            Tree(&["f 644 d/a = low", "! d/none"]),
        ),
        ("in a directory that does not exist", vec![base(), t().file("none/.wh.a", "").end()], Tree(&["! none"])),
        (
            "opaque directory that does not exist",
            vec![base(), t().file("none/.wh..wh..opq", "").end()],
            Tree(&["! none"]),
        ),
        (
            "in the lowest layer",
            vec![t().dir("d").file("d/.wh.a", "").file("d/b", "1").end()],
            Tree(&["! d/a", "! d/.wh.a", "f 644 d/b = 1"]),
        ),
        (
            "opaque root",
            vec![base(), t().file(".wh..wh..opq", "").file("new", "1").end()],
            Tree(&["! d", "f 644 new = 1"]),
        ),
        (
            "through two layers",
            vec![base(), t().file("d/.wh.a", "").end(), t().file("d/c", "top").end(), t().file("d/a", "again").end()],
            Tree(&["f 644 d/a = again", "f 644 d/c = top", "f 644 d/b = low"]),
        ),
        ("below a whiteout", vec![base(), t().file("d/.wh.a/x", "").end()], Refused("no entries below")),
        (
            "bookkeeping of aufs",
            vec![base(), t().dir(".wh..wh.plnk").file(".wh..wh.plnk/1.2", "").end()],
            Tree(&["! .wh..wh.plnk"]),
        ),
        (
            "directory, file, directory: the lower entries stay hidden",
            vec![base(), t().file("d/sub", "f").dir("d/sub").file("d/sub/y", "1").end()],
            Tree(&["f 644 d/sub/y = 1", "! d/sub/x"]),
        ),
        (
            "file, directory that nothing describes: the lower entries stay hidden",
            vec![base(), t().file("d/sub", "f").file("d/sub/y", "1").end()],
            Tree(&["f 644 d/sub/y = 1", "! d/sub/x"]),
        ),
        (
            "below what a whiteout of the same layer hides",
            vec![base(), t().file("d/sub/.wh.x", "").file(".wh.d", "").end()],
            Tree(&["! d"]),
        ),
        (
            "opaque below what a whiteout of the same layer hides",
            vec![base(), t().file("d/sub/.wh..wh..opq", "").file(".wh.d", "").end()],
            Tree(&["! d"]),
        ),
    ];
    all("whiteouts_hide_lower_entries_and_nothing_else", &cases, dir.path());
}

/// Directories of a lower layer that are hidden, and made again by an entry below them: 755, root, and nothing of what they were.
#[test]
fn a_hidden_directory_gives_nothing_to_the_one_made_again() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let closed = |name| Raw { mode: 0o2770, uid: octal(5), gid: octal(6), ..Raw::new(b'5', name) };
    let described = |tar: Tar, name| {
        tar.pax(&[("SCHILY.xattr.user.low", b"1"), ("SCHILY.xattr.system.posix_acl_access", ACL)])
            .with(closed(name), b"")
    };
    let base = || described(described(described(t(), "d"), "d/sub"), "d/sub/in").file("d/sub/in/x", "low").end();
    let (kept, renewed) = ("2770 5:6 1000000000.0", "755 0:0 now");
    let cases: [(&str, Vec<u8>, [&str; 3]); 8] = [
        (
            "whiteout before a new entry below",
            t().file("d/.wh.sub", "").file("d/sub/in/y", "1").end(),
            [kept, renewed, renewed],
        ),
        (
            "whiteout after a new entry below",
            t().file("d/sub/in/y", "1").file("d/.wh.sub", "").end(),
            [kept, renewed, renewed],
        ),
        ("whiteout of an ancestor before", t().file(".wh.d", "").file("d/sub/in/y", "1").end(), [renewed; 3]),
        ("whiteout of an ancestor after", t().file("d/sub/in/y", "1").file(".wh.d", "").end(), [renewed; 3]),
        (
            "opaque ancestor before",
            t().file("d/.wh..wh..opq", "").file("d/sub/in/y", "1").end(),
            [kept, renewed, renewed],
        ),
        (
            "opaque ancestor after",
            t().file("d/sub/in/y", "1").file("d/.wh..wh..opq", "").end(),
            [kept, renewed, renewed],
        ),
        ("opaque root", t().file("d/sub/in/y", "1").file(".wh..wh..opq", "").end(), [renewed; 3]),
        (
            "described before the whiteout",
            t().with(Raw { mode: 0o711, ..Raw::new(b'5', "d/sub") }, b"")
                .file("d/sub/in/y", "1")
                .file("d/.wh.sub", "")
                .end(),
            [kept, "711 0:0 1000000000.0", renewed],
        ),
    ];
    known("a_hidden_directory_gives_nothing_to_the_one_made_again", &cases.each_ref().map(|(name, ..)| (*name, None)));
    for (name, layer, expected) in cases {
        let layers = [base(), layer];
        for (way, unpack) in WAYS {
            let lines = unpack(&layers, &Options::default(), &Heard::default())
                .unwrap_or_else(|e| panic!("{name} ({way}): {e}"));
            assert!(lines.iter().any(|line| line.ends_with("d/sub/in/y = 1")), "{name} ({way}): {lines:?}");
            assert!(!lines.iter().any(|line| line.contains("d/sub/in/x")), "{name} ({way}): {lines:?}");
            for (place, expected) in ["d", "d/sub", "d/sub/in"].into_iter().zip(expected) {
                let found = lines.iter().map(|line| present(line)).find(|line| line.split(' ').nth(4) == Some(place));
                let found = found.unwrap_or_else(|| panic!("{name} ({way}): no {place}"));
                let has = |what: &str| found.contains(what) == (expected == kept);
                assert!(found.starts_with(&format!("d {expected} {place}")), "{name} ({way}): {found}");
                assert!(has("{user.low=1}") && has("{system.posix_acl_access="), "{name} ({way}): {found}");
            }
        }
    }
}

/// The line with `now` for a time that no archive of this test has.
fn present(line: &str) -> String {
    let mut parts: Vec<&str> = line.splitn(5, ' ').collect();
    if let Some(time) = parts.get_mut(3).filter(|time| **time != "1000000000.0") {
        *time = "now";
    }
    parts.join(" ")
}
