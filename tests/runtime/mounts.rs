//! Mounts: kinds, options, order, propagation, mount points (config.md, "Mounts"; mount(8)).

use crate::common::*;
use std::fs;

/// The line of /proc/self/mountinfo for a mount point inside, as (options of the mount, propagation, type, source, options of the file system).
fn mountinfo(container: Container, point: &str) -> Option<(String, String, String, String, String)> {
    let seen = container.args(&["cat", "/proc/self/mountinfo"]).run().ok();
    line_of(&seen.out, point)
}

fn line_of(text: &str, point: &str) -> Option<(String, String, String, String, String)> {
    let line = text.lines().rfind(|line| line.split(' ').nth(4) == Some(point))?;
    let (left, right) = line.split_once(" - ")?;
    let (left, right): (Vec<&str>, Vec<&str>) = (left.split(' ').collect(), right.split(' ').collect());
    Some((left[5].into(), left[6..].join(" "), right[0].into(), right[1].into(), right[2].into()))
}

/// A directory of the host with a file in it.
fn volume(container: &Container) -> std::path::PathBuf {
    let dir = container.dir.join("volume");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), "from the host\n").unwrap();
    dir
}

#[test]
fn the_default_mounts_are_what_the_configuration_asks_for() {
    let seen = Container::new().args(&["cat", "/proc/self/mountinfo"]).run().ok();
    let wanted = [
        ("/proc", "proc", ""),
        ("/dev", "tmpfs", "nosuid"),
        ("/dev/pts", "devpts", "nosuid,noexec"),
        ("/dev/shm", "tmpfs", "nosuid,nodev,noexec"),
        ("/dev/mqueue", "mqueue", "nosuid,nodev,noexec"),
        ("/sys", "sysfs", "ro,nosuid,nodev,noexec"),
    ];
    for (point, kind, flags) in wanted {
        let (options, _, found, ..) =
            line_of(&seen.out, point).unwrap_or_else(|| panic!("{point} is not mounted: {seen}"));
        assert_eq!(found, kind, "{point}");
        for flag in flags.split(',') {
            assert!(options.contains(flag), "{point}: no {flag} in {options}");
        }
    }
}

#[test]
fn the_root_can_be_read_only_or_writable() {
    Container::new().shell("echo > /data/x").run().fails("read-only file system");
    let container = Container::new().set("/root/readonly", json!(false)).shell("echo text > /data/x");
    container.run().ok();
    assert_eq!(fs::read_to_string(container.rootfs().join("data/x")).unwrap(), "text\n");
}

#[test]
fn the_root_may_be_an_absolute_path_or_one_with_dots() {
    let container = Container::new();
    let rootfs = container.rootfs();
    let container = container.set("/root/path", json!(rootfs));
    container.run().ok();
    container.set("/root/path", json!("./rootfs/../rootfs/.")).run().ok();
}

#[test]
fn nothing_of_the_host_is_mounted_below_the_root() {
    let seen = Container::new().args(&["cat", "/proc/self/mountinfo"]).run().ok();
    let points: Vec<&str> = seen.out.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    let known = ["/", "/proc", "/dev", "/sys"];
    for point in points {
        assert!(
            known.iter().any(|prefix| point == *prefix || point.starts_with(&format!("{prefix}/"))),
            "{point} in {seen}"
        );
    }
}

#[test]
fn a_bind_mount_of_a_directory_is_writable_both_ways() {
    let container = Container::new();
    let dir = volume(&container);
    container
        .mount("/data", "bind", &dir, &["bind"])
        .shell("cat /data/file; echo from inside > /data/new")
        .run()
        .says("from the host");
    let container = Container::new();
    let dir = volume(&container);
    let container = container.mount("/data", "none", &dir, &["rbind", "rw"]).shell("echo from inside > /data/new");
    container.run().ok();
    assert_eq!(fs::read_to_string(dir.join("new")).unwrap(), "from inside\n");
}

#[test]
fn a_bind_mount_of_a_file_makes_its_mount_point() {
    let container = Container::new();
    let file = volume(&container).join("file");
    container
        .mount("/data/deep/er/file", "bind", &file, &["bind", "ro"])
        .shell("cat /data/deep/er/file")
        .run()
        .says("from the host");
}

