//! What is fuzzed of images. The tests of `src/image/unpack` damage archives of their own, so there are no seeds here.

use ocicat::image::configuration::ImageConfiguration;
use ocicat::image::manifest;
use ocicat::image::tar::{Entry, Reader};
use ocicat::image::unpack::{self, Below, Ids, Limits, Pool, Room, Source, Target};
use ocicat::image::{manifest::Descriptor, progress::Quiet, store::Store};
use std::os::fd::AsFd;

/// The tar reader: whatever the bytes, it ends and takes no more memory than its limit.
pub fn tar(bytes: &[u8]) {
    let mut reader = Reader::new(bytes, 1 << 16);
    let mut entry = Entry::default();
    while let Ok(true) = reader.next(&mut entry) {
        assert!(entry.path.len() <= (1 << 16) + 512);
        while let Ok(length @ 1..) = reader.data().map(<[u8]>::len) {
            reader.consume(length);
        }
    }
}

/// A whole layer into one tree, twice, and into a directory of its own upon that tree; beside one that nobody may touch.
pub fn layer(bytes: &[u8]) {
    let place = std::env::temp_dir().join(format!("ocicat-fuzz-{}", std::process::id()));
    let outside = place.join("outside");
    let make = |name: &str| {
        std::fs::create_dir_all(place.join(name)).expect("a directory");
        std::fs::File::open(place.join(name)).expect("the directory")
    };
    let (root, own, _) = (make("root"), make("own"), make("outside"));
    let limits = Limits { bytes: 1 << 20, entries: 1000, depth: 32, ..Limits::default() };
    let ids = Ids::default();
    let store = Store::open(&place.join("store")).expect("a store");
    let pool = Pool::default();
    for (into, below) in [(&root, Below::Nothing), (&root, Below::Tree), (&own, Below::Unknown)] {
        let owned = bytes.to_vec();
        let source = Source {
            reader: Box::new(std::io::Cursor::new(owned)),
            descriptor: Descriptor::of("", bytes),
            blob: None,
            diff_id: ocicat::registry::Digest::of(bytes),
        };
        let is_own = matches!(below, Below::Unknown);
        let room = Room { limits, share: pool.patient_share(), store: &store };
        let unpacked = unpack::layer(source, Target { root: into.as_fd(), below, ids: &ids }, &room, &Quiet);
        if let (Ok(unpacked), true) = (unpacked, is_own) {
            let _ = unpack::settle(own.as_fd(), &[root.as_fd()], unpacked.pending);
        }
    }
    assert_eq!(std::fs::read_dir(&outside).expect("the directory").count(), 0);
    let _ = std::fs::remove_dir_all(&place);
}

/// Manifests, indexes and image configs.
pub fn documents(bytes: &[u8]) {
    let _ = manifest::parse(bytes, None);
    let _ = ImageConfiguration::parse(bytes);
}
