//! Where names and links lead: always into the image.

use super::super::archive::Raw;
use super::super::{Heard, flat, stacked};
use super::{Case, Options, Refused, Tree, all, fingerprint, known, outside, t};
use crate::image::unpack::Ids;

#[test]
fn names_and_links_that_point_outside_stay_inside() {
    let (dir, v) = outside();
    let up = format!("../../../../../../..{v}");
    let below = |target: &str| t().link("s", target).file("s/pwn", "x").end();
    let inside = v.trim_start_matches('/');
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("dotdot name", vec![t().file(&format!("{up}/pwn"), "x").end()]),
        ("absolute name", vec![t().file(&format!("{v}/pwn"), "x").end()]),
        ("below a symlink, absolute", vec![below(&v)]),
        ("below a symlink, relative", vec![below(&up)]),
        ("below a chain of symlinks", vec![t().link("a", &v).link("b", "a").link("s", "b").file("s/pwn", "x").end()]),
        ("below a symlink of an earlier layer", vec![t().link("s", &v).end(), t().file("s/pwn", "x").end()]),
    ];
    let rows: Vec<_> = cases.iter().map(|(name, _)| (*name, None)).collect();
    known("names_and_links_that_point_outside_stay_inside", &rows);
    for (name, layers) in cases {
        let before = fingerprint(dir.path());
        let options = Options { ids: Ids::of_caller(), ..Options::default() };
        for made in [flat(&layers, &options, &Heard::default()), stacked(&layers, &options, &Heard::default())] {
            let lines = made.unwrap_or_else(|e| panic!("{name}: {e}"));
            let wanted = format!(" {inside}/pwn = x");
            assert!(lines.iter().any(|l| l.ends_with(&wanted)), "{name}: no {wanted}:\n{}", lines.join("\n"));
        }
        assert_eq!(fingerprint(dir.path()), before, "{name}");
    }
}

#[test]
fn symbolic_links_in_the_way_mean_what_they_mean_in_the_container() {
    let (dir, v) = outside();
    let cases: Vec<Case> = vec![
        (
            "file over a symlink",
            vec![t().link("s", &format!("{v}/secret")).file("s", "new").end()],
            Tree(&["f 644 s = new"]),
        ),
        (
            "file over a symlink of an earlier layer",
            vec![t().link("s", &format!("{v}/secret")).end(), t().file("s", "new").end()],
            Tree(&["f 644 s = new"]),
        ),
        (
            "file below a merged-usr symlink",
            vec![t().dir("usr").dir("usr/lib").link("lib", "usr/lib").end(), t().file("lib/x", "1").end()],
            Tree(&["l 777 lib -> usr/lib", "f 644 usr/lib/x = 1"]),
        ),
        (
            "directory over a symlink",
            vec![
                t().dir("usr").dir("usr/lib").file("usr/lib/a", "a").link("lib", "usr/lib").end(),
                t().dir("lib").file("lib/x", "1").end(),
            ],
            Tree(&["d 755 lib", "f 644 lib/x = 1", "f 644 usr/lib/a = a", "! usr/lib/x", "! lib/a"]),
        ),
        (
            "symlink over a full directory",
            vec![t().dir("lib").file("lib/a", "a").end(), t().link("lib", "usr/lib").end()],
            Tree(&["l 777 lib -> usr/lib", "! lib/a"]),
        ),
        (
            "missing parent that is a directory of a lower layer",
            vec![t().with(Raw { mode: 0o1777, ..Raw::new(b'5', "tmp") }, b"").end(), t().file("tmp/x", "1").end()],
            Tree(&["d 1777 tmp", "f 644 tmp/x = 1"]),
        ),
        (
            "symlink whose target only a lower layer has",
            vec![
                t().dir("data").dir("data/real").file("data/real/a", "a").end(),
                t().link("d", "data/real").file("d/b", "b").end(),
            ],
            Tree(&["f 644 data/real/a = a", "f 644 data/real/b = b", "l 777 d -> data/real"]),
        ),
        (
            "dangling symlink as parent",
            vec![t().link("s", "not/there").file("s/x", "1").end()],
            Tree(&["f 644 not/there/x = 1", "d 755 not"]),
        ),
        (
            "symlink loop as parent",
            vec![t().link("a", "b").link("b", "a").file("a/x", "1").end()],
            Refused("symbolic links"),
        ),
        (
            "dotdot through a symlink",
            vec![t().dir("a").dir("a/b").link("s", "a/b").file("s/../x", "1").end()],
            Tree(&["f 644 a/x = 1"]),
        ),
        (
            "directory over a symlink to V (CVE-2021-32760)",
            vec![t().link("s", &v).with(Raw { mode: 0o777, ..Raw::new(b'5', "s") }, b"").file("s/x", "1").end()],
            Tree(&["d 777 s", "f 644 s/x = 1"]),
        ),
        (
            "modes and times below a symlink to V",
            vec![t().link("s", &v).end(), t().with(Raw { mode: 0o777, ..Raw::new(b'5', "s/.") }, b"").end()],
            Tree(&["d 777 s"]),
        ),
        (".: symlink", vec![t().link(".", &v).end()], Refused("the root of an image is a directory")),
        ("/: symlink", vec![t().link("/", &v).end()], Refused("the root of an image is a directory")),
        (".: file", vec![t().file(".", "x").end()], Refused("the root of an image is a directory")),
        ("/: file", vec![t().file("/.", "x").end()], Refused("the root of an image is a directory")),
    ];
    all("symbolic_links_in_the_way_mean_what_they_mean_in_the_container", &cases, dir.path());
}

