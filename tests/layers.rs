//! The one-way flow of ARCHITECTURE.md, kept by reading the sources for `crate::X`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Which folder of src may name which (`config`, `host` and `sys` are leaves below everything).
const ALLOWED: &[(&str, &[&str])] = &[
    ("cli", &["container", "image", "config", "host", "sys"]),
    ("container", &["spec", "cgroups", "process", "namespaces", "seccomp", "config", "host", "sys"]),
    ("spec", &["namespaces", "cgroups", "rootfs", "process", "seccomp", "config", "host", "sys"]),
    ("process", &["namespaces", "rootfs", "seccomp", "config", "host", "sys"]),
    ("namespaces", &["config", "host", "sys"]),
    ("cgroups", &["config", "host", "sys"]),
    ("rootfs", &["config", "host", "sys"]),
    ("seccomp", &["config", "host", "sys"]),
    ("image", &["registry", "config", "host", "sys"]),
    ("registry", &["sys"]),
    ("host", &["sys"]),
    ("config", &[]),
    ("sys", &[]),
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
        if entry.is_dir() {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|e| e == "rs") {
            found.push(entry);
        }
    }
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn layer_of(file: &Path) -> String {
    let inside = file.strip_prefix(src()).unwrap();
    inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// The modules that a line names as `crate::x` or `crate::{x, y::z}`. A list must stand in one line.
fn names_after_crate(line: &str) -> Vec<String> {
    let name = |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let named = line.split("crate::").skip(1).flat_map(|rest| match rest.strip_prefix('{') {
        Some(list) => {
            assert!(list.contains('}'), "write one `use` for each module instead of a long list: {line}");
            list.split(['}', ',']).map(name).collect()
        }
        None => vec![name(rest)],
    });
    named.filter(|name| !name.is_empty()).collect()
}

#[test]
fn nothing_looks_up_or_sideways() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut files = Vec::new();
    sources(&src(), &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let layer = layer_of(&file);
        if layer == "lib" || layer == "bin" {
            continue;
        }
        let may = allowed.get(layer.as_str()).unwrap_or_else(|| panic!("{layer} is not in the table of layers"));
        for (number, line) in std::fs::read_to_string(&file).unwrap().lines().enumerate() {
            for named in names_after_crate(line) {
                if named != layer && !may.contains(&named.as_str()) {
                    wrong.push(format!("{}:{}: {layer} may not name {named}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_module_is_a_drawer_for_everything() {
    let mut files = Vec::new();
    sources(&src(), &mut files);
    for file in files {
        let stem = file.file_stem().unwrap().to_str().unwrap();
        let in_sys_or_host = layer_of(&file) == "sys";
        assert!(
            !["utils", "util", "common", "helpers", "traits"].contains(&stem) && (stem != "error" || in_sys_or_host),
            "{}: module cycles begin in modules of that name",
            file.display()
        );
    }
}

#[test]
fn unsafe_stands_only_in_sys() {
    let mut files = Vec::new();
    sources(&src(), &mut files);
    for file in files.iter().filter(|f| layer_of(f) != "sys") {
        let text = std::fs::read_to_string(file).unwrap();
        assert!(!text.contains("allow(unsafe_code)"), "{} opens the door to unsafe", file.display());
    }
}
