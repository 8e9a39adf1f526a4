//! Keeps conformance/traps.tsv honest: three cells a row, no case twice, and every test that it names exists. That the cases
//! of the hand-made layers and their outcomes are those of the table, their own tests check.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn sources(dir: &Path, found: &mut String) {
    for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push_str(&std::fs::read_to_string(entry).unwrap());
        }
    }
}

#[test]
fn every_trap_has_a_test() {
    let mut text = String::new();
    sources(&here("src/image"), &mut text);
    sources(&here("src/registry"), &mut text);
    sources(&here("tests"), &mut text);
    let table = std::fs::read_to_string(here("conformance/traps.tsv")).unwrap();
    let mut seen = BTreeSet::new();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<&str> = line.split('\t').collect();
        let [case, outcome, test] = cells[..] else { panic!("not case, outcome and test: {line:?}") };
        assert!(!case.is_empty() && !outcome.is_empty(), "{line:?}");
        assert!(seen.insert((case, test)), "{case:?} of {test} is listed twice");
        assert!(text.contains(&format!("fn {test}(")), "{case}: there is no test {test}");
    }
    assert!(seen.len() >= 62, "{} traps", seen.len());
}
