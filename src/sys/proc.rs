//! What procfs and prctl(2) tell and change about a process.

use super::{Asked, Result, files};

/// True when a small file begins with `prefix`; false when it cannot be read.
pub fn file_begins_with(path: &str, prefix: &[u8]) -> bool {
    files::read(path, 4096).is_ok_and(|bytes| bytes.starts_with(prefix))
}

/// True when this process lives in a user namespace that does not map every id one to one.
pub fn in_user_namespace() -> bool {
    match files::read_text("/proc/self/uid_map") {
        Ok(map) => map.split_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"],
        Err(_) => false,
    }
}

/// Asks the kernel to kill this process when its parent ends (PR_SET_PDEATHSIG). A change of credentials forgets it.
pub fn die_with_parent() -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .asked(|| "prctl PR_SET_PDEATHSIG SIGKILL".to_owned())
}

/// Lets this process outlive its parent.
pub fn outlive_parent() -> Result<()> {
    rustix::process::set_parent_process_death_signal(None).asked(|| "prctl PR_SET_PDEATHSIG 0".to_owned())
}

/// Nobody without privileges over the host may trace this process or open its /proc files (PR_SET_DUMPABLE).
pub fn hide() -> Result<()> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .asked(|| "prctl PR_SET_DUMPABLE 0".to_owned())
}

/// Makes a new session, which has no controlling terminal; a process that leads one already keeps it.
pub fn new_session() -> Result<()> {
    match rustix::process::setsid() {
        Ok(_) | Err(rustix::io::Errno::PERM) => Ok(()),
        Err(errno) => Err(errno).asked(|| "setsid".to_owned()),
    }
}

/// The number of this process in the pid namespace of the procfs that is mounted at /proc: the host's, before pivot_root.
pub fn own_number_on_host() -> Option<i32> {
    let link = rustix::fs::readlink("/proc/self", Vec::new()).ok()?;
    link.to_str().ok()?.parse().ok()
}

/// Ends this process at once, without any code that runs at exit: it is a clone, and that code is its parent's.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) takes a number and does not return.
    unsafe { libc::_exit(code) }
}
