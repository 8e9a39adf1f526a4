//! Real trees, made and entered.

use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

fn write(path: impl AsRef<Path>, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    std::fs::OpenOptions::new().create(true).truncate(true).write(true).open(path)?.write_all(text.as_bytes())
}

fn errno<T>(result: std::io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn the_default_bundle_is_made() {
    inside("rootfs::tests::trees::the_default_bundle_is_made", ROOT, |dir| {
        rootfs(dir, &["proc"]);
        enter(DEFAULT, dir).unwrap();
        let at = |path: &str| mounted(path).map(|(kind, options, _)| format!("{kind} {options}"));
        assert_eq!(at("/proc").unwrap(), "proc rw,relatime");
        assert_eq!(at("/dev").unwrap(), "tmpfs rw,nosuid");
        assert_eq!(at("/dev/pts").unwrap(), "devpts rw,nosuid,noexec,relatime");
        assert_eq!(at("/dev/shm").unwrap(), "tmpfs rw,nosuid,nodev,noexec,relatime");
        assert_eq!(at("/dev/mqueue").unwrap(), "mqueue rw,nosuid,nodev,noexec,relatime");
        assert_eq!(at("/sys").unwrap(), "sysfs ro,nosuid,nodev,noexec,relatime");
        assert_eq!(at("/sys/fs/cgroup").unwrap(), "tmpfs ro,nosuid,nodev,noexec,relatime");
        assert!(is_device("/dev/null", 1, 3) && is_device("/dev/urandom", 1, 9) && is_device("/dev/tty", 5, 0));
        assert_eq!(std::fs::metadata("/dev/zero").unwrap().mode() & 0o7777, 0o666);
        assert_eq!(std::fs::read_link("/dev/stdin").unwrap(), Path::new("/proc/self/fd/0"));
        assert_eq!(std::fs::read_link("/dev/ptmx").unwrap(), Path::new("pts/ptmx"));
        assert_eq!(std::fs::read_dir("/sys/firmware").unwrap().count(), 0, "masked directory");
        assert_eq!(std::fs::read("/proc/timer_list").unwrap_or_default(), b"", "masked file");
        assert_eq!(errno(write("/proc/sys/kernel/domainname", "x")), Some(libc::EROFS));
        assert_eq!(errno(write("/new", "x")), Some(libc::EROFS));
        assert_eq!(errno(std::fs::create_dir("/sys/firmware/x")), Some(libc::EROFS));
        write("/dev/shm/x", "x").unwrap();
        assert_eq!(std::env::current_dir().unwrap(), Path::new("/"));
    });
}

#[test]
fn binds_have_their_options_and_mountpoints_are_made() {
    inside("rootfs::tests::trees::binds_have_their_options_and_mountpoints_are_made", ROOT, |dir| {
        rootfs(dir, &["proc", "etc"]);
        std::fs::create_dir_all(dir.join("volume/below")).unwrap();
        write(dir.join("hosts"), "hosts").unwrap();
        std::os::unix::fs::symlink("../run/resolv", dir.join("rootfs/etc/resolv.conf")).unwrap();
        let binds = r#"
            {"destination": "/data/ro", "source": "volume", "options": ["rbind", "ro", "nosuid"]},
            {"destination": "/data/rro", "source": "volume", "options": ["rbind", "rro", "rnodev"]},
            {"destination": "/data/plain", "source": "volume", "type": "bind", "options": ["mode=755"]},
            {"destination": "/data/quiet", "source": "volume", "options": ["bind", "noatime", "noexec", "nosymfollow"]},
            {"destination": "/etc/hosts", "source": "hosts", "options": ["bind", "ro"]},
            {"destination": "/etc/resolv.conf", "source": "hosts", "options": ["bind"]},
            {"destination": "/data/plain/below", "type": "tmpfs", "source": "t", "options": ["size=4k"]}"#;
        enter(&with_mounts(binds), dir).unwrap();
        let options = |path: &str| mounted(path).unwrap().1;
        assert_eq!(options("/data/ro"), "ro,nosuid,relatime");
        assert_eq!(options("/data/rro"), "ro,nodev,relatime");
        assert_eq!(options("/data/plain"), "rw,relatime");
        assert_eq!(options("/data/quiet"), "rw,noexec,noatime,nosymfollow");
        assert_eq!(mounted("/data/plain/below").unwrap().0, "tmpfs");
        assert_eq!(std::fs::read_to_string("/etc/hosts").unwrap(), "hosts");
        assert_eq!(std::fs::read_to_string("/run/resolv").unwrap(), "hosts", "the link's end was made and covered");
        assert_eq!(errno(write("/etc/hosts", "x")), Some(libc::EROFS));
        write("/etc/resolv.conf", "changed").unwrap();
    });
}

#[test]
fn tmpfs_copies_up_takes_the_mode_and_becomes_read_only_last() {
    inside("rootfs::tests::trees::tmpfs_copies_up_takes_the_mode_and_becomes_read_only_last", ROOT, |dir| {
        let root = rootfs(dir, &["proc", "var/run", "sticky"]);
        write(root.join("var/run/x"), "former").unwrap();
        std::fs::set_permissions(root.join("sticky"), std::fs::Permissions::from_mode(0o1777)).unwrap();
        let mounts = r#"
            {"destination": "/var/run", "type": "tmpfs", "options": ["tmpcopyup"]},
            {"destination": "/sticky", "type": "tmpfs"},
            {"destination": "/ro", "type": "tmpfs", "options": ["ro"]},
            {"destination": "/ro/inner", "type": "tmpfs", "options": ["mode=700"]}"#;
        enter(&with_mounts(mounts), dir).unwrap();
        assert_eq!(std::fs::read_to_string("/var/run/x").unwrap(), "former");
        assert_eq!(std::fs::metadata("/sticky").unwrap().mode() & 0o7777, 0o1777);
        assert_eq!(errno(write("/ro/x", "x")), Some(libc::EROFS));
        write("/ro/inner/x", "x").unwrap();
    });
}

#[test]
fn devices_stand_anywhere_with_their_modes() {
    inside("rootfs::tests::trees::devices_stand_anywhere_with_their_modes", ROOT, |dir| {
        rootfs(dir, &["proc"]);
        let json = r#"{"root": {"path": "rootfs"}, "linux": {"namespaces": [{"type": "mount"}], "devices": [
            {"type": "c", "path": "/opt/x/null", "major": 1, "minor": 3, "fileMode": 384, "uid": 12, "gid": 34},
            {"type": "p", "path": "/dev/fifo", "major": 8, "minor": 666, "fileMode": 432},
            {"type": "b", "path": "/dev/block", "major": 8, "minor": 666},
            {"type": "c", "path": "/dev/null", "major": 1, "minor": 3, "fileMode": 384}]}}"#;
        enter(json, dir).unwrap();
        let facts = |path: &str| std::fs::metadata(path).unwrap();
        let null = facts("/opt/x/null");
        assert_eq!((null.mode() & 0o7777, null.uid(), null.gid()), (0o600, 12, 34));
        assert!(facts("/dev/fifo").file_type().is_fifo() && facts("/dev/fifo").mode() & 0o7777 == 0o660);
        assert!(facts("/dev/block").file_type().is_block_device() && facts("/dev/block").mode() & 0o7777 == 0o666);
        assert_eq!(facts("/dev/null").mode() & 0o7777, 0o600);
        assert!(is_device("/dev/full", 1, 7), "the other default devices are there");
    });
}

