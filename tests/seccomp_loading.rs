//! Filters loaded for real, each in a forked child: the kernel's answer is the profile's.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic, and its paths are its own"
)]
#![cfg(target_arch = "x86_64")]
#![allow(unsafe_code, reason = "fork, and system calls that no library makes")]

use ocicat::config::Seccomp;
use ocicat::host::Host;
use ocicat::seccomp::{Plan, notify, plan};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

fn planned(json: &str) -> Plan {
    plan(&serde_json::from_str::<Seccomp>(json).unwrap(), &Host::modern()).unwrap()
}

/// Runs `child` in a fork; gives its exit code, or its signal as a negative number.
fn forked(child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child makes system calls and allocates nothing that another thread could hold locked, then leaves.
    match unsafe { libc::fork() } {
        0 => {
            let code = child();
            // SAFETY: leaves at once.
            unsafe { libc::_exit(code) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: `status` outlives the call, and the child is ours.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
            if libc::WIFSIGNALED(status) { -libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) }
        }
    }
}

/// Loads the filter and makes one system call; gives its errno, 0 for success.
fn errno_after(plan: &Plan, number: i64, argument: u64) -> i32 {
    forked(|| {
        // SAFETY: numbers only.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        if plan.load().is_err() {
            return 200;
        }
        // SAFETY: the calls in these tests take numbers only.
        let returned = unsafe { libc::syscall(number, argument, 0, 0) };
        if returned >= 0 { 0 } else { std::io::Error::last_os_error().raw_os_error().unwrap_or(201) }
    })
}

/// getpid(2) by the 32-bit entry.
fn getpid_of_32_bits() -> i32 {
    let returned: i32;
    // SAFETY: getpid takes no arguments; the old entry changes nothing but eax (and r8 to r11 on some kernels).
    unsafe {
        std::arch::asm!("int 0x80", inlateout("eax") 20 => returned, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    returned
}

#[test]
fn the_kernel_answers_as_the_profile_says() {
    let plan = planned(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":5,"syscalls":[
            {"names":["exit","exit_group","sched_yield","getppid","prctl","futex","gettid","rt_sigprocmask"],"action":"SCMP_ACT_ALLOW"},
            {"names":["getpriority"],"action":"SCMP_ACT_ERRNO","errnoRet":77},
            {"names":["getuid"],"action":"SCMP_ACT_KILL_PROCESS"},
            {"names":["getpgid"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":0,"op":"SCMP_CMP_EQ"}]},
            {"names":["getpgid"],"action":"SCMP_ACT_ERRNO","errnoRet":9,"args":[{"index":0,"value":7,"op":"SCMP_CMP_MASKED_EQ","valueTwo":4}]}]}"#,
    );
    let cases = [
        (libc::SYS_getppid, 0, 0),
        (libc::SYS_getpriority, 0, 77),
        (libc::SYS_getgid, 0, 5),
        (libc::SYS_getuid, 0, -libc::SIGSYS),
        (libc::SYS_getpgid, 0, 0),
        (libc::SYS_getpgid, 1, 5),
        (libc::SYS_getpgid, 0xff_0000_0004, 9),
        (4000, 0, libc::ENOSYS),
        // x32, which the profile does not cover.
        (libc::SYS_getppid | 0x4000_0000, 0, -libc::SIGSYS),
    ];
    for (number, argument, expected) in cases {
        assert_eq!(errno_after(&plan, number, argument), expected, "system call {number} with {argument:#x}");
    }
}

#[test]
fn each_of_the_nine_actions_is_what_the_kernel_does() {
    let mut seen = Vec::new();
    for (action, expected) in [
        ("SCMP_ACT_KILL", -libc::SIGSYS),
        ("SCMP_ACT_KILL_THREAD", -libc::SIGSYS),
        ("SCMP_ACT_KILL_PROCESS", -libc::SIGSYS),
        ("SCMP_ACT_TRAP", -libc::SIGSYS),
        ("SCMP_ACT_ERRNO", libc::EPERM),
        // Nobody traces.
        ("SCMP_ACT_TRACE", libc::ENOSYS),
        ("SCMP_ACT_ALLOW", 0),
        ("SCMP_ACT_LOG", 0),
        // The listener goes with the call that loads the filter: nobody answers.
        ("SCMP_ACT_NOTIFY", libc::ENOSYS),
    ] {
        let default = if action == "SCMP_ACT_ALLOW" { "SCMP_ACT_LOG" } else { "SCMP_ACT_ALLOW" };
        let plan = planned(&format!(
            r#"{{"defaultAction":"{default}","listenerPath":"/a","syscalls":[{{"names":["getppid"],"action":"{action}"}}]}}"#
        ));
        assert_eq!(errno_after(&plan, libc::SYS_getppid, 0), expected, "{action}");
        assert_eq!(errno_after(&plan, libc::SYS_getpid, 0), 0, "{action}: another call");
        seen.push(action);
    }
    seen.sort_unstable();
    assert_eq!(seen, ocicat::seccomp::actions());
}

#[test]
fn each_of_the_seven_operators_compares_all_64_bits() {
    /// The operator, its values, what it holds for, what it does not hold for.
    type Row = (&'static str, u64, u64, &'static [u64], &'static [u64]);
    const BIG: u64 = 1 << 40;
    let rows: [Row; 7] = [
        ("SCMP_CMP_NE", BIG + 5, 0, &[5, BIG + 4], &[BIG + 5]),
        ("SCMP_CMP_LT", BIG + 5, 0, &[0, u64::MAX >> 32, BIG + 4], &[BIG + 5, BIG + 6, u64::MAX]),
        ("SCMP_CMP_LE", BIG + 5, 0, &[0, BIG + 4, BIG + 5], &[BIG + 6, u64::MAX]),
        ("SCMP_CMP_EQ", BIG + 5, 0, &[BIG + 5], &[5, BIG, BIG + 4]),
        ("SCMP_CMP_GE", BIG + 5, 0, &[BIG + 5, BIG + 6, u64::MAX], &[5, u64::MAX >> 32, BIG + 4]),
        ("SCMP_CMP_GT", BIG + 5, 0, &[BIG + 6, u64::MAX], &[0, u64::MAX >> 32, BIG + 5]),
        ("SCMP_CMP_MASKED_EQ", BIG | 0xf0, BIG | 0x50, &[BIG | 0x5f, BIG | 0x50], &[0x5f, BIG | 0x60, 0]),
    ];
    for (operator, value, second, holds, fails) in rows {
        let plan = planned(&format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["getppid"],"action":"SCMP_ACT_ERRNO","errnoRet":77,
                "args":[{{"index":0,"value":{value},"valueTwo":{second},"op":"{operator}"}}]}}]}}"#
        ));
        for (arguments, expected) in [(holds, 77), (fails, 0)] {
            for argument in arguments {
                assert_eq!(errno_after(&plan, libc::SYS_getppid, *argument), expected, "{operator} {argument:#x}");
            }
        }
    }
    let mut words = rows.map(|row| row.0);
    words.sort_unstable();
    assert_eq!(words.to_vec(), ocicat::seccomp::operators());
}

