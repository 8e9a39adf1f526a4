//! Images and volumes that try to lead the runtime astray; what they aim at is a decoy that the test made.

use super::*;
use std::os::unix::fs::symlink;

const NAME: &str = "rootfs::tests::attacks::";

/// A directory outside the root that nothing may touch.
fn decoy(dir: &Path) -> PathBuf {
    let decoy = dir.join("decoy");
    std::fs::create_dir_all(decoy.join("sub")).unwrap();
    decoy
}

fn untouched(decoy: &Path) {
    let mut names: Vec<_> = std::fs::read_dir(decoy).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["sub"], "something was made in the decoy");
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains(decoy.to_str().unwrap()), "something was mounted on the decoy");
}

/// CVE-2026-41579, CVE-2026-47766: an image whose /dev leads to a directory of the host, without a mount on /dev.
#[test]
fn a_dev_that_is_a_link_ends_inside() {
    inside(&format!("{NAME}a_dev_that_is_a_link_ends_inside"), ROOT, |dir| {
        let (root, decoy) = (rootfs(dir, &["proc"]), decoy(dir));
        symlink(&decoy, root.join("dev")).unwrap();
        let json = r#"{"root": {"path": "rootfs"}, "linux": {"namespaces": [{"type": "mount"}]}}"#;
        let plan = planned(json, dir, &Host::read(), &no_cgroups()).unwrap();
        plan.build(plan.prepare(None).unwrap()).unwrap();
        untouched(&decoy);
        assert!(root.join(decoy.strip_prefix("/").unwrap()).join("null").exists(), "made inside the root");
    });
}

