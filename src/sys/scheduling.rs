//! Scheduling, I/O priority, CPU affinity, memory policy and personality of the calling thread.

use super::{Asked, Result, checked};

/// personality(2).
pub fn set_personality(domain: u32) -> Result<()> {
    // SAFETY: one plain number is passed.
    let returned = unsafe { libc::syscall(libc::SYS_personality, libc::c_ulong::from(domain)) };
    checked(returned).asked(|| format!("personality {domain:#x}")).map(|_| ())
}

/// `struct sched_attr` (include/uapi/linux/sched/types.h), version 0: times in nanoseconds.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SchedulingAttributes {
    /// Size of this structure.
    pub size: u32,
    /// SCHED_OTHER and the others.
    pub policy: u32,
    /// SCHED_FLAG_*.
    pub flags: u64,
    /// For SCHED_OTHER and SCHED_BATCH.
    pub nice: i32,
    /// For SCHED_FIFO and SCHED_RR.
    pub priority: u32,
    /// For SCHED_DEADLINE.
    pub runtime: u64,
    /// For SCHED_DEADLINE.
    pub deadline: u64,
    /// For SCHED_DEADLINE.
    pub period: u64,
}

/// sched_setattr(2).
pub fn set_scheduling(attributes: &SchedulingAttributes) -> Result<()> {
    let attributes = SchedulingAttributes { size: size_of::<SchedulingAttributes>() as u32, ..*attributes };
    // SAFETY: the pointer is to a live structure whose first field says its size.
    let returned = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    let SchedulingAttributes { policy, flags, nice, priority, runtime, deadline, period, .. } = attributes;
    checked(returned)
        .asked(|| {
            format!(
                "sched_setattr policy={policy} flags={flags:#x} nice={nice} priority={priority} runtime={runtime} \
                 deadline={deadline} period={period}"
            )
        })
        .map(|_| ())
}

/// ioprio_set(2) for the calling thread: class in the top three bits, level below.
pub fn set_io_priority(class: u32, level: u32) -> Result<()> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    const IOPRIO_CLASS_SHIFT: u32 = 13;
    let value = (class << IOPRIO_CLASS_SHIFT) | level;
    // SAFETY: three plain numbers are passed.
    let returned = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) };
    checked(returned).asked(|| format!("ioprio_set class={class} level={level}")).map(|_| ())
}

/// sched_setaffinity(2) for the calling thread: one bit for each CPU, any number of CPUs.
pub fn set_affinity(mask: &[u64]) -> Result<()> {
    // SAFETY: the length in bytes and the pointer come from one live slice.
    let returned = unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(mask), mask.as_ptr()) };
    checked(returned).asked(|| format!("sched_setaffinity {mask:x?}")).map(|_| ())
}

/// sched_getaffinity(2) of the calling thread.
pub fn affinity() -> Result<Vec<u64>> {
    let mut mask = vec![0u64; 1024];
    // SAFETY: the kernel writes at most the given number of bytes into the live vector.
    let returned =
        unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size_of_val(mask.as_slice()), mask.as_mut_ptr()) };
    let bytes = checked(returned).asked(|| "sched_getaffinity".to_owned())?;
    mask.truncate((bytes as usize).div_ceil(8));
    Ok(mask)
}

/// set_mempolicy(2): mode with its flags, one bit for each node, `bits` of them.
pub fn set_memory_policy(mode: u32, nodes: &[u64], bits: usize) -> Result<()> {
    // SAFETY: the mask is a live slice that holds at least `bits` - 1 bits, as the kernel reads (it subtracts one).
    let returned =
        unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, nodes.as_ptr(), bits.min(nodes.len() * 64) + 1) };
    checked(returned).asked(|| format!("set_mempolicy mode={mode:#x} nodes={nodes:x?}")).map(|_| ())
}
