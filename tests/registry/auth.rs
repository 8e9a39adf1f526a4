//! Challenges, tokens, credentials and their helpers.

use super::program;
use super::server::{Answer, Asked, Server};
use super::{LIMIT, MANIFEST, client, client_of, client_with, manifest, repository};
use ocicat::registry::Digest;
use ocicat::registry::credentials::Credentials;
use ocicat::registry::hosts::Hosts;
use std::process::Command;

fn manifest_answer() -> Answer {
    Answer::ok(manifest().0).with("Content-Type", MANIFEST)
}

/// A registry whose tokens its own `/token` gives, to everybody or to those with this Authorization.
fn with_tokens(wanted: Option<&'static str>) -> Server {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let realm = format!("http://{}/token", listener.local_addr().unwrap());
    Server::on(listener, move |asked| {
        if asked.target.starts_with("/token") {
            let granted = wanted.is_none() || asked.header("authorization") == wanted;
            return match granted {
                true => Answer::ok(format!(r#"{{"token":"T{}","expires_in":300}}"#, asked.target.len())),
                false => Answer::of(401),
            };
        }
        match asked.header("authorization") {
            Some(value) if value.starts_with("Bearer T") => manifest_answer(),
            _ => Answer::of(401).with(
                "WWW-Authenticate",
                format!(r#"Bearer realm="{realm}",service="the registry",scope="repository:team/app:pull""#),
            ),
        }
    })
}

#[test]
fn a_token_is_fetched_once_and_used_for_everything_after() {
    let server = with_tokens(None);
    let client = client();
    let repository = repository(&server.address);
    for _ in 0..3 {
        client.manifest(&repository, "latest", MANIFEST, LIMIT).unwrap();
    }
    assert_eq!(
        server.lines(),
        [
            "GET /v2/team/app/manifests/latest",
            "GET /token?service=the%20registry&scope=repository%3Ateam%2Fapp%3Apull",
            "GET /v2/team/app/manifests/latest",
            "GET /v2/team/app/manifests/latest",
            "GET /v2/team/app/manifests/latest",
        ]
    );
}

#[test]
fn a_token_has_one_of_two_names_and_the_other_may_be_empty() {
    for granted in
        [r#"{"token":"","access_token":"T1"}"#, r#"{"access_token":"T1"}"#, r#"{"token":"T1","access_token":""}"#]
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let realm = format!("http://{}/token", listener.local_addr().unwrap());
        let server = Server::on(listener, move |asked| match asked.header("authorization") {
            _ if asked.target.starts_with("/token") => Answer::ok(granted),
            Some("Bearer T1") => manifest_answer(),
            _ => Answer::of(401).with("WWW-Authenticate", format!("Bearer realm=\"{realm}\"")),
        });
        let got = client().manifest(&repository(&server.address), "latest", MANIFEST, LIMIT);
        assert!(got.is_ok(), "{granted}: {:#}", got.unwrap_err());
    }
}

#[test]
fn parallel_requests_share_one_token() {
    let server = with_tokens(None);
    let client = client();
    let repository = repository(&server.address);
    client.manifest(&repository, "latest", MANIFEST, LIMIT).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| client.manifest(&repository, "latest", MANIFEST, LIMIT).unwrap());
        }
    });
    assert_eq!(server.lines().iter().filter(|line| line.contains("/token")).count(), 1);
}

#[test]
fn a_password_goes_to_the_token_server_and_not_to_the_registry() {
    let server = with_tokens(Some("Basic bWU6c2VjcmV0"));
    let repository = repository(&server.address);
    client_of(&server.address, "me", "secret").manifest(&repository, "latest", MANIFEST, LIMIT).unwrap();
    for asked in server.asked().iter().filter(|asked| !asked.target.starts_with("/token")) {
        assert!(!asked.header("authorization").unwrap_or_default().starts_with("Basic"), "{asked:?}");
    }
    let error = client_of(&server.address, "me", "wrong").manifest(&repository, "latest", MANIFEST, LIMIT).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("/token: 401 unauthorized (with credentials of the command line)"), "{error}");
    assert!(!error.contains("wrong") && !error.contains("bWU6"), "secrets stay out of messages: {error}");
}

