//! Docker's default profile: our compiler and libseccomp's side by side, and how many instructions a system call costs.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic, and its paths are its own"
)]
#![allow(unsafe_code, missing_docs, reason = "libseccomp is C; criterion's macros document nothing")]

#[path = "../tests/bpf/mod.rs"]
mod bpf;
#[path = "../tests/bpf/libseccomp.rs"]
mod libseccomp;

use criterion::{Criterion, criterion_group, criterion_main};
use ocicat::config::Seccomp;
use ocicat::host::Host;
use ocicat::seccomp::{Plan, plan};
use ocicat::sys::seccomp::Instruction;
use std::hint::black_box;

/// The commonest system calls of container workloads, with arguments that the profile allows.
const COMMONEST: [&str; 20] = [
    "read",
    "write",
    "openat",
    "close",
    "fstat",
    "newfstatat",
    "mmap",
    "munmap",
    "mprotect",
    "brk",
    "futex",
    "epoll_wait",
    "recvfrom",
    "sendto",
    "clock_gettime",
    "rt_sigaction",
    "rt_sigprocmask",
    "lseek",
    "poll",
    "getpid",
];

fn profile(architectures: usize) -> Seccomp {
    let mut profile: Seccomp = serde_json::from_str(include_str!("../tests/data/docker-seccomp.json")).unwrap();
    profile.architectures.truncate(architectures);
    profile
}

fn average_steps(program: &[Instruction]) -> f64 {
    let steps = |name: &&str| {
        let number = libseccomp::number("SCMP_ARCH_X86_64", name) as u32;
        let call = bpf::Call { number, architecture: 0xc000_003e, arguments: [0; 6] };
        let (answer, steps) = bpf::run(program, &call, false);
        assert_eq!(answer, 0x7fff_0000, "{name}");
        f64::from(steps)
    };
    COMMONEST.iter().map(steps).sum::<f64>() / COMMONEST.len() as f64
}

fn dockers_profile(criterion: &mut Criterion) {
    let host = Host::modern();
    for architectures in [3, 1] {
        let profile = profile(architectures);
        let ours = plan(&profile, &host).unwrap();
        let theirs = libseccomp::compile(&profile, "SCMP_ARCH_X86_64").unwrap();
        println!(
            "{architectures} architectures: ocicat {} instructions, {:.1} steps for the 20 commonest calls; libseccomp {}, {:.1}",
            ours.program.0.len(),
            average_steps(&ours.program.0),
            theirs.len(),
            average_steps(&theirs),
        );
        let mut group = criterion.benchmark_group(format!("Docker's profile, {architectures} architectures"));
        group.bench_function("ocicat", |b| b.iter(|| plan(black_box(&profile), &host).unwrap()));
        group.sample_size(20);
        group.bench_function("libseccomp", |b| b.iter(|| libseccomp::compile(black_box(&profile), "SCMP_ARCH_X86_64")));
        group.finish();
    }
    let bytes = plan(&profile(3), &host).unwrap().to_bytes();
    criterion.bench_function("read the cached program", |b| b.iter(|| Plan::from_bytes(black_box(&bytes)).unwrap()));
}

criterion_group!(benches, dockers_profile);
criterion_main!(benches);
