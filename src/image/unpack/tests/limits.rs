//! What an image may demand, and the error when it wants more.

use super::archive::{Tar, gzip};
use super::{Heard, flat};
use crate::image::layers::Options;
use crate::image::unpack::{Ids, Limits};

fn refused(layer: Vec<u8>, limits: Limits) -> String {
    let options = Options { limits, ids: Ids::of_caller(), ..Options::default() };
    flat(&[layer], &options, &Heard::default()).unwrap_err()
}

#[test]
fn each_limit_names_itself() {
    let small = Limits::default();
    let zeros = "\0".repeat(4 << 20);
    let many = (0..50).fold(Tar::new(), |tar, n| tar.file(&format!("f{n}"), "")).end();
    let deep = format!("{}x", "d/".repeat(600));
    let abyss = "d/".repeat(4000);
    let long = vec![b'v'; 2 << 20];
    for (layer, limits, reason) in [
        (gzip(&Tar::new().file("z", &zeros).end()), Limits { ratio_from: 1 << 20, ratio: 50, ..small }, "limits.ratio"),
        (gzip(&Tar::new().file("z", &zeros).end()), Limits { bytes: 1 << 20, ..small }, "limits.bytes"),
        (many, Limits { entries: 49, ..small }, "limits.entries"),
        (Tar::new().pax(&[("path", deep.as_bytes())]).file("x", "").end(), small, "limits.depth"),
        (Tar::new().pax(&[("path", abyss.as_bytes())]).file("x", "").end(), small, "limits.depth"),
        (Tar::new().pax(&[("comment", &long)]).file("x", "").end(), small, "limits.header"),
    ] {
        let error = refused(layer, limits);
        assert!(error.contains(reason), "{reason}: {error}");
    }
}

#[test]
fn a_layer_of_whiteouts_alone_does_not_fill_memory() {
    let many = (0..2000).fold(Tar::new(), |tar, n| tar.file(&format!(".wh.f{n}"), "")).end();
    let options = Options {
        limits: Limits { deferred: 10_000, ..Limits::default() },
        ids: Ids::of_caller(),
        ..Options::default()
    };
    let error = super::stacked(&[Tar::new().end(), many], &options, &Heard::default()).unwrap_err();
    assert!(error.contains("limits.deferred"), "{error}");
}
