//! Hostile images: links where the runtime mounts, makes and reads, and files that block or fill.

use crate::common::*;
use crate::decoy::*;
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn a_null_device_that_is_a_link_masks_nothing_of_the_host() {
    only_ocicat!("CVE-2025-31133");
    let container = Container::new().edit(|config| {
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        config["linux"]["maskedPaths"] = json!(["/proc/kcore"]);
        config["root"]["readonly"] = json!(false);
    });
    let dir = decoy(&container);
    symlink(dir.join("file"), container.rootfs().join("dev/null")).unwrap();
    let container = container.shell("echo overwritten > /proc/kcore; echo overwritten > /dev/null");
    container.run();
    untouched(&dir);
}

#[test]
fn a_dev_that_is_a_link_to_the_host_gets_no_devices() {
    only_ocicat!("CVE-2026-41579: old peers write to the host");
    let container = Container::new().edit(|config| {
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    });
    let dir = decoy(&container);
    fs::remove_dir(container.rootfs().join("dev")).unwrap();
    symlink(&dir, container.rootfs().join("dev")).unwrap();
    container.run();
    untouched(&dir);
}

#[test]
fn a_proc_or_sys_that_is_a_link_is_refused() {
    only_ocicat!("CVE-2025-54867, CVE-2019-19921");
    for name in ["proc", "sys"] {
        let container = Container::new().shell("ls /data");
        fs::remove_dir(container.rootfs().join(name)).unwrap();
        symlink("/data", container.rootfs().join(name)).unwrap();
        let outcome = container.run();
        assert!(outcome.code != 0, "{name}: {outcome}");
    }
}

#[test]
fn mount_points_behind_links_to_the_host_stay_inside() {
    only_ocicat!("CVE-2019-18837, CVE-2021-30465");
    let container = Container::new();
    let dir = decoy(&container);
    symlink(&dir, container.rootfs().join("data/abs")).unwrap();
    symlink("../../../../../../../../../..".to_owned() + dir.to_str().unwrap(), container.rootfs().join("data/rel"))
        .unwrap();
    let container = container
        .mount("/data/abs/new", "tmpfs", "tmpfs", &[])
        .mount("/data/rel/new2", "tmpfs", "tmpfs", &[])
        .set("/root/readonly", json!(false));
    container.run();
    untouched(&dir);
    assert!(host::mounts_below(&dir).is_empty());
}

#[test]
fn a_fake_proc_gets_no_writes_meant_for_the_real_one() {
    only_ocicat!("CVE-2025-52881");
    // The image's own tmpfs over /proc with a decoy where a sysctl would be written.
    let container = Container::new().edit(|config| {
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/proc");
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
        config["linux"]["sysctl"] = json!({"kernel.shmmni": "1234"});
        config["root"]["readonly"] = json!(false);
    });
    let dir = decoy(&container);
    let container = container.file("/proc/sys/kernel/keep", "", 0o644);
    symlink(dir.join("file"), container.rootfs().join("proc/sys/kernel/shmmni")).unwrap();
    container.run();
    untouched(&dir);
}

#[test]
fn a_passwd_that_is_a_fifo_or_huge_blocks_nobody() {
    only_ocicat!("a hostile image could block the others");
    let container = Container::new().shell("echo alive");
    fs::remove_file(container.rootfs().join("etc/passwd")).unwrap();
    let _fifo = container.fifo("etc/passwd");
    container.run().says("alive");
    let container = Container::new().shell("echo alive");
    fs::write(container.rootfs().join("etc/passwd"), "x".repeat(50_000_000)).unwrap();
    container.run().says("alive");
}

#[test]
fn a_passwd_that_is_a_link_to_the_host_is_not_followed_out() {
    let container = Container::new().set("/process/user", json!({"uid": 4321, "gid": 0})).shell("echo $HOME");
    let secret = container.dir.join("secret");
    fs::write(&secret, "spy:x:4321:0::/stolen:/bin/sh\n").unwrap();
    fs::remove_file(container.rootfs().join("etc/passwd")).unwrap();
    symlink(&secret, container.rootfs().join("etc/passwd")).unwrap();
    container.run().says("/");
}
