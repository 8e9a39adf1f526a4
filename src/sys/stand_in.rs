//! A process that only exists: systemd makes no scope without one.

use super::clone::{Child, Cloned, clone3};
use super::{Result, checked, pidfd};

/// Starts a process that waits for its end, which comes with ours at the latest.
pub fn start() -> Result<Child> {
    let parent = rustix::process::getpid();
    match clone3(0, None)? {
        Cloned::Parent(child) => Ok(child),
        Cloned::Child => stand(parent),
    }
}

fn stand(parent: rustix::process::Pid) -> ! {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    // Our parent may have ended before it could be asked for; then there is nobody to stand in for.
    while rustix::process::getppid() == Some(parent) {
        // SAFETY: pause(2) takes nothing and changes nothing.
        let _ = checked(unsafe { libc::c_long::from(libc::pause()) });
    }
    // SAFETY: ends this process at once, without running anything of the parent's copied state.
    unsafe { libc::_exit(0) }
}

/// Ends it.
pub fn end(child: &Child) {
    let _ = pidfd::send_signal(&child.pidfd, libc::SIGKILL);
    let _ = pidfd::reap(&child.pidfd);
}
