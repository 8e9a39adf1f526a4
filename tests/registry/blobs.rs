//! Blobs that are cut, stalled, short, long, wrong, elsewhere.

use super::server::{Answer, Asked, Server};
use super::{bytes, client, client_of, repository};
use ocicat::registry::Digest;
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Reads a blob that a server of `answer` has; the outcome, and the server.
fn read(
    size: usize,
    answer: impl Fn(&Asked, &[u8], usize) -> Answer + Send + Sync + 'static,
) -> (Result<Vec<u8>, String>, Server) {
    let content = bytes(size);
    let digest = Digest::of(&content);
    let count = AtomicUsize::new(0);
    let server = Server::start(move |asked| answer(asked, &content, count.fetch_add(1, Ordering::SeqCst)));
    let client = client();
    let mut read = Vec::new();
    let outcome = client.blob(&repository(&server.address), &digest, size as u64).read_to_end(&mut read);
    (outcome.map(|_| read).map_err(|error| error.to_string()), server)
}

fn partial(content: &[u8], from: usize) -> Answer {
    let range = format!("bytes {from}-{}/{}", content.len() - 1, content.len());
    Answer { status: 206, body: content[from..].to_vec(), ..Answer::default() }.with("Content-Range", range)
}

#[test]
fn a_whole_blob_is_one_request() {
    let (read, server) = read(300_000, |_, content, _| Answer::ok(content));
    assert_eq!(read.unwrap(), bytes(300_000));
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn an_empty_blob_needs_no_request() {
    let (read, server) = read(0, |_, content, _| Answer::ok(content));
    assert_eq!(read.unwrap(), b"");
    assert_eq!(server.asked().len(), 0);
}

#[test]
fn a_cut_blob_goes_on_where_it_was_cut() {
    let (read, server) = read(500_000, |asked, content, count| {
        let from = asked.range().unwrap_or(0);
        let whole = if from > 0 { partial(content, from) } else { Answer::ok(content) };
        if count < 3 { whole.cut(100_000) } else { whole }
    });
    assert_eq!(read.unwrap(), bytes(500_000));
    let ranges: Vec<_> = server.asked().iter().map(Asked::range).collect();
    assert_eq!(ranges, [None, Some(100_000), Some(200_000), Some(300_000)]);
}

#[test]
fn a_registry_without_ranges_sends_everything_again_and_nothing_is_doubled() {
    let (read, server) = read(500_000, |_, content, count| {
        let whole = Answer::ok(content);
        if count < 2 { whole.cut(200_000 * (count + 1)) } else { whole }
    });
    assert_eq!(read.unwrap(), bytes(500_000));
    assert_eq!(server.asked().len(), 3);
}

/// The second answer ends before the place where the first one ended: that is one more break, not the end.
#[test]
fn what_is_sent_again_may_be_cut_as_well() {
    let (read, server) = read(500_000, |_, content, count| match count {
        0 => Answer::ok(content).cut(200_000),
        1 => Answer::ok(content).cut(50_000),
        _ => Answer::ok(content),
    });
    assert_eq!(read.unwrap(), bytes(500_000));
    assert_eq!(server.asked().len(), 3);
    let (read, server) =
        self::read(500_000, |_, content, count| Answer::ok(content).cut(if count == 0 { 200_000 } else { 50_000 }));
    assert!(read.unwrap_err().contains("gave up after 4 attempts"));
    assert_eq!(server.asked().len(), 4);
}

#[test]
fn a_stalled_blob_is_asked_for_again() {
    let (read, server) = read(200_000, |asked, content, _| match asked.range() {
        Some(from) => partial(content, from),
        None => Answer { stall: true, ..Answer::ok(content).cut(70_000) },
    });
    assert_eq!(read.unwrap(), bytes(200_000));
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn a_registry_that_always_cuts_is_given_up() {
    let (read, server) = read(100_000, |asked, content, _| partial(content, asked.range().unwrap_or(0)).cut(10));
    let _ = read.unwrap_err();
    let (read, more) = self::read(100_000, |_, content, _| Answer::ok(content).cut(10));
    let error = read.unwrap_err();
    assert!(error.contains("of 100000 bytes") && error.contains("gave up after 4 attempts"), "{error}");
    assert!(server.asked().len() <= 4 && more.asked().len() == 4);
}

#[test]
fn what_is_not_the_blob_is_an_error_and_no_end_of_file() {
    type Answers = fn(&Asked, &[u8], usize) -> Answer;
    let table: &[(&str, Answers)] = &[
        ("the bytes have digest", |_, content, _| {
            let mut wrong = content.to_vec();
            wrong[50_000] ^= 1;
            Answer::ok(wrong)
        }),
        ("50000 bytes, but the manifest says 100000", |_, content, _| Answer::ok(&content[..50_000])),
        ("100001 bytes, but the manifest says 100000", |_, content, _| Answer::ok([content, b"x"].concat())),
        ("more than the 100000 bytes", |_, content, _| {
            let chunked = [b"186a1\r\n", content, b"x\r\n0\r\n\r\n"].concat();
            Answer::ok(chunked).with("Transfer-Encoding", "chunked")
        }),
        ("404 not found: BLOB_UNKNOWN blob unknown to registry", |_, _, _| {
            let body = r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#;
            Answer { status: 404, body: body.into(), ..Answer::default() }
        }),
        ("asked for bytes 10000-, got \"bytes 0-99999/100000\"", |asked, content, _| match asked.range() {
            None => Answer::ok(content).cut(10_000),
            Some(_) => Answer { status: 206, ..Answer::ok(content) }.with("Content-Range", "bytes 0-99999/100000"),
        }),
    ];
    for (reason, answer) in table {
        let (read, _server) = read(100_000, answer);
        let error = read.unwrap_err();
        assert!(error.contains(reason), "{reason}: {error}");
    }
}

#[test]
fn errors_that_pass_are_waited_for() {
    for status in [429, 500, 502, 503, 504] {
        let (read, server) = read(10, move |_, content, count| match count {
            0 => Answer::of(status).with("Retry-After", "0"),
            1 => Answer::of(status),
            _ => Answer::ok(content),
        });
        assert_eq!(read.unwrap(), bytes(10), "{status}");
        assert_eq!(server.asked().len(), 3);
    }
    let (read, server) = read(10, |_, _, _| Answer::of(503));
    let error = read.unwrap_err();
    assert!(error.contains("503 service unavailable (gave up after 4 attempts)"), "{error}");
    assert_eq!(server.asked().len(), 4);
}

#[test]
fn a_registry_that_asks_for_an_hour_is_not_waited_for() {
    let (read, server) = read(10, |_, _, _| Answer::of(429).with("Retry-After", "3600"));
    let error = read.unwrap_err();
    assert!(error.contains("429 too many requests (the server asks to come back in 3600 s)"), "{error}");
    assert_eq!(server.asked().len(), 1);
}

/// CVE-2020-15157: containerd sent registry credentials wherever a redirect or a foreign URL pointed.
#[test]
fn a_redirect_to_another_host_gets_no_credentials() {
    let content = bytes(200_000);
    let digest = Digest::of(&content);
    let count = AtomicUsize::new(0);
    let body = content.clone();
    let storage = Server::start(move |asked| match (count.fetch_add(1, Ordering::SeqCst), asked.range()) {
        (0, _) => Answer::ok(body.clone()).cut(90_000),
        (_, Some(from)) => partial(&body, from),
        _ => Answer::of(400),
    });
    let elsewhere = format!("http://{}/bucket/x?signature=secret", storage.address);
    let registry = Server::start(move |asked| match asked.header("authorization") {
        Some(_) => Answer::of(307).with("Location", elsewhere.clone()),
        None => Answer::of(401).with("WWW-Authenticate", "Basic realm=\"r\""),
    });
    let client = client_of(&registry.address, "me", "secret");
    let mut read = Vec::new();
    client.blob(&repository(&registry.address), &digest, 200_000).read_to_end(&mut read).unwrap();
    assert_eq!(read, content);
    let asked = storage.asked();
    assert_eq!(asked.len(), 2);
    for asked in asked {
        assert_eq!(asked.header("authorization"), None);
        assert!(asked.headers.iter().all(|(_, value)| !value.contains("bWU6c2VjcmV0")), "{asked:?}");
    }
    // The registry is asked again after the cut: a signed URL may have expired.
    assert_eq!(registry.asked().iter().filter(|a| a.header("authorization").is_some()).count(), 2);
}

#[test]
fn redirects_in_a_circle_end() {
    let (read, server) = read(10, |asked, _, _| Answer::of(302).with("Location", asked.target.clone()));
    assert!(read.unwrap_err().contains("more than 5 redirects"));
    assert_eq!(server.asked().len(), 6);
}

#[test]
fn one_failed_layer_ends_the_waits_of_the_others() {
    let server = Server::start(|_| Answer::of(503).with("Retry-After", "2"));
    let client = client();
    let begun = std::time::Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut blob = client.blob(&repository(&server.address), &Digest::of(b"x"), 1);
            let error = blob.read(&mut [0; 1]).unwrap_err().to_string();
            assert!(error.contains("503"), "{error}");
        });
        while client.notices().is_empty() {
            std::thread::yield_now();
        }
        client.stop_for("test");
    });
    assert!(begun.elapsed().as_millis() < 1500);
}