#[test]
fn a_token_that_is_refused_is_fetched_anew_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let realm = format!("http://{}/token", listener.local_addr().unwrap());
    let server = Server::on(listener, move |asked| match asked.target.starts_with("/token") {
        true => Answer::ok(r#"{"access_token":"never good enough"}"#.replace(' ', "-")),
        false => Answer::of(401).with("WWW-Authenticate", format!("Bearer realm=\"{realm}\",service=\"s\"")),
    });
    let error = client().manifest(&repository(&server.address), "latest", MANIFEST, LIMIT).unwrap_err();
    assert!(format!("{error:#}").contains("401 unauthorized; hint: ocicat-image login"), "{error:#}");
    assert_eq!(server.lines().iter().filter(|line| line.contains("/token")).count(), 2);
}

#[test]
fn basic_authentication_goes_to_the_registry_that_asks_for_it() {
    let server = Server::start(|asked| match asked.header("authorization") {
        Some("Basic bWU6c2VjcmV0") => manifest_answer(),
        _ => Answer::of(401).with("WWW-Authenticate", "Basic realm=\"r\""),
    });
    let repository = repository(&server.address);
    let client = client_of(&server.address, "me", "secret");
    client.manifest(&repository, "latest", MANIFEST, LIMIT).unwrap();
    client.manifest(&repository, "latest", MANIFEST, LIMIT).unwrap();
    // Asked without, asked with, and from then on with at once.
    assert_eq!(server.asked().len(), 3);
    client_of("other.example.org", "me", "secret").manifest(&repository, "latest", MANIFEST, LIMIT).unwrap_err();
    assert_eq!(server.asked().last().unwrap().header("authorization"), None);
}

