//! Archives that lie, and careless ones.

use super::super::archive::{Raw, base256, gzip, octal};
use super::super::{Descriptor, Digest, Heard, Layer, Store, image};
use super::{Case, Options, Refused, Tree, all, known, outside, t};
use crate::image::layers::prepare;
use crate::image::unpack::Ids;

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn archives_that_lie_are_refused_and_careless_ones_accepted() {
    let (dir, _) = outside();
    let sized = |size: Vec<u8>| t().raw(&Raw { size, ..Raw::new(b'0', "a") }, b"x").end();
    let two = || t().file("a", "1").file("b", "2");
    let hidden = t().file("smuggled", "x").cut();
    let garbage = [two().end(), b"garbage".repeat(300)].concat();
    let members = [gzip(&two().cut()[..700]), gzip(&two().cut()[700..]), gzip(&[0; 1024])].concat();
    let cases: Vec<Case> = vec![
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
    all("archives_that_lie_are_refused_and_careless_ones_accepted", &cases, dir.path());
}

#[test]
fn a_wrong_diff_id_digest_or_size_is_an_error_and_nothing_is_published() {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(place.path()).unwrap();
    let layer = t().file("a", "1").end();
    let right = image(&store, std::slice::from_ref(&layer)).remove(0);
    let options = Options { ids: Ids::of_caller(), ..Options::default() };
    let mut wrong_diff = right.clone();
    wrong_diff.diff_id = Digest::of(b"other");
    let attempt = |layer: &Layer, served: Vec<u8>| {
        let fetch = move |_: &Descriptor| -> anyhow::Result<Box<dyn std::io::Read + Send>> {
            Ok(Box::new(std::io::Cursor::new(served.clone())))
        };
        let made = prepare(&store, std::slice::from_ref(layer), &fetch, &options, &Heard::default());
        format!("{:#}", made.unwrap_err())
    };
    let error = attempt(&wrong_diff, Vec::new());
    assert!(error.contains("but the image config says"), "{error}");
    assert!(store.layer(&wrong_diff.diff_id).is_none());
    let other = t().file("a", "2").end();
    let cases = [
        ("other bytes than the digest says", other.len() as u64, layer.clone(), "its content has the digest"),
        ("fewer bytes than the manifest says", other.len() as u64 + 1, other.clone(), "where the descriptor says"),
        ("more bytes than the manifest says", other.len() as u64 - 1, other.clone(), "more than the"),
    ];
    let mut rows = vec![("another diff-id than the image config says", Some("but the image config says"))];
    rows.extend(cases.iter().map(|(name, _, _, reason)| (*name, Some(*reason))));
    known("a_wrong_diff_id_digest_or_size_is_an_error_and_nothing_is_published", &rows);
    for (_, size, served, reason) in cases {
        let mut descriptor = Descriptor::of("x", &other);
        descriptor.size = size;
        let error = attempt(&Layer { descriptor, diff_id: Digest::of(&other) }, served);
        assert!(error.contains(reason), "{error}");
        assert!(!store.has(&Digest::of(&other)));
        assert!(store.layer(&Digest::of(&other)).is_none());
    }
    let left: Vec<_> = std::fs::read_dir(place.path().join("ocicat/tmp")).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}