#[test]
fn a_bind_source_may_be_relative_to_the_bundle() {
    let container = Container::new();
    volume(&container);
    container.mount("/data", "bind", "volume", &["bind"]).shell("cat /data/file").run().says("from the host");
}

#[test]
fn a_read_only_bind_mount_cannot_be_written() {
    let container = Container::new();
    let dir = volume(&container);
    container
        .mount("/data", "bind", &dir, &["bind", "ro"])
        .shell("cat /data/file; echo > /data/file")
        .run()
        .fails("read-only file system");
}

#[test]
fn a_type_of_bind_is_a_bind_mount_only_with_the_option() {
    let container = Container::new();
    let dir = volume(&container);
    container.mount("/data", "", &dir, &["rbind"]).shell("cat /data/file").run().says("from the host");
}

#[test]
fn mount_flags_reach_the_mount() {
    for word in ["nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "ro", "nosymfollow"] {
        if word == "nosymfollow" && !ours() {
            continue;
        }
        for (kind, source) in [("tmpfs", "tmpfs"), ("bind", "volume")] {
            let container = Container::new();
            volume(&container);
            let options: &[&str] = if kind == "bind" { &["bind", word] } else { &[word] };
            let found = mountinfo(container.mount("/data", kind, source, options), "/data").unwrap();
            assert!(found.0.split(',').any(|option| option == word), "{kind} {word}: {found:?}");
        }
    }
}

#[test]
fn later_words_win_over_earlier_ones() {
    let found = mountinfo(
        Container::new().mount("/data", "tmpfs", "tmpfs", &["ro", "nosuid", "rw", "suid", "noexec", "exec", "nodev"]),
        "/data",
    )
    .unwrap();
    assert!(
        found.0.starts_with("rw")
            && !found.0.contains("nosuid")
            && !found.0.contains("noexec")
            && found.0.contains("nodev"),
        "{found:?}"
    );
}

#[test]
fn words_that_mean_nothing_here_are_accepted() {
    need!(ours(), "runc 1.1 does not know them all");
    // "auto" is none of the spec's words.
    let words = [
        "defaults",
        "rw",
        "async",
        "dev",
        "exec",
        "suid",
        "atime",
        "diratime",
        "norelatime",
        "nostrictatime",
        "nomand",
    ];
    Container::new().mount("/data", "tmpfs", "tmpfs", &words).run().ok();
}

#[test]
fn recursive_flags_reach_the_mounts_below() {
    for (word, flag) in
        [("rro", "ro"), ("rnosuid", "nosuid"), ("rnodev", "nodev"), ("rnoexec", "noexec"), ("rnoatime", "noatime")]
    {
        let container = Container::new();
        let dir = volume(&container);
        container.hold_tmpfs(&dir.join("below"));
        let seen =
            container.mount("/data", "bind", &dir, &["rbind", word]).args(&["cat", "/proc/self/mountinfo"]).run().ok();
        for point in ["/data", "/data/below"] {
            let found = line_of(&seen.out, point).unwrap();
            assert!(found.0.split(',').any(|option| option == flag), "{word} at {point}: {found:?}");
        }
    }
}

#[test]
fn ro_of_a_recursive_bind_leaves_the_mounts_below_writable() {
    let container = Container::new();
    let dir = volume(&container);
    container.hold_tmpfs(&dir.join("below"));
    let container = container
        .mount("/data", "bind", &dir, &["rbind", "ro"])
        .shell("echo > /data/below/x && echo written; echo > /data/x");
    let outcome = container.run();
    assert!(outcome.out.contains("written") && outcome.err.contains("ead-only"), "{outcome}");
}

#[test]
fn bind_leaves_the_mounts_below_out_and_rbind_takes_them() {
    for (word, wanted) in [("bind", "0"), ("rbind", "1")] {
        let container = Container::new();
        let dir = volume(&container);
        container.hold_tmpfs(&dir.join("below"));
        fs::write(dir.join("below/x"), "").unwrap();
        container.mount("/data", "bind", &dir, &[word]).shell("ls /data/below | wc -l").run().says(wanted);
    }
}

#[test]
fn tmpfs_takes_its_options() {
    let found = mountinfo(
        Container::new().mount("/data", "tmpfs", "tmpfs", &["size=64k", "mode=1751", "nr_inodes=77"]),
        "/data",
    )
    .unwrap();
    for word in ["size=64k", "mode=1751", "nr_inodes=77"] {
        assert!(found.4.contains(word), "{found:?}");
    }
}

