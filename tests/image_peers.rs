//! ocicat-image beside the tools that everybody uses: a real registry (docker-registry), skopeo and umoci. They push what
//! we pull, and read what we push, export and store.
#![cfg(feature = "image")]
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic, and its paths are its own"
)]

#[path = "common/mod.rs"]
#[macro_use]
#[allow(unused_imports, reason = "each test crate uses its part of this")]
mod common;

use common::registry::{Registry, fails, have, ok};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Directory, registry and store of one test.
struct Place {
    directory: tempfile::TempDir,
    registry: Registry,
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::start(directory.path(), "");
        Place { directory, registry }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A name in the registry.
    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.address)
    }

    /// ocicat-image with a store of the test.
    fn image(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ocicat-image"));
        command.arg("--store").arg(self.path("store")).args(words).current_dir(self.directory.path());
        command.env("REGISTRY_AUTH_FILE", self.path("auth.json")).env("SSL_CERT_FILE", "/dev/null");
        command
    }

    fn skopeo(&self, words: &[&str]) -> Command {
        let mut command = Command::new("skopeo");
        command.args(words).current_dir(self.directory.path());
        command
    }

    fn umoci(&self, words: &[&str]) -> Command {
        let mut command = Command::new("umoci");
        command.args(words).current_dir(self.directory.path());
        command
    }

    /// Makes the layout `layout` with the image `app`, of two layers, by umoci.
    fn make_image(&self) {
        ok(&mut self.umoci(&["init", "--layout", "layout"]));
        ok(&mut self.umoci(&["new", "--image", "layout:app"]));
        ok(&mut self.umoci(&["unpack", "--image", "layout:app", "one"]));
        let root = self.path("one/rootfs");
        for directory in ["bin", "etc", "gone", "opaque/deep"] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        symlink("busybox", root.join("bin/sh")).unwrap();
        std::fs::hard_link(root.join("bin/busybox"), root.join("bin/ls")).unwrap();
        std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n").unwrap();
        std::fs::write(root.join("gone/file"), "gone").unwrap();
        std::fs::write(root.join("opaque/deep/file"), "below").unwrap();
        ok(&mut self.umoci(&["repack", "--image", "layout:app", "one"]));
        ok(&mut self.umoci(&["config", "--image", "layout:app", "--config.cmd", "/bin/sh", "--config.env", "A=b"]));
        ok(&mut self.umoci(&["unpack", "--image", "layout:app", "two"]));
        let root = self.path("two/rootfs");
        std::fs::remove_dir_all(root.join("gone")).unwrap();
        std::fs::write(root.join("added"), "two").unwrap();
        ok(&mut self.umoci(&["repack", "--image", "layout:app", "two"]));
    }

    /// skopeo pushes the image under `name`, with more options.
    fn push_by_skopeo(&self, name: &str, options: &[&str]) {
        let target = format!("docker://{}", self.name(name));
        ok(self
            .skopeo(&["copy", "--quiet", "--dest-tls-verify=false"])
            .args(options)
            .args(["oci:layout:app", &target]));
    }

    /// The tree that umoci makes of an image of a layout.
    fn tree_by_umoci(&self, image: &str) -> BTreeMap<String, String> {
        let bundle = format!("by-umoci-{}", image.replace([':', '/'], "-"));
        ok(&mut self.umoci(&["unpack", "--image", image, &bundle]));
        tree(&self.path(&bundle).join("rootfs"))
    }
}

/// Every file below a directory: kind, mode, owner, links and content.
fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let metadata = path.symlink_metadata().unwrap();
            let content = if metadata.is_dir() {
                waiting.push(path.clone());
                String::new()
            } else if metadata.is_symlink() {
                format!("-> {}", std::fs::read_link(&path).unwrap().display())
            } else {
                let bytes = std::fs::read(&path).unwrap();
                format!("{} links, {}", metadata.nlink(), ocicat::registry::Digest::of(&bytes))
            };
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let shown = format!("{:o} {}:{} {content}", metadata.mode(), metadata.uid(), metadata.gid());
            found.insert(name, shown);
        }
    }
    found
}

