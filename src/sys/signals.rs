//! Signals of the calling process: masks, dispositions, signalfd(2).

use super::{Asked, Result, checked};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// The kernel's sigset_t: bit n-1 is signal n.
pub type Mask = u64;

/// The largest signal number.
pub const LAST: i32 = 64;

/// One signal in a mask.
pub fn bit(signal: i32) -> Mask {
    1 << (signal - 1).clamp(0, LAST - 1)
}

/// rt_sigprocmask(2), SIG_SETMASK; the old mask.
pub fn set_mask(mask: Mask) -> Result<Mask> {
    let mut old: Mask = 0;
    // SAFETY: both pointers are to live masks of the size that is passed.
    let returned = unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, &raw mut old, size_of::<Mask>())
    };
    checked(returned).asked(|| format!("rt_sigprocmask {mask:#x}"))?;
    Ok(old)
}

/// rt_sigprocmask(2): the mask as it is.
pub fn mask() -> Result<Mask> {
    let mut now: Mask = 0;
    let none = std::ptr::null::<Mask>();
    // SAFETY: no new mask is given, and the pointer for the old one is to a live mask of the size that is passed.
    let returned =
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, none, &raw mut now, size_of::<Mask>()) };
    checked(returned).asked(|| "rt_sigprocmask".to_owned())?;
    Ok(now)
}

/// rt_sigaction(2): whether a signal is ignored.
pub fn is_ignored(signal: i32) -> Result<bool> {
    let mut action = [0_u64; 4];
    let none = std::ptr::null::<u64>();
    // SAFETY: no new action is given, and the old one is written into a live structure of the kernel's size.
    let returned =
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, none, action.as_mut_ptr(), size_of::<Mask>()) };
    checked(returned).asked(|| format!("rt_sigaction {signal}"))?;
    let [handler, ..] = action;
    Ok(handler == libc::SIG_IGN as u64)
}

/// rt_sigaction(2): one signal gets its default action; SIGKILL and SIGSTOP always have it. The raw call, because the C library
/// keeps 32 and 33 for itself and would leave them as the caller had them.
pub fn set_default(signal: i32) -> Result<()> {
    set_action(signal, libc::SIG_DFL).asked(|| format!("rt_sigaction {signal} SIG_DFL"))
}

/// What this program wants, whatever its caller has set (execve(2) keeps what is ignored): a child that has ended waits to be
/// reaped, which it does not where SIGCHLD is ignored (wait(2)); a write to a pipe without a reader is EPIPE, and one beyond
/// RLIMIT_FSIZE is EFBIG, and neither ends us half-way.
pub fn prepare() -> Result<()> {
    set_default(libc::SIGCHLD)?;
    ignore(libc::SIGPIPE).and_then(|()| ignore(libc::SIGXFSZ))
}

/// rt_sigaction(2): one signal is ignored; what is executed later inherits that.
pub fn ignore(signal: i32) -> Result<()> {
    set_action(signal, libc::SIG_IGN).asked(|| format!("rt_sigaction {signal} SIG_IGN"))
}

/// sigaction(2): this signal ends the process with 128 and its number, until the next execve.
pub fn end_by(signal: i32) -> Result<()> {
    extern "C" fn end(signal: i32) {
        super::proc::exit_now(128 + signal)
    }
    // SAFETY: all zero is a valid action, with no flags and an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = end as *const () as libc::sighandler_t;
    // SAFETY: the action is a live structure, its handler only calls _exit(2), and no old one is asked for.
    let returned = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    checked(returned.into()).asked(|| format!("rt_sigaction {signal} exit")).map(drop)
}

fn set_action(signal: i32, handler: libc::sighandler_t) -> std::io::Result<()> {
    // The kernel's struct sigaction: the handler, no flags, no restorer, an empty mask.
    let action = [handler as u64, 0, 0, 0];
    let old = std::ptr::null_mut::<u64>();
    // SAFETY: the new action is a live structure of the kernel's size, its handler is none or the kernel's own, and no old one is asked for.
    let returned = unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), old, size_of::<Mask>()) };
    checked(returned).map(drop)
}

/// signalfd4(2): becomes readable when one of the (blocked) signals is pending.
pub fn descriptor(mask: Mask) -> Result<OwnedFd> {
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the pointer is to a live mask of the size that is passed.
    let returned = unsafe { libc::syscall(libc::SYS_signalfd4, -1, &raw const mask, size_of::<Mask>(), flags) };
    let fd = checked(returned).asked(|| format!("signalfd4 {mask:#x}"))?;
    // SAFETY: the kernel has just made this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// The next pending signal of a signalfd and who sent it; `None` when there is none.
pub fn next(descriptor: &OwnedFd) -> Result<Option<(i32, u32)>> {
    let mut record = [0u8; 128];
    match rustix::io::read(descriptor.as_fd(), &mut record) {
        Ok(length) if length == record.len() => {}
        Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
        Err(errno) => return Err(errno).asked(|| format!("read signalfd {}", descriptor.as_raw_fd())),
    }
    // struct signalfd_siginfo: ssi_signo is its first number, ssi_pid its fourth.
    let [number, _, _, sender, ..] = std::array::from_fn::<u32, 32, _>(|index| {
        let bytes = record.get(index * 4..index * 4 + 4).and_then(|bytes| bytes.try_into().ok());
        u32::from_ne_bytes(bytes.unwrap_or_default())
    });
    Ok(Some((number as i32, sender)))
}
