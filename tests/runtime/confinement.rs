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

/// What a container whose author believes it to be confined must not do: run unconfined.
#[test]
fn a_label_whose_module_the_kernel_does_not_run_is_refused() {
    only_ocicat!("old peers run the container all the same");
    let enabled = |path: &str| std::fs::read_to_string(path).is_ok_and(|text| text.starts_with('Y'));
    need!(!enabled("/sys/module/apparmor/parameters/enabled"), "the kernel runs AppArmor: conformance/vm shows it");
    need!(!std::path::Path::new("/sys/fs/selinux/enforce").exists(), "the kernel runs SELinux");
    let labels =
        [("apparmorProfile", "p", "AppArmor"), ("selinuxLabel", "system_u:system_r:container_t:s0", "SELinux")];
    for (field, label, module) in labels {
        let container = Container::new().set(&format!("/process/{field}"), json!(label));
        container
            .create()
            .fails(&format!("process.{field}: {label:?} cannot be applied, {module} is not enabled on this host"));
        assert_eq!(container.leftovers(), Vec::<String>::new());
    }
    let container = Container::new().sleeping();
    container.exec_with(&["--apparmor", "p"], &["true"]).exits(255).fails("AppArmor is not enabled");
    container.exec_with(&["--process-label", "a:b:c:s0"], &["true"]).exits(255).fails("SELinux is not enabled");
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