#[test]
fn tmpcopyup_fills_the_tmpfs_with_what_was_there() {
    need!(!runtime().ends_with("runc"), "runc 1.1 wants a writable /tmp in the rootfs");
    let container = Container::new().file("/data/deep/file", "copied\n", 0o640).mount(
        "/data",
        "tmpfs",
        "tmpfs",
        &["tmpcopyup", "mode=755"],
    );
    let container = container.shell("cat /data/deep/file; stat -c %a /data/deep/file; echo > /data/new");
    container.run().says("copied\n640");
    assert!(!container.rootfs().join("data/new").exists());
}

#[test]
fn an_unknown_option_is_one_for_the_file_system() {
    Container::new().mount("/data", "tmpfs", "tmpfs", &["no_such_option"]).run().fails("invalid argument");
}

#[test]
fn mounts_are_made_in_the_listed_order() {
    let container = Container::new()
        .mount("/data", "tmpfs", "first", &[])
        .mount("/data", "tmpfs", "second", &[])
        .mount("/data/below", "tmpfs", "third", &[]);
    let seen = container.args(&["cat", "/proc/self/mountinfo"]).run().ok();
    assert_eq!(line_of(&seen.out, "/data").unwrap().3, "second");
    assert_eq!(line_of(&seen.out, "/data/below").unwrap().3, "third");
}

#[test]
fn a_relative_destination_counts_from_the_root() {
    let found = mountinfo(Container::new().mount("data", "tmpfs", "tmpfs", &[]), "/data");
    assert!(found.is_some());
}

#[test]
fn propagation_words_reach_the_mount() {
    for (word, wanted) in [
        ("private", ""),
        ("rprivate", ""),
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
    ] {
        let container = Container::new();
        let dir = volume(&container);
        let found = mountinfo(container.mount("/data", "bind", &dir, &["bind", word]), "/data").unwrap();
        assert!(if wanted.is_empty() { found.1.is_empty() } else { found.1.contains(wanted) }, "{word}: {found:?}");
    }
}

#[test]
fn a_slave_mount_sees_what_the_host_mounts_later() {
    let container = Container::new();
    let dir = volume(&container);
    fs::create_dir(dir.join("below")).unwrap();
    container.hold_shared(&dir);
    let container = container.mount("/data", "bind", &dir, &["rbind", "rslave"]).sleeping();
    container.hold_tmpfs(&dir.join("below"));
    container.exec(&["grep", "-q", " /data/below ", "/proc/self/mountinfo"]).ok();
    let seen = container.exec(&["cat", "/proc/self/mountinfo"]).ok();
    assert!(line_of(&seen.out, "/data").unwrap().1.contains("master:"), "{seen}");
}

#[test]
fn by_default_the_host_sees_no_mount_of_the_container() {
    let container = Container::new();
    let dir = volume(&container);
    fs::create_dir(dir.join("below")).unwrap();
    container.hold_shared(&dir);
    let container = container.mount("/data", "bind", &dir, &["rbind"]).capabilities(&["CAP_SYS_ADMIN"]).sleeping();
    container.exec(&["mount", "-t", "tmpfs", "none", "/data/below"]).ok();
    assert_eq!(host::mounts_below(&dir.join("below")).len(), 0);
}

#[test]
fn the_root_has_the_propagation_that_was_asked_for() {
    for (word, wanted) in [
        ("private", ""),
        ("rprivate", ""),
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
    ] {
        // runc 1.1 has the mounts of the root private in the end.
        if !ours() && !word.contains("private") {
            continue;
        }
        let container = Container::new().set("/linux/rootfsPropagation", json!(word));
        let found = mountinfo(container, "/").unwrap();
        assert!(if wanted.is_empty() { found.1.is_empty() } else { found.1.contains(wanted) }, "{word}: {found:?}");
    }
}

#[test]
fn an_overlay_is_a_mount_like_any_other() {
    let container = Container::new();
    for name in ["lower", "upper", "work"] {
        fs::create_dir(container.dir.join(name)).unwrap();
    }
    fs::write(container.dir.join("lower/file"), "below\n").unwrap();
    let option = |key: &str, name: &str| format!("{key}={}", container.dir.join(name).display());
    let options = [option("lowerdir", "lower"), option("upperdir", "upper"), option("workdir", "work")];
    let container = container
        .mount("/data", "overlay", "overlay", &options.each_ref().map(String::as_str))
        .shell("cat /data/file; echo above > /data/file");
    container.run().says("below");
    assert_eq!(fs::read_to_string(container.dir.join("upper/file")).unwrap(), "above\n");
    assert_eq!(fs::read_to_string(container.dir.join("lower/file")).unwrap(), "below\n");
}

