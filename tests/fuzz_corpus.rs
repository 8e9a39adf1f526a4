//! Replays the fuzzers' seeds, each as it is and in a few hundred damaged forms, without a nightly compiler.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic, and its paths are its own"
)]

use std::path::Path;

#[path = "../fuzz/targets.rs"]
mod targets;

#[cfg(feature = "image")]
#[path = "../fuzz/image_targets.rs"]
mod image_targets;

/// Small damages that fuzzers find most with: cut, flip, double, and put a word of another place here.
fn damaged(seed: &[u8], number: u64) -> Vec<u8> {
    const PIECES: [&[u8]; 12] =
        [b"null", b"-1", b"18446744073709551615", b"[]", b"{}", b"\"\"", b"\0", b"\xff", b"\n", b"9e999", b"/", b".."];
    let mut random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |limit: usize| {
        random ^= random >> 12;
        random ^= random << 25;
        random ^= random >> 27;
        (random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    };
    let mut bytes = seed.to_vec();
    for _ in 0..=below(3) {
        let at = below(bytes.len());
        let end = (at + below(20)).min(bytes.len());
        match below(6) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] ^= 1 << below(8),
            2 => bytes = [&bytes[..end], &bytes[at..]].concat(),
            3 => drop(bytes.drain(at..end)),
            // A whole word or number for another thing.
            _ => {
                let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
                let to = at + bytes[at..].iter().take_while(|b| word(b)).count();
                drop(bytes.splice(at..to, PIECES[below(PIECES.len())].iter().copied()));
            }
        }
    }
    bytes
}

/// They have no seeds: the tests of `src/image/unpack` damage archives of their own. That they run is seen here.
#[cfg(feature = "image")]
#[test]
fn the_targets_of_images_take_any_bytes() {
    for bytes in [&b""[..], b"{}", &[0; 1024], &[1; 600]] {
        image_targets::tar(bytes);
        image_targets::documents(bytes);
        image_targets::layer(bytes);
    }
}

#[test]
fn every_seed_and_its_damaged_forms_are_survived() {
    for (name, target) in targets::TARGETS {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
        let mut seen = 0;
        for entry in std::fs::read_dir(seeds).unwrap() {
            let path = entry.unwrap().path();
            let seed = std::fs::read(&path).unwrap();
            target(&seed);
            for number in 0..300 {
                let bytes = damaged(&seed, number);
                let survived = std::panic::catch_unwind(|| target(&bytes));
                assert!(
                    survived.is_ok(),
                    "{} damaged by {number}: {}",
                    path.display(),
                    String::from_utf8_lossy(&bytes)
                );
            }
            seen += 1;
        }
        assert!(seen > 0, "{name} has no seeds");
    }
}
