//! Every trap that image tools fell into, one layer each, and V: a directory outside the root that nobody may touch.

use super::archive::{Raw, Tar, base256, gzip, octal};
use super::{Heard, flat, stacked};
use crate::image::layers::Options;
use std::path::Path;

/// What must come out.
enum Outcome {
    /// Lines that must be there (`TYPE MODE NAME...`, without owner and time); `! NAME` must not.
    Tree(&'static [&'static str]),
    /// The error has this.
    Refused(&'static str),
}
use Outcome::{Refused, Tree};

fn run(name: &str, layers: &[Vec<u8>], outcome: &Outcome, v: &Path) {
    let before = fingerprint(v);
    let options = Options { ids: crate::image::unpack::Ids::of_caller(), ..Options::default() };
    for (way, result) in
        [("flat", flat(layers, &options, &Heard::default())), ("stacked", stacked(layers, &options, &Heard::default()))]
    {
        match (outcome, result) {
            (Refused(reason), Err(error)) => assert!(error.contains(reason), "{name} ({way}): {error}"),
            (Refused(reason), Ok(lines)) => panic!("{name} ({way}): not refused ({reason}):\n{}", lines.join("\n")),
            (Tree(_), Err(error)) => panic!("{name} ({way}): {error}"),
            (Tree(expected), Ok(lines)) => judge(&format!("{name} ({way})"), expected, &lines),
        }
        assert_eq!(fingerprint(v), before, "{name} ({way}): V was touched");
    }
}

fn judge(name: &str, expected: &[&str], lines: &[String]) {
    // `d 755 0:0 1.0 lib/x ...` without owner and time.
    let short: Vec<String> = lines
        .iter()
        .map(|line| {
            let parts: Vec<&str> = line.splitn(5, ' ').collect();
            if parts.len() == 5 { format!("{} {} {}", parts[0], parts[1], parts[4]) } else { line.clone() }
        })
        .collect();
    for line in expected {
        match line.strip_prefix("! ") {
            Some(absent) => {
                let has = short.iter().any(|l| l.split(' ').nth(2) == Some(absent));
                assert!(!has, "{name}: {absent} is there:\n{}", short.join("\n"));
            }
            None => assert!(short.iter().any(|l| l == line), "{name}: no line {line:?} in:\n{}", short.join("\n")),
        }
    }
}

fn fingerprint(v: &Path) -> String {
    let mut lines = super::listing(&[super::sys_open(v)]);
    lines.push(format!("{:?}", std::fs::metadata(v).unwrap().modified().unwrap()));
    lines.join("\n")
}

fn outside() -> (tempfile::TempDir, String) {
    let v = tempfile::tempdir().unwrap();
    let path = v.path().join("secret");
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path).unwrap();
    std::io::Write::write_all(&mut file, b"secret").unwrap();
    let name = v.path().to_str().unwrap().to_owned();
    (v, name)
}

fn t() -> Tar {
    Tar::new()
}

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
    for (name, layers) in cases {
        let before = fingerprint(dir.path());
        let options = Options { ids: crate::image::unpack::Ids::of_caller(), ..Options::default() };
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
    let cases: Vec<(&str, Vec<Vec<u8>>, Outcome)> = vec![
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
        (".: symlink", vec![t().link(".", &v).end()], Refused("the root of an image is a directory")),
        ("/: symlink", vec![t().link("/", &v).end()], Refused("the root of an image is a directory")),
        (".: file", vec![t().file(".", "x").end()], Refused("the root of an image is a directory")),
    ];
    for (name, layers, outcome) in &cases {
        run(name, layers, outcome, dir.path());
    }
}

