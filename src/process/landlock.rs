//! The annotation `org.ocicat.landlock`: a Landlock rule set for the container's processes (`docs/landlock.md`).
//!
//! `plan` reads the JSON and asks the host's ABI version; `prepare` opens the paths inside the container and makes the
//! ruleset, while errors can still be told by `create`; `restrict` is the last step but one, before the seccomp filter.

use crate::config::json;
use crate::host::Host;
use crate::sys;
use crate::sys::landlock::Governed;
use anyhow::{Context, Result, bail};
use rustix::fs::{FileType, OFlags};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// The annotation's name.
pub const ANNOTATION: &str = "org.ocicat.landlock";

/// The annotation as it is written; an unknown property is an error, since it would be a hole.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Written {
    best_effort: bool,
    abi: Option<u32>,
    paths: Option<Vec<WrittenPaths>>,
    ports: Option<Vec<WrittenPorts>>,
    scopes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPaths {
    paths: Vec<PathBuf>,
    access: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPorts {
    ports: Vec<u16>,
    access: Vec<String>,
}

/// A ruleset as values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    governed: Governed,
    paths: Vec<PathRule>,
    ports: Vec<(u16, u64)>,
    /// A path that the container lacks is left out instead of refused.
    best_effort: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct PathRule {
    path: PathBuf,
    access: u64,
    /// Where it stands in the annotation.
    place: String,
}

/// A word, the ABI version that brought it, and its bit (linux/landlock.h).
type Word = (&'static str, u32, u64);

const FILES: [Word; 16] = [
    ("execute", 1, 1),
    ("write_file", 1, 1 << 1),
    ("read_file", 1, 1 << 2),
    ("read_dir", 1, 1 << 3),
    ("remove_dir", 1, 1 << 4),
    ("remove_file", 1, 1 << 5),
    ("make_char", 1, 1 << 6),
    ("make_dir", 1, 1 << 7),
    ("make_reg", 1, 1 << 8),
    ("make_sock", 1, 1 << 9),
    ("make_fifo", 1, 1 << 10),
    ("make_block", 1, 1 << 11),
    ("make_sym", 1, 1 << 12),
    ("refer", 2, 1 << 13),
    ("truncate", 3, 1 << 14),
    ("ioctl_dev", 5, 1 << 15),
];
/// Shorthands: what one means by reading and by writing.
const GROUPS: [(&str, u64); 2] = [("read", 0b1100), ("write", 0xfff2)];
/// Rights that a file which is no directory can have.
const OF_A_FILE: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15;
const PORTS: [Word; 2] = [("bind", 4, 1), ("connect", 4, 1 << 1)];
const SCOPES: [Word; 2] = [("abstract_unix_socket", 6, 1), ("signal", 6, 1 << 1)];
/// The ABI version whose file rights are meant where the annotation says nothing: the newest with any of its own.
const USUAL: u32 = 5;
/// The Linux version of each ABI version, from 1 on.
const LINUX: [&str; 7] = ["5.13", "5.19", "6.2", "6.7", "6.10", "6.12", "6.15"];

/// `None` without the annotation, and where best effort has nothing to offer on this kernel.
pub fn plan(annotations: &BTreeMap<String, String>, host: &Host) -> Result<Option<Plan>> {
    annotations
        .get(ANNOTATION)
        .map_or(Ok(None), |text| read(text, host))
        .with_context(|| format!("annotations[{ANNOTATION:?}]"))
}

fn read(text: &str, host: &Host) -> Result<Option<Plan>> {
    let written: Written = json::parse(text.as_bytes())?;
    let meant = written.abi.unwrap_or(USUAL);
    if meant == 0 || written.abi.is_some_and(|abi| abi as usize > LINUX.len()) {
        bail!("abi: {meant} is none of the known versions, 1 to {}", LINUX.len());
    }
    if written.paths.is_none() && written.ports.is_none() && written.scopes.is_empty() {
        bail!("neither paths nor ports nor scopes are given");
    }
    // A newer kernel than was meant governs no more than was meant.
    let kernel = if written.best_effort { host.landlock } else { u32::MAX };
    let files = written.paths.as_ref().map_or(0, |_| bits(&FILES, meant.min(kernel)));
    let ports = written.ports.as_ref().map_or(0, |_| bits(&PORTS, kernel));
    let scopes = words(&written.scopes, &SCOPES, &[], "scopes")?;
    if !written.best_effort {
        let needs = [("paths", files, meant), ("ports", ports, 4), ("scopes", scopes, 6)];
        if let Some((field, _, abi)) = needs.iter().find(|(_, bits, abi)| *bits != 0 && *abi > host.landlock) {
            bail!(refusal(field, *abi, host.landlock));
        }
    }
    let governed = Governed { files, ports, scopes: scopes & bits(&SCOPES, kernel) };
    let plan = Plan {
        governed,
        paths: path_rules(written.paths.unwrap_or_default(), files, meant)?,
        ports: port_rules(&written.ports.unwrap_or_default(), ports)?,
        best_effort: written.best_effort,
    };
    Ok((governed != Governed::default()).then_some(plan))
}

fn refusal(field: &str, abi: u32, kernel: u32) -> String {
    let linux = LINUX.get(abi as usize - 1).copied().unwrap_or_default();
    let has = if kernel == 0 { "has no Landlock".to_owned() } else { format!("has version {kernel}") };
    let lower = if field == "paths" && kernel > 0 { format!("\"abi\": {kernel} or ") } else { String::new() };
    format!(
        "{field}: needs Landlock version {abi} (Linux {linux}) and this kernel {has}; hint: {lower}\"bestEffort\": true accepts less"
    )
}

/// All bits that a version has.
fn bits(table: &[Word], abi: u32) -> u64 {
    table.iter().filter(|(_, since, _)| *since <= abi).fold(0, |all, (.., bit)| all | bit)
}

fn words(written: &[String], table: &[Word], groups: &[(&str, u64)], place: &str) -> Result<u64> {
    let mut all = 0;
    for (i, word) in written.iter().enumerate() {
        let single = table.iter().find(|(known, ..)| known == word).map(|(.., bit)| *bit);
        match single.or_else(|| groups.iter().find(|(known, _)| known == word).map(|(_, bits)| *bits)) {
            Some(bits) => all |= bits,
            None => bail!("{place}[{i}]: unknown word {word:?}"),
        }
    }
    Ok(all)
}

fn path_rules(written: Vec<WrittenPaths>, governed: u64, meant: u32) -> Result<Vec<PathRule>> {
    let mut rules = Vec::new();
    for (i, rule) in written.into_iter().enumerate() {
        let asked = words(&rule.access, &FILES, &GROUPS, &format!("paths[{i}].access"))?;
        let named = words(&rule.access, &FILES, &[("read", 0), ("write", 0)], "")?;
        if let Some((word, since, _)) = FILES.iter().find(|(_, since, bit)| named & bit != 0 && *since > meant) {
            bail!("paths[{i}].access: {word} belongs to version {since} and \"abi\" is {meant}");
        }
        for (j, path) in rule.paths.into_iter().enumerate() {
            let place = format!("paths[{i}].paths[{j}] ({})", path.display());
            if !path.is_absolute() {
                bail!("{place}: must be absolute");
            }
            // A rule that allows nothing is refused by the kernel, and says nothing.
            if asked & governed != 0 {
                rules.push(PathRule { path, access: asked & governed, place });
            }
        }
    }
    Ok(rules)
}

fn port_rules(written: &[WrittenPorts], governed: u64) -> Result<Vec<(u16, u64)>> {
    let mut rules = Vec::new();
    for (i, rule) in written.iter().enumerate() {
        let access = words(&rule.access, &PORTS, &[], &format!("ports[{i}].access"))? & governed;
        if access != 0 {
            rules.extend(rule.ports.iter().map(|port| (*port, access)));
        }
    }
    Ok(rules)
}

/// Makes the ruleset; runs inside the container's root, as root of the container.
pub fn prepare(plan: &Plan) -> Result<OwnedFd> {
    prepare_rules(plan).with_context(|| format!("annotations[{ANNOTATION:?}]"))
}

fn prepare_rules(plan: &Plan) -> Result<OwnedFd> {
    let ruleset = sys::landlock::create_ruleset(&plan.governed)?;
    for rule in &plan.paths {
        let file = match sys::files::open(&rule.path, OFlags::PATH) {
            Err(error) if plan.best_effort && error.errno.0 == libc::ENOENT => continue,
            opened => opened.with_context(|| rule.place.clone())?,
        };
        let directory = rustix::fs::fstat(&file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir());
        let access = if directory { rule.access } else { rule.access & OF_A_FILE };
        if access != 0 {
            sys::landlock::allow_beneath(&ruleset, access, file.as_fd()).with_context(|| rule.place.clone())?;
        }
    }
    for (port, access) in &plan.ports {
        sys::landlock::allow_port(&ruleset, *access, *port)?;
    }
    Ok(ruleset)
}

/// Puts this process under the ruleset; needs no_new_privs or CAP_SYS_ADMIN, as the filter does.
pub fn restrict(ruleset: &OwnedFd) -> Result<()> {
    Ok(sys::landlock::restrict_self(ruleset)?)
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Governed { files, ports, scopes } = self.governed;
        writeln!(f, "landlock files {files:#x} ports {ports:#x} scopes {scopes:#x}")?;
        for rule in &self.paths {
            writeln!(f, "landlock allow {:#x} beneath {}", rule.access, rule.path.display())?;
        }
        for (port, access) in &self.ports {
            writeln!(f, "landlock allow {access:#x} on port {port}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(text: &str, landlock: u32) -> Result<Option<Plan>> {
        let annotations = BTreeMap::from([(ANNOTATION.to_owned(), text.to_owned())]);
        plan(&annotations, &Host { landlock, ..Host::modern() })
    }

    #[test]
    fn rules_become_what_the_kernel_is_asked() {
        let cases = [
            (r#"{"paths":[]}"#, 7, "landlock files 0xffff ports 0x0 scopes 0x0\n"),
            (r#"{"paths":[],"abi":1}"#, 7, "landlock files 0x1fff ports 0x0 scopes 0x0\n"),
            (
                r#"{"paths":[{"paths":["/usr","/bin"],"access":["read","execute"]},{"paths":["/tmp"],"access":["read","write"]}]}"#,
                5,
                "landlock files 0xffff ports 0x0 scopes 0x0\nlandlock allow 0xd beneath /usr\nlandlock allow 0xd beneath /bin\nlandlock allow 0xfffe beneath /tmp\n",
            ),
            (
                r#"{"ports":[{"ports":[80,443],"access":["connect"]}],"scopes":["signal"]}"#,
                6,
                "landlock files 0x0 ports 0x3 scopes 0x2\nlandlock allow 0x2 on port 80\nlandlock allow 0x2 on port 443\n",
            ),
            (
                r#"{"bestEffort":true,"paths":[{"paths":["/"],"access":["read","ioctl_dev"]}],"ports":[],"scopes":["signal"]}"#,
                2,
                "landlock files 0x3fff ports 0x0 scopes 0x0\nlandlock allow 0xc beneath /\n",
            ),
        ];
        for (text, kernel, expected) in cases {
            assert_eq!(planned(text, kernel).unwrap().unwrap().to_string(), expected, "{text}");
        }
        assert_eq!(planned(r#"{"bestEffort":true,"paths":[]}"#, 0).unwrap(), None);
        assert_eq!(plan(&BTreeMap::new(), &Host::modern()).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_granted_is_refused_with_its_place() {
        let cases = [
            ("{}", 7, "neither paths nor ports nor scopes are given"),
            ("[]", 7, "expected an object, found an array at line 1 column 2"),
            (
                r#"{"path":[]}"#,
                7,
                "path: unknown field `path`, expected one of `bestEffort`, `abi`, `paths`, `ports`, `scopes` at line 1 column 7",
            ),
            (r#"{"paths":[{"paths":["/"],"access":["reed"]}]}"#, 7, r#"paths[0].access[0]: unknown word "reed""#),
            (r#"{"paths":[{"paths":["/","etc"],"access":["read"]}]}"#, 7, "paths[0].paths[1] (etc): must be absolute"),
            (r#"{"scopes":["signals"]}"#, 7, r#"scopes[0]: unknown word "signals""#),
            (r#"{"abi":9,"paths":[]}"#, 7, "abi: 9 is none of the known versions, 1 to 7"),
            (
                r#"{"abi":2,"paths":[{"paths":["/"],"access":["truncate"]}]}"#,
                7,
                r#"paths[0].access: truncate belongs to version 3 and "abi" is 2"#,
            ),
            (
                r#"{"paths":[]}"#,
                3,
                r#"paths: needs Landlock version 5 (Linux 6.10) and this kernel has version 3; hint: "abi": 3 or "bestEffort": true accepts less"#,
            ),
            (
                r#"{"scopes":["signal"]}"#,
                0,
                r#"scopes: needs Landlock version 6 (Linux 6.12) and this kernel has no Landlock; hint: "bestEffort": true accepts less"#,
            ),
        ];
        for (text, kernel, expected) in cases {
            let error = format!("{:#}", planned(text, kernel).unwrap_err());
            assert_eq!(error, format!("annotations[\"org.ocicat.landlock\"]: {expected}"), "{text}");
        }
    }
}
