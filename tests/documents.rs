//! Keeps docs/ honest: the generated page is up to date, the tests it and the comparison name exist, links lead somewhere,
//! and every page is in the index.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "../examples/conformance.rs"]
mod conformance;

use std::path::{Path, PathBuf};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files below a folder with this ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() && !entry.ends_with("target") && !entry.ends_with(".git") {
            found.extend(files(&entry, ending));
        } else if entry.extension().is_some_and(|extension| extension == ending) {
            found.push(entry);
        }
    }
    found
}

#[test]
fn the_conformance_page_is_what_its_generator_writes() {
    let page = conformance::page().unwrap();
    assert!(page == text(&here("docs/conformance.md")), "docs/conformance.md is out of date: make docs");
}

#[test]
fn every_test_that_the_comparison_names_exists() {
    let sources: String =
        [here("src"), here("tests")].iter().flat_map(|dir| files(dir, "rs")).map(|file| text(&file)).collect();
    let page = text(&here("docs/comparison.md"));
    let mut rows = 0;
    for row in
        page.lines().filter(|line| line.starts_with("| ") && !line.ends_with("| ocicat |") && !line.starts_with("| |"))
    {
        let ours = row.trim_end_matches('|').rsplit_once('|').unwrap().1;
        let tests: Vec<&str> = ours.split('`').skip(1).step_by(2).collect();
        for test in &tests {
            assert!(sources.contains(&format!("fn {test}(")), "{row}\nthere is no test {test}");
        }
        rows += usize::from(!tests.is_empty());
    }
    assert!(rows > 25, "only {rows} rows of the comparison name a test");
}

#[test]
fn every_link_in_the_documents_leads_to_a_file() {
    let mut documents = files(&here("docs"), "md");
    documents.extend(files(&here("contrib"), "md"));
    documents.extend(
        files(&here("conformance"), "md").into_iter().filter(|path| !path.to_string_lossy().contains("/build/")),
    );
    documents.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"].map(here));
    for document in documents {
        for link in text(&document).split("](").skip(1) {
            let link = link.split(')').next().unwrap().split('#').next().unwrap();
            if !link.is_empty() && !link.contains("://") {
                let target = document.parent().unwrap().join(link);
                assert!(target.exists(), "{}: {link} is not there", document.display());
            }
        }
    }
}

#[test]
fn every_page_is_in_the_index() {
    let index = text(&here("docs/README.md"));
    for page in files(&here("docs"), "md") {
        let name = page.file_name().unwrap().to_string_lossy().into_owned();
        assert!(name == "README.md" || index.contains(&format!("]({name})")), "docs/README.md does not name {name}");
    }
}
