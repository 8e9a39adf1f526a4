//! Plans as a reader sees them.

use super::*;

#[test]
fn the_plan_of_the_default_bundle_reads_in_order() {
    let hierarchy = Hierarchy {
        name: String::new(),
        mount: PathBuf::from("/sys/fs/cgroup"),
        directory: PathBuf::from("/sys/fs/cgroup/c1"),
    };
    let cgroups = CgroupView { mode: CgroupMode::V2, hierarchies: vec![hierarchy], private_namespace: false };
    let plan = planned(DEFAULT, Path::new("/bundle"), &Host::modern(), &cgroups).unwrap();
    assert_eq!(plan.to_string(), include_str!("../../../tests/golden/rootfs-default.plan"));
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let mount = |text: &str| with_mounts(text);
    let linux = |text: &str| format!(r#"{{"root": {{"path": "r"}}, "linux": {{{text}}}}}"#);
    let rows = [
        (
            mount(r#"{"destination": "/", "type": "tmpfs"}"#),
            "mounts[1] (/): a mount over the root itself is not possible",
        ),
        (mount(r#"{"destination": "/a"}"#), "mounts[1] (/a): the type is missing, and so is the option bind"),
        (mount(r#"{"destination": "/a", "options": ["bind"]}"#), "mounts[1] (/a): a bind mount needs a source"),
        (
            mount(r#"{"destination": "/a", "source": "/b", "options": ["bind", "sync"]}"#),
            "mounts[1] (/a): option sync belongs to a whole filesystem and cannot be set by a bind mount",
        ),
        (
            mount(r#"{"destination": "/proc", "type": "tmpfs"}"#),
            "mounts[1] (/proc): only procfs may be mounted on /proc, not tmpfs",
        ),
        (
            mount(r#"{"destination": "/x/../proc/1/attr", "source": "/b", "options": ["bind"]}"#),
            "mounts[1] (/x/../proc/1/attr): a bind mount inside /proc is not allowed: it could feign what the runtime relies on",
        ),
        (
            mount(r#"{"destination": "/a", "source": "/b", "options": ["bind", "idmap"]}"#),
            "mounts[1] (/a): idmap needs uidMappings and gidMappings, or a container with a user namespace",
        ),
        (
            mount(
                r#"{"destination": "/a", "source": "/b", "options": ["bind"], "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}"#,
            ),
            "mounts[1] (/a): uidMappings and gidMappings must be given together",
        ),
        (
            linux(r#""rootfsPropagation": "public""#),
            "linux.rootfsPropagation: \"public\" is none of [r]shared, [r]slave, [r]private, [r]unbindable",
        ),
        (linux(r#""maskedPaths": ["/a", "b"]"#), "linux.maskedPaths[1] (b): must be an absolute path"),
        (linux(r#""readonlyPaths": ["b"]"#), "linux.readonlyPaths[0] (b): must be an absolute path"),
        (
            linux(r#""devices": [{"type": "x", "path": "/dev/x"}]"#),
            "linux.devices[0] (/dev/x): type \"x\" is none of c, u, b, p",
        ),
        (
            linux(r#""devices": [{"type": "c", "path": "/dev/x", "major": 1}]"#),
            "linux.devices[0] (/dev/x): minor is missing",
        ),
        (
            linux(r#""devices": [{"type": "b", "path": "/dev/x", "major": -1, "minor": 0}]"#),
            "linux.devices[0] (/dev/x): major -1 is no device number",
        ),
        (r#"{"linux": {}}"#.to_owned(), "root is missing"),
    ];
    for (json, expected) in rows {
        let error = planned(&json, Path::new("/bundle"), &Host::modern(), &no_cgroups()).unwrap_err();
        assert_eq!(format!("{error:#}"), expected);
    }
}

/// The lines of a plan that tell of mounts, devices and the end.
fn lines(json: &str, host: &Host, wanted: &[&str]) -> Vec<String> {
    let plan = planned(json, Path::new("/bundle"), host, &no_cgroups()).unwrap().to_string();
    plan.lines().filter(|line| wanted.iter().any(|word| line.starts_with(word))).map(str::to_owned).collect()
}

#[test]
fn one_mount_entry_becomes_one_line() {
    let rows = [
        (r#""destination": "/a", "source": "rel", "options": ["rbind", "ro"]"#, "rbind /bundle/rel; ro"),
        (r#""destination": "a/b/../c", "source": "/s", "type": "bind", "options": ["mode=755"]"#, "bind /s"),
        (
            r#""destination": "/a", "source": "/s", "type": "ext4", "options": ["bind", "rro", "rslave"]"#,
            "bind /s; rro rslave",
        ),
        (
            r#""destination": "/a", "type": "tmpfs", "options": ["ro", "tmpcopyup", "size=1k"]"#,
            "tmpfs from tmpfs; ro tmpcopyup size=1k",
        ),
        (
            r#""destination": "/a", "type": "ext4", "source": "/dev/vdb", "options": ["ro", "noatime"]"#,
            "ext4 from /dev/vdb; noatime ro ro",
        ),
        (
            r#""destination": "/a", "source": "/s", "options": ["bind", "ridmap"], "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}],
               "gidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]"#,
            "bind /s (opened by the parent); ids mapped by given ranges",
        ),
        (r#""destination": "/proc/meminfo", "source": "/s", "options": ["bind"]"#, "bind /s"),
    ];
    for (mount, expected) in rows {
        let line = lines(&with_mounts(&format!("{{{mount}}}")), &Host::modern(), &["mounts[1]"]).remove(0);
        assert_eq!(line.split_once("): ").unwrap().1, expected, "{mount}");
    }
}

#[test]
fn devices_are_bound_where_they_cannot_be_made_and_left_alone_in_the_hosts_dev() {
    let device = r#"{"type": "c", "path": "/dev/null", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 5},
        {"type": "p", "path": "/run/pipe"}, {"type": "c", "path": "/dev/ptmx", "major": 5, "minor": 2}"#;
    let config = |namespaces: &str, mounts: &str| {
        format!(
            r#"{{"root": {{"path": "r"}}, "mounts": [{mounts}], "linux": {{"namespaces": [{{"type": "mount"}}{namespaces}], "devices": [{device}]}}}}"#
        )
    };
    let null = |json: String| {
        lines(&json, &Host::modern(), &["device /dev/null", "device /run", "device /dev/ptmx", "link /dev/ptmx"])
    };
    assert_eq!(
        null(config("", "")),
        ["device /dev/null: c 1:3 0666 0:5", "device /run/pipe: p 0:0 0666", "link /dev/ptmx -> pts/ptmx"]
    );
    assert_eq!(
        null(config(r#", {"type": "user"}"#, "")),
        ["device /dev/null: bind the host's c 1:3", "device /run/pipe: p 0:0 0666", "link /dev/ptmx -> pts/ptmx"]
    );
    let hosts = r#"{"destination": "/dev", "source": "/dev", "options": ["rbind"]}"#;
    assert_eq!(null(config("", hosts)), ["device /run/pipe: p 0:0 0666"]);
}

#[test]
fn propagation_and_switch_follow_the_configuration() {
    let config = |propagation: &str, namespaces: &str| {
        format!(
            r#"{{"root": {{"path": "r"}}, "mounts": [{{"destination": "/v", "source": "/v", "options": ["rbind", "rshared"]}}],
                "linux": {{"namespaces": [{namespaces}], "rootfsPropagation": "{propagation}"}}}}"#
        )
    };
    let told = |propagation: &str| {
        lines(&config(propagation, r#"{"type": "mount"}"#), &Host::modern(), &["host", "mounts", "root:", "pivot"])
    };
    let volume = "mounts[0] (/v): rbind /v; rshared";
    assert_eq!(told(""), ["host's tree: rslave", volume, "pivot_root"]);
    assert_eq!(told("private"), ["host's tree: rprivate", volume, "pivot_root"]);
    assert_eq!(
        told("rshared"),
        ["host's tree: rslave", "mounts[0] (/v): rbind /v (opened first); rshared", "pivot_root", "root: rshared"]
    );
    assert_eq!(told("unbindable"), ["host's tree: rprivate", volume, "pivot_root", "root: unbindable"]);
    let plan = planned(&config("", ""), Path::new("/b"), &Host::modern(), &no_cgroups()).unwrap().to_string();
    assert!(plan.starts_with("root /b/r: a private tree, attached nowhere\n") && plan.contains("\nchroot\n"), "{plan}");
}

#[test]
fn new_filesystems_carry_the_mount_label_where_selinux_is_on() {
    let json = with_mounts(
        r#"{"destination": "/a", "type": "tmpfs"}, {"destination": "/b", "source": "/b", "options": ["bind"]}"#,
    )
    .replace(r#""linux": {"#, r#""linux": {"mountLabel": "u:r:t:s0:c1,c2", "#);
    let on = Host { selinux: true, ..Host::modern() };
    let told = |host: &Host| lines(&json, host, &["mounts"]);
    assert_eq!(
        told(&on),
        [
            "mounts[0] (/proc): proc from proc",
            "mounts[1] (/a): tmpfs from tmpfs; context=u:r:t:s0:c1,c2",
            "mounts[2] (/b): bind /b"
        ]
    );
    assert_eq!(
        told(&Host::modern()),
        ["mounts[0] (/proc): proc from proc", "mounts[1] (/a): tmpfs from tmpfs", "mounts[2] (/b): bind /b"]
    );
}
