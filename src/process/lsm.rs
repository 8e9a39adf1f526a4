//! `process.apparmorProfile` and `process.selinuxLabel`: the label that the kernel gives to the next program.
//!
//! Both are written to a file of the process' own `attr` directory, through a private procfs only (CVE-2019-16884,
//! CVE-2025-52881), by the launcher: the kernel applies them at the next execve, which must be that of the program.
//!
//! A label on a host without that LSM is an error: config.md makes the fields optional to write and not to obey, and
//! runtime.md ("Create") wants an error for every property that cannot be applied. A container that its author believes to
//! be confined would run unconfined otherwise. (runtime-tools' process_apparmor_profile passes only where this is
//! tolerated.) `unconfined` and the empty text ask for nothing.

use crate::config::Process;
use crate::host::Host;
use crate::sys::files;
use crate::sys::procfs::Procfs;
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::OFlags;

/// The kernel's list of profiles, where securityfs is mounted: lines as `docker-default (enforce)`.
const PROFILES: &str = "/sys/kernel/security/apparmor/profiles";

/// One write to a file of `/proc/self/attr`, done right before the last execve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Field of config.json.
    pub place: &'static str,
    /// Path below /proc: `self/attr/apparmor/exec`.
    pub file: &'static str,
    /// What is written.
    pub text: String,
}

/// `None` where no label is asked for.
pub fn plan(process: &Process, host: &Host) -> Result<Option<Plan>> {
    let profile = process.apparmor_profile.as_deref().filter(|profile| !profile.is_empty());
    let label = process.selinux_label.as_deref().filter(|label| !label.is_empty());
    for (place, text) in [("process.apparmorProfile", profile), ("process.selinuxLabel", label)] {
        if text.is_some_and(|text| text.contains(['\0', '\n'])) {
            bail!("{place}: a label has neither line ends nor zero bytes");
        }
    }
    match (profile, label) {
        (None, None) => Ok(None),
        (Some("unconfined"), None) if !host.apparmor => Ok(None),
        (Some(profile), _) if !host.apparmor => {
            bail!("process.apparmorProfile: {profile:?} cannot be applied, AppArmor is not enabled on this host")
        }
        (_, Some(label)) if !host.selinux => {
            bail!("process.selinuxLabel: {label:?} cannot be applied, SELinux is not enabled on this host")
        }
        (Some(_), Some(_)) => {
            bail!("process.apparmorProfile: there is a process.selinuxLabel too, only one can be applied")
        }
        // KERNEL(5.8): a directory for each LSM; before, the one file belongs to whichever LSM is the major one.
        (Some(profile), None) => Ok(Some(Plan {
            place: "process.apparmorProfile",
            file: if host.kernel >= (5, 8) { "self/attr/apparmor/exec" } else { "self/attr/exec" },
            text: format!("exec {profile}"),
        })),
        (None, Some(label)) => {
            Ok(Some(Plan { place: "process.selinuxLabel", file: "self/attr/exec", text: label.to_owned() }))
        }
    }
}

/// Checks that the attribute file exists, so that a missing LSM is an error of `create` and not of `start`.
pub fn check(plan: &Plan, procfs: &Procfs) -> Result<()> {
    procfs.open_file(plan.file, OFlags::PATH).context(plan.place)?;
    Ok(())
}

/// Checks that a profile of AppArmor's is loaded, for whoever has another program apply it. A stack of profiles and one of
/// another policy namespace are not looked up, and nothing is where the list cannot be read.
///
/// # Errors
/// There is no such profile.
pub fn check_loaded(profile: &str) -> Result<()> {
    let Ok(list) = files::read(PROFILES, 16 << 20) else { return Ok(()) };
    ensure!(
        is_listed(profile, &String::from_utf8_lossy(&list)),
        "no AppArmor profile of the name {profile:?} is loaded; hint: apparmor_parser --replace FILE"
    );
    Ok(())
}

