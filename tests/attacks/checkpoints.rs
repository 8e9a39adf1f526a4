//! Files of a checkpoint that somebody else has made. A program of the test's own stands in for CRIU and keeps what it was asked.

use crate::common::*;
use crate::decoy::*;
use std::fs;
use std::os::unix::fs::symlink;

/// Restores from the directory `images` of the bundle; what CRIU was asked, if it was.
fn restored(container: &Container) -> (Outcome, Option<Vec<u8>>) {
    let asked = container.dir.join("asked");
    let script = format!("#!/bin/sh\ndd bs=1M count=1 <&3 >{} 2>/dev/null\n", asked.display());
    let programs = container.dir.join("programs");
    fs::create_dir_all(&programs).unwrap();
    program::write(&programs.join("criu"), &script);
    container.write();
    let images = container.dir.join("images");
    let words = ["restore", "--detach", "--image-path", images.to_str().unwrap(), &container.id];
    let mut command = container.command(&words);
    command.env("PATH", format!("{}:/usr/bin:/bin", programs.display()));
    let outcome = finish(command);
    assert!(outcome.code != 0, "nothing can have been restored: {outcome}");
    assert_eq!(container.leftovers(), Vec::<String>::new());
    (outcome, fs::read(asked).ok())
}

fn with_images() -> Container {
    let container = Container::new();
    fs::create_dir(container.dir.join("images")).unwrap();
    fs::write(container.dir.join("images/descriptors.json"), r#"["/dev/null","/dev/null","/dev/null"]"#).unwrap();
    container
}

#[test]
fn images_of_a_checkpoint_that_lead_elsewhere_are_refused_before_criu_sees_them() {
    only_ocicat!("peers leave it to CRIU, which follows links");
    need!(host::is_root(), "restore needs root");
    for name in ["stats-restore", "restore.log.1", "pages-1.img", "descriptors.json", "parent"] {
        let container = with_images();
        let dir = decoy(&container);
        let link = container.dir.join("images").join(name);
        fs::remove_file(&link).unwrap_or_default();
        symlink(dir.join("file"), link).unwrap();
        let (outcome, asked) = restored(&container);
        outcome.fails(&format!("--image-path: {name}: "));
        assert_eq!(asked, None, "{name}: criu was asked");
        untouched(&dir);
    }
    // The log is made anew: a link in its place is removed and not followed.
    let container = with_images();
    let dir = decoy(&container);
    symlink(dir.join("file"), container.dir.join("images/restore.log")).unwrap();
    assert!(restored(&container).1.is_some());
    untouched(&dir);
}

#[test]
fn a_checkpoint_brings_no_mounts_devices_or_annotations_of_its_own() {
    only_ocicat!("peers are asked by their managers");
    need!(host::is_root(), "restore needs root");
    let container = with_images();
    let volume = container.dir.join("volume");
    fs::create_dir(&volume).unwrap();
    let container = container.mount("/data", "bind", &volume, &["rbind"]);
    // What managers keep beside the images, with more in it than config.json allows.
    let smuggled = json!({"ociVersion": "1.3.0", "process": {"args": ["sh"], "cwd": "/"}, "root": {"path": "rootfs"},
        "annotations": {"org.criu.config": "/smuggled", "cdi.k8s.io/x": "vendor.example/smuggled=all"},
        "mounts": [{"destination": "/smuggled", "source": "/etc", "type": "bind", "options": ["rbind"]}],
        "linux": {"devices": [{"path": "/dev/smuggled", "type": "c", "major": 1, "minor": 1}]}});
    for name in ["config.json", "spec.dump", "config.dump", "annotations.json"] {
        fs::write(container.dir.join("images").join(name), smuggled.to_string()).unwrap();
    }
    let streams = r#"["/smuggled", "net:[1]", "socket:[7]"]"#;
    fs::write(container.dir.join("images/descriptors.json"), streams).unwrap();
    let (_, asked) = restored(&container);
    let asked = String::from_utf8_lossy(&asked.unwrap()).into_owned();
    assert!(asked.contains(&format!("mnt[/data]:{}", volume.display())), "{asked}");
    assert!(!asked.contains("smuggled"), "{asked}");
}
