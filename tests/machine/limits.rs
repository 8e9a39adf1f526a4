//! Limits as the kernel of a cgroup v2 host enforces them (Documentation/admin-guide/cgroup-v2.rst).

use crate::common::*;

#[test]
#[ignore = "needs a machine with cgroup v2: conformance/vm/run"]
fn a_fork_bomb_stops_at_pids_max() {
    let container = Container::new()
        .set("/linux/resources/pids", json!({"limit": 8}))
        .shell("bomb() { bomb | bomb & }; bomb; cat /sys/fs/cgroup/pids.events; kill -9 -1");
    let outcome = container.run();
    println!("{outcome}");
}
