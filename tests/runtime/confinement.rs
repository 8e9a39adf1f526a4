//! Seccomp and Landlock on whole containers: what the program can still do.

use crate::common::*;

fn landlocked(rules: &serde_json::Value) -> Container {
    Container::new().set("/annotations", json!({"org.ocicat.landlock": rules.to_string()}))
}

fn kernel_has_landlock() -> bool {
    ocicat::sys::landlock::version() >= 6
}

#[test]
fn landlock_allows_what_the_rules_name_and_nothing_else() {
    need!(kernel_has_landlock(), "the kernel has no Landlock of version 6");
    let rules = json!({"paths": [
        {"paths": ["/bin"], "access": ["read", "execute"]},
        {"paths": ["/dev"], "access": ["read", "write"]}]});
    let script = "ls /bin >/dev/null && echo listed; cat /etc/passwd 2>&1; echo x >/dev/shm/x && echo written";
    landlocked(&rules).shell(script).run().says("listed\ncat: can't open '/etc/passwd': Permission denied\nwritten");
}

#[test]
fn landlock_holds_without_no_new_privileges_too() {
    need!(kernel_has_landlock(), "the kernel has no Landlock of version 6");
    let rules = json!({"paths": [{"paths": ["/bin", "/dev"], "access": ["read", "write", "execute"]}]});
    let container = landlocked(&rules).set("/process/noNewPrivileges", json!(false));
    container
        .shell("cat /etc/passwd 2>&1; echo x >/dev/null && echo alive")
        .run()
        .says("cat: can't open '/etc/passwd': Permission denied\nalive");
}

#[test]
fn a_landlock_path_that_is_missing_is_named() {
    need!(kernel_has_landlock(), "the kernel has no Landlock of version 6");
    let rules = json!({"paths": [{"paths": ["/bin", "/no/such"], "access": ["read", "execute"]}]});
    let place =
        "annotations[\"org.ocicat.landlock\"]: paths[0].paths[1] (/no/such): open /no/such: no such file or directory";
    landlocked(&rules).run().fails(place);
    let rules = json!({"bestEffort": true, "paths": [{"paths": ["/bin", "/no/such"], "access": ["read", "execute"]}]});
    landlocked(&rules).args(&["echo", "fine"]).run().says("fine");
}

#[test]
fn dockers_seccomp_profile_lets_a_container_work() {
    let profile: serde_json::Value = serde_json::from_str(include_str!("../data/docker-seccomp.json")).unwrap();
    for no_new_privileges in [true, false] {
        let container = Container::new()
            .set("/linux/seccomp", profile.clone())
            .set("/process/noNewPrivileges", json!(no_new_privileges));
        container
            .shell("grep ^Seccomp: /proc/self/status; unshare -U true 2>&1; true")
            .run()
            .says("Seccomp:\t2\nunshare: unshare(0x10000000): Operation not permitted");
    }
}
