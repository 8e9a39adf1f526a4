//! What a hostile image, a hostile program or a careless caller must not achieve. Every target of an attack is a decoy
//! that the test made. Peers are not asked: old ones fall for some of these.

use crate::common::*;
use std::fs;
use std::os::unix::fs::symlink;

/// A directory of the host, outside of the bundle's root, that nobody may write to.
fn decoy(container: &Container) -> std::path::PathBuf {
    let dir = container.dir.join("decoy");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), "untouched\n").unwrap();
    dir
}

#[track_caller]
fn untouched(dir: &std::path::Path) {
    let names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file"]);
    assert_eq!(fs::read_to_string(dir.join("file")).unwrap(), "untouched\n");
}

#[test]
fn the_inheritable_and_ambient_sets_are_empty_in_run_and_exec() {
    let container = Container::new().args(&["sleep", "1000"]).detached();
    let first = fs::read_to_string(format!("/proc/{}/status", container.pid())).unwrap();
    assert!(first.contains("CapInh:\t0000000000000000") && first.contains("CapAmb:\t0000000000000000"), "{first}");
    let seen = container.exec_with(&["--cap", "CAP_SYS_ADMIN"], &["cat", "/proc/self/status"]).ok();
    assert_eq!(seen.field("CapInh"), "0".repeat(16));
}

#[test]
fn a_working_directory_through_a_leaked_descriptor_is_refused() {
    only_ocicat!("old peers fall for CVE-2024-21626");
    for number in 3..12 {
        for prefix in ["/proc/self/fd", "/proc/1/fd", "/dev/fd"] {
            let container = Container::new().set("/process/cwd", json!(format!("{prefix}/{number}"))).args(&["pwd"]);
            container.write();
            let outcome = finish(through_shell(&container.command(&["run", &container.id]), "7</"));
            assert!(outcome.code != 0, "{prefix}/{number}: {outcome}");
        }
    }
}

#[test]
fn an_exec_with_a_working_directory_through_a_descriptor_is_refused() {
    only_ocicat!("old peers fall for CVE-2024-21626");
    let container = Container::new().sleeping();
    for number in 3..12 {
        let words = ["exec", "--cwd", &format!("/proc/self/fd/{number}"), &container.id, "pwd"];
        let outcome = finish(through_shell(&container.command(&words), "7</"));
        assert!(outcome.code != 0, "{number}: {outcome}");
    }
}

#[test]
fn a_link_of_the_image_to_a_descriptor_is_no_way_out() {
    only_ocicat!("old peers fall for CVE-2024-21626");
    for number in 3..12 {
        let container = Container::new().set("/process/cwd", json!("/data/link")).args(&["pwd"]);
        symlink(format!("/proc/self/fd/{number}"), container.rootfs().join("data/link")).unwrap();
        container.write();
        let outcome = finish(through_shell(&container.command(&["run", &container.id]), "7</"));
        assert!(outcome.code != 0, "{number}: {outcome}");
    }
}

#[test]
fn the_program_of_the_runtime_cannot_be_reached_from_inside() {
    only_ocicat!("CVE-2019-5736");
    let binary = runtime();
    let before = fs::read(&binary).unwrap();
    // An entry point that is /proc/self/exe, and an interpreter line that names it: whatever that runs, it is not us. The
    // second may run itself for ever, in its own cgroup and at its own cost.
    let container = Container::new().args(&["/proc/self/exe"]);
    let outcome = container.run();
    assert!(
        !outcome.out.contains("version") && !outcome.err.contains("usage"),
        "the runtime itself ran inside: {outcome}"
    );
    let container = Container::new().file("/data/script", "#!/proc/self/exe\n", 0o755).args(&["/data/script"]);
    container.write();
    container.detach(&["run", "--detach", &container.id]);
    container.call(&["delete", "--force", &container.id]).ok();
    assert!(!container.output().contains("version") && !container.error_output().contains("usage"));
    assert!(fs::read(&binary).unwrap() == before);
}

#[test]
fn what_init_executes_before_the_program_is_not_the_hosts_file() {
    only_ocicat!("CVE-2019-5736");
    let container = Container::new();
    container.create().ok();
    let exe = fs::read_link(format!("/proc/{}/exe", container.pid())).unwrap();
    container.start().ok();
    let status = format!("/proc/{}/exe", container.pid());
    let _ = (exe, status);
    // Seen from inside while waiting: nobody but us may look, as init is not dumpable.
    let container = Container::new();
    container.create().ok();
    let outcome = container.exec(&["ls", "-l", "/proc/1/exe"]);
    assert!(!outcome.out.contains(runtime().to_str().unwrap()), "{outcome}");
}