macro_rules! need_peers {
    () => {
        need!(have(&["docker-registry", "skopeo", "umoci"]), "docker-registry, skopeo and umoci are not installed");
        need!(rustix::process::geteuid().is_root(), "not root: umoci and we keep owners in different places");
    };
}

#[test]
fn what_skopeo_pushes_is_pulled_in_every_format_and_compression() {
    need_peers!();
    let place = Place::new();
    place.make_image();
    let expected = place.tree_by_umoci("layout:app");
    for (name, options) in [
        ("oci", &[][..]),
        ("docker", &["--format", "v2s2"]),
        ("zstd", &["--dest-compress", "--dest-compress-format", "zstd"]),
        ("plain", &["--dest-decompress"]),
    ] {
        place.push_by_skopeo(name, options);
        let reference = place.name(name);
        // A store of its own: a layer that is there already would not be unpacked.
        let store = format!("store-{name}");
        ok(&mut place.image(&["--store", &store, "pull", "-q", &reference]));
        ok(&mut place.image(&["--store", &store, "unpack", "-q", &reference, &format!("tree-{name}")]));
        assert_eq!(tree(&place.path(&format!("tree-{name}"))), expected, "{name}");
        ok(&mut place.image(&["--store", &store, "check"]));
        // Straight from the registry into the tree: no layer is unpacked besides.
        let (store, into) = (format!("straight-{name}"), format!("straight-tree-{name}"));
        ok(&mut place.image(&["--store", &store, "unpack", "-q", &reference, &into]));
        assert_eq!(tree(&place.path(&into)), expected, "{name}");
        assert_eq!(std::fs::read_dir(place.path(&store).join("ocicat/layers")).unwrap().count(), 0);
        ok(&mut place.image(&["--store", &store, "check"]));
    }
}

#[test]
fn a_warm_pull_is_one_head_request() {
    need_peers!();
    let place = Place::new();
    place.make_image();
    place.push_by_skopeo("app:1", &[]);
    let reference = place.name("app:1");
    let first = ok(&mut place.image(&["pull", "-q", &reference]));
    // The log of a request is written after its answer: a later request shows that all earlier ones are there.
    let asked = |place: &Place, marker: &str| loop {
        let _ = fails(&mut place.image(&["--store", "none", "pull", "-q", "--attempts", "1", &place.name(marker)]));
        let log = place.registry.log.lock().unwrap().clone();
        if let Some(end) = log.iter().position(|line| line.contains(marker)) {
            break log[..end].iter().filter(|line| line.contains("/app/")).cloned().collect::<Vec<_>>();
        }
    };
    let before = asked(&place, "marker-one").len();
    assert_eq!(ok(&mut place.image(&["pull", "-q", &reference])), first);
    let after = asked(&place, "marker-two");
    assert_eq!(after.len(), before + 1, "{after:?}");
    assert!(after.last().unwrap().contains("\"HEAD /v2/app/manifests/1 "), "{after:?}");
    // By digest nobody has to be asked.
    let pinned = format!("{}@{}", place.name("app"), first.trim());
    ok(&mut place.image(&["pull", "-q", &pinned]));
    let before = asked(&place, "marker-three").len();
    ok(&mut place.image(&["pull", "-q", &pinned]));
    assert_eq!(asked(&place, "marker-four").len(), before);
}

