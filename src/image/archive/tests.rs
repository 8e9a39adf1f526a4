//! Archives as they are written, found again, and refused.

use super::*;

#[test]
fn a_link_of_an_archive_leads_to_another_member() {
    for (name, link, target) in [
        ("a/layer.tar", "../b/layer.tar", "b/layer.tar"),
        ("layer.tar", "other.tar", "other.tar"),
        ("a/b/c", "../../../../x", "x"),
        ("a/b", "./c", "a/c"),
    ] {
        assert_eq!(join(name, link), target);
    }
}

#[test]
fn an_archive_gives_back_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    let path = directory.path().join("x.tar");
    let mut sink = Sink::archive(&path).unwrap();
    sink.make_directory("blobs").unwrap();
    sink.bytes("blobs/one", b"1").unwrap();
    sink.bytes("two", &[2; 70_000]).unwrap();
    assert!(!path.exists());
    sink.finish().unwrap();
    let mut gzip = std::fs::File::options().write(true).create_new(true).open(directory.path().join("x.gz")).unwrap();
    let mut encoder = flate2::read::GzEncoder::new(File::open(&path).unwrap(), flate2::Compression::fast());
    std::io::copy(&mut encoder, &mut gzip).unwrap();
    for name in ["x.tar", "x.gz"] {
        let source = Source::open(&directory.path().join(name), &store, &Limits::default()).unwrap();
        assert_eq!(source.read("blobs/one", 10).unwrap(), b"1");
        assert_eq!(source.read("two", 70_000).unwrap(), [2; 70_000]);
        assert!(source.read("two", 100).unwrap_err().to_string().contains("limit of 100"));
        assert!(source.has("two") && !source.has("three"));
    }
}

/// A file of a few megabytes filled the disk.
#[test]
fn an_archive_that_claims_to_be_much_more_than_it_is_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    let limits = Limits { bytes: 8 << 20, ratio: 20, ratio_from: 2 << 20, ..Limits::default() };
    let zeros = |count: usize| vec![0; count];
    let gzip = |bytes: &[u8]| {
        let mut packed = Vec::new();
        flate2::read::GzEncoder::new(bytes, flate2::Compression::fast()).read_to_end(&mut packed).unwrap();
        packed
    };
    let zstd = |bytes: &[u8]| zstd::stream::encode_all(bytes, 1).unwrap();
    for (name, content, said) in [
        ("a few zeros", gzip(&zeros(1 << 20)), None),
        ("many, as gzip", gzip(&zeros(4 << 20)), Some("archive unpacks to more than 20 times its size (limits.ratio)")),
        ("many, as zstd", zstd(&zeros(4 << 20)), Some("archive unpacks to more than 20 times its size (limits.ratio)")),
    ] {
        let path = directory.path().join(name);
        let mut file = File::options().write(true).create_new(true).open(&path).unwrap();
        file.write_all(&content).unwrap();
        let opened = Source::open(&path, &store, &limits);
        assert_eq!(opened.err().map(|error| format!("{error:#}")).as_deref(), said, "{name}");
    }
    let plain = tempfile::tempfile().unwrap();
    plain.set_len(9 << 20).unwrap();
    let error = spooled(plain, &store, &limits).unwrap_err();
    assert_eq!(error.to_string(), "archive is larger than 8388608 bytes unpacked (limits.bytes)");
}

#[test]
fn an_archive_that_was_not_finished_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink = Sink::archive(&directory.path().join("x.tar")).unwrap();
    sink.bytes("a", b"b").unwrap();
    drop(sink);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn an_archive_of_names_without_end_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    let path = directory.path().join("x.tar");
    let mut sink = Sink::archive(&path).unwrap();
    (0..40_000).for_each(|n| sink.bytes(&format!("{}{n}", "n".repeat(90) + &"/n".repeat(50)), b"").unwrap());
    sink.finish().unwrap();
    let error = Source::open(&path, &store, &Limits::default()).err().unwrap();
    assert_eq!(error.to_string(), "archive has more than 8388608 bytes of names: no archive of images has");
}