#[test]
fn another_file_at_a_devices_path_is_an_error() {
    inside("rootfs::tests::trees::another_file_at_a_devices_path_is_an_error", ROOT, |dir| {
        let root = rootfs(dir, &["dev"]);
        write(root.join("dev/x"), "").unwrap();
        let json = r#"{"root": {"path": "rootfs"}, "linux": {"namespaces": [{"type": "mount"}], "devices": [
            {"type": "c", "path": "/dev/y", "major": 1, "minor": 3}, {"type": "c", "path": "/dev/x", "major": 1, "minor": 3}]}}"#;
        assert_eq!(refused(json, dir), "linux.devices[1] (/dev/x): another file is at this path (a regular file)");
    });
}

#[test]
fn errors_name_the_place_the_call_and_the_kernels_words() {
    let test = "rootfs::tests::trees::errors_name_the_place_the_call_and_the_kernels_words";
    inside(test, ROOT, |dir| {
        rootfs(dir, &["proc"]);
        let rows = [
            (
                r#"{"destination": "/data", "source": "/no/such", "options": ["bind"]}"#,
                "mounts[1] (/data): bind source /no/such: open_tree /no/such: no such file or directory (ENOENT)",
            ),
            (
                r#"{"destination": "/data", "source": "/no/such", "options": ["bind", "ro"]}"#,
                "mounts[1] (/data): bind source /no/such: open_tree_attr /no/such: no such file or directory (ENOENT)",
            ),
            (
                r#"{"destination": "/data", "type": "tmpfs", "options": ["bogus=1"]}"#,
                "mounts[1] (/data): fsconfig tmpfs bogus (tmpfs: Unknown parameter 'bogus'): invalid argument (EINVAL)",
            ),
            (
                r#"{"destination": "/data", "type": "nosuchfs"}"#,
                "mounts[1] (/data): fsopen nosuchfs: no such device (ENODEV)",
            ),
            (
                r#"{"destination": "/data", "options": ["remount", "ro"]}"#,
                "mounts[1] (/data): openat2 data: no such file or directory (ENOENT)",
            ),
        ];
        for (mount, expected) in rows {
            assert_eq!(refused(&with_mounts(mount), dir), expected);
        }
    });
}