#[test]
fn an_identity_token_is_exchanged_by_post() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let realm = format!("http://{address}/token");
    let server = Server::on(listener, move |asked| match (asked.method.as_str(), asked.header("authorization")) {
        ("POST", None) => Answer::ok(r#"{"access_token":"good"}"#),
        (_, Some("Bearer good")) => manifest_answer(),
        _ => Answer::of(401).with("WWW-Authenticate", format!("Bearer realm=\"{realm}\",service=\"s\"")),
    });
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.json");
    std::fs::write(&file, format!(r#"{{"auths":{{"{address}":{{"identitytoken":"id+/="}}}}}}"#)).unwrap();
    let client = client_with(Credentials { given: None, files: vec![file] }, Hosts::default());
    client.manifest(&repository(&address), "latest", MANIFEST, LIMIT).unwrap();
    let posted = server.asked().into_iter().find(|asked| asked.method == "POST").unwrap();
    let form = String::from_utf8(posted.body).unwrap();
    assert_eq!(
        form,
        "service=s&grant_type=refresh_token&refresh_token=id%2B%2F%3D&client_id=ocicat-image&scope=repository%3Ateam%2Fapp%3Apull"
    );
}

/// A program on the path, as a credential helper is one.
fn helper(directory: &std::path::Path, script: &str) {
    let file = directory.join("docker-credential-test");
    program::write(&file, &format!("#!/bin/sh\n{script}\n"));
}

fn referrers(directory: &std::path::Path, server: &Server) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_ocicat-image"))
        .args(["referrers", "--format", "json", &format!("{}/team/app@{}", server.address, Digest::of(b"x"))])
        .env("PATH", format!("{}:/usr/bin:/bin", directory.display()))
        .env("DOCKER_CONFIG", directory)
        .env("HOME", directory)
        .env("XDG_RUNTIME_DIR", directory)
        .env_remove("REGISTRY_AUTH_FILE")
        .output()
        .unwrap();
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

#[test]
fn a_credential_helper_is_asked_for_the_registry() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(|asked: &Asked| match asked.header("authorization") {
        Some("Basic bWU6c2VjcmV0") => Answer::ok(r#"{"schemaVersion":2,"manifests":[]}"#),
        _ => Answer::of(401).with("WWW-Authenticate", "Basic realm=\"r\""),
    });
    std::fs::write(directory.path().join("config.json"), r#"{"credsStore":"test"}"#).unwrap();
    let answer = format!(
        r#"read host; test "$1 $host" = "get {}" && echo '{{"Username":"me","Secret":"secret"}}'"#,
        server.address
    );
    helper(directory.path(), &answer);
    assert_eq!(referrers(directory.path(), &server).trim(), "[]");

    for (script, reason) in [
        ("echo credentials not found in native keychain; exit 1", "401 unauthorized; hint: ocicat-image login"),
        ("echo the vault is closed; exit 1", "docker-credential-test get: the vault is closed"),
        ("echo no json", "docker-credential-test get: expected"),
    ] {
        helper(directory.path(), script);
        let said = referrers(directory.path(), &server);
        assert!(said.contains(reason), "{script}: {said}");
    }
    for (config, reason) in [
        (r#"{"credsStore":"../../bin/sh"}"#, "no name of a credential helper"),
        (
            r#"{"credsStore":"absent"}"#,
            "docker-credential-absent: no such file or directory (ENOENT); hint: install it",
        ),
        ("not json", "config.json: expected"),
    ] {
        std::fs::write(directory.path().join("config.json"), config).unwrap();
        let said = referrers(directory.path(), &server);
        assert!(said.contains(reason), "{config}: {said}");
    }
}

/// The file's own entries count before its helper: one from the time before the helper would hide what was kept now.
#[test]
fn a_login_with_a_helper_takes_the_place_of_what_the_file_says() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(|asked: &Asked| match asked.header("authorization") {
        Some("Basic bWU6c2VjcmV0") => Answer::ok(r#"{"schemaVersion":2,"manifests":[]}"#),
        _ => Answer::of(401).with("WWW-Authenticate", "Basic realm=\"r\""),
    });
    let old = serde_json::json!({"credsStore": "test", "auths": {
        server.address.as_str(): {"auth": "bWU6b2xk"}, "other.org": {"auth": "bWU6b2xk"}}});
    let file = directory.path().join("config.json");
    std::fs::write(&file, old.to_string()).unwrap();
    helper(directory.path(), r#"cat > /dev/null; test $1 = get && echo '{"Username":"me","Secret":"secret"}'; true"#);
    assert!(referrers(directory.path(), &server).contains("401 unauthorized"));
    let out = Command::new(env!("CARGO_BIN_EXE_ocicat-image"))
        .args(["login", "-u", "me", "-p", "secret", &server.address])
        .env("PATH", format!("{}:/usr/bin:/bin", directory.path().display()))
        .env("REGISTRY_AUTH_FILE", &file)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(referrers(directory.path(), &server).trim(), "[]");
    assert!(std::fs::read_to_string(&file).unwrap().contains("other.org"));
}

#[test]
fn a_login_is_proved_kept_used_and_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("auth.json");
    let server = Server::start(|asked: &Asked| match asked.header("authorization") {
        Some("Basic bWU6c2VjcmV0") => Answer::ok("{}"),
        _ => Answer::of(401).with("WWW-Authenticate", "Basic realm=\"r\""),
    });
    let call = |words: &[&str]| {
        let out =
            Command::new(env!("CARGO_BIN_EXE_ocicat-image")).args(words).env("REGISTRY_AUTH_FILE", &file).output();
        let out = out.unwrap();
        (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (done, said) = call(&["login", "-u", "me", "-p", "wrong", &server.address]);
    assert!(!done && said.contains("401 unauthorized") && !file.exists(), "{said}");
    let (done, said) = call(&["login", "-u", "me", "-p", "secret", &server.address]);
    assert!(done && said.contains("logged in"), "{said}");
    assert!(std::fs::read_to_string(&file).unwrap().contains("bWU6c2VjcmV0"));
    let (done, _) = call(&["logout", &server.address]);
    assert!(done && !std::fs::read_to_string(&file).unwrap().contains("bWU6c2VjcmV0"));
    let (done, said) = call(&["logout", &server.address]);
    assert!(!done && said.contains("no credentials are known"), "{said}");
}