fn is_listed(profile: &str, list: &str) -> bool {
    let is_one =
        !profile.is_empty() && profile != "unconfined" && !profile.starts_with(':') && !profile.contains("//&");
    !is_one || list.lines().any(|line| line.rsplit_once(" (").is_some_and(|(name, _)| name == profile))
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "label {} <- {}", self.file, self.text)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make their own trees, and nobody else is in them")]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_found_in_the_list_of_the_kernel() {
        let list = "docker-default (enforce)\nmy profile (x) (complain)\n";
        for (profile, expected) in [
            ("docker-default", true),
            ("my profile (x)", true),
            ("docker", false),
            ("", true),
            ("unconfined", true),
            (":ns:docker", true),
            ("a//&b", true),
        ] {
            assert_eq!(is_listed(profile, list), expected, "{profile}");
        }
    }

    #[test]
    fn a_label_that_cannot_be_applied_is_an_error() {
        let none = Host::modern();
        let apparmor = Host { apparmor: true, ..Host::modern() };
        let old = Host { kernel: (5, 4), ..apparmor.clone() };
        let selinux = Host { selinux: true, ..Host::modern() };
        let rows = [
            (&none, "{}", "nothing"),
            (&none, r#"{"apparmorProfile": ""}"#, "nothing"),
            (&none, r#"{"apparmorProfile": "unconfined"}"#, "nothing"),
            (
                &none,
                r#"{"apparmorProfile": "p"}"#,
                "process.apparmorProfile: \"p\" cannot be applied, AppArmor is not enabled on this host",
            ),
            (&apparmor, r#"{"apparmorProfile": "p"}"#, "label self/attr/apparmor/exec <- exec p"),
            (&apparmor, r#"{"apparmorProfile": "unconfined"}"#, "label self/attr/apparmor/exec <- exec unconfined"),
            (&old, r#"{"apparmorProfile": "p"}"#, "label self/attr/exec <- exec p"),
            (
                &apparmor,
                "{\"apparmorProfile\": \"p\\nq\"}",
                "process.apparmorProfile: a label has neither line ends nor zero bytes",
            ),
            (
                &apparmor,
                r#"{"selinuxLabel": "u:r:t:s0"}"#,
                "process.selinuxLabel: \"u:r:t:s0\" cannot be applied, SELinux is not enabled on this host",
            ),
            (&selinux, r#"{"selinuxLabel": "u:r:t:s0"}"#, "label self/attr/exec <- u:r:t:s0"),
        ];
        for (host, process, expected) in rows {
            let process: Process = serde_json::from_str(process).unwrap();
            let shown = match plan(&process, host) {
                Ok(None) => "nothing".to_owned(),
                Ok(Some(plan)) => plan.to_string().trim_end().to_owned(),
                Err(error) => error.to_string(),
            };
            assert_eq!(shown, expected);
        }
    }

    #[test]
    fn the_label_of_either_module_is_written_to_its_own_file_right_before_the_program() {
        use crate::sys::files;
        use crate::sys::forked;
        use crate::sys::launcher::{Label, Launcher, Options};
        use std::ffi::CString;
        let apparmor = Host { apparmor: true, ..Host::modern() };
        let selinux = Host { selinux: true, ..Host::modern() };
        let rows = [
            (&apparmor, r#"{"apparmorProfile": "p"}"#, "self/attr/apparmor/exec", "exec p"),
            (&selinux, r#"{"selinuxLabel": "u:r:t:s0:c1,c2"}"#, "self/attr/exec", "u:r:t:s0:c1,c2"),
        ];
        for (host, process, file, text) in rows {
            let process: Process = serde_json::from_str(process).unwrap();
            let plan = plan(&process, host).unwrap().unwrap();
            let directory = tempfile::tempdir().unwrap();
            let procfs = Procfs::of_directory(directory.path());
            let missing = check(&plan, &procfs).unwrap_err();
            assert!(format!("{missing:#}").starts_with(&format!("{}: open /proc/{file}: no such file", plan.place)));
            std::fs::create_dir_all(directory.path().join("self/attr/apparmor")).unwrap();
            for name in ["self/attr/exec", "self/attr/apparmor/exec"] {
                files::create_new(directory.path().join(name), b"", 0o600).unwrap();
            }
            check(&plan, &procfs).unwrap();
            let child = forked::start(|| {
                let (file, text) = (CString::new(plan.file).unwrap(), CString::new(plan.text.as_str()).unwrap());
                let label = Some(Label { procfs: &procfs, file: &file, text: &text });
                let launcher = Launcher::new(&Options { label, outcome: None }).unwrap();
                launcher.execute(c"/bin/true", &[c"true".to_owned()], &[]).to_string()
            });
            assert_eq!(forked::wait(child), 0, "{file}");
            let written = |name: &str| files::read_text(directory.path().join(name)).unwrap();
            assert_eq!(written(file), text);
            let other = if file == "self/attr/exec" { "self/attr/apparmor/exec" } else { "self/attr/exec" };
            assert_eq!(written(other), "", "{file}");
        }
    }
}