#[test]
fn what_we_push_skopeo_and_umoci_read() {
    need_peers!();
    let place = Place::new();
    place.make_image();
    let expected = place.tree_by_umoci("layout:app");
    ok(&mut place.image(&["import", "-q", "layout", &place.name("ours/app:1")]));
    // Small chunks: the registry keeps the upload between them.
    ok(&mut place.image(&["push", "-q", "--chunk-size", "100000", &place.name("ours/app:1")]));
    let source = format!("docker://{}", place.name("ours/app:1"));
    ok(&mut place.skopeo(&["copy", "--quiet", "--src-tls-verify=false", &source, "oci:read:app"]));
    assert_eq!(place.tree_by_umoci("read:app"), expected);
    // The same blobs in another repository of the registry are mounted, not sent.
    let pushed =
        ok(&mut place.image(&["push", "--format", "json", &place.name("ours/app:1"), &place.name("other/app:2")]));
    let last: serde_json::Value = serde_json::from_str(pushed.lines().last().unwrap()).unwrap();
    assert_eq!((&last["uploaded"], &last["mounted"]), (&0.into(), &3.into()), "{pushed}");
    let again =
        ok(&mut place.image(&["push", "--format", "json", &place.name("ours/app:1"), &place.name("other/app:2")]));
    let last: serde_json::Value = serde_json::from_str(again.lines().last().unwrap()).unwrap();
    assert_eq!(last["present"], 3, "{again}");
}

#[test]
fn an_image_of_another_machine_is_found_in_an_index() {
    need_peers!();
    let place = Place::new();
    place.make_image();
    let images = [("arm", "arm64"), ("old", "386"), ("intel", "amd64")];
    for (tag, architecture) in images {
        ok(&mut place.umoci(&["config", "--image", "layout:app", "--tag", tag, "--architecture", architecture]));
        let target = format!("docker://{}", place.name(&format!("many:{tag}")));
        let source = format!("oci:layout:{tag}");
        ok(&mut place.skopeo(&["copy", "--quiet", "--dest-tls-verify=false", &source, &target]));
    }
    // An index by hand, put by a plain PUT: skopeo 1.9 cannot make one.
    let mut entries = Vec::new();
    for (tag, architecture) in images {
        let raw = ok(&mut place.skopeo(&[
            "inspect",
            "--raw",
            "--tls-verify=false",
            &format!("docker://{}", place.name(&format!("many:{tag}"))),
        ]));
        let digest = ocicat::registry::Digest::of(raw.as_bytes());
        entries.push(serde_json::json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": raw.len(),
            "platform": {"os": "linux", "architecture": architecture},
        }));
    }
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries,
    });
    put(
        &place.registry.address,
        "/v2/many/manifests/all",
        "application/vnd.oci.image.index.v1+json",
        &index.to_string(),
    );
    let reference = place.name("many:all");
    // A machine of the third kind also runs images of the second: they do not stand in for its own, which are asked for.
    for (platform, architecture) in
        [("linux/arm64", "arm64"), ("linux/amd64", "amd64"), ("linux/386", "386"), ("linux/amd64", "amd64")]
    {
        ok(&mut place.image(&["pull", "-q", "--platform", platform, &reference]));
        let shown = ok(&mut place.image(&["inspect", &reference]));
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["config"]["architecture"], architecture);
        // The index's digest is known: the second pull changes nothing.
        let again = ok(&mut place.image(&["pull", "--format", "json", "--platform", platform, &reference]));
        assert!(again.contains("\"changed\":false"), "{again}");
    }
    let said = fails(&mut place.image(&["pull", "--platform", "linux/s390x", &reference]));
    assert!(
        said.contains(
            "there is no image for linux/s390x; hint: --platform with one of: linux/386 linux/amd64 linux/arm64"
        ),
        "{said}"
    );
}

/// A PUT without any client.
fn put(address: &str, path: &str, media_type: &str, body: &str) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "PUT {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

