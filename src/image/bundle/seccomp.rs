//! The default seccomp profile: what containers need, and neither what reaches beyond them nor what few programs use and
//! many exploits used. It allows what Docker's default profile allows, so that images meet here what they were tested with.

use crate::config::{Seccomp, SyscallArg, SyscallRule, json};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::BTreeSet;

/// Allowed whatever the arguments.
const ALWAYS: &str = "\
    _llseek _newselect accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown \
    chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 \
    clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 \
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd \
    eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark \
    fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock \
    fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex \
    futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu \
    getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer \
    getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 \
    getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr getxattrat \
    inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents \
    io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc kill landlock_add_rule \
    landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr \
    listxattrat llistxattr lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier \
    memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect \
    mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 \
    mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep \
    newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect \
    poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 \
    pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 \
    recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall riscv_hwprobe rmdir \
    rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait \
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity \
    sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 \
    sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop \
    semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area \
    set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid \
    setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid \
    setsockopt setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 \
    sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat \
    sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime \
    timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime \
    timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime \
    utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev";

/// Allowed to who has the capability anyway.
const WITH_CAPABILITY: &[(&str, &str)] = &[
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount open_tree \
         open_tree_attr perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module init_module finit_module"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    ("CAP_SYS_RAWIO", "iopl ioperm"),
    ("CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
    ("CAP_PERFMON", "perf_event_open"),
];

/// Architectures that one kernel runs, and the calls that only they have.
const ARCHITECTURES: &[(&str, &[&str], &str)] = &[
    ("x86_64", &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "arch_prctl modify_ldt"),
    (
        "aarch64",
        &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
    ),
    ("riscv64", &["SCMP_ARCH_RISCV64"], "riscv_flush_icache"),
    ("s390x", &["SCMP_ARCH_S390X", "SCMP_ARCH_S390"], "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr"),
    ("powerpc64", &["SCMP_ARCH_PPC64LE"], "sync_file_range2 swapcontext"),
];

/// Flags of clone(2) that make namespaces: CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID and NET.
const NAMESPACES: u64 = 0x7e02_0000;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// The default profile for a container with these capabilities, on this machine.
pub(super) fn default(capabilities: &[String]) -> Seccomp {
    let has = |name: &str| capabilities.iter().any(|capability| capability == name);
    // process_vm_* and ptrace are safe since seccomp filters run before ptrace stops (Linux 4.8).
    let mut names: BTreeSet<&str> =
        ALWAYS.split(' ').chain(["process_vm_readv", "process_vm_writev", "ptrace"]).collect();
    let (_, architectures, own) = ARCHITECTURES
        .iter()
        .find(|(name, ..)| *name == std::env::consts::ARCH)
        .map_or(("", &[][..], ""), |(name, list, own)| (*name, *list, *own));
    names.extend(own.split(' ').filter(|name| !name.is_empty()));
    for (capability, more) in WITH_CAPABILITY {
        if has(capability) {
            names.extend(more.split(' '));
        }
    }
    let mut syscalls = vec![allow(names.iter().map(|name| (*name).to_owned()).collect(), Vec::new())];
    // Every family but AF_ALG (38), whose parsers were exploited, and AF_VSOCK (40), which reaches the hypervisor.
    for (value, op) in [(38, "SCMP_CMP_LT"), (39, "SCMP_CMP_EQ"), (40, "SCMP_CMP_GT")] {
        syscalls.push(allow(vec!["socket".to_owned()], vec![argument(0, value, 0, op)]));
    }
    // PER_LINUX, PER_LINUX32, UNAME26 and both; the last only asks.
    for value in [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        syscalls.push(allow(vec!["personality".to_owned()], vec![argument(0, value, 0, "SCMP_CMP_EQ")]));
    }
    if !has("CAP_SYS_ADMIN") {
        let index = if std::env::consts::ARCH == "s390x" { 1 } else { 0 };
        syscalls.push(allow(vec!["clone".to_owned()], vec![argument(index, NAMESPACES, 0, "SCMP_CMP_MASKED_EQ")]));
        // Its flags lie in memory, where no filter sees them; ENOSYS makes libc use clone.
        let clone3 =
            SyscallRule { action: "SCMP_ACT_ERRNO".to_owned(), errno_ret: Some(ENOSYS), ..SyscallRule::default() };
        syscalls.push(SyscallRule { names: vec!["clone3".to_owned()], ..clone3 });
    }
    Seccomp {
        default_action: "SCMP_ACT_ERRNO".to_owned(),
        default_errno_ret: Some(EPERM),
        architectures: architectures.iter().map(|name| (*name).to_owned()).collect(),
        syscalls,
        ..Seccomp::default()
    }
}

fn allow(names: Vec<String>, args: Vec<SyscallArg>) -> SyscallRule {
    SyscallRule { names, action: "SCMP_ACT_ALLOW".to_owned(), errno_ret: None, args }
}

fn argument(index: u32, value: u64, value_two: u64, op: &str) -> SyscallArg {
    SyscallArg { index, value, value_two, op: op.to_owned() }
}

/// Docker's format of a profile: the runtime's, with conditions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Conditional {
    #[serde(default)]
    arch_map: Vec<ArchMap>,
    #[serde(default)]
    syscalls: Vec<ConditionalRule>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct ConditionalRule {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    includes: Option<Condition>,
    #[serde(default)]
    excludes: Option<Condition>,
}

#[derive(Debug, Default, Deserialize)]
struct Condition {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
}

/// Reads a profile in the runtime's format or in Docker's, for a container with these capabilities.
pub(super) fn read(bytes: &[u8], capabilities: &[String]) -> Result<Seccomp> {
    let mut profile: Seccomp = json::parse(bytes).context("seccomp profile")?;
    let conditional: Conditional = json::parse(bytes).context("seccomp profile")?;
    if profile.default_action.is_empty() {
        bail!("seccomp profile: defaultAction is missing");
    }
    let (_, own, _) = ARCHITECTURES.iter().find(|(name, ..)| *name == std::env::consts::ARCH).unwrap_or(&("", &[], ""));
    if profile.architectures.is_empty() {
        for map in conditional.arch_map.iter().filter(|map| own.first() == Some(&map.architecture.as_str())) {
            profile.architectures =
                std::iter::once(&map.architecture).chain(map.sub_architectures.iter().flatten()).cloned().collect();
        }
    }
    let go_name = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    };
    let here = |arches: &[String]| arches.iter().any(|arch| arch == go_name);
    let has = |caps: &[String]| caps.iter().any(|cap| capabilities.contains(cap));
    let rules = std::mem::take(&mut profile.syscalls).into_iter().zip(conditional.syscalls);
    for (mut rule, conditions) in rules {
        rule.names.extend(conditions.name);
        let (includes, excludes) = (conditions.includes.unwrap_or_default(), conditions.excludes.unwrap_or_default());
        let included =
            (includes.caps.is_empty() || has(&includes.caps)) && (includes.arches.is_empty() || here(&includes.arches));
        if included && !has(&excludes.caps) && !here(&excludes.arches) {
            profile.syscalls.push(rule);
        }
    }
    Ok(profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(profile: &Seccomp, name: &str) -> bool {
        profile
            .syscalls
            .iter()
            .any(|rule| rule.action == "SCMP_ACT_ALLOW" && rule.args.is_empty() && rule.names.iter().any(|n| n == name))
    }

    #[test]
    fn capabilities_open_what_they_are_for() {
        let plain = default(&["CAP_SYS_CHROOT".to_owned()]);
        let admin = default(&["CAP_SYS_ADMIN".to_owned()]);
        for (name, in_plain, in_admin) in [
            ("read", true, true),
            ("chroot", true, false),
            ("mount", false, true),
            ("clone3", false, true),
            ("kexec_load", false, false),
            ("keyctl", false, false),
            ("io_uring_setup", false, false),
        ] {
            assert_eq!((allows(&plain, name), allows(&admin, name)), (in_plain, in_admin), "{name}");
        }
    }

    #[test]
    fn docker_profiles_are_read_with_their_conditions() {
        let profile = br#"{"defaultAction":"SCMP_ACT_ERRNO","archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],
            "syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"},{"names":["mount"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
            {"name":"chroot","action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_SYS_ADMIN"]}}]}"#;
        let read = read(profile, &["CAP_SYS_ADMIN".to_owned()]).unwrap();
        assert!(allows(&read, "read") && allows(&read, "mount") && !allows(&read, "chroot"));
    }
}
