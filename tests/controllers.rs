//! Keeps conformance/controllers.tsv honest: every limit of the model of config.json stands in it once for each version of
//! cgroups, the files it names are written somewhere in src/cgroups, and the tests it names exist.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// All Rust sources below a folder.
fn sources(dir: &Path) -> String {
    let mut found = String::new();
    for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.push_str(&sources(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push_str(&std::fs::read_to_string(entry).unwrap());
        }
    }
    found
}

/// `Type.field` for every public field of a file of src/config, of all types or of one.
fn fields(file: &str, only: Option<&str>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut kind = String::new();
    for line in std::fs::read_to_string(here(&format!("src/config/{file}.rs"))).unwrap().lines() {
        if let Some(rest) = line.strip_prefix("pub struct ") {
            kind = rest.chars().take_while(|letter| letter.is_alphanumeric()).collect();
        } else if let Some((name, _)) = line.strip_prefix("    pub ").and_then(|rest| rest.split_once(':'))
            && !name.contains(' ')
            && only.is_none_or(|only| only == kind)
        {
            found.insert(format!("{kind}.{name}"));
        }
    }
    found
}

struct Row {
    fields: Vec<String>,
    versions: Vec<String>,
    files: Vec<String>,
    tests: Vec<String>,
}

fn table() -> Vec<Row> {
    let text = std::fs::read_to_string(here("conformance/controllers.tsv")).unwrap();
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let row = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [_, fields, versions, files, tests] = columns[..] else { panic!("not five columns: {line:?}") };
        Row { fields: words(fields), versions: words(versions), files: words(files), tests: words(tests) }
    };
    text.lines().filter(|line| !line.starts_with('#')).map(row).collect()
}

#[test]
fn every_limit_is_in_the_table_once_for_each_version() {
    // These only hold the others.
    const GROUPS: &[&str] =
        &["Resources.memory", "Resources.cpu", "Resources.block_io", "Resources.hugepage_limits", "Resources.network"];
    let mut wanted = BTreeSet::new();
    for field in fields("resources", None).union(&fields("linux", Some("IntelRdt"))) {
        if !GROUPS.contains(&field.as_str()) {
            wanted.extend(["v1", "v2"].map(|version| format!("{field} {version}")));
        }
    }
    let mut listed = BTreeSet::new();
    for row in table() {
        for (field, version) in row.fields.iter().flat_map(|f| row.versions.iter().map(move |v| (f, v))) {
            assert!(listed.insert(format!("{field} {version}")), "{field} {version} is listed twice");
        }
    }
    let missing: Vec<_> = wanted.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&wanted).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not in the table: {missing:?}; no longer in the model: {gone:?}");
}

#[test]
fn every_file_that_the_table_names_is_written() {
    let text = sources(&here("src/cgroups"));
    for row in table() {
        for file in row.files.iter().filter(|file| !["refused", "ignored", "program"].contains(&file.as_str())) {
            assert!(text.contains(file.as_str()), "{:?}: nothing in src/cgroups speaks of {file}", row.fields);
        }
    }
}

#[test]
fn every_test_of_a_limit_exists() {
    let text = sources(&here("tests")) + &sources(&here("src/cgroups"));
    for row in table() {
        if row.tests[0] == "-" {
            assert!(row.tests.len() > 2, "{:?} have no test and no reason", row.fields);
            continue;
        }
        for test in &row.tests {
            assert!(text.contains(&format!("fn {test}(")), "{:?}: there is no test {test}", row.fields);
        }
    }
}