#[test]
fn archives_go_both_ways() {
    need_peers!();
    let place = Place::new();
    place.make_image();
    let expected = place.tree_by_umoci("layout:app");
    ok(&mut place.image(&["import", "-q", "layout", "localhost/app:1"]));
    for (shape, transport) in [
        ("oci", "oci:out-oci:1"),
        ("oci-archive", "oci-archive:out-oci-archive"),
        ("docker-archive", "docker-archive:out-docker-archive"),
    ] {
        let target = format!("out-{shape}");
        ok(&mut place.image(&["export", "-q", "--as", shape, "localhost/app:1", &target]));
        let copied = format!("read-{shape}:app");
        ok(&mut place.skopeo(&["copy", "--quiet", transport, &format!("oci:{copied}")]));
        assert_eq!(place.tree_by_umoci(&copied), expected, "{shape}");
    }
    for transport in ["oci-archive:in-oci:x", "docker-archive:in-docker:x/app:1"] {
        ok(&mut place.skopeo(&["copy", "--quiet", "oci:layout:app", transport]));
        let file = transport.split(':').nth(1).unwrap();
        let store = format!("store-{file}");
        ok(&mut place.image(&["--store", &store, "import", "-q", file, "localhost/in:1"]));
        ok(&mut place.image(&["--store", &store, "unpack", "-q", "localhost/in:1", &format!("tree-{file}")]));
        assert_eq!(tree(&place.path(&format!("tree-{file}"))), expected, "{transport}");
    }
    // The store itself is a layout that others read.
    let listed = ok(&mut place.umoci(&["list", "--layout", "store"]));
    assert_eq!(listed.trim(), "localhost/app:1");
    ok(&mut place.skopeo(&["inspect", "oci:store:localhost/app:1"]));
}

#[test]
fn a_damaged_archive_is_refused() {
    need_peers!();
    let place = Place::new();
    place.make_image();
    for entry in std::fs::read_dir(place.path("layout/blobs/sha256")).unwrap().map(Result::unwrap) {
        let mut bytes = std::fs::read(entry.path()).unwrap();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            std::fs::write(entry.path(), bytes).unwrap();
        }
    }
    let said = fails(&mut place.image(&["import", "-q", "layout", "localhost/app:1"]));
    assert!(said.contains("its content has the digest"), "{said}");
    assert_eq!(ok(&mut place.image(&["list", "-q"])), "");
    assert_eq!(ok(&mut place.image(&["check"])), "");
}

/// A certificate authority made on the spot, and a registry that shows its certificate and wants a password.
fn with_tls_and_password(more: &str) -> Place {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let openssl = |words: &[&str]| ok(Command::new("openssl").args(words).current_dir(directory.path()));
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-days",
        "2",
        "-subj",
        "/CN=test ca",
    ]);
    openssl(&[
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "key.pem",
        "-out",
        "request.pem",
        "-subj",
        "/CN=127.0.0.1",
    ]);
    std::fs::write(at("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    openssl(&[
        "x509",
        "-req",
        "-in",
        "request.pem",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-out",
        "cert.pem",
        "-days",
        "2",
        "-extfile",
        "names",
    ]);
    // bcrypt of `secret`
    std::fs::write(at("passwords"), "me:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n").unwrap();
    let more = format!(
        "{more}  tls: {{certificate: {}, key: {}}}\nauth: {{htpasswd: {{realm: test, path: {}}}}}\n",
        at("cert.pem"),
        at("key.pem"),
        at("passwords")
    );
    let registry = Registry::start(directory.path(), &more);
    Place { directory, registry }
}