#[test]
fn shared_roots_share_and_the_default_does_not() {
    let test = "rootfs::tests::trees::shared_roots_share_and_the_default_does_not";
    let shared = &["--mount", "--pid", "--fork", "--propagation", "shared"];
    inside(test, shared, |dir| {
        rootfs(dir, &["proc"]);
        std::fs::create_dir_all(dir.join("volume")).unwrap();
        let json = r#"{"root": {"path": "rootfs"}, "mounts": [
            {"destination": "/proc", "type": "proc"},
            {"destination": "/shared", "source": "volume", "options": ["rbind", "rshared"]},
            {"destination": "/slave", "source": "volume", "options": ["rbind", "rslave"]},
            {"destination": "/private", "source": "volume", "options": ["rbind", "rprivate"]}],
            "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}], "rootfsPropagation": "shared"}}"#;
        enter(json, dir).unwrap();
        let propagation = |path: &str| mounted(path).unwrap().2;
        assert!(propagation("/").starts_with("shared:"), "{}", propagation("/"));
        assert!(propagation("/shared").starts_with("shared:") && !propagation("/shared").contains("master"));
        assert!(propagation("/slave").starts_with("master:"), "{}", propagation("/slave"));
        assert_eq!(propagation("/private"), "");
        assert_eq!(propagation("/proc"), "");
    });
}

#[test]
fn without_pivot_the_root_is_moved() {
    inside("rootfs::tests::trees::without_pivot_the_root_is_moved", ROOT, |dir| {
        rootfs(dir, &["proc"]);
        let (config, host, cgroups) = (config(DEFAULT), Host::read(), no_cgroups());
        let request = Request {
            config: &config,
            host: &host,
            bundle: dir,
            cgroups: &cgroups,
            no_pivot: true,
            new_user_namespace: false,
        };
        let plan = plan(&request).unwrap();
        let mut root = plan.build(plan.prepare(None).unwrap()).unwrap();
        root.pivot().unwrap();
        root.finish().unwrap();
        assert_eq!(mounted("/").unwrap().1.split(',').next(), Some("ro"));
        assert_eq!(errno(write("/new", "x")), Some(libc::EROFS));
        assert!(is_device("/dev/null", 1, 3));
    });
}

