//! Blobs to a registry: mounted, whole, in chunks, and what breaks on the way.

use super::server::{Answer, Asked, Server};
use super::{bytes, client, repository};
use ocicat::registry::upload::{Sent, Source};
use ocicat::registry::{Digest, Repository};
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

fn push(server: &Server, content: &'static [u8], from: Option<&str>, chunk: u64) -> anyhow::Result<Sent> {
    let digest = Digest::of(content);
    let open = |at: u64| -> anyhow::Result<Box<dyn Read>> { Ok(Box::new(&content[at as usize..])) };
    let source = Source { digest: &digest, size: content.len() as u64, open: &open };
    let from = from.map(|path| Repository::new(&server.address, path).unwrap());
    client().push_blob(&repository(&server.address), &source, from.as_ref(), chunk)
}

fn content() -> &'static [u8] {
    bytes(100_000).leak()
}

#[test]
fn a_blob_that_is_there_is_not_sent() {
    let server = Server::start(|_| Answer::of(200));
    assert_eq!(push(&server, content(), None, 1 << 20).unwrap(), Sent::Present);
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_blob_of_another_repository_is_mounted() {
    let server = Server::start(|asked| match asked.method.as_str() {
        "HEAD" => Answer::of(404),
        "POST" => Answer::of(201),
        _ => Answer::of(500),
    });
    assert_eq!(push(&server, content(), Some("other/app"), 1 << 20).unwrap(), Sent::Mounted);
    let digest = Digest::of(content()).to_string().replace(':', "%3A");
    assert_eq!(server.lines()[1], format!("POST /v2/team/app/blobs/uploads/?mount={digest}&from=other%2Fapp"));
}

/// A registry may take the mount request for the begin of an upload, and answer with a relative Location that has a query.
#[test]
fn a_mount_that_is_not_done_becomes_an_upload() {
    let server = Server::start(|asked| match asked.method.as_str() {
        "HEAD" => Answer::of(404),
        "POST" => Answer::of(202).with("Location", "/upload/1?state=abc"),
        "PUT" => Answer::of(201),
        _ => Answer::of(500),
    });
    assert_eq!(push(&server, content(), Some("other/app"), 1 << 20).unwrap(), Sent::Uploaded);
    let asked = server.asked();
    let last = asked.last().unwrap();
    let digest = Digest::of(content()).to_string().replace(':', "%3A");
    assert_eq!(last.line(), format!("PUT /upload/1?state=abc&digest={digest}"));
    assert_eq!(last.header("content-length"), Some("100000"));
    assert_eq!(last.header("content-type"), Some("application/octet-stream"));
    assert_eq!(last.body, content());
}

/// A token server that does not let us read the other repository must not end the push.
#[test]
fn a_mount_that_is_refused_becomes_an_upload() {
    let server = Server::start(|asked| match (asked.method.as_str(), asked.target.contains("mount=")) {
        ("HEAD", _) => Answer::of(404),
        ("POST", true) => Answer::of(403),
        ("POST", false) => Answer::of(202).with("Location", "/upload/1"),
        ("PUT", _) => Answer::of(201),
        _ => Answer::of(500),
    });
    assert_eq!(push(&server, content(), Some("other/app"), 1 << 20).unwrap(), Sent::Uploaded);
    assert_eq!(server.asked().last().unwrap().body, content());
}

/// A registry that keeps chunks; the answer to the PATCH number `broken` is a 500 after half of it was kept.
fn in_chunks(broken: Option<usize>, least: Option<&'static str>) -> (Server, Arc<Mutex<Vec<u8>>>) {
    let kept: Arc<Mutex<Vec<u8>>> = Arc::default();
    let (store, count) = (Arc::clone(&kept), AtomicUsize::new(0));
    let server = Server::start(move |asked: &Asked| {
        let mut kept = store.lock().unwrap();
        match asked.method.as_str() {
            "HEAD" => Answer::of(404),
            "POST" => match least {
                Some(least) => Answer::of(202).with("Location", "/u/0").with("OCI-Chunk-Min-Length", least),
                None => Answer::of(202).with("Location", "/u/0"),
            },
            "PATCH" => {
                let first: usize = asked.header("content-range").unwrap().split('-').next().unwrap().parse().unwrap();
                if first != kept.len() {
                    return Answer::of(416).with("Location", "/u/x").with("Range", format!("0-{}", kept.len() - 1));
                }
                if Some(count.fetch_add(1, Ordering::SeqCst)) == broken {
                    kept.extend_from_slice(&asked.body[..asked.body.len() / 2]);
                    return Answer::of(500);
                }
                kept.extend_from_slice(&asked.body);
                Answer::of(202)
                    .with("Location", format!("/u/{}", kept.len()))
                    .with("Range", format!("0-{}", kept.len() - 1))
            }
            "GET" => Answer::of(204).with("Location", "/u/status").with("Range", format!("0-{}", kept.len() - 1)),
            "PUT" => Answer::of(if Digest::of(&kept) == Digest::of(content()) { 201 } else { 400 }),
            _ => Answer::of(500),
        }
    });
    (server, kept)
}

#[test]
fn a_large_blob_is_sent_in_chunks() {
    let (server, kept) = in_chunks(None, None);
    assert_eq!(push(&server, content(), None, 40_000).unwrap(), Sent::Uploaded);
    assert_eq!(*kept.lock().unwrap(), content());
    let ranges: Vec<String> =
        server.asked().iter().filter_map(|a| a.header("content-range").map(str::to_owned)).collect();
    assert_eq!(ranges, ["0-39999", "40000-79999", "80000-99999"]);
    let lines = server.lines();
    assert!(lines.last().unwrap().starts_with("PUT /u/100000?digest=sha256"), "{lines:?}");
}

#[test]
fn a_registry_that_wants_larger_chunks_gets_them() {
    let (server, kept) = in_chunks(None, Some("60000"));
    push(&server, content(), None, 10_000).unwrap();
    assert_eq!(*kept.lock().unwrap(), content());
    assert_eq!(server.lines().iter().filter(|line| line.starts_with("PATCH")).count(), 2);
}

#[test]
fn a_broken_chunk_goes_on_where_the_registry_says() {
    let (server, kept) = in_chunks(Some(1), None);
    assert_eq!(push(&server, content(), None, 40_000).unwrap(), Sent::Uploaded);
    assert_eq!(*kept.lock().unwrap(), content());
    let lines = server.lines();
    assert!(lines.iter().any(|line| line.starts_with("GET /u/")), "{lines:?}");
}

/// docker's registry: an upload of which a part came ("upload resumed at wrong offset") is of no use any more. The request
/// with bytes number `broken` and those after it in steps of `every` are broken off.
fn as_dockers(broken: usize, every: usize) -> (Server, Arc<Mutex<Vec<u8>>>) {
    let kept: Arc<Mutex<Vec<u8>>> = Arc::default();
    let (store, count, begun) = (Arc::clone(&kept), AtomicUsize::new(0), AtomicUsize::new(0));
    let spoiled = Mutex::new(false);
    let server = Server::start(move |asked: &Asked| {
        let (mut kept, mut spoiled) = (store.lock().unwrap(), spoiled.lock().unwrap());
        let at = |kept: &[u8], number: usize| format!("/u/{number}?at={}", kept.len());
        match asked.method.as_str() {
            "HEAD" => Answer::of(404),
            "POST" => {
                (*spoiled, *kept) = (false, Vec::new());
                Answer::of(202).with("Location", at(&kept, begun.fetch_add(1, Ordering::SeqCst)))
            }
            _ if *spoiled => Answer::of(404),
            "PATCH" | "PUT" if !asked.body.is_empty() => {
                let number = count.fetch_add(1, Ordering::SeqCst);
                if number >= broken && (number - broken).is_multiple_of(every) {
                    *spoiled = true;
                    return Answer::of(500);
                }
                kept.extend_from_slice(&asked.body);
                let whole = asked.method == "PUT";
                Answer::of(if whole { 201 } else { 202 }).with("Location", at(&kept, begun.load(Ordering::SeqCst)))
            }
            "PUT" => Answer::of(201),
            _ => Answer::of(404),
        }
    });
    (server, kept)
}

#[test]
fn a_broken_upload_that_cannot_go_on_begins_anew() {
    for chunk in [1 << 20, 40_000] {
        let (server, kept) = as_dockers(0, usize::MAX);
        assert_eq!(push(&server, content(), None, chunk).unwrap(), Sent::Uploaded, "{chunk}");
        assert_eq!(*kept.lock().unwrap(), content(), "{chunk}");
        assert_eq!(server.lines().iter().filter(|line| line.starts_with("POST")).count(), 2, "{chunk}");
    }
}

/// What came anew is no progress: somebody who never gets further than the first chunk ends.
#[test]
fn an_upload_that_never_gets_further_is_given_up() {
    let (server, _kept) = as_dockers(1, 2);
    let error = format!("{:#}", push(&server, content(), None, 40_000).unwrap_err());
    assert!(error.contains("gave up after 4 attempts"), "{error}");
}

#[test]
fn a_refused_upload_says_why() {
    let server = Server::start(|asked| match asked.method.as_str() {
        "HEAD" => Answer::of(404),
        _ => Answer {
            status: 403,
            body: br#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#.to_vec(),
            ..Answer::default()
        },
    });
    let error = format!("{:#}", push(&server, content(), None, 1 << 20).unwrap_err());
    assert!(
        error.contains("403 forbidden: DENIED requested access to the resource is denied; hint: ocicat-image login"),
        "{error}"
    );
}