#[test]
fn hard_links_lead_to_files_of_the_image_or_nowhere() {
    let (dir, v) = outside();
    let cases: Vec<Case> = vec![
        ("absolute, outside", vec![t().hard("h", &format!("{v}/secret")).end()], Refused("hard link to")),
        (
            "dotdot, outside",
            vec![t().hard("h", &format!("../../../../../..{v}/secret")).end()],
            Refused("hard link to"),
        ),
        ("through a symlink, outside", vec![t().link("s", &v).hard("h", "s/secret").end()], Refused("hard link to")),
        ("to itself", vec![t().file("h", "x").hard("h", "h").end()], Refused("hard link to itself")),
        ("to nothing", vec![t().hard("h", "nothing").end()], Refused("no such file or directory (ENOENT)")),
        ("to a directory", vec![t().dir("d").hard("h", "d").end()], Refused("hard link to d")),
        ("to a file", vec![t().file("a", "1").hard("b", "a").end()], Tree(&["f 644 a (2) = 1", "f 644 b (2) = 1"])),
        (
            "to a file of an earlier layer",
            vec![t().dir("d").file("d/a", "1").end(), t().dir("e").hard("e/b", "d/a").end()],
            Tree(&["f 644 d/a (2) = 1", "f 644 e/b (2) = 1"]),
        ),
        (
            "to a link to a file of an earlier layer",
            vec![t().file("z", "1").end(), t().hard("b", "z").hard("a", "b").end()],
            Tree(&["f 644 a (3) = 1", "f 644 b (3) = 1", "f 644 z (3) = 1"]),
        ),
        (
            "below a symlink of an earlier layer",
            vec![
                t().dir("usr").dir("usr/lib").file("usr/lib/a", "1").link("lib", "usr/lib").end(),
                t().hard("b", "lib/a").end(),
            ],
            Tree(&["f 644 usr/lib/a (2) = 1", "f 644 b (2) = 1"]),
        ),
        (
            "to a symlink, then a file of that name",
            vec![t().link("s", &format!("{v}/secret")).hard("h", "s").file("h", "mine").end()],
            Tree(&["f 644 h = mine"]),
        ),
        ("twice the same", vec![t().file("a", "1").hard("b", "a").hard("b", "a").end()], Tree(&["f 644 b (2) = 1"])),
        (
            "later replaced by a file",
            vec![t().file("a", "1").end(), t().hard("b", "a").file("b", "2").end()],
            Tree(&["f 644 a = 1", "f 644 b = 2"]),
        ),
        (
            "to a file that a later whiteout hides",
            vec![t().dir("d").file("d/a", "1").end(), t().hard("b", "d/a").hard("c", "d/a").file(".wh.d", "").end()],
            Tree(&["f 644 b (2) = 1", "f 644 c (2) = 1", "! d"]),
        ),
        (
            "to a file that an earlier whiteout hides",
            vec![t().dir("d").file("d/a", "1").end(), t().file(".wh.d", "").hard("b", "d/a").end()],
            Refused("no such file or directory (ENOENT)"),
        ),
        (
            "to a file that a later one replaces",
            vec![t().file("a", "1").end(), t().hard("b", "a").file("a", "2").end()],
            Tree(&["f 644 a = 2", "f 644 b = 1"]),
        ),
    ];
    all("hard_links_lead_to_files_of_the_image_or_nowhere", &cases, dir.path());
}