#[test]
fn without_a_mount_namespace_nothing_is_mounted_for_others() {
    let test = "rootfs::tests::trees::without_a_mount_namespace_nothing_is_mounted_for_others";
    inside(test, ROOT, |dir| {
        rootfs(dir, &["proc", "sys"]);
        let json = DEFAULT.replace(r#", {"type": "mount"}"#, "");
        let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let plan = planned(&json, dir, &Host::read(), &no_cgroups()).unwrap();
        let mut root = plan.build(plan.prepare(None).unwrap()).unwrap();
        assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
        root.pivot().unwrap();
        root.finish().unwrap();
        drop(root);
        assert!(Path::new("/proc/self/status").exists() && is_device("/dev/null", 1, 3));
        assert_eq!(std::fs::read_dir("/sys/firmware").unwrap().count(), 0);
        assert_eq!(errno(write("/new", "x")), Some(libc::EROFS));
        assert_eq!(errno(write("/proc/sys/kernel/domainname", "x")), Some(libc::EROFS));
    });
}

#[test]
fn in_a_user_namespace_devices_are_bound_and_sysfs_falls_back() {
    let test = "rootfs::tests::trees::in_a_user_namespace_devices_are_bound_and_sysfs_falls_back";
    let namespaces = &["--user", "--map-root-user", "--mount", "--pid", "--fork", "--ipc"];
    inside(test, namespaces, |dir| {
        rootfs(dir, &["proc"]);
        let json = DEFAULT.replace(r#", {"type": "network"}"#, "");
        enter(&json, dir).unwrap();
        assert!(is_device("/dev/null", 1, 3) && is_device("/dev/tty", 5, 0));
        assert_eq!(mounted("/sys").unwrap().0, "sysfs");
        assert_eq!(mounted("/dev/pts").unwrap().0, "devpts", "gid 5 has no mapping, and is left out");
        assert_eq!(mounted("/dev/null").unwrap().0, mounted("/dev/zero").unwrap().0);
        assert_eq!(std::fs::read_dir("/sys/firmware").unwrap().count(), 0);
    });
}

#[test]
fn mapped_mounts_show_the_mapped_owner() {
    inside("rootfs::tests::trees::mapped_mounts_show_the_mapped_owner", ROOT, |dir| {
        rootfs(dir, &["proc"]);
        std::fs::create_dir(dir.join("volume")).unwrap();
        write(dir.join("volume/mine"), "x").unwrap();
        let range = r#"[{"containerID": 0, "hostID": 3000, "size": 100}]"#;
        let mount = format!(
            r#"{{"destination": "/data", "source": "volume", "options": ["bind", "ro", "idmap"],
                "uidMappings": {range}, "gidMappings": {range}}}"#
        );
        match enter(&with_mounts(&mount), dir) {
            // The filesystem below the temporary directory may not know idmapped mounts.
            Err(error) if format!("{error:#}").contains("EINVAL") => println!("skipped: {error:#}"),
            result => {
                result.unwrap();
                let facts = std::fs::metadata("/data/mine").unwrap();
                assert_eq!((facts.uid(), facts.gid()), (3000, 3000));
                assert_eq!(errno(write("/data/mine", "y")), Some(libc::EROFS));
            }
        }
    });
}

#[test]
fn the_console_is_the_pty_that_was_given() {
    inside("rootfs::tests::trees::the_console_is_the_pty_that_was_given", ROOT, |dir| {
        use std::os::fd::AsFd;
        rootfs(dir, &["proc"]);
        let plan = planned(DEFAULT, dir, &Host::read(), &no_cgroups()).unwrap();
        let mut root = plan.build(plan.prepare(None).unwrap()).unwrap();
        root.pivot().unwrap();
        let ptmx = crate::sys::files::open("/dev/ptmx", rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY).unwrap();
        rustix::pty::unlockpt(&ptmx).unwrap();
        let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
        let slave = rustix::pty::ioctl_tiocgptpeer(&ptmx, flags).unwrap();
        devices::bind_console(root.as_fd(), slave.as_fd()).unwrap();
        root.finish().unwrap();
        let (console, slave) = (std::fs::metadata("/dev/console").unwrap(), rustix::fs::fstat(&slave).unwrap());
        assert_eq!((console.rdev(), console.ino()), (slave.st_rdev, slave.st_ino));
        let null = crate::sys::files::open_path("/dev/null").unwrap();
        let error = devices::bind_console(root.as_fd(), null.as_fd()).unwrap_err();
        assert_eq!(format!("{error:#}"), "the console is no pty of devpts");
    });
}