#[test]
fn tls_and_a_password_are_configured_as_containerd_and_docker_configure_them() {
    need_peers!();
    need!(have(&["openssl"]), "openssl is not installed: no certificates");
    let place = with_tls_and_password("");
    place.make_image();
    let reference = place.name("app:1");
    ok(&mut place.image(&["import", "-q", "layout", &reference]));

    let host = place.path("certs").join(&place.registry.address);
    std::fs::create_dir_all(&host).unwrap();
    let certs = place.path("certs").display().to_string();
    let server = format!("server = \"https://{}\"\n", place.registry.address);
    std::fs::write(host.join("hosts.toml"), &server).unwrap();
    let push = |options: &[&str]| {
        let mut command = place.image(&["push", "-q", "--certs-dir", &certs]);
        command.args(options).arg(&reference);
        command
    };
    let said = fails(&mut push(&[]));
    assert!(said.contains("certificate"), "{said}");
    let said = fails(&mut push(&["--insecure"]));
    assert!(said.contains("401 unauthorized") && said.contains("ocicat-image login"), "{said}");
    std::fs::write(host.join("hosts.toml"), format!("{server}ca = \"../../ca.pem\"\n")).unwrap();
    ok(&mut push(&["--creds", "me:secret"]));
    // docker's convention: a *.crt beside, no hosts.toml
    std::fs::remove_file(host.join("hosts.toml")).unwrap();
    std::fs::copy(place.path("ca.pem"), host.join("ca.crt")).unwrap();
    let said =
        fails(&mut place.image(&["login", "--certs-dir", &certs, "-u", "me", "-p", "wrong", &place.registry.address]));
    assert!(said.contains("401 unauthorized"), "{said}");
    ok(&mut place.image(&["login", "--certs-dir", &certs, "-u", "me", "-p", "secret", &place.registry.address]));
    ok(&mut place.image(&["--store", "fresh", "pull", "-q", "--certs-dir", &certs, &reference]));
    // What our login keeps, skopeo uses.
    let source = format!("docker://{reference}");
    ok(place
        .skopeo(&["inspect", "--tls-verify=false", "--authfile", "auth.json", &source])
        .env_remove("REGISTRY_AUTH_FILE"));
}

/// A registry behind a proxy that speaks https, and does not know of it.
#[test]
fn an_upload_that_leads_from_https_to_http_is_not_followed() {
    need_peers!();
    need!(have(&["openssl"]), "openssl is not installed: no certificates");
    let place = with_tls_and_password("  host: http://127.0.0.1:1\n");
    place.make_image();
    let reference = place.name("app:1");
    ok(&mut place.image(&["import", "-q", "layout", &reference]));
    let host = place.path("certs").join(&place.registry.address);
    std::fs::create_dir_all(&host).unwrap();
    std::fs::copy(place.path("ca.pem"), host.join("ca.crt")).unwrap();
    let certs = place.path("certs").display().to_string();
    let push = |options: &[&str]| {
        let mut push = place.image(&["push", "-q", "--attempts", "1", "--creds", "me:secret", "--certs-dir", &certs]);
        fails(push.args(options).arg(&reference))
    };
    let said = push(&[]);
    assert!(said.contains("wants the upload over http (127.0.0.1:1)") && said.contains("; hint: "), "{said}");
    let said = push(&["--insecure"]);
    assert!(said.contains("http://127.0.0.1:1/v2/app/blobs/uploads/"), "{said}");
}

#[test]
fn a_pulled_image_runs_leaves_nothing_and_its_changes_become_an_image() {
    need_peers!();
    let place = Place::new();
    place.make_image();
    place.push_by_skopeo("app:1", &[]);
    let reference = place.name("app:1");
    // Pulled because it is missing; the exit code is the program's.
    let out =
        place.image(&["run", "-q", &reference, "sh", "-c", "busybox cat /added; echo $A; exit 7"]).output().unwrap();
    assert_eq!((out.status.code(), String::from_utf8_lossy(&out.stdout).as_ref()), (Some(7), "twob\n"), "{out:?}");
    let bundles = || std::fs::read_dir(place.path("store/ocicat/run")).unwrap().count();
    let mounts = || {
        let all = std::fs::read_to_string("/proc/self/mounts").unwrap();
        all.lines().filter(|line| line.contains(place.directory.path().to_str().unwrap())).count()
    };
    assert_eq!((bundles(), mounts()), (0, 0));
    // What cannot be run leaves nothing either.
    let said = fails(&mut place.image(&["run", "-q", &reference, "no-such-program"]));
    assert!(said.contains("executable file not found"), "{said}");
    assert_eq!((bundles(), mounts()), (0, 0));

    let bundle = place.path("kept").display().to_string();
    let change = "echo new > /made; busybox rm -r /opaque; busybox mkdir /opaque; busybox rm /added";
    ok(&mut place.image(&["run", "-q", "--keep", "--bundle", &bundle, &reference, "sh", "-c", change]));
    ok(&mut place.image(&["commit", &bundle, &place.name("app:2")]));
    ok(&mut place.image(&["remove", &bundle]));
    assert_eq!(mounts(), 0);
    ok(&mut place.image(&["push", "-q", &place.name("app:2")]));
    let source = format!("docker://{}", place.name("app:2"));
    ok(&mut place.skopeo(&["copy", "--quiet", "--src-tls-verify=false", &source, "oci:read:two"]));
    let tree = place.tree_by_umoci("read:two");
    assert!(tree.contains_key("made") && tree.contains_key("opaque") && tree.contains_key("bin/sh"));
    assert!(!tree.contains_key("added") && !tree.contains_key("opaque/deep"), "{:?}", tree.keys());
}

