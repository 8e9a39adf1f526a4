//! bpf(2), as far as device rules of cgroup2 need it: load a program, attach it, replace it, take it off.

use super::{Asked, Result, checked};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// One eBPF instruction (struct bpf_insn).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Class, operation and source.
    pub code: u8,
    /// Destination in the low four bits, source in the high ones.
    pub registers: u8,
    /// Offset of a jump or of memory.
    pub offset: i16,
    /// Constant.
    pub immediate: i32,
}

impl Instruction {
    /// An instruction on the registers `to` and `from`.
    pub const fn new(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
        #[cfg(target_endian = "little")]
        let registers = from << 4 | to;
        #[cfg(target_endian = "big")]
        let registers = to << 4 | from;
        Instruction { code, registers, offset, immediate }
    }
}

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;
const REPLACE: u32 = 4;

/// The fields of `union bpf_attr` for BPF_PROG_LOAD up to those that are used here; the kernel takes the rest as zero.
#[repr(C)]
struct Load {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// For BPF_PROG_ATTACH and BPF_PROG_DETACH.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
    replace: u32,
}

/// For BPF_PROG_QUERY.
#[repr(C)]
struct Query {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    programs: u64,
    count: u32,
    padding: u32,
    attach_flags_of_programs: u64,
    links: u64,
    attach_flags_of_links: u64,
    /// KERNEL(6.17): written by the kernel without a look at the size that was passed.
    revision: u64,
}

/// For BPF_PROG_GET_FD_BY_ID.
#[repr(C)]
struct ById {
    id: u32,
    next: u32,
    flags: u32,
}

fn bpf<T>(command: libc::c_int, attributes: &mut T) -> std::io::Result<libc::c_long> {
    let pointer = std::ptr::from_mut(attributes);
    // SAFETY: the pointer is to a live struct laid out as bpf(2) wants for the command, of exactly the size that is passed;
    // every address inside it is of a slice that its maker keeps alive during the call.
    checked(unsafe { libc::syscall(libc::SYS_bpf, command, pointer, size_of::<T>()) })
}

fn new_descriptor(returned: libc::c_long) -> OwnedFd {
    // SAFETY: the kernel just made this descriptor (O_CLOEXEC, as bpf(2) makes them all) and nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(returned as i32) }
}

fn number(fd: impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd() as u32
}

/// Loads a program that decides on devices. Kernels before 5.11 count it against RLIMIT_MEMLOCK.
pub fn load_device_program(code: &[Instruction]) -> Result<OwnedFd> {
    let mut load = Load {
        program_type: TYPE_CGROUP_DEVICE,
        instruction_count: code.len() as u32,
        instructions: code.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name: *b"ocicat_devices\0\0",
    };
    bpf(PROG_LOAD, &mut load)
        .asked(|| format!("bpf BPF_PROG_LOAD cgroup_device, {} instructions", code.len()))
        .map(new_descriptor)
}

/// Attaches a device program to the cgroup2 directory `cgroup`, in the place of `replaced` if given, in one step.
/// Every program above it in the tree and beside it must allow as well.
pub fn attach_device_program(cgroup: impl AsFd, program: impl AsFd, replaced: Option<&OwnedFd>) -> Result<()> {
    let mut attach = Attach {
        target: number(cgroup),
        program: number(program),
        attach_type: ATTACH_CGROUP_DEVICE,
        flags: if replaced.is_some() { ALLOW_MULTI | REPLACE } else { ALLOW_MULTI },
        replace: replaced.map_or(0, number),
    };
    bpf(PROG_ATTACH, &mut attach).asked(|| "bpf BPF_PROG_ATTACH cgroup_device".to_owned()).map(drop)
}

/// Takes a device program off the cgroup2 directory `cgroup`.
pub fn detach_device_program(cgroup: impl AsFd, program: impl AsFd) -> Result<()> {
    let mut attach = Attach {
        target: number(cgroup),
        program: number(program),
        attach_type: ATTACH_CGROUP_DEVICE,
        flags: 0,
        replace: 0,
    };
    bpf(PROG_DETACH, &mut attach).asked(|| "bpf BPF_PROG_DETACH cgroup_device".to_owned()).map(drop)
}

/// The device programs that are attached to the cgroup2 directory `cgroup` itself, at most 64.
pub fn device_programs(cgroup: impl AsFd) -> Result<Vec<OwnedFd>> {
    let mut ids = [0u32; 64];
    let mut query = Query {
        target: number(cgroup),
        attach_type: ATTACH_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        programs: ids.as_mut_ptr() as u64,
        count: ids.len() as u32,
        padding: 0,
        attach_flags_of_programs: 0,
        links: 0,
        attach_flags_of_links: 0,
        revision: 0,
    };
    bpf(PROG_QUERY, &mut query).asked(|| "bpf BPF_PROG_QUERY cgroup_device".to_owned())?;
    let mut programs = Vec::new();
    for id in ids.into_iter().take(query.count as usize) {
        let mut by_id = ById { id, next: 0, flags: 0 };
        let fd = bpf(PROG_GET_FD_BY_ID, &mut by_id).asked(|| format!("bpf BPF_PROG_GET_FD_BY_ID {id}"))?;
        programs.push(new_descriptor(fd));
    }
    Ok(programs)
}

/// Takes away the limit of locked memory (RLIMIT_MEMLOCK) as far as this process may.
pub fn raise_memlock() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let none = Rlimit { current: None, maximum: None };
    if setrlimit(Resource::Memlock, none).is_err() {
        // Without CAP_SYS_RESOURCE the hard limit is as far as it goes; the caller's second try tells whether it was enough.
        let hard = getrlimit(Resource::Memlock).maximum;
        let _ = setrlimit(Resource::Memlock, Rlimit { current: hard, maximum: hard });
    }
}