#[test]
fn cgroups_of_version_1_are_shown_as_on_the_host() {
    inside("rootfs::tests::trees::cgroups_of_version_1_are_shown_as_on_the_host", ROOT, |dir| {
        if Host::read().cgroup == CgroupMode::V2 {
            println!("skipped: cgroup v2 host");
            return;
        }
        rootfs(dir, &["proc"]);
        let hierarchy = |name: &str, mount: &str| Hierarchy {
            name: name.to_owned(),
            mount: Path::new("/sys/fs/cgroup").join(mount),
            directory: Path::new("/sys/fs/cgroup").join(mount),
        };
        for private_namespace in [false, true] {
            let hierarchies =
                vec![hierarchy("memory", "memory"), hierarchy("name=systemd", "systemd"), hierarchy("", "unified")];
            let hierarchies = hierarchies.into_iter().filter(|hierarchy| hierarchy.mount.exists()).collect();
            let cgroups = CgroupView { mode: CgroupMode::Hybrid, hierarchies, private_namespace };
            let plan = planned(DEFAULT, dir, &Host::read(), &cgroups).unwrap();
            let root = plan.build(plan.prepare(None).unwrap()).unwrap();
            let at = |path: &str| dir.join("rootfs/sys/fs/cgroup").join(path);
            assert!(at("memory/memory.limit_in_bytes").exists() || at("memory/tasks").exists());
            assert_eq!(errno(std::fs::create_dir(at("memory/x"))), Some(libc::EROFS), "private: {private_namespace}");
            assert_eq!(errno(std::fs::create_dir(at("x"))), Some(libc::EROFS));
            drop(root);
        }
        let gone = vec![
            Hierarchy {
                name: "memory".to_owned(),
                mount: "/sys/fs/cgroup/memory".into(),
                directory: "/no/such".into(),
            },
            hierarchy("pids", "pids"),
        ];
        let cgroups = CgroupView { mode: CgroupMode::V1, hierarchies: gone, private_namespace: false };
        let error = planned(DEFAULT, dir, &Host::read(), &cgroups).unwrap().build(Prepared::default()).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "mounts[6] (/sys/fs/cgroup): open_tree_attr /no/such: no such file or directory (ENOENT)"
        );
        crate::sys::mount::detach(dir.join("rootfs").to_str().unwrap()).unwrap();
        let rootless = Host { euid: 1000, ..Host::read() };
        planned(DEFAULT, dir, &rootless, &cgroups).unwrap().build(Prepared::default()).unwrap();
        let shown =
            std::fs::read_dir(dir.join("rootfs/sys/fs/cgroup")).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(shown.collect::<Vec<_>>(), ["pids"], "without privileges there may be no cgroup");
    });
}

#[test]
fn cgroup2_is_mounted_in_a_cgroup_namespace_and_bound_without() {
    let test = "rootfs::tests::trees::cgroup2_is_mounted_in_a_cgroup_namespace_and_bound_without";
    inside(test, ROOT, |dir| {
        let unified = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(PathBuf::from);
        let Some(mount) = unified.into_iter().find(|path| path.join("cgroup.procs").exists()) else {
            println!("skipped: no cgroup2");
            return;
        };
        rootfs(dir, &["proc"]);
        for private_namespace in [true, false] {
            let hierarchy = Hierarchy { name: String::new(), mount: mount.clone(), directory: mount.clone() };
            let cgroups = CgroupView { mode: CgroupMode::V2, hierarchies: vec![hierarchy], private_namespace };
            let plan = planned(DEFAULT, dir, &Host::read(), &cgroups).unwrap();
            let _root = plan.build(plan.prepare(None).unwrap()).unwrap();
            let at = dir.join("rootfs/sys/fs/cgroup");
            let (kind, options, _) = mounted(at.to_str().unwrap()).unwrap();
            assert_eq!((kind.as_str(), options.as_str()), ("cgroup2", "ro,nosuid,nodev,noexec,relatime"));
            crate::sys::mount::detach(dir.join("rootfs").to_str().unwrap()).unwrap();
        }
    });
}

#[test]
fn links_as_source_and_destination_are_followed_unless_told_otherwise() {
    let test = "rootfs::tests::trees::links_as_source_and_destination_are_followed_unless_told_otherwise";
    inside(test, ROOT, |dir| {
        use std::os::unix::fs::symlink;
        let root = rootfs(dir, &["proc", "real"]);
        write(dir.join("file"), "content").unwrap();
        symlink("file", dir.join("link")).unwrap();
        symlink("real/end", root.join("followed")).unwrap();
        symlink("real/never", root.join("covered")).unwrap();
        let binds = r#"
            {"destination": "/copied", "source": "link", "options": ["bind", "copy-symlink"]},
            {"destination": "/followed", "source": "link", "options": ["bind"]},
            {"destination": "/covered", "source": "file", "options": ["bind", "dest-nofollow"]}"#;
        enter(&with_mounts(binds), dir).unwrap();
        assert_eq!(std::fs::read_link("/copied").unwrap(), Path::new("file"));
        assert_eq!(std::fs::read_to_string("/real/end").unwrap(), "content");
        assert_eq!(std::fs::read_to_string("/covered").unwrap(), "content");
        assert!(!Path::new("/real/never").exists());
    });
}