#[test]
fn a_damaged_blob_is_found_removed_and_pulled_again() {
    need_peers!();
    let place = Place::new();
    place.make_image();
    place.push_by_skopeo("app:1", &[]);
    let reference = place.name("app:1");
    ok(&mut place.image(&["pull", "-q", &reference]));
    let blobs = || std::fs::read_dir(place.path("store/blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    let largest = blobs().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let whole = std::fs::read(&largest).unwrap();
    std::fs::write(&largest, &whole[1..]).unwrap();
    let said = fails(&mut place.image(&["check"]));
    assert!(said.contains("1 blobs of the store are not what they claim to be"), "{said}");
    let said = fails(&mut place.image(&["check", "--repair"]));
    assert!(said.contains("pull their images again"), "{said}");
    assert!(!largest.exists());
    ok(&mut place.image(&["pull", "-q", &reference]));
    assert_eq!(std::fs::read(&largest).unwrap(), whole);
    assert_eq!(ok(&mut place.image(&["check"])), "");
    // One of another size is seen without a check; it is fetched again to be unpacked, and without that.
    for layers_are_gone in [false, true] {
        if layers_are_gone {
            ok(&mut place.image(&["rm", &reference]));
            ok(&mut place.image(&["gc"]));
        }
        std::fs::write(&largest, &whole[1..]).unwrap();
        ok(&mut place.image(&["pull", "-q", &reference]));
        assert_eq!(std::fs::read(&largest).unwrap(), whole, "{layers_are_gone}");
    }
    // What stands where a blob should be may be no file at all.
    std::fs::remove_file(&largest).unwrap();
    ok(Command::new("mkfifo").arg(&largest));
    std::fs::write(place.path("store/blobs/README"), "of somebody").unwrap();
    let said = fails(&mut place.image(&["check"]));
    assert!(said.contains("1 blobs of the store are not what they claim to be"), "{said}");
}

#[test]
fn a_bundle_is_unmounted_and_mounted_again() {
    need_peers!();
    let place = Place::new();
    place.make_image();
    ok(&mut place.image(&["import", "-q", "layout", "localhost/app:1"]));
    ok(&mut place.image(&["bundle", "localhost/app:1", "b"]));
    std::fs::write(place.path("b/rootfs/written"), "x").unwrap();
    ok(&mut place.image(&["umount", "b"]));
    assert!(!place.path("b/rootfs/bin").exists());
    ok(&mut place.image(&["mount", "b"]));
    assert!(place.path("b/rootfs/written").exists() && place.path("b/rootfs/bin").exists());
    ok(&mut place.image(&["remove", "b"]));
    assert!(!place.path("b").exists());
}

/// Tools with a storage of their own: nothing of it touches the host's.
#[test]
fn what_we_commit_and_push_podman_and_buildah_run_and_theirs_we_run() {
    need_peers!();
    need!(have(&["podman", "buildah"]), "podman and buildah are not installed");
    let place = Place::new();
    place.make_image();
    ok(&mut place.image(&["import", "-q", "layout", &place.name("app:1")]));
    ok(&mut place.image(&["bundle", &place.name("app:1"), "b"]));
    std::fs::write(place.path("b/rootfs/etc/made"), "by us").unwrap();
    std::fs::remove_dir_all(place.path("b/rootfs/opaque")).unwrap();
    ok(&mut place.image(&["commit", "b", &place.name("app:2")]));
    ok(&mut place.image(&["remove", "b"]));
    ok(&mut place.image(&["push", "-q", &place.name("app:2")]));
    ok(&mut place.image(&["export", "-q", "--as", "docker-archive", &place.name("app:2"), "app.tar"]));
    let with_storage = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.arg("--root").arg(place.path("storage")).arg("--runroot").arg(place.path("run"));
        command.args(["--storage-driver", "vfs"]).args(words).current_dir(place.directory.path());
        command
    };
    let reference = place.name("app:2");
    for (program, words) in [
        ("podman", &["pull", "-q", "--tls-verify=false", &reference][..]),
        ("podman", &["load", "-q", "-i", "app.tar"]),
        ("buildah", &["pull", "-q", "--tls-verify=false", &reference]),
    ] {
        let said = ok(&mut with_storage(program, words));
        let image = said.trim().rsplit([' ', '\n']).next().unwrap().to_owned();
        // The tree that they see.
        let container = ok(&mut with_storage("buildah", &["from", &image]));
        let root = PathBuf::from(ok(&mut with_storage("buildah", &["mount", container.trim()])).trim());
        assert_eq!(std::fs::read_to_string(root.join("etc/made")).unwrap(), "by us", "{program} {words:?}");
        assert!(root.join("added").exists() && !root.join("opaque").exists(), "{program} {words:?}");
        if program == "buildah" {
            std::fs::write(root.join("theirs"), "by buildah").unwrap();
            let target = format!("docker://{}", place.name("app:3"));
            ok(&mut with_storage("buildah", &["umount", container.trim()]));
            ok(&mut with_storage("buildah", &["commit", "-q", "--tls-verify=false", container.trim(), &target]));
        }
        ok(&mut with_storage("buildah", &["rm", container.trim()]));
    }
    let said = ok(&mut place.image(&["run", "-q", &place.name("app:3"), "sh", "-c", "busybox cat /theirs /etc/made"]));
    assert_eq!(said, "by buildahby us");
}

#[test]
fn a_plain_bundle_is_made_while_its_layers_come_and_can_be_committed() {
    need_peers!();
    let place = Place::new();
    place.make_image();
    place.push_by_skopeo("app:1", &[]);
    let expected = place.tree_by_umoci("layout:app");
    ok(&mut place.image(&["bundle", "-q", "--copy", &place.name("app:1"), "b"]));
    assert_eq!(tree(&place.path("b/rootfs")), expected);
    let layers = || std::fs::read_dir(place.path("store/ocicat/layers")).unwrap().count();
    assert_eq!(layers(), 0);
    ok(&mut place.image(&["check"]));
    ok(&mut place.image(&["gc"]));
    std::fs::write(place.path("b/rootfs/etc/made"), "by us").unwrap();
    std::fs::remove_dir_all(place.path("b/rootfs/opaque")).unwrap();
    ok(&mut place.image(&["commit", "b", "localhost/app:2"]));
    ok(&mut place.image(&["unpack", "localhost/app:2", "tree"]));
    assert_eq!(tree(&place.path("tree")), tree(&place.path("b/rootfs")));
    // The new layer has what was changed, and not everything.
    let shown = ok(&mut place.image(&["inspect", "--raw", "localhost/app:2"]));
    let manifest: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let sizes: Vec<u64> = manifest["layers"].as_array().unwrap().iter().map(|l| l["size"].as_u64().unwrap()).collect();
    assert_eq!(sizes.len(), 3);
    assert!(sizes[2] < 1000, "{sizes:?}");
    ok(&mut place.image(&["remove", "b"]));
    assert!(!place.path("b").exists());
}
