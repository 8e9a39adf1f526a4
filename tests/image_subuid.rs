//! Somebody who is not root. With ranges in /etc/subuid files get every owner of the ranges, and a container of the image
//! sees them as the image says; the ranges are bound over /etc/subuid in a mount namespace of the test's. Without ranges
//! a container has its caller as its only user.
#![cfg(feature = "image")]
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic, and its paths are its own"
)]

use ocicat::image::manifest::{Descriptor, media};
use ocicat::image::store::Store;
use ocicat::image::tar::{Entry, Writer};
use ocicat::registry::Digest;
use std::path::Path;
use std::process::Command;

fn have(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    programs.iter().all(|program| std::env::split_paths(&path).any(|directory| directory.join(program).exists()))
}

/// A layout with one image, whose file `web` belongs to 33:44, and which has a program if there is one to be had.
fn layout(path: &Path) {
    let store = Store::open(path).unwrap();
    let mut tar = Writer::new(Vec::new());
    if let Ok(busybox) = std::fs::read("/bin/busybox") {
        let size = busybox.len() as u64;
        tar.entry(&Entry { path: b"busybox".to_vec(), mode: 0o755, size, ..Entry::default() }).unwrap();
        tar.data(&busybox).unwrap();
    }
    tar.entry(&Entry { path: b"web".to_vec(), mode: 0o640, uid: 33, gid: 44, size: 1, ..Entry::default() }).unwrap();
    tar.data(b"x").unwrap();
    let layer = tar.finish().unwrap();
    store.put(&layer).unwrap();
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["x"]},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer)]}});
    let config = serde_json::to_vec(&config).unwrap();
    store.put(&config).unwrap();
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": media::MANIFEST,
        "config": Descriptor::of(media::CONFIG, &config), "layers": [Descriptor::of(media::LAYER, &layer)]});
    let manifest = serde_json::to_vec(&manifest).unwrap();
    store.put(&manifest).unwrap();
    store.tag("localhost/x:1", &Descriptor::of(media::MANIFEST, &manifest)).unwrap();
}

/// What nobody does, with 65536 ids from 300000 on.
const SCRIPT: &str = r#"
set -e
cd "$1"
echo 65534:300000:65536 > ranges
for file in /etc/subuid /etc/subgid; do test -e $file || exit 77; mount --bind ranges $file; done
chown -R 65534:65534 store out
chmod 755 .
image="setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=$1/out XDG_RUNTIME_DIR=$1/out $2 --quiet --store $1/store"
$image unpack localhost/x:1 out/tree
$image bundle localhost/x:1 out/bundle
stat -c '%u:%g %a' out/tree/web out/bundle/rootfs/web
grep -c 300000 out/bundle/config.json
$image commit out/bundle localhost/x:2
$image remove out/bundle
$image rm localhost/x:1
$image rm localhost/x:2
$image gc
ls store/ocicat/layers out
"#;

#[test]
fn files_have_the_owners_of_the_callers_ranges() {
    let tools = ["unshare", "setpriv", "newuidmap", "newgidmap", "mount", "sh", "stat"];
    if !rustix::process::geteuid().is_root() || !have(&tools) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    layout(&place.path().join("store"));
    std::fs::create_dir(place.path().join("out")).unwrap();
    let copy = place.path().join("ocicat-image");
    // By a child: nobody executes a file that a fork of ours has open for writing (ETXTBSY).
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_ocicat-image")).arg(&copy).status().unwrap().success());
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"])
        .arg(place.path())
        .arg(&copy)
        .output()
        .unwrap();
    if output.status.code() == Some(77) {
        return;
    }
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert!(said.starts_with("300032:300043 640\n300032:300043 640\n2\n"), "{said}");
    assert!(said.ends_with("out:\ntree\n\nstore/ocicat/layers:\n"), "{said}");
}

/// What nobody does who has no ranges and no capabilities: every way to a container, and nothing is left of it.
const WITHOUT_RANGES: &str = r#"
set -e
cd "$1"
chown -R 54321:54321 store out
chmod 755 .
as="setpriv --reuid 54321 --regid 54321 --clear-groups --inh-caps=-all env HOME=$1/out XDG_RUNTIME_DIR=$1/out"
image="$as ./ocicat-image --quiet --store $1/store"
for options in "" "--copy" "-u 0:0" "--copy -u 0:0"; do
    $image run $options localhost/x:1 /busybox sh -c 'echo "$0:" $(/busybox id -u):$(/busybox id -g)' "${options:-plain}"
done
ls store/ocicat/run
$image bundle --copy --cmd /busybox --cmd echo --cmd bundle localhost/x:1 out/bundle
$as ./ocicat run --bundle out/bundle of-54321
$as sh -c 'umask 022; echo new > out/bundle/rootfs/new; chmod 600 out/bundle/rootfs/web'
$image commit out/bundle localhost/x:2 > out/digest
layer=$($image inspect --raw localhost/x:2 | sed 's/.*"digest":"sha256:\([0-9a-f]*\)".*/\1/')
tar --numeric-owner -tvzf store/blobs/sha256/$layer | awk '/^-/ { print $1, $2, $6 }'
rm out/digest
$image umount out/bundle
$image remove out/bundle
$image run localhost/x:1 /missing || true
ls store/ocicat/run store/ocicat/bundles out
"#;

#[test]
fn somebody_without_ranges_runs_containers_as_himself_and_nothing_is_left() {
    let tools = ["setpriv", "env", "sh", "chown", "sed", "tar", "gzip", "awk"];
    if !rustix::process::geteuid().is_root() || !have(&tools) || !Path::new("/bin/busybox").exists() {
        return;
    }
    if !std::fs::read_to_string("/proc/sys/user/max_user_namespaces").is_ok_and(|text| text.trim() != "0") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    layout(&place.path().join("store"));
    std::fs::create_dir(place.path().join("out")).unwrap();
    for binary in [env!("CARGO_BIN_EXE_ocicat-image"), env!("CARGO_BIN_EXE_ocicat")] {
        assert!(Command::new("cp").arg(binary).arg(place.path()).status().unwrap().success());
    }
    let output = Command::new("sh").args(["-c", WITHOUT_RANGES, "sh"]).arg(place.path()).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    // No file but what was changed is committed, and the owner that the image says is remembered where the file system can.
    let flags = rustix::fs::XattrFlags::empty();
    let can = rustix::fs::setxattr(place.path().join("ocicat"), "user.remembers", b"", flags).is_ok();
    let owner = if can { "33/44" } else { "0/0" };
    let expected = format!(
        "plain: 0:0\n--copy: 0:0\n-u 0:0: 0:0\n--copy -u 0:0: 0:0\nbundle\n-rw-r--r-- 0/0 new\n-rw------- {owner} web\n\
         out:\nocicat\n\nstore/ocicat/bundles:\n\nstore/ocicat/run:\n"
    );
    assert_eq!(said, expected, "{errors}");
}
