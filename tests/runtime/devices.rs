//! Devices: the default ones, those asked for, and which may be used (config-linux.md, "Devices", "Device allowed list").

use crate::common::*;

/// Opening /dev/fuse does nothing; it is none of the default devices.
fn fuse() -> bool {
    std::fs::File::open("/dev/fuse").is_ok()
}

#[test]
fn the_default_devices_are_there() {
    let wanted = "null:1,3:666 zero:1,5:666 full:1,7:666 random:1,8:666 urandom:1,9:666 tty:5,0:666";
    let seen = Container::new()
        .shell("cd /dev; for d in null zero full random urandom tty; do stat -c '%n:%t,%T:%a' $d; done")
        .run()
        .ok();
    assert_eq!(seen.out.split_whitespace().collect::<Vec<_>>().join(" "), wanted);
}

#[test]
fn the_default_devices_work() {
    let seen = Container::new()
        .shell("echo > /dev/null && head -c 4 /dev/zero | wc -c && head -c 4 /dev/urandom | wc -c; echo > /dev/full")
        .run();
    assert!(seen.out == "4\n4\n" && seen.err.to_lowercase().contains("no space left"), "{seen}");
}

#[test]
fn the_default_links_are_there() {
    let seen = Container::new()
        .shell("for l in fd stdin stdout stderr ptmx core; do echo $l $(readlink /dev/$l); done")
        .run()
        .ok();
    let wanted = "fd /proc/self/fd\nstdin /proc/self/fd/0\nstdout /proc/self/fd/1\nstderr /proc/self/fd/2\nptmx pts/ptmx\ncore /proc/kcore\n";
    if seen.out.contains("core /proc/kcore") {
        assert_eq!(seen.out, wanted);
    } else {
        assert_eq!(seen.out, wanted.replace(" /proc/kcore", ""));
    }
}

#[test]
fn a_device_asked_for_is_made_with_its_mode_and_owner() {
    let device =
        json!({"path": "/dev/extra", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 7, "gid": 8});
    Container::new()
        .set("/linux/devices", json!([device]))
        .args(&["stat", "-c", "%F %t,%T %a %u:%g", "/dev/extra"])
        .run()
        .says("character special file 1,5 640 7:8");
}

#[test]
fn in_a_user_namespace_a_device_may_have_another_name_than_on_the_host() {
    only_ocicat!("runc 1.1 looks for it at the same path only");
    need!(host::is_root(), "needs root");
    // /dev/kmsg is another device on the host, and /dev/renamed is none.
    let device = |path: &str| json!({"path": path, "type": "c", "major": 1, "minor": 5});
    Container::new()
        .user_namespace()
        .set("/linux/devices", json!([device("/dev/renamed"), device("/dev/kmsg")]))
        .shell("stat -c %t,%T /dev/renamed /dev/kmsg; head -c 3 /dev/renamed | wc -c")
        .run()
        .says("1,5\n1,5\n3");
    let unknown = json!([{"path": "/dev/unknown", "type": "c", "major": 4000, "minor": 5}]);
    Container::new().user_namespace().set("/linux/devices", unknown).run().fails("linux.devices[0] (/dev/unknown): ");
}

#[test]
fn a_device_may_stand_anywhere_in_the_root() {
    let device = json!({"path": "/data/deep/extra", "type": "c", "major": 1, "minor": 5});
    let container = Container::new().set("/root/readonly", json!(false)).set("/linux/devices", json!([device]));
    container.args(&["stat", "-c", "%t,%T", "/data/deep/extra"]).run().says("1,5");
}

#[test]
fn block_devices_and_fifos_are_made() {
    let devices = json!([{"path": "/dev/block", "type": "b", "major": 7, "minor": 200, "fileMode": 0o600}, {"path": "/dev/pipe", "type": "p", "fileMode": 0o600}, {"path": "/dev/unbuffered", "type": "u", "major": 1, "minor": 3}]);
    let seen = Container::new()
        .set("/linux/devices", devices)
        .shell("stat -c '%F' /dev/block /dev/pipe /dev/unbuffered")
        .run()
        .ok();
    assert_eq!(seen.text(), "block special file\nfifo\ncharacter special file");
}