#[test]
fn a_mount_that_is_there_can_be_changed() {
    inside("rootfs::tests::trees::a_mount_that_is_there_can_be_changed", ROOT, |dir| {
        rootfs(dir, &["proc"]);
        let mounts = r#"
            {"destination": "/a", "type": "tmpfs", "options": ["size=64k"]},
            {"destination": "/a", "options": ["remount", "ro", "nosuid", "size=128k"]}"#;
        enter(&with_mounts(mounts), dir).unwrap();
        assert_eq!(mounted("/a").unwrap().1, "ro,nosuid,relatime");
        assert!(std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains("size=128k"));
    });
}

/// The parent opens what the container's user may not reach, before the user namespace exists.
#[test]
fn a_new_user_namespace_gets_sources_that_it_could_not_open() {
    inside("rootfs::tests::trees::a_new_user_namespace_gets_sources_that_it_could_not_open", ROOT, |dir| {
        use crate::sys::clone::{Cloned, clone3};
        use crate::sys::{files, pidfd};
        rootfs(dir, &["proc"]);
        std::fs::create_dir_all(dir.join("secret/volume")).unwrap();
        write(dir.join("secret/volume/x"), "secret").unwrap();
        std::fs::set_permissions(dir.join("secret"), std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).unwrap();
        for path in ["rootfs", "rootfs/proc", "secret/volume"] {
            std::os::unix::fs::chown(dir.join(path), Some(100_000), Some(100_000)).unwrap();
        }
        let mounts = r#"{"destination": "/data", "source": "secret/volume", "options": ["rbind", "ro"]},
            {"destination": "/dev", "type": "tmpfs", "options": ["mode=755"]}"#;
        let range = r#"[{"containerID": 0, "hostID": 100000, "size": 1000}]"#;
        let json = with_mounts(mounts)
            .replace(r#"{"type": "mount"}"#, r#"{"type": "mount"}, {"type": "user"}"#)
            .replace(r#""linux": {"#, &format!(r#""linux": {{"uidMappings": {range}, "gidMappings": {range}, "#));
        let plan = planned(&json, dir, &Host::read(), &no_cgroups()).unwrap();
        let prepared = plan.prepare(None).unwrap();
        let (ready, told) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
        let flags =
            libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWIPC;
        let child = match clone3(flags as u64, None).unwrap() {
            Cloned::Parent(child) => child,
            Cloned::Child => {
                use std::io::{Read, Write};
                let mut byte = [0u8];
                (&ready.0).read_exact(&mut byte).unwrap();
                crate::sys::credentials::set_gid(0).unwrap();
                crate::sys::credentials::set_uid(0).unwrap();
                let entered = || -> anyhow::Result<String> {
                    let mut root = plan.build(prepared)?;
                    root.pivot()?;
                    root.finish()?;
                    let read_only = errno(write("/data/x", "y")) == Some(libc::EROFS);
                    let null = is_device("/dev/null", 1, 3);
                    Ok(format!("{} {read_only} {null}", std::fs::read_to_string("/data/x")?))
                };
                let text = entered().unwrap_or_else(|error| format!("{error:#}"));
                (&told.1).write_all(text.as_bytes()).unwrap();
                drop(told);
                loop {
                    rustix::event::pause();
                }
            }
        };
        for file in ["uid_map", "gid_map"] {
            files::write_value_at(rustix::fs::CWD, format!("/proc/{}/{file}", child.pid), "0 100000 1000").unwrap();
        }
        use std::io::{Read, Write};
        (&ready.1).write_all(b"x").unwrap();
        drop(told.1);
        let mut text = String::new();
        (&told.0).read_to_string(&mut text).unwrap();
        pidfd::send_signal(&child.pidfd, libc::SIGKILL).unwrap();
        pidfd::reap(&child.pidfd).unwrap();
        assert_eq!(text, "secret true true");
    });
}
