//! Manifests: digests, types, limits, referrers, warnings.

use super::server::{Answer, Server};
use super::{LIMIT, MANIFEST, client, manifest, repository};
use ocicat::registry::Digest;

#[test]
fn a_manifest_is_asked_for_by_its_types_and_proved_by_its_digest() {
    let (bytes, digest) = manifest();
    let answer = Answer::ok(bytes.clone())
        .with("Content-Type", format!("{}; charset=utf-8", MANIFEST.to_uppercase()))
        .with("Docker-Content-Digest", digest.to_string());
    let server = Server::start(move |_| answer.clone());
    let client = client();
    let repository = repository(&server.address);
    let by_tag = client.manifest(&repository, "latest", "application/x, application/y", LIMIT).unwrap();
    assert_eq!((by_tag.bytes, by_tag.digest.clone()), (bytes, digest.clone()));
    assert_eq!(by_tag.media_type.as_deref(), Some(MANIFEST));
    client.manifest(&repository, digest.as_str(), MANIFEST, LIMIT).unwrap();
    let told = client.head_manifest(&repository, "latest", MANIFEST).unwrap().unwrap();
    assert_eq!(told.digest, Some(digest.clone()));
    assert_eq!(server.asked()[0].header("accept"), Some("application/x, application/y"));
    assert_eq!(
        server.lines(),
        [
            "GET /v2/team/app/manifests/latest".to_owned(),
            format!("GET /v2/team/app/manifests/{digest}"),
            "HEAD /v2/team/app/manifests/latest".to_owned()
        ]
    );
}

#[test]
fn a_manifest_with_another_digest_is_refused() {
    let (bytes, _) = manifest();
    let other = Digest::of(b"something else");
    let named = other.to_string();
    let server = Server::start(move |_| Answer::ok(bytes.clone()).with("Docker-Content-Digest", named.clone()));
    for selector in ["latest", other.as_str()] {
        let error = client().manifest(&repository(&server.address), selector, MANIFEST, LIMIT).unwrap_err();
        assert!(format!("{error:#}").contains("the bytes have digest sha256:"), "{error:#}");
    }
}

#[test]
fn a_manifest_beyond_the_limit_is_not_read() {
    let server = Server::start(|_| Answer::ok(vec![b' '; 5 << 20]));
    let error = client().manifest(&repository(&server.address), "latest", MANIFEST, LIMIT).unwrap_err();
    assert!(format!("{error:#}").contains("longer than the limit of 4194304 bytes"), "{error:#}");
}

#[test]
fn a_cut_manifest_is_asked_for_again() {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start(move |_| match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => Answer::ok(manifest().0).cut(10),
        _ => Answer::ok(manifest().0),
    });
    client().manifest(&repository(&server.address), "latest", MANIFEST, LIMIT).unwrap();
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn what_is_missing_is_told_apart_from_what_fails() {
    let server = Server::start(|_| Answer::of(404));
    let client = client();
    let repository = repository(&server.address);
    assert_eq!(client.head_manifest(&repository, "latest", MANIFEST).unwrap(), None);
    let error = client.manifest(&repository, "latest", MANIFEST, LIMIT).unwrap_err();
    assert!(format!("{error:#}").contains("/v2/team/app/manifests/latest: 404 not found"), "{error:#}");
}

#[test]
fn nobody_there_is_said_at_once() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let error = client().manifest(&repository(&address), "latest", MANIFEST, LIMIT).unwrap_err();
    let error = format!("{error:#}");
    assert_eq!(error, format!("GET http://{address}/v2/team/app/manifests/latest: connection refused (ECONNREFUSED)"));
}

#[test]
fn a_warning_of_the_registry_is_shown_once() {
    let server = Server::start(|_| Answer::ok(manifest().0).with("Warning", "299 - \"going away on Monday\""));
    let client = client();
    for _ in 0..2 {
        client.manifest(&repository(&server.address), "latest", MANIFEST, LIMIT).unwrap();
    }
    assert_eq!(client.notices(), format!("warning from {}: going away on Monday", server.address));
}

#[test]
fn referrers_come_from_the_api_or_from_the_tag_that_stands_in() {
    let digest = Digest::of(b"x");
    let tag = format!("/v2/team/app/manifests/sha256-{}", digest.hex());
    for api in [true, false] {
        let tag = tag.clone();
        let server = Server::start(move |asked| match asked.target.contains("/referrers/") {
            true if api => Answer::ok("from the api"),
            true => Answer::of(404),
            false if asked.target == tag => Answer::ok("from the tag"),
            false => Answer::of(500),
        });
        let found = client().referrers(&repository(&server.address), &digest, MANIFEST, LIMIT).unwrap().unwrap();
        assert_eq!(String::from_utf8(found).unwrap(), if api { "from the api" } else { "from the tag" });
    }
    let server = Server::start(|_| Answer::of(404));
    assert_eq!(client().referrers(&repository(&server.address), &digest, MANIFEST, LIMIT).unwrap(), None);
}