#[test]
fn a_process_that_waits_to_become_the_program_cannot_be_traced_or_read() {
    only_ocicat!("each has its own way");
    let container = Container::new().capabilities(&["CAP_SYS_PTRACE"]);
    container.create().ok();
    let outcome = container.exec(&["sh", "-c", "ls /proc/1/fd; cat /proc/1/environ; readlink /proc/1/cwd"]);
    let host = container.dir.to_str().unwrap();
    assert!(!outcome.out.contains(host) && !outcome.out.contains("/run"), "{outcome}");
}

#[test]
fn masked_paths_are_empty_and_read_only_paths_cannot_be_written() {
    let container = Container::new().edit(|config| {
        config["linux"]["maskedPaths"] = json!(["/data/file", "/data/dir", "/proc/kcore", "/no/such/path"]);
        config["linux"]["readonlyPaths"] = json!(["/data/ro", "/proc/sys", "/no/such/path"]);
        config["root"]["readonly"] = json!(false);
    });
    let container = container.file("/data/file", "secret\n", 0o644).file("/data/dir/secret", "secret\n", 0o644).file(
        "/data/ro/file",
        "text\n",
        0o644,
    );
    let line = "cat /data/file | wc -c; ls /data/dir | wc -l; (echo > /data/file) 2>/dev/null; (echo > /data/dir/x) 2>/dev/null; (echo > /data/ro/file) 2>/dev/null; cat /data/ro/file; \
        (echo 1 > /proc/sys/kernel/domainname) 2>/dev/null || echo refused";
    let container = container.shell(line);
    container.run().says("0\n0\ntext\nrefused");
    assert_eq!(fs::read_to_string(container.rootfs().join("data/file")).unwrap(), "secret\n");
    assert_eq!(fs::read_dir(container.rootfs().join("data/dir")).unwrap().count(), 1);
}

#[test]
fn relative_masked_and_read_only_paths_are_refused() {
    only_ocicat!("runc and crun accept them against the spec");
    Container::new().set("/linux/maskedPaths", json!(["proc/kcore"])).run().fails("linux.maskedPaths[0]");
    Container::new().set("/linux/readonlyPaths", json!(["proc/sys"])).run().fails("linux.readonlyPaths[0]");
}

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
fn a_console_that_is_a_link_is_no_way_to_the_host() {
    only_ocicat!("CVE-2025-52565");
    let container = Container::new().set("/process/terminal", json!(true)).edit(|config| {
        config["mounts"].as_array_mut().unwrap().retain(|mount| {
            !mount["destination"].as_str().unwrap().starts_with("/dev") || mount["destination"] == "/dev/pts"
        });
        config["root"]["readonly"] = json!(false);
    });
    let dir = decoy(&container);
    fs::create_dir_all(container.rootfs().join("dev/pts")).unwrap();
    symlink(dir.join("file"), container.rootfs().join("dev/console")).unwrap();
    let socket = socket::Receiver::new(&container.dir.join("console"));
    container.write();
    container.detach(&["run", "--detach", "--console-socket", socket.path(), &container.id]);
    untouched(&dir);
}

#[test]
fn long_fields_are_refused_or_passed_whole() {
    only_ocicat!("CVE-2021-43784");
    let long = "x".repeat(100_000);
    let container =
        Container::new().set("/process/env", json!(["PATH=/bin", format!("LONG={long}")])).shell("echo ${#LONG}");
    container.run().says("100000");
    let outcome = Container::new().mount("/data", "bind", format!("/{long}"), &["bind"]).run();
    assert!(
        outcome.code != 0 && outcome.err.contains("file name too long"),
        "{}",
        &outcome.err[..outcome.err.len().min(300)]
    );
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

#[test]
fn a_state_directory_planted_by_somebody_is_not_followed() {
    only_ocicat!("each has its own state");
    let container = Container::new().sleeping();
    let dir = decoy(&container);
    symlink(&dir, container.root().join("planted")).unwrap();
    let _ = container.call(&["delete", "--force", "planted"]);
    untouched(&dir);
    let _ = fs::remove_file(container.root().join("planted"));
}

#[test]
fn an_id_of_dots_and_slashes_reaches_no_other_directory() {
    let container = Container::new().sleeping();
    let dir = decoy(&container);
    for id in ["../decoy", "..", "x/../../decoy", "/"] {
        let outcome = container.call(&["delete", "--force", id]);
        assert!(outcome.code != 0 || dir.join("file").exists(), "{id}: {outcome}");
    }
    untouched(&dir);
    assert_eq!(container.status(), "running");
}