#[test]
fn a_filter_is_loaded_with_every_flag_that_the_kernel_knows() {
    for flag in ocicat::seccomp::supported_flags() {
        let plan = planned(&format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","flags":["{flag}"],"syscalls":[{{"names":["getppid"],"action":"SCMP_ACT_ERRNO","errnoRet":77}}]}}"#
        ));
        assert_eq!(errno_after(&plan, libc::SYS_getppid, 0), 77, "{flag}");
    }
}

#[test]
fn programs_of_32_bits_are_covered_only_when_named() {
    let rules = r#""syscalls":[{"names":["getpid"],"action":"SCMP_ACT_ERRNO","errnoRet":33}]"#;
    let native = planned(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW",{rules}}}"#));
    let both = planned(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],{rules}}}"#));
    let after = |plan: &Plan| {
        forked(|| {
            // SAFETY: numbers only.
            unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
            if plan.load().is_err() { 200 } else { -getpid_of_32_bits() }
        })
    };
    assert_eq!(after(&both), 33);
    assert_eq!(after(&native), -libc::SIGSYS);
}

#[test]
fn the_agent_gets_the_descriptor_and_answers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent");
    let agent = UnixListener::bind(&path).unwrap();
    let plan = planned(&format!(
        r#"{{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":{path:?},"flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
            "syscalls":[{{"names":["getpriority"],"action":"SCMP_ACT_NOTIFY"}}]}}"#
    ));
    let listener = plan.listener.clone().unwrap();
    let thread = std::thread::Builder::new().spawn(move || answer_one(&agent)).unwrap();
    let code = forked(|| {
        // SAFETY: numbers only.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        let Ok(Some(fd)) = plan.load() else { return 200 };
        if notify::send(&listener, fd.as_fd(), r#"{"fds":["seccompFd"]}"#).is_err() {
            return 201;
        }
        drop(fd);
        // SAFETY: numbers only.
        unsafe { libc::syscall(libc::SYS_getpriority, 0, 0) as i32 }
    });
    assert_eq!((code, thread.join().unwrap().as_str()), (42, r#"{"fds":["seccompFd"]}"#));
}

/// Takes one descriptor and lets one system call return 42; gives the text that came along.
fn answer_one(agent: &UnixListener) -> String {
    let (mut connection, _) = agent.accept().unwrap();
    let (first, mut descriptors) = ocicat::sys::channel::receive(&connection).unwrap().unwrap();
    let mut text = String::from_utf8(first).unwrap();
    connection.read_to_string(&mut text).unwrap();
    let fd: OwnedFd = descriptors.pop().unwrap();
    // struct seccomp_notif is 80 bytes, its id the first 8; struct seccomp_notif_resp is id, val, error, flags.
    let mut notification = [0_u64; 10];
    // SAFETY: SECCOMP_IOCTL_NOTIF_RECV fills the 80 bytes, which outlive the call.
    assert_eq!(unsafe { libc::ioctl(fd.as_raw_fd(), 0xc050_2100, notification.as_mut_ptr()) }, 0);
    let mut response = [notification[0], 42, 0];
    // SAFETY: SECCOMP_IOCTL_NOTIF_SEND reads the 24 bytes, which outlive the call.
    assert_eq!(unsafe { libc::ioctl(fd.as_raw_fd(), 0xc018_2101, response.as_mut_ptr()) }, 0);
    text
}

#[test]
fn an_agent_that_is_not_there_is_named() {
    let listener = notify::Listener { path: "/no/such/agent".into(), metadata: None };
    let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let error = notify::send(&listener, one.as_fd(), "{}").unwrap_err();
    assert_eq!(error.to_string(), "connect /no/such/agent: no such file or directory (ENOENT)");
}
