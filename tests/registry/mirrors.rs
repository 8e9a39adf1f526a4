//! hosts.toml: mirrors before the registry, each with its own credentials and headers.

use super::server::{Answer, Server};
use super::{LIMIT, MANIFEST, bytes, client_with, manifest};
use ocicat::registry::credentials::{Credential, Credentials};
use ocicat::registry::hosts::Hosts;
use ocicat::registry::{Digest, Repository};
use std::io::Read;

fn hosts(directory: &std::path::Path, text: &str) -> Hosts {
    std::fs::create_dir_all(directory.join("registry.example.org")).unwrap();
    std::fs::write(directory.join("registry.example.org/hosts.toml"), text).unwrap();
    Hosts { directories: vec![directory.to_owned()], ..Hosts::default() }
}

#[test]
fn a_mirror_is_asked_first_and_the_registry_when_it_fails() {
    let directory = tempfile::tempdir().unwrap();
    let content = bytes(1000);
    let digest = Digest::of(&content);
    let mirror = Server::start(move |asked| match asked.target.contains("/blobs/") {
        true => Answer::ok(bytes(1000)),
        false => Answer::of(404),
    });
    let registry = Server::start(|asked| match asked.header("authorization") {
        Some(_) => Answer::ok(manifest().0),
        None => Answer::of(401).with("WWW-Authenticate", "Basic realm=\"r\""),
    });
    let text = format!(
        "server = \"http://{}\"\n[host.\"http://{}/cache\"]\n[host.\"http://{}/cache\".header]\nx-team = \"blue\"\n",
        registry.address, mirror.address, mirror.address
    );
    let given = ("registry.example.org".to_owned(), Credential::Basic("me".into(), "secret".into()));
    let client = client_with(Credentials { given: Some(given), files: vec![] }, hosts(directory.path(), &text));
    let repository = Repository::new("registry.example.org", "team/app").unwrap();
    client.manifest(&repository, "latest", MANIFEST, LIMIT).unwrap();
    let mut read = Vec::new();
    client.blob(&repository, &digest, 1000).read_to_end(&mut read).unwrap();
    assert_eq!(read, content);
    assert_eq!(
        mirror.lines(),
        [
            "GET /cache/v2/team/app/manifests/latest?ns=registry.example.org".to_owned(),
            format!("GET /cache/v2/team/app/blobs/{digest}?ns=registry.example.org"),
        ]
    );
    for asked in mirror.asked() {
        assert_eq!((asked.header("authorization"), asked.header("x-team")), (None, Some("blue")));
    }
    assert_eq!(registry.asked().len(), 2);
    assert!(registry.asked().iter().all(|asked| asked.header("x-team").is_none()));
    assert!(client.notices().contains("404 not found; asking the next host"), "{}", client.notices());
}

/// A mirror that asks for a password does not get the one of the registry.
#[test]
fn a_mirror_gets_only_what_is_kept_under_its_own_name() {
    let directory = tempfile::tempdir().unwrap();
    let mirror = Server::start(|_| Answer::of(401).with("WWW-Authenticate", "Basic realm=\"r\""));
    let registry = Server::start(|_| Answer::ok(manifest().0));
    let text = format!("server = \"http://{}\"\n[host.\"http://{}\"]\n", registry.address, mirror.address);
    let given = ("registry.example.org".to_owned(), Credential::Basic("me".into(), "secret".into()));
    let client = client_with(Credentials { given: Some(given), files: vec![] }, hosts(directory.path(), &text));
    let repository = Repository::new("registry.example.org", "team/app").unwrap();
    client.manifest(&repository, "latest", MANIFEST, LIMIT).unwrap();
    assert_eq!(mirror.asked().len(), 1);
    assert_eq!(mirror.asked()[0].header("authorization"), None);
}

#[test]
fn a_mirror_without_the_ability_is_not_asked() {
    let directory = tempfile::tempdir().unwrap();
    let mirror = Server::start(|_| Answer::of(500));
    let registry = Server::start(|_| Answer::ok(manifest().0));
    let text = format!(
        "server = \"http://{}\"\n[host.\"http://{}\"]\ncapabilities = [\"pull\"]\n",
        registry.address, mirror.address
    );
    let client = client_with(Credentials::default(), hosts(directory.path(), &text));
    let repository = Repository::new("registry.example.org", "team/app").unwrap();
    client.manifest(&repository, "latest", MANIFEST, LIMIT).unwrap();
    assert_eq!(mirror.asked().len(), 0);
}