#[test]
fn a_fifo_with_numbers_is_a_fifo() {
    let seen = Container::new()
        .set("/linux/devices", json!([{"path": "/dev/pipe", "type": "p", "major": 0, "minor": 0}]))
        .args(&["stat", "-c", "%F", "/dev/pipe"])
        .run()
        .ok();
    assert_eq!(seen.text(), "fifo");
}

#[test]
fn a_device_over_another_file_is_refused() {
    only_ocicat!("runc and crun keep the other file silently, against the spec");
    let container = Container::new().file("/data/taken", "a file\n", 0o644).set("/root/readonly", json!(false));
    container
        .set("/linux/devices", json!([{"path": "/data/taken", "type": "c", "major": 1, "minor": 3}]))
        .run()
        .fails("linux.devices[0]");
}

#[test]
fn an_unknown_type_of_device_is_refused() {
    let outcome =
        Container::new().set("/linux/devices", json!([{"path": "/dev/x", "type": "z", "major": 1, "minor": 3}])).run();
    assert!(outcome.code != 0, "{outcome}");
}

#[test]
fn a_device_that_is_not_allowed_cannot_be_opened() {
    need!(fuse(), "needs a device that may be opened without harm: /dev/fuse");
    let device = json!({"path": "/dev/extra", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666});
    let outcome = Container::new()
        .set("/linux/devices", json!([device]))
        .set("/linux/resources/devices", json!([{"allow": false, "access": "rwm"}]))
        .shell("exec 3</dev/extra")
        .run();
    assert!(outcome.code != 0 && outcome.err.contains("not permitted"), "{outcome}");
}

#[test]
fn without_any_rule_everything_but_the_default_is_denied() {
    need!(fuse(), "needs a device that may be opened without harm: /dev/fuse");
    let container =
        Container::new().capabilities(&["CAP_MKNOD"]).edit(|config| config["linux"]["resources"] = json!({}));
    let outcome =
        container.set("/root/readonly", json!(false)).shell("mknod /data/fuse c 10 229 && exec 3</data/fuse").run();
    assert!(outcome.code != 0 && outcome.err.contains("not permitted"), "{outcome}");
}

#[test]
fn a_device_rule_allows_what_it_says_and_no_more() {
    need!(fuse(), "needs a device that may be opened without harm: /dev/fuse");
    need!(host::v1("devices"), "needs the version 1 hierarchy of devices");
    let rules = json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "r"}]);
    let container = Container::new().set("/linux/resources/devices", rules).set(
        "/linux/devices",
        json!([{"path": "/dev/extra", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}]),
    );
    let outcome = container.shell("exec 3</dev/extra && echo readable; exec 4>/dev/extra").run();
    assert!(outcome.out.contains("readable") && outcome.err.contains("not permitted"), "{outcome}");
}

#[test]
fn device_rules_are_written_in_their_order() {
    need!(host::v1("devices"), "needs the version 1 hierarchy of devices");
    let rules = json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"}, {"allow": true, "type": "b", "major": 8, "minor": 20, "access": "rw"}]);
    let container = Container::new().set("/linux/resources/devices", rules).sleeping();
    let list = container.cgroup_file("devices", "devices.list").unwrap();
    assert!(list.contains("c 10:229 rwm") && list.contains("b 8:20 rw") && !list.contains("a *:* rwm"), "{list}");
    assert!(list.contains("c 1:3 rwm"), "the default devices are not allowed: {list}");
}

#[test]
fn a_wildcard_rule_allows_every_minor() {
    need!(host::v1("devices"), "needs the version 1 hierarchy of devices");
    let rules = json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "access": "rw"}]);
    let container = Container::new().set("/linux/resources/devices", rules).sleeping();
    assert!(container.cgroup_file("devices", "devices.list").unwrap().contains("c 10:* rw"));
}

#[test]
fn a_wrong_access_of_a_device_rule_is_refused() {
    only_ocicat!("runc 1.1 passes it to the kernel or drops it");
    Container::new()
        .set("/linux/resources/devices", json!([{"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwx"}]))
        .run()
        .fails("access");
}

#[test]
fn a_terminal_opened_inside_is_one_of_the_containers_own() {
    let container = Container::new().set("/process/noNewPrivileges", json!(false));
    container.shell("ls /dev/pts; stat -c %t,%T /dev/pts/ptmx").run().says("ptmx\n5,2");
}