#[test]
fn hard_links_lead_to_files_of_the_image_or_nowhere() {
    let (dir, v) = outside();
    let cases: Vec<(&str, Vec<Vec<u8>>, Outcome)> = vec![
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
    ];
    for (name, layers, outcome) in &cases {
        run(name, layers, outcome, dir.path());
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn whiteouts_hide_lower_entries_and_nothing_else() {
    let (dir, v) = outside();
    let base = || t().dir("d").file("d/a", "low").file("d/b", "low").dir("d/sub").file("d/sub/x", "low").end();
    let cases: Vec<(&str, Vec<Vec<u8>>, Outcome)> = vec![
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
    for (name, layers, outcome) in &cases {
        run(name, layers, outcome, dir.path());
    }
}

#[test]
fn the_later_entry_wins() {
    let (dir, _) = outside();
    let cases: Vec<(&str, Vec<Vec<u8>>, Outcome)> = vec![
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
        ("file with a slash at its end", vec![t().file("a/", "").end()], Tree(&["d 644 a"])),
    ];
    for (name, layers, outcome) in &cases {
        run(name, layers, outcome, dir.path());
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn archives_that_lie_are_refused_and_careless_ones_accepted() {
    let (dir, _) = outside();
    let sized = |size: Vec<u8>| t().raw(&Raw { size, ..Raw::new(b'0', "a") }, b"x").end();
    let two = || t().file("a", "1").file("b", "2");
    let hidden = t().file("smuggled", "x").cut();
    let garbage = [two().end(), b"garbage".repeat(300)].concat();
    let members = [gzip(&two().cut()[..700]), gzip(&two().cut()[700..]), gzip(&[0; 1024])].concat();
    let cases: Vec<(&str, Vec<Vec<u8>>, Outcome)> = vec![
        (
            "PAX size against the header's",
            vec![t().pax(&[("size", b"1024")]).raw(&Raw::new(b'0', "a"), &hidden).end()],
            Tree(&["! smuggled"]),
        ),
        ("NUL in a PAX path", vec![t().pax(&[("path", b"a\0b")]).file("c", "1").end()], Refused("NUL")),
        ("negative size", vec![sized(base256(-1))], Refused("negative size")),
        (
            "bad checksum",
            vec![t().raw(&Raw { checksum: Some(1), ..Raw::new(b'0', "a") }, b"").end()],
            Refused("checksum"),
        ),
        (
            "name part of 256 bytes",
            vec![t().pax(&[("path", &[b'x'; 256])]).file("c", "1").end()],
            Refused("255 is the most"),
        ),
        ("name of 255 bytes", vec![t().pax(&[("path", &[b'x'; 255])]).file("c", "1").end()], Tree(&["! c"])),
        ("huge size", vec![sized(base256(1 << 62))], Refused("limits.bytes")),
        ("size beyond 64 bits", vec![sized(base256(1 << 80))], Refused("no valid number as size")),
        (
            "truncated data",
            vec![t().raw(&Raw { size: octal(5000), ..Raw::new(b'0', "a") }, b"x").cut()],
            Refused("truncated"),
        ),
        ("truncated header", vec![two().cut()[..1300].to_vec()], Refused("truncated")),
        (
            "uid 2^32",
            vec![
                t().with(
                    Raw {
                        uid: base256(1 << 32)[4..]
                            .iter()
                            .enumerate()
                            .map(|(n, b)| if n == 0 { b | 0x80 } else { *b })
                            .collect(),
                        ..Raw::new(b'0', "a")
                    },
                    b"",
                )
                .end(),
            ],
            Refused("uid 4294967296 is out of range"),
        ),
        (
            "gid 2^32 by PAX",
            vec![t().pax(&[("gid", b"4294967296")]).file("a", "").end()],
            Refused("gid 4294967296 is out of range"),
        ),
        ("uid 2^32 - 1", vec![t().pax(&[("uid", b"4294967295")]).file("a", "").end()], Refused("out of range")),
        ("negative uid", vec![t().pax(&[("uid", b"-1")]).file("a", "").end()], Refused("no number")),
        ("no end-of-archive blocks", vec![two().cut()], Tree(&["f 644 a = 1", "f 644 b = 2"])),
        ("trailing garbage", vec![garbage], Tree(&["f 644 b = 2"])),
        ("empty layer", vec![t().end()], Tree(&["d 755 ."])),
        ("zero bytes", vec![Vec::new()], Tree(&["d 755 ."])),
        ("several gzip members", vec![members], Tree(&["f 644 a = 1", "f 644 b = 2"])),
        ("garbage after gzip", vec![[gzip(&two().end()), vec![0; 512]].concat()], Tree(&["f 644 b = 2"])),
        ("gzip cut short", vec![gzip(&two().end())[..60].to_vec()], Refused("gzip")),
        ("zstd", vec![zstd::stream::encode_all(&two().end()[..], 3).unwrap()], Tree(&["f 644 a = 1"])),
        ("character device 0:0", vec![t().device(b'3', "a", (0, 0)).end()], Refused("whiteout of overlayfs")),
        ("unknown type", vec![t().with(Raw::new(b'Z', "a"), b"").end()], Refused("unknown type 'Z'")),
        (
            "global header with a path",
            vec![t().with(Raw::new(b'g', "g"), b"10 path=x\n").file("a", "1").end()],
            Refused("global PAX header"),
        ),
        ("empty symlink", vec![t().link("a", "").end()], Refused("empty name")),
        ("fifo", vec![t().with(Raw::new(b'6', "p"), b"").end()], Tree(&["p 644 p 0:0"])),
        (
            "one zero block between entries",
            vec![[t().file("a", "1").cut(), vec![0; 512], t().file("b", "2").end()].concat()],
            Refused("single block of zeros"),
        ),
    ];
    for (name, layers, outcome) in &cases {
        run(name, layers, outcome, dir.path());
    }
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
    let options = Options { ids: crate::image::unpack::Ids::of_caller(), ..Options::default() };
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
    let store = super::Store::open(&place.path().join("s")).unwrap();
    let heard = Heard::default();
    let image = super::image(&store, &[layer]);
    let made = crate::image::layers::prepare(&store, &image, &super::never, &Options::default(), &heard).unwrap();
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
    let options = Options { ids: crate::image::unpack::Ids::of_caller(), ..Options::default() };
    let lines = flat(&[layer], &options, &heard).unwrap();
    let warned = !heard.0.lock().unwrap().is_empty();
    if warned {
        judge("rootless", &["f 644 dev/null = "], &lines);
    } else {
        judge("root", &["c 644 dev/null 1:3", "b 644 dev/loop9 7:9"], &lines);
    }
    drop(dir);
}

#[test]
fn a_wrong_diff_id_digest_or_size_is_an_error_and_nothing_is_published() {
    let place = tempfile::tempdir().unwrap();
    let store = super::Store::open(place.path()).unwrap();
    let layer = t().file("a", "1").end();
    let right = super::image(&store, std::slice::from_ref(&layer)).remove(0);
    let options = Options { ids: crate::image::unpack::Ids::of_caller(), ..Options::default() };
    let mut wrong_diff = right.clone();
    wrong_diff.diff_id = super::Digest::of(b"other");
    let attempt = |layer: &super::Layer, served: Vec<u8>| {
        let fetch = move |_: &super::Descriptor| -> anyhow::Result<Box<dyn std::io::Read + Send>> {
            Ok(Box::new(std::io::Cursor::new(served.clone())))
        };
        let made =
            crate::image::layers::prepare(&store, std::slice::from_ref(layer), &fetch, &options, &Heard::default());
        format!("{:#}", made.unwrap_err())
    };
    let error = attempt(&wrong_diff, Vec::new());
    assert!(error.contains("but the image config says"), "{error}");
    assert!(store.layer(&wrong_diff.diff_id).is_none());
    let other = t().file("a", "2").end();
    for (size, served, reason) in [
        (other.len() as u64, layer.clone(), "its content has the digest"),
        (other.len() as u64 + 1, other.clone(), "where the descriptor says"),
        (other.len() as u64 - 1, other.clone(), "more than the"),
    ] {
        let mut descriptor = super::Descriptor::of("x", &other);
        descriptor.size = size;
        let error = attempt(&super::Layer { descriptor, diff_id: super::Digest::of(&other) }, served);
        assert!(error.contains(reason), "{error}");
        assert!(!store.has(&super::Digest::of(&other)));
        assert!(store.layer(&super::Digest::of(&other)).is_none());
    }
    let left: Vec<_> = std::fs::read_dir(place.path().join("ocicat/tmp")).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}
