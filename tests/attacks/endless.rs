//! What never ends or is far too large: nobody may hang on it, and `delete --force` must always work.

use crate::common::*;
use crate::inside::apart;
use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn a_root_on_a_file_system_that_never_answers_can_be_deleted() {
    need!(host::is_root() && host::has("unshare"), "needs root and unshare");
    need!(fs::exists("/dev/fuse").unwrap(), "needs /dev/fuse");
    only_ocicat!("peers leave their cgroups");
    if apart("endless::a_root_on_a_file_system_that_never_answers_can_be_deleted", &["--mount"]) {
        let container = Container::new();
        let point = container.dir.join("silent");
        fs::create_dir(&point).unwrap();
        let server = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").unwrap();
        let data = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
        let data = std::ffi::CString::new(data).unwrap();
        rustix::mount::mount("silent", &point, "fuse", rustix::mount::MountFlags::empty(), Some(&*data)).unwrap();
        let container = container.set("/root/path", json!(point));
        container.write();
        let mut create = container.command(&["create", &container.id]);
        let mut create = create.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // It has begun when its cgroup is there; after that it waits for the file system.
        while host::cgroup_dirs(&container.cgroup).is_empty() {
            assert!(!outcome::ends_within(&create, Duration::ZERO), "ended too early");
        }
        finish_within(container.command(&["delete", "--force", &container.id]), Duration::from_secs(30)).ok();
        assert_ne!(outcome::code_of(&mut create), 0);
        rustix::mount::unmount(&point, rustix::mount::UnmountFlags::DETACH).unwrap();
        assert_eq!(container.leftovers(), Vec::<String>::new());
        drop(server);
    }
}

fn with_mounts(count: usize) -> Container {
    Container::new().mount("/data", "tmpfs", "none", &[]).edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.extend(
            (0..count).map(|n| json!({"destination": format!("/data/{n}"), "type": "tmpfs", "source": "none"})),
        );
    })
}

#[test]
fn a_hundred_thousand_mounts_can_be_deleted_while_they_are_made() {
    only_ocicat!("peers leave their cgroups");
    with_mounts(2000).shell("wc -l < /proc/self/mountinfo").run().ok();
    let container = with_mounts(100_000);
    container.write();
    let mut create = container.command(&["create", &container.id]);
    let mut create = create.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while host::cgroup_dirs(&container.cgroup).is_empty() {
        assert!(!outcome::ends_within(&create, Duration::ZERO), "ended too early");
    }
    finish_within(container.command(&["delete", "--force", &container.id]), Duration::from_secs(60)).ok();
    // Killed, or done before (the kernel has a limit of its own, fs.mount-max).
    outcome::code_of(&mut create);
    assert_eq!(container.leftovers(), Vec::<String>::new());
}

#[test]
fn a_configuration_of_a_hundred_megabytes_is_refused() {
    only_ocicat!("peers read it");
    let container = Container::new();
    let mut file = fs::File::create(container.dir.join("config.json")).unwrap();
    file.write_all(b"{\"annotations\": {\"x\": \"").unwrap();
    file.write_all(&vec![b'x'; 100 << 20]).unwrap();
    file.write_all(b"\"}}").unwrap();
    container.call(&["create", &container.id]).fails("config.json: larger than 64 mib");
    let deep = format!("{{\"x\": {}", "[".repeat(10 << 20));
    fs::write(container.dir.join("config.json"), deep).unwrap();
    container.call(&["create", &container.id]).fails("config.json: x");
}

#[test]
fn a_full_pipe_of_the_container_holds_up_no_other_call() {
    let container = Container::new().shell("yes >&2");
    container.write();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut run = container.command(&["run", "--detach", &container.id]);
    run.stdout(Stdio::from(writer.try_clone().unwrap())).stderr(Stdio::from(writer));
    assert!(run.status().unwrap().success());
    drop(run);
    for words in [
        &["exec", &container.id, "true"][..],
        &["pause", &container.id],
        &["resume", &container.id],
        &["state", &container.id],
        &["delete", "--force", &container.id],
    ] {
        finish_within(container.command(words), Duration::from_secs(30)).ok();
    }
    drop(reader);
}

#[test]
fn a_hook_is_a_program_of_the_host_and_never_one_of_the_container() {
    let marker = "#!/bin/sh\necho here > /data/ran\n";
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let container = Container::new().file("/evil", marker, 0o755).set("/root/readonly", json!(false));
        let hook = json!([{"path": "/evil"}]);
        let container = container.set(&format!("/hooks/{kind}"), hook);
        assert_ne!(container.create().code, 0, "{kind}");
        assert!(!container.rootfs().join("data/ran").exists(), "{kind}");
    }
}

#[test]
fn an_exec_into_a_container_that_ends_at_that_moment_ends_too() {
    let until = Instant::now() + Duration::from_secs(10);
    let (mut done, mut late) = (0, 0);
    let mut round = 0_u64;
    while Instant::now() < until {
        let container = Container::new().sleeping();
        let pid = rustix::process::Pid::from_raw(container.pid().cast_signed()).unwrap();
        let mut exec = container.command(&["exec", &container.id, "cat", "/proc/self/cgroup"]);
        let (output, mut said) = (outcome::scratch(), outcome::scratch());
        exec.stdout(Stdio::from(output.try_clone().unwrap())).stderr(Stdio::from(said.try_clone().unwrap()));
        let mut exec = exec.spawn().unwrap();
        // The end comes at another moment of the exec each time.
        for _ in 0..round % 40 {
            assert!(fs::read("/proc/self/stat").is_ok());
            let _ = outcome::readable_within(&output, Duration::ZERO);
        }
        outcome::ends_within(&exec, Duration::from_micros(round * 300 % 12_000));
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        match outcome::code_of(&mut exec) {
            0 => done += 1,
            code => {
                late += 1;
                // Its program ran and was killed, or it is told why none did.
                let said = outcome::content(&mut said);
                assert!(code == 128 + 9 || said.contains("container not running"), "{code} {said}");
            }
        }
        container::wait_pid(pid.as_raw_nonzero().get().cast_unsigned());
        let seen = outcome::content(&mut output.try_clone().unwrap());
        // Whatever ran, ran in the container's cgroup.
        assert!(seen.lines().all(|line| line.contains(&container.cgroup) || line.ends_with(":/")), "{seen}");
        finish_within(container.command(&["delete", "--force", &container.id]), Duration::from_secs(30)).ok();
        round += 1;
    }
    assert!(done + late > 0);
}