/// CVE-2019-19921, CVE-2025-54867, CVE-2015-1335: /proc or /sys of the image is a link.
#[test]
fn proc_and_sys_must_be_ordinary_directories() {
    inside(&format!("{NAME}proc_and_sys_must_be_ordinary_directories"), ROOT, |dir| {
        let (root, decoy) = (rootfs(dir, &["real"]), decoy(dir));
        symlink(&decoy, root.join("proc")).unwrap();
        let expected = "must be mounted on an ordinary directory, not through a symbolic link: openat2 proc: too many levels of symbolic links (ELOOP)";
        assert_eq!(refused(DEFAULT, dir), format!("mounts[0] (/proc): {expected}"));
        untouched(&decoy);
        std::fs::remove_file(root.join("proc")).unwrap();
        symlink("real", root.join("sys")).unwrap();
        let error = refused(DEFAULT, dir);
        assert!(error.starts_with("mounts[5] (/sys): must be mounted on an ordinary directory"), "{error}");
        let deep = with_mounts(r#"{"destination": "/sys/deep", "type": "proc"}"#);
        let error = refused(&deep, dir);
        assert!(error.starts_with("mounts[1] (/sys/deep): must be mounted on an ordinary directory"), "{error}");
    });
}

/// CVE-2021-30465 and its kin: targets of mounts that lead out, into /proc, or over the root.
#[test]
fn targets_that_lead_astray_end_inside_or_are_refused() {
    inside(&format!("{NAME}targets_that_lead_astray_end_inside_or_are_refused"), ROOT, |dir| {
        let (root, decoy) = (rootfs(dir, &["proc", "a"]), decoy(dir));
        symlink(&decoy, root.join("out")).unwrap();
        symlink("../../../../../..", root.join("up")).unwrap();
        symlink("/proc/1/attr", root.join("fake")).unwrap();
        symlink("/proc/self/cwd", root.join("magic")).unwrap();
        let tmpfs = |path: &str| with_mounts(&format!(r#"{{"destination": "{path}", "type": "tmpfs"}}"#));
        assert_eq!(refused(&tmpfs("/up"), dir), "mounts[1] (/up): symbolic links lead from here to the root itself");
        assert_eq!(
            refused(&tmpfs("/fake"), dir),
            "mounts[1] (/fake): symbolic links lead from here into /proc, where a mount is not allowed"
        );
        let error = refused(&tmpfs("/magic/x"), dir);
        assert!(error.contains("ELOOP") || error.contains("/proc"), "{error}");
        untouched(&decoy);
        let binds = r#"{"destination": "/out/sub", "type": "tmpfs"}, {"destination": "/out/file", "source": "decoy/sub", "options": ["bind"]}"#;
        let plan = planned(&with_mounts(binds), dir, &Host::read(), &no_cgroups()).unwrap();
        plan.build(plan.prepare(None).unwrap()).unwrap();
        untouched_names(&decoy);
    });
}

fn untouched_names(decoy: &Path) {
    assert_eq!(std::fs::read_dir(decoy).unwrap().count(), 1);
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let there = |line: &&str| line.split(' ').nth(4).is_some_and(|at| Path::new(at).starts_with(decoy));
    assert_eq!(table.lines().filter(there).count(), 0, "something was mounted on the decoy");
}

/// CVE-2019-16884: a volume on /proc, whose attr/exec would swallow the label.
#[test]
fn a_volume_on_proc_is_refused() {
    inside(&format!("{NAME}a_volume_on_proc_is_refused"), ROOT, |dir| {
        rootfs(dir, &["proc"]);
        std::fs::create_dir(dir.join("volume")).unwrap();
        let volume = with_mounts(r#"{"destination": "/proc", "source": "volume", "options": ["bind"]}"#);
        assert_eq!(refused(&volume, dir), "mounts[1] (/proc): only procfs may be mounted on /proc");
    });
}

/// CVE-2025-31133, CVE-2025-62161: what masks must be the null device.
#[test]
fn a_false_dev_null_masks_nothing() {
    inside(&format!("{NAME}a_false_dev_null_masks_nothing"), ROOT, |dir| {
        let (root, decoy) = (rootfs(dir, &["proc", "volume"]), decoy(dir));
        let json = |dev: &str| {
            format!(
                r#"{{"root": {{"path": "rootfs"}}, "mounts": [{{"destination": "/proc", "type": "proc"}}, {dev}],
                    "linux": {{"namespaces": [{{"type": "mount"}}, {{"type": "pid"}}], "maskedPaths": ["/proc/version"]}}}}"#
            )
        };
        symlink(decoy.join("sub"), root.join("volume/null")).unwrap();
        let bound = json(r#"{"destination": "/dev", "source": "rootfs/volume", "options": ["bind"]}"#);
        let error = refused(&bound, dir);
        assert!(error.starts_with("linux.maskedPaths (/proc/version): container's /dev/null is invalid"), "{error}");
    });
}

/// CVE-2025-31133 without a mount on /dev: the image's own /dev/null is a link.
#[test]
fn an_image_whose_dev_null_is_a_link_is_refused() {
    inside(&format!("{NAME}an_image_whose_dev_null_is_a_link_is_refused"), ROOT, |dir| {
        let (root, decoy) = (rootfs(dir, &["dev"]), decoy(dir));
        symlink(decoy.join("sub"), root.join("dev/null")).unwrap();
        let json = r#"{"root": {"path": "rootfs"}, "linux": {"namespaces": [{"type": "mount"}]}}"#;
        assert_eq!(refused(json, dir), "default device /dev/null: another file is at this path (a symbolic link)");
        untouched(&decoy);
    });
}

/// CVE-2025-52565: the place of the console is a link.
#[test]
fn a_console_that_is_a_link_is_refused() {
    inside(&format!("{NAME}a_console_that_is_a_link_is_refused"), ROOT, |dir| {
        use std::os::fd::AsFd;
        let (root, decoy) = (rootfs(dir, &["dev"]), decoy(dir));
        symlink(decoy.join("sub"), root.join("dev/console")).unwrap();
        let json = r#"{"root": {"path": "rootfs"}, "linux": {"namespaces": [{"type": "mount"}]}}"#;
        let plan = planned(json, dir, &Host::read(), &no_cgroups()).unwrap();
        let made = plan.build(plan.prepare(None).unwrap()).unwrap();
        let ptmx = crate::sys::files::open("/dev/ptmx", rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY).unwrap();
        rustix::pty::unlockpt(&ptmx).unwrap();
        let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
        let slave = rustix::pty::ioctl_tiocgptpeer(&ptmx, flags).unwrap();
        let error = devices::bind_console(made.as_fd(), slave.as_fd()).unwrap_err();
        assert_eq!(format!("{error:#}"), "/dev/console: another file is at this path (a symbolic link)");
        untouched(&decoy);
    });
}

/// CVE-2021-30465, CVE-2023-27561: a mountpoint is swapped with a link while it is used.
#[test]
fn a_mountpoint_swapped_with_a_link_never_leads_out() {
    inside(&format!("{NAME}a_mountpoint_swapped_with_a_link_never_leads_out"), ROOT, |dir| {
        let (root, decoy) = (rootfs(dir, &["proc", "volume/swap"]), decoy(dir));
        symlink(&decoy, root.join("volume/swap.link")).unwrap();
        let swapper = Swapper::start(&root.join("volume"), c"swap", c"swap.link");
        let mounts =
            r#"{"destination": "/volume/swap/sub", "type": "tmpfs"}, {"destination": "/volume/swap", "type": "sysfs"}"#;
        let plan = planned(&with_mounts(mounts), dir, &Host::read(), &no_cgroups()).unwrap();
        for _ in 0..150 {
            // It may fail while the name is away; it must not touch the decoy.
            if plan.build(plan.prepare(None).unwrap()).is_ok() {
                crate::sys::mount::detach(root.to_str().unwrap()).unwrap();
            }
        }
        drop(swapper);
        untouched_names(&decoy);
    });
}

/// CVE-2019-19921, CVE-2023-28642: /proc itself is swapped with a link while procfs is mounted.
#[test]
fn a_proc_swapped_with_a_link_never_gets_procfs_elsewhere() {
    inside(&format!("{NAME}a_proc_swapped_with_a_link_never_gets_procfs_elsewhere"), ROOT, |dir| {
        let (root, decoy) = (rootfs(dir, &["proc"]), decoy(dir));
        symlink(&decoy, root.join("proc.link")).unwrap();
        let swapper = Swapper::start(&root, c"proc", c"proc.link");
        let plan =
            planned(&with_mounts(r#"{"destination": "/tmp", "type": "tmpfs"}"#), dir, &Host::read(), &no_cgroups())
                .unwrap();
        let (mut made, mut refused) = (0, 0);
        for _ in 0..150 {
            match plan.build(plan.prepare(None).unwrap()) {
                Ok(_) => made += 1,
                Err(_) => refused += 1,
            }
            // Attached even where a later step failed.
            let _ = crate::sys::mount::detach(root.to_str().unwrap());
            assert!(!decoy.join("self").exists());
        }
        drop(swapper);
        untouched_names(&decoy);
        assert!(made > 0 && refused > 0, "no race: {made} made, {refused} refused");
    });
}
