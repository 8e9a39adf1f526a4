//! Keeps conformance/fields.tsv honest: every field of the model of config.json is in it, and every test it names exists.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
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

/// `Type.field` for every public field in src/config.
fn fields() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in ["mod", "process", "linux", "resources", "seccomp"] {
        let mut kind = String::new();
        for line in std::fs::read_to_string(here(&format!("src/config/{file}.rs"))).unwrap().lines() {
            if let Some(rest) = line.strip_prefix("pub struct ") {
                kind = rest.chars().take_while(|letter| letter.is_alphanumeric()).collect();
            } else if let Some((name, _)) = line.strip_prefix("    pub ").and_then(|rest| rest.split_once(':'))
                && !name.contains(' ')
            {
                found.insert(format!("{kind}.{name}"));
            }
        }
    }
    found
}

fn table() -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(here("conformance/fields.tsv")).unwrap();
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (names, tests) = line.split_once('\t').unwrap_or_else(|| panic!("no tab in {line:?}"));
        for name in names.split(' ') {
            assert!(
                rows.insert(name.to_owned(), tests.split(' ').map(str::to_owned).collect()).is_none(),
                "{name} is listed twice"
            );
        }
    }
    rows
}

#[test]
fn every_field_of_the_configuration_is_in_the_table() {
    let (fields, rows) = (fields(), table());
    let missing: Vec<_> = fields.iter().filter(|field| !rows.contains_key(*field)).collect();
    let gone: Vec<_> = rows.keys().filter(|name| !fields.contains(*name)).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not in the table: {missing:?}; no longer in the model: {gone:?}");
}

#[test]
fn every_test_that_the_table_names_exists() {
    let mut text = String::new();
    sources(&here("tests"), &mut text);
    for (field, tests) in table() {
        if tests[0] == "-" {
            assert!(tests.len() > 2, "{field} has no test and no reason");
            continue;
        }
        for test in tests {
            assert!(text.contains(&format!("fn {test}(")), "{field}: there is no test {test}");
        }
    }
}
