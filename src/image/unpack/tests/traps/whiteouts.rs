//! What hides lower entries, in whatever order it comes.

use super::{Case, Refused, Tree, all, outside, t};

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
    ];
    all("whiteouts_hide_lower_entries_and_nothing_else", &cases, dir.path());
}
