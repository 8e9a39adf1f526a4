//! The table of SECURITY.md: every attack of the list is in it, and every test that it names exists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(here(path)).unwrap()
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

/// (attack, what it was, what we do, tests) of each row.
fn rows() -> Vec<[String; 4]> {
    let text = read("SECURITY.md");
    let tables = text.split("| attack | what it was | here | test |").skip(1);
    let lines = tables.flat_map(|table| table.lines().skip(2).take_while(|line| line.starts_with('|')));
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
    };
    lines.map(|line| cells(line).try_into().unwrap_or_else(|_| panic!("not four cells: {line}"))).collect()
}

#[test]
fn every_attack_of_the_list_is_in_the_table() {
    let listed: BTreeSet<String> =
        read("tests/attacks/list.txt").lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    let mut told = BTreeSet::new();
    for [attack, ..] in rows() {
        for name in attack.split(", ") {
            assert!(told.insert(name.to_owned()), "{name} is in the table twice");
        }
    }
    let missing: Vec<_> = listed.difference(&told).collect();
    let unlisted: Vec<_> = told.difference(&listed).collect();
    assert!(missing.is_empty() && unlisted.is_empty(), "not in the table: {missing:?}; not in the list: {unlisted:?}");
}

#[test]
fn every_test_that_the_table_names_exists() {
    let mut text = String::new();
    sources(&here("tests"), &mut text);
    sources(&here("src"), &mut text);
    for [attack, _, here, tests] in rows() {
        if tests == "-" {
            assert!(here.contains("not applicable: "), "{attack} has no test and no reason");
            continue;
        }
        for test in tests.split(", ") {
            let name = test.trim_matches('`');
            assert!(text.contains(&format!("fn {name}(")), "{attack}: there is no test {name}");
        }
    }
}

/// The other way round: what is tested here is told there.
#[test]
fn every_test_of_this_suite_is_in_the_table() {
    let told = read("SECURITY.md");
    let mut missing = Vec::new();
    for entry in std::fs::read_dir(here("tests/attacks")).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_str().unwrap();
        // The first is about the table, the second are hostile programs.
        if !name.ends_with(".rs") || ["table.rs", "inside.rs"].contains(&name) {
            continue;
        }
        let text = std::fs::read_to_string(&entry).unwrap();
        let tests = text.split("#[test]\n").skip(1).filter_map(|rest| rest.split_once("fn ")?.1.split_once('('));
        missing.extend(tests.map(|(test, _)| test.to_owned()).filter(|test| !told.contains(&format!("`{test}`"))));
    }
    assert_eq!(missing, Vec::<String>::new());
}
