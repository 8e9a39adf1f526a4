//! `linux.intelRdt`: shares of cache and memory bandwidth by directories of the resctrl filesystem
//! (config-linux.md, "IntelRdt"; Documentation/filesystems/resctrl.rst).

use crate::config::IntelRdt;
use crate::sys::{Errno, cgroupfs, files};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What a container has there: part of its record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resctrl {
    /// The class of service that its processes are in.
    pub group: PathBuf,
    /// `tasks` files that each of its processes enters, in order: the class of service, then the monitoring group.
    pub join: Vec<PathBuf>,
    /// Directories that end with it, in order.
    pub remove: Vec<PathBuf>,
}

/// The lines of schemata that a change has replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Former(Vec<String>);

/// What is to be done before the first process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rdt {
    pub(super) paths: Resctrl,
    base: PathBuf,
    /// The class of service must be there already: nothing says what it should be.
    must_exist: bool,
    /// Lines that a class of service that is there must have already, and a new one gets.
    compared: Vec<String>,
    /// Lines that are written as they are.
    written: Vec<String>,
    monitor: Option<PathBuf>,
}

/// Plans the class of service of a container; `base` is where resctrl is mounted.
pub(super) fn plan(rdt: &IntelRdt, id: &str, base: &Path) -> Result<Rdt> {
    let class = rdt.clos_id.as_deref().filter(|class| !class.is_empty());
    let name = class.unwrap_or(id);
    let root = name == "/";
    let reserved = ["", ".", "..", "info", "mon_groups", "mon_data"].contains(&name) || name.contains(['/', '\n']);
    anyhow::ensure!(root || !reserved, "linux.intelRdt.closID ({name}): must be the name of one directory, or /");
    let group = if root { base.to_owned() } else { base.join(name) };
    let lines = |text: &Option<String>| -> Vec<String> {
        text.iter()
            .flat_map(|text| text.lines())
            .map(|line| line.trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect()
    };
    let bandwidth = lines(&rdt.mem_bw_schema);
    let mut compared = lines(&rdt.l3_cache_schema);
    if !bandwidth.is_empty() {
        compared.retain(|line| !line.starts_with("MB:"));
    }
    compared.extend(bandwidth);
    let monitor = rdt.enable_monitoring.then(|| group.join("mon_groups").join(id));
    let mut paths = Resctrl { join: vec![group.join("tasks")], remove: Vec::new(), group };
    paths.join.extend(monitor.iter().map(|monitor| monitor.join("tasks")));
    paths.remove.extend(monitor.clone());
    if class.is_none() {
        paths.remove.push(paths.group.clone());
    }
    let written = rdt.schemata.clone();
    let must_exist = class.is_some() && compared.is_empty() && written.is_empty();
    Ok(Rdt { paths, base: base.to_owned(), must_exist, compared, written, monitor })
}

impl Rdt {
    /// Makes the directories and writes the schemata; adds to `made` what is new.
    pub(super) fn make(&self, made: &mut Vec<PathBuf>) -> Result<()> {
        let group = &self.paths.group;
        anyhow::ensure!(
            cgroupfs::exists(&self.base.join("schemata")),
            "linux.intelRdt: resctrl is not mounted at {0}; hint: mount -t resctrl resctrl {0}",
            self.base.display()
        );
        let is_new = !cgroupfs::exists(group);
        if is_new {
            anyhow::ensure!(
                !self.must_exist,
                "linux.intelRdt.closID: there is no class of service {}",
                group.display()
            );
            cgroupfs::make(group).context("linux.intelRdt.closID")?;
            made.push(group.clone());
        } else {
            self.compare().context("linux.intelRdt")?;
        }
        let mut lines = if is_new { self.compared.clone() } else { Vec::new() };
        lines.extend(self.written.iter().cloned());
        write(group, &lines)?;
        if let Some(monitor) = &self.monitor {
            match cgroupfs::make(monitor) {
                Err(e) if e.errno == Errno(libc::EEXIST) => {}
                other => {
                    other.context("linux.intelRdt.enableMonitoring")?;
                    made.push(monitor.clone());
                }
            }
        }
        Ok(())
    }

    /// A class of service that is there belongs to others too: it must be what is asked for, as it cannot be changed.
    fn compare(&self) -> Result<()> {
        if self.compared.is_empty() {
            return Ok(());
        }
        let now = files::read_text(self.paths.group.join("schemata"))?;
        let now: Vec<String> = now.lines().map(same_form).collect();
        match self.compared.iter().find(|line| !now.contains(&same_form(line))) {
            None => Ok(()),
            Some(line) => anyhow::bail!("{} exists and does not have {line}", self.paths.group.display()),
        }
    }
}

/// A schemata line in one form, whatever spaces and leading zeros it was written with: `L3:0=7f0;1=1f`.
fn same_form(line: &str) -> String {
    let (resource, values) = line.split_once(':').unwrap_or((line, ""));
    let value = |pair: &str| {
        let (domain, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.trim().trim_start_matches('0').to_ascii_lowercase();
        format!("{}={}", domain.trim().trim_start_matches('0'), value)
    };
    let mut values: Vec<String> = values.split(';').map(value).collect();
    values.sort();
    format!("{}:{}", resource.trim(), values.join(";"))
}

fn write(group: &Path, lines: &[String]) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut text = lines.join("\n");
    text.push('\n');
    cgroupfs::write(&group.join("schemata"), &text).map_err(|error| {
        // The kernel tells the reason of the last refusal beside (resctrl.rst, "last_cmd_status").
        let base = if cgroupfs::exists(&group.join("info")) { Some(group) } else { group.parent() };
        let status = base.and_then(|base| files::read_text(base.join("info/last_cmd_status")).ok()).unwrap_or_default();
        anyhow::Error::new(error)
            .context(format!("linux.intelRdt: {}", status.trim()).trim_end_matches(": ").to_owned())
    })
}

impl Resctrl {
    /// Changes the schemata of a running container's class of service; answers with what they were, for [`put_back`](Self::put_back).
    pub fn change(&self, rdt: &IntelRdt) -> Result<Former> {
        let planned = plan(&IntelRdt { clos_id: Some("/".to_owned()), ..rdt.clone() }, "", &self.group)?;
        let mut lines = planned.compared;
        lines.extend(planned.written);
        let resource = |line: &str| line.split(':').next().unwrap_or_default().trim().to_owned();
        let changed: Vec<String> = lines.iter().map(|line| resource(line)).collect();
        let now = files::read_text(self.group.join("schemata")).context("linux.intelRdt")?;
        let former = now.lines().map(str::trim).filter(|line| changed.contains(&resource(line)));
        let former = Former(former.map(str::to_owned).collect());
        // The kernel takes the lines one after the other up to a wrong one.
        write(&self.group, &lines).inspect_err(|_| drop(self.put_back(&former)))?;
        Ok(former)
    }

    /// Writes the schemata that were there before a change.
    pub fn put_back(&self, former: &Former) -> Result<()> {
        write(&self.group, &former.0)
    }

    /// Removes the directories that end with the container; what is gone is no error.
    pub(super) fn take_away(&self) -> Result<()> {
        for directory in &self.remove {
            match cgroupfs::remove(directory) {
                Err(e) if e.errno == Errno(libc::ENOENT) => {}
                other => other?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(json: &str) -> Result<Rdt> {
        plan(&serde_json::from_str(json).unwrap(), "box", Path::new("/r"))
    }

    #[test]
    fn a_class_of_service_is_named_by_clos_id_or_by_the_container() {
        for (json, join, remove, must_exist, compared) in [
            (r#"{}"#, "/r/box/tasks", "/r/box", false, ""),
            (r#"{"closID":"gold"}"#, "/r/gold/tasks", "", true, ""),
            (r#"{"closID":"/"}"#, "/r/tasks", "", true, ""),
            (
                r#"{"closID":"gold","enableMonitoring":true,"schemata":["L3:0=f"]}"#,
                "/r/gold/tasks /r/gold/mon_groups/box/tasks",
                "/r/gold/mon_groups/box",
                false,
                "",
            ),
            (
                r#"{"l3CacheSchema":"L3:0=f\nMB:0=10","memBwSchema":"MB:0=20"}"#,
                "/r/box/tasks",
                "/r/box",
                false,
                "L3:0=f MB:0=20",
            ),
            (r#"{"l3CacheSchema":"L3:0=f\nMB:0=10"}"#, "/r/box/tasks", "/r/box", false, "L3:0=f MB:0=10"),
        ] {
            let rdt = planned(json).unwrap();
            let shown = |paths: &[PathBuf]| paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" ");
            assert_eq!(shown(&rdt.paths.join), join, "{json}");
            assert_eq!(shown(&rdt.paths.remove), remove, "{json}");
            assert_eq!((rdt.must_exist, rdt.compared.join(" ").as_str()), (must_exist, compared), "{json}");
        }
        for name in ["..", "a/b", "info", "mon_groups"] {
            let error = planned(&format!(r#"{{"closID":"{name}"}}"#)).unwrap_err().to_string();
            assert_eq!(error, format!("linux.intelRdt.closID ({name}): must be the name of one directory, or /"));
        }
    }

    fn file(path: &Path, text: &str) {
        let mut file = std::fs::OpenOptions::new().create_new(true).write(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    }

    /// Plans with `json` and makes, in a directory that looks like resctrl with a class of service `gold`.
    fn made(json: &str) -> (tempfile::TempDir, String) {
        let base = tempfile::tempdir().unwrap();
        file(&base.path().join("schemata"), "L3:0=fff\n");
        std::fs::create_dir(base.path().join("gold")).unwrap();
        std::fs::create_dir(base.path().join("gold/mon_groups")).unwrap();
        file(&base.path().join("gold/schemata"), "    L3:0=00f;1=0ff\n    MB:0= 20;1= 30\n");
        let rdt = plan(&serde_json::from_str(json).unwrap(), "box", base.path()).unwrap();
        let mut new = Vec::new();
        let outcome = match rdt.make(&mut new) {
            Ok(()) => {
                let names = new.iter().map(|p| p.strip_prefix(base.path()).unwrap().display().to_string());
                format!("made {}", names.collect::<Vec<_>>().join(" "))
            }
            Err(error) => format!("{error:#}").replace(&base.path().display().to_string(), "/r"),
        };
        rdt.paths.take_away().unwrap();
        (base, outcome)
    }

    #[test]
    fn a_class_that_exists_is_joined_only_if_it_is_what_is_asked_for() {
        for (json, expected) in [
            (r#"{"closID":"gold"}"#, "made "),
            (r#"{"closID":"gold","l3CacheSchema":"L3:0=f;1=FF"}"#, "made "),
            (r#"{"closID":"gold","l3CacheSchema":"L3:1=ff;0=0f","memBwSchema":"MB:0=20;1=30"}"#, "made "),
            (r#"{"closID":"gold","enableMonitoring":true}"#, "made gold/mon_groups/box"),
            (
                r#"{"closID":"gold","memBwSchema":"MB:0=99;1=30"}"#,
                "linux.intelRdt: /r/gold exists and does not have MB:0=99;1=30",
            ),
            (r#"{"closID":"silver"}"#, "linux.intelRdt.closID: there is no class of service /r/silver"),
            (r#"{}"#, "made box"),
        ] {
            let (base, outcome) = made(json);
            assert_eq!(outcome, expected, "{json}");
            assert!(!base.path().join("box").exists() && !base.path().join("gold/mon_groups/box").exists(), "{json}");
        }
        let (base, outcome) = made(r#"{"closID":"gold","schemata":["L3:0=1","MB:0=2"]}"#);
        assert_eq!(outcome, "made ");
        assert_eq!(
            crate::sys::files::read_text(base.path().join("gold/schemata")).unwrap().lines().next(),
            Some("L3:0=1")
        );
    }

    #[test]
    fn a_change_of_the_schemata_can_be_taken_back() {
        let base = tempfile::tempdir().unwrap();
        file(&base.path().join("schemata"), "    MB:0= 20;1= 30\n    L3:0=00f;1=0ff\n");
        let resctrl = Resctrl { group: base.path().to_owned(), ..Resctrl::default() };
        let read = || files::read_text(base.path().join("schemata")).unwrap();
        let asked = IntelRdt { l3_cache_schema: Some("L3:0=1".to_owned()), ..IntelRdt::default() };
        let former = resctrl.change(&asked).unwrap();
        assert_eq!((read().lines().next(), former.0.join(" ").as_str()), (Some("L3:0=1"), "L3:0=00f;1=0ff"));
        resctrl.put_back(&former).unwrap();
        assert_eq!(read().lines().next(), Some("L3:0=00f;1=0ff"));
        let both = IntelRdt { mem_bw_schema: Some("MB:0=50".to_owned()), ..asked };
        resctrl.change(&both).unwrap();
        assert!(read().starts_with("L3:0=1\nMB:0=50\n"), "{}", read());
        let gone = Resctrl { group: base.path().join("gone"), ..Resctrl::default() };
        let error = format!("{:#}", gone.change(&both).unwrap_err());
        assert!(error.starts_with("linux.intelRdt: open ") && error.ends_with("(ENOENT)"), "{error}");
    }

    #[test]
    fn without_resctrl_the_error_says_how_to_get_it() {
        let rdt = plan(&IntelRdt::default(), "box", Path::new("/no/such")).unwrap();
        let error = rdt.make(&mut Vec::new()).unwrap_err().to_string();
        assert_eq!(
            error,
            "linux.intelRdt: resctrl is not mounted at /no/such; hint: mount -t resctrl resctrl /no/such"
        );
    }
}