#[test]
fn the_cgroup_mount_shows_only_the_containers_part() {
    need!(host::v1("memory"), "needs version 1 hierarchies");
    let container = Container::new().namespace("cgroup").sleeping();
    let seen = container.exec(&["sh", "-c", "cat /sys/fs/cgroup/memory/cgroup.procs; cat /proc/self/cgroup"]).ok();
    assert!(seen.out.starts_with("1\n"), "{seen}");
    assert!(seen.out.lines().filter(|line| line.contains(":memory:")).all(|line| line.ends_with(":/")), "{seen}");
    assert_ne!(container.exec(&["mkdir", "/sys/fs/cgroup/memory/new"]).code, 0, "the mount is not read-only");
}

#[test]
fn the_cgroup_mount_without_a_namespace_shows_only_the_containers_part() {
    need!(host::v1("memory"), "needs version 1 hierarchies");
    let container = Container::new().sleeping();
    container.exec(&["cat", "/sys/fs/cgroup/memory/cgroup.procs"]).mentions("1\n");
    container.exec(&["ls", "-d", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/devices"]).ok();
    assert_ne!(container.exec(&["mkdir", "/sys/fs/cgroup/pids/new"]).code, 0, "the mount is not read-only");
}

#[test]
fn the_missing_source_of_a_bind_mount_is_named() {
    let outcome = Container::new().mount("/data", "bind", "/no/such/source", &["bind"]).run().fails("/no/such/source");
    assert!(outcome.err.contains("no such file or directory"), "{outcome}");
    if ours() {
        assert!(
            outcome.err.contains("mounts[7]") && outcome.err.contains("/data"),
            "the place is not named: {outcome}"
        );
    }
}

#[test]
fn a_file_cannot_be_mounted_over_a_directory() {
    let container = Container::new();
    let file = volume(&container).join("file");
    assert_ne!(container.mount("/data", "bind", &file, &["bind"]).run().code, 0);
}

#[test]
fn a_mount_point_behind_a_link_stays_inside_the_root() {
    let container = Container::new();
    std::os::unix::fs::symlink("/data", container.rootfs().join("link")).unwrap();
    let found = mountinfo(container.mount("/link/below", "tmpfs", "tmpfs", &[]), "/data/below");
    assert!(found.is_some());
}

#[test]
fn a_bind_mount_with_an_id_map_shows_other_owners() {
    only_ocicat!("runc 1.1 cannot map ids of mounts");
    let container = Container::new();
    let dir = volume(&container);
    std::os::unix::fs::lchown(dir.join("file"), Some(1000), Some(1000)).unwrap();
    let map = json!([{"containerID": 1000, "hostID": 5000, "size": 1}]);
    let container = container.set("/mounts/-", json!({"destination": "/data", "type": "bind", "source": dir, "options": ["bind", "idmap"], "uidMappings": map, "gidMappings": map}));
    container.args(&["stat", "-c", "%u:%g", "/data/file"]).run().says("5000:5000");
}

#[test]
fn a_hundred_mounts_are_made() {
    let mut container = Container::new();
    for number in 0..100 {
        container = container.mount(&format!("/data/{number}"), "tmpfs", "tmpfs", &["size=4k"]);
    }
    container.shell("grep -c ' /data/' /proc/self/mountinfo").run().says("100");
}

#[test]
fn proc_and_sys_are_no_place_to_mount_just_anything() {
    let container = Container::new();
    let dir = volume(&container);
    for point in ["/proc/sys", "/proc/1", "/proc/self/attr"] {
        let container = Container::new().mount(point, "bind", &dir, &["bind"]);
        assert_ne!(container.run().code, 0, "{point} was covered");
    }
}

#[test]
fn no_pivot_changes_the_root_too() {
    let container = Container::new().shell("ls -d /bin; ls / | grep -c rootfs");
    let outcome = container.run_with(&["--no-pivot"]);
    assert_eq!(outcome.text(), "/bin\n0", "{outcome}");
}
