//! Mounts with id mappings of their own on each kind of filesystem that has them, and mounts whose flags a user cannot change.

use crate::common::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;

/// Whether the kernel is at least this one.
fn kernel(major: u32, minor: u32) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
}

/// A file of user 1000, and what is mapped: 1000 to 5000.
fn fill(dir: &Path) {
    fs::write(dir.join("file"), "x").unwrap();
    chown(dir.join("file"), Some(1000), Some(1000)).unwrap();
}

fn mapped(dir: &Path, options: &[&str]) -> Value {
    let map = json!([{"containerID": 1000, "hostID": 5000, "size": 1}]);
    json!({"destination": "/data", "type": "bind", "source": dir, "options": options, "uidMappings": map, "gidMappings": map})
}

/// Mounts an ext4 of 16 MiB from a file; false where there is no loop device.
fn ext4(container: &Container, point: &Path) -> bool {
    let image = container.dir.join("image");
    let run = |words: &[&str]| Command::new(words[0]).args(&words[1..]).output().is_ok_and(|o| o.status.success());
    fs::create_dir_all(point).unwrap();
    let (image, at) = (image.to_str().unwrap(), point.to_str().unwrap());
    run(&["truncate", "--size", "16M", image])
        && run(&["mkfs.ext4", "-q", image])
        && run(&["mount", "-o", "loop", image, at])
        && {
            container.held_at(point);
            true
        }
}

#[test]
fn a_mount_on_tmpfs_has_owners_of_its_own() {
    only_ocicat!("runc 1.1 cannot map ids of mounts");
    need!(host::is_root() && kernel(6, 3), "needs root, and Linux 6.3 for idmapped tmpfs");
    let container = Container::new();
    let dir = container.dir.join("volume");
    container.hold_tmpfs(&dir);
    fill(&dir);
    let container = container.set("/mounts/-", mapped(&dir, &["bind", "idmap"]));
    container.args(&["stat", "-c", "%u:%g", "/data/file"]).run().says("5000:5000");
}

#[test]
fn a_mount_on_ext4_has_owners_of_its_own_in_both_directions() {
    only_ocicat!("runc 1.1 cannot map ids of mounts");
    need!(host::is_root() && kernel(5, 12), "needs root, and Linux 5.12 for idmapped ext4");
    let container = Container::new();
    let dir = container.dir.join("volume");
    need!(ext4(&container, &dir), "needs a loop device, and mkfs.ext4");
    fill(&dir);
    // Nobody may write where the owner has no place in the mapping.
    chown(&dir, Some(1000), Some(1000)).unwrap();
    // What the user of the container makes belongs to the owner on the disk.
    let container = container
        .set("/mounts/-", mapped(&dir, &["bind", "idmap"]))
        .set("/process/user", json!({"uid": 5000, "gid": 5000}));
    let container = container.shell("stat -c %u:%g /data/file; touch /data/new");
    container.run().says("5000:5000");
    let made = fs::metadata(dir.join("new")).unwrap();
    assert_eq!((made.uid(), made.gid()), (1000, 1000));
}

#[test]
fn ridmap_maps_the_mounts_below_and_idmap_leaves_them() {
    only_ocicat!("runc 1.1 cannot map ids of mounts");
    need!(host::is_root() && kernel(6, 3), "needs root, and Linux 6.3 for idmapped tmpfs");
    for (word, below) in [("ridmap", "5000"), ("idmap", "1000")] {
        let container = Container::new();
        let dir = container.dir.join("volume");
        container.hold_tmpfs(&dir);
        container.hold_tmpfs(&dir.join("below"));
        fill(&dir);
        fill(&dir.join("below"));
        let container = container.set("/mounts/-", mapped(&dir, &["rbind", word]));
        container.args(&["stat", "-c", "%u", "/data/file", "/data/below/file"]).run().says(&format!("5000\n{below}"));
    }
}

/// As a manager does that hands out one unpacked layer to many user namespaces: the layer is mounted with a mapping, and an
/// overlay is laid over that mount.
#[test]
fn a_mapped_layer_below_an_overlay_is_the_root_of_a_user_namespace() {
    need!(host::is_root() && kernel(6, 3), "needs root, and Linux 6.3 for mapped layers on any filesystem");
    let container = Container::new();
    let layer = container.dir.join("layer");
    fs::rename(container.rootfs(), &layer).unwrap();
    let point = container.dir.join("mapped");
    for dir in [&point, &container.rootfs(), &container.dir.join("upper"), &container.dir.join("work")] {
        fs::create_dir(dir).unwrap();
    }
    chown(container.dir.join("upper"), Some(100_000), Some(100_000)).unwrap();
    // The layer's 0 is 100000 through the mount.
    need!(map_layer(&layer, &point), "the filesystem of temporary files has no mapped mounts");
    container.held_at(&point);
    let at = |name: &str| container.dir.join(name).display().to_string();
    let options = format!("lowerdir={},upperdir={},workdir={}", at("mapped"), at("upper"), at("work"));
    let mounted =
        Command::new("mount").args(["-t", "overlay", "none", "-o", &options]).arg(container.rootfs()).status();
    need!(mounted.unwrap().success(), "no overlay over the filesystem of temporary files");
    container.held_at(&container.rootfs());
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let container = container.namespace("user").set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    let container = container.set("/root/readonly", json!(false));
    let container = container.shell("stat -c %u:%g /bin/sh; touch /new; stat -c %u:%g /new");
    container.run().says("0:0\n0:0");
    assert_eq!(fs::metadata(container.dir.join("upper/new")).unwrap().uid(), 100_000);
}

/// Mounts `layer` at `point` with its 0 shown as 100000.
fn map_layer(layer: &Path, point: &Path) -> bool {
    use ocicat::sys::mount;
    let mut holder = Command::new("unshare").args(["--user", "sleep", "1000"]).spawn().unwrap();
    let namespace = format!("/proc/{}/ns/user", holder.id());
    while fs::read_link(&namespace).is_ok_and(|link| link == fs::read_link("/proc/self/ns/user").unwrap()) {
        std::thread::yield_now();
    }
    for file in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{}/{file}", holder.id()), "0 100000 65536").unwrap();
    }
    let namespace = fs::File::open(namespace).unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
    let mapped = || {
        let tree = mount::open_tree(rustix::fs::CWD, layer, false, true)?;
        let change = mount::Change { id_map: Some(std::os::fd::AsFd::as_fd(&namespace)), ..mount::Change::default() };
        mount::mount_setattr(&tree, &change)?;
        mount::move_mount(&tree, rustix::fs::CWD, point, false)
    };
    mapped().is_ok()
}
