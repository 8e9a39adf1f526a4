//! The snippets of contrib/ are whole, and each leads to the installed executable. That managers accept them is shown by
//! conformance/managers, which runs with them; here every one is read, those for which there is no driver too.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::path::Path;
use yaml_rust2::YamlLoader;

const INSTALLED: &str = "/usr/local/bin/ocicat";

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The value at a path of keys, as a reader of the file would write it.
fn at(path: &str, keys: &[&str]) -> String {
    if path.ends_with(".json") {
        let mut here: &serde_json::Value = &serde_json::from_str(&text(path)).unwrap();
        for key in keys {
            here = here.get(key).unwrap_or_else(|| panic!("{path}: no {key} of {keys:?}"));
        }
        return here.to_string();
    }
    let table: toml::Table = toml::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut here = &toml::Value::Table(table);
    for key in keys {
        here = here.get(key).unwrap_or_else(|| panic!("{path}: no {key} of {keys:?}"));
    }
    here.to_string()
}

#[test]
fn every_snippet_names_the_installed_executable() {
    let path = format!("\"{INSTALLED}\"");
    let cri = |plugin| ["plugins", plugin, "containerd", "runtimes", "ocicat", "options", "BinaryName"];
    for (file, keys, wanted) in [
        ("containerd/config-1.toml", &cri("io.containerd.grpc.v1.cri")[..], &path),
        ("containerd/config-2.toml", &cri("io.containerd.cri.v1.runtime")[..], &path),
        ("docker/daemon.json", &["runtimes", "ocicat", "path"][..], &path),
        ("podman/ocicat.conf", &["engine", "runtimes", "ocicat"][..], &format!("[{path}]")),
        ("crio/10-ocicat.conf", &["crio", "runtime", "runtimes", "ocicat", "runtime_path"][..], &path),
    ] {
        assert_eq!(at(file, keys), *wanted, "{file}");
    }
}

#[test]
fn each_version_of_containerd_finds_its_own_version_and_the_shim() {
    for (file, version, plugin) in [
        ("containerd/config-1.toml", "2", "io.containerd.grpc.v1.cri"),
        ("containerd/config-2.toml", "3", "io.containerd.cri.v1.runtime"),
    ] {
        assert_eq!(at(file, &["version"]), version, "{file}");
        let shim = at(file, &["plugins", plugin, "containerd", "runtimes", "ocicat", "runtime_type"]);
        assert_eq!(shim, "\"io.containerd.runc.v2\"", "{file}");
    }
}

#[test]
fn podman_knows_that_ocicat_writes_a_log_in_json() {
    assert!(at("podman/ocicat.conf", &["engine", "runtime_supports_json"]).contains("\"ocicat\""));
    assert_eq!(at("podman/ocicat.conf", &["engine", "runtime"]), "\"ocicat\"");
}

#[test]
fn the_runtime_class_names_a_handler_that_the_snippets_define() {
    let documents = YamlLoader::load_from_str(&text("kubernetes/runtimeclass.yaml")).unwrap();
    let [class, pod] = documents.as_slice() else { panic!("{} documents", documents.len()) };
    assert_eq!(class["apiVersion"].as_str(), Some("node.k8s.io/v1"));
    assert_eq!(class["kind"].as_str(), Some("RuntimeClass"));
    // A handler is a DNS label, and each manager looks it up among its runtimes.
    assert_eq!(class["handler"].as_str(), Some("ocicat"));
    assert_eq!(pod["spec"]["runtimeClassName"].as_str(), class["metadata"]["name"].as_str());
}

#[test]
fn the_table_of_the_readme_names_every_snippet() {
    let readme = text("README.md");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib");
    for directory in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
    {
        for file in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            let name = file.strip_prefix(&folder).unwrap().to_string_lossy().into_owned();
            assert!(readme.contains(&format!("]({name})")), "contrib/README.md does not name {name}");
        }
    }
}
