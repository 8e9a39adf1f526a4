//! Changing the limits of a running container: all of them, or none.
//!
//! Every file is read before it is written. When the kernel refuses a value, what was written so far gets its former
//! values back, and the error says which write it was.

use super::attach;
use super::devices::Rules;
use super::make::{directory_of, put, refers_to_others};
use super::path::{OwnCgroups, Paths};
use super::plan::available;
use super::resources;
use super::scope;
use super::sheet::{Absent, Sheet, Version, Write};
use super::unit::{self, Value};
use crate::config::{Memory, Resources};
use crate::sys::{Errno, cgroupfs, files};
use anyhow::{Context, Result};
use std::path::PathBuf;

/// The writes of one `update`.
#[derive(Debug, Clone)]
pub struct Update<'a> {
    paths: &'a Paths,
    sheet: Sheet,
    devices: Option<Rules>,
    /// What systemd has to know of it.
    properties: Vec<(String, Value)>,
}

/// Plans the change of a container's limits to what `wanted` says; fields that it leaves out stay as they are.
pub fn update<'a>(paths: &'a Paths, wanted: &Resources, own: &OwnCgroups) -> Result<Update<'a>> {
    anyhow::ensure!(!paths.is_empty(), "the container has no cgroup to set limits in");
    let find = |name: &str| available(name, &paths.hierarchies, own);
    let mut wanted = wanted.clone();
    complete(&mut wanted, paths, &find)?;
    let sheet = resources::sheet(&wanted, &find)?;
    let devices = if wanted.devices.is_empty() { None } else { Some(Rules::of(Some(&wanted))?) };
    let mut properties = Vec::new();
    if paths.scope.is_some() {
        let v2 = paths.hierarchies.len() == 1;
        properties = unit::limits(&wanted, v2)?;
        let groups = unit::device_groups(v2)?;
        properties.extend(devices.iter().flat_map(|rules| unit::devices(rules, v2, &groups)));
    }
    Ok(Update { paths, sheet, devices, properties })
}

/// What a container has after an update: `stored` with the fields of `wanted` over it.
pub fn merged(stored: Option<&Resources>, wanted: &Resources) -> Result<Resources> {
    fn lay(over: serde_json::Value, under: &mut serde_json::Value) {
        match (over, under) {
            (serde_json::Value::Object(over), serde_json::Value::Object(under)) => {
                for (key, value) in over {
                    lay(value, under.entry(key).or_insert(serde_json::Value::Null));
                }
            }
            (over, under) => *under = over,
        }
    }
    let mut result = serde_json::to_value(stored.unwrap_or(&Resources::default()))?;
    lay(serde_json::to_value(wanted)?, &mut result);
    Ok(serde_json::from_value(result)?)
}

/// Fills in what version 2 keeps in one file with a field that is given: quota and period, and the memory limit that the
/// spec's sum of memory and swap needs.
fn complete(wanted: &mut Resources, paths: &Paths, find: resources::Available) -> Result<()> {
    let Some(unified) = paths.unified() else { return Ok(()) };
    let read = |file: &str| cgroupfs::read(&unified.directory.join(file));
    if let Some(cpu) = wanted.cpu.as_mut().filter(|_| matches!(find("cpu"), Ok(Some(Version::V2)))) {
        let (quota, period) = (resources::set(&cpu.quota), resources::set(&cpu.period));
        if quota != period {
            let text = read("cpu.max")?;
            let mut words = text.split_whitespace();
            let (now_quota, now_period) = (words.next().unwrap_or("max"), words.next().unwrap_or("100000"));
            match quota {
                true => cpu.period = now_period.parse().ok(),
                false => cpu.quota = Some(now_quota.parse().unwrap_or(-1)),
            }
        }
    }
    let sum_alone = |memory: &&mut Memory| {
        resources::set(&memory.swap) && memory.swap != Some(-1) && !resources::set(&memory.limit)
    };
    if let Some(memory) = wanted.memory.as_mut().filter(sum_alone)
        && find("memory")? == Some(Version::V2)
    {
        memory.limit = Some(read("memory.max")?.trim().parse().unwrap_or(-1));
    }
    make_room(wanted, paths, find)
}

/// A memory limit below what is in use: version 2 would kill for it, so room is made first, or the limit refused.
/// Version 1 makes room by itself and refuses when it cannot; there only `checkBeforeUpdate` asks for a look.
fn make_room(wanted: &Resources, paths: &Paths, find: resources::Available) -> Result<()> {
    let Some(memory) = &wanted.memory else { return Ok(()) };
    let Some(limit) = resources::given(&memory.limit).and_then(|limit| u64::try_from(*limit).ok()) else {
        return Ok(());
    };
    let (file, v2) = match find("memory")? {
        Some(Version::V2) => (paths.unified().map(|h| h.directory.join("memory.current")), true),
        _ => (paths.v1("memory").map(|h| h.directory.join("memory.usage_in_bytes")), false),
    };
    let Some(file) = file else { return Ok(()) };
    let usage = || -> Result<u64> { Ok(cgroupfs::read(&file)?.trim().parse().unwrap_or(0)) };
    let before = usage()?;
    if before <= limit || (!v2 && memory.check_before_update != Some(true)) {
        return Ok(());
    }
    if v2 {
        // Reclaims as much as it can; EAGAIN is "not all of it" (Linux 5.19).
        let _ = cgroupfs::write(&file.with_file_name("memory.reclaim"), &(before - limit).to_string());
    }
    let after = usage()?;
    anyhow::ensure!(
        after <= limit,
        "linux.resources.memory.limit ({limit}): {after} bytes are in use and cannot be reclaimed"
    );
    Ok(())
}

/// A value that was in a file before.
struct Former {
    path: PathBuf,
    value: String,
    /// All that was in the file.
    text: String,
}

/// What has been changed so far, as it was before.
#[derive(Default)]
struct Before {
    values: Vec<Former>,
    devices: Option<attach::Former>,
}

impl Update<'_> {
    /// Remarks on fields that have no effect on this host, and why.
    pub fn notes(&self) -> &[String] {
        &self.sheet.notes
    }

    /// Writes everything, or puts the former values back and says which write failed.
    pub fn apply(&self) -> Result<()> {
        let mut before = Before::default();
        let Err(error) = self.write_all(&mut before) else { return Ok(()) };
        let mut stuck = put_back(before.values);
        if let Some(Err(lost)) = before.devices.map(|devices| attach::put_back(self.paths, &devices)) {
            stuck.push(format!("linux.resources.devices ({lost:#})"));
        }
        match stuck.is_empty() {
            true => Err(error.context("nothing was changed")),
            false => Err(error.context(format!("these could not be put back: {}", stuck.join(", ")))),
        }
    }

    /// systemd comes last: it takes all of its properties or none, and what it has taken it would write again at its next
    /// reload.
    fn write_all(&self, before: &mut Before) -> Result<()> {
        let mut again = Vec::new();
        for write in &self.sheet.writes {
            before.values.extend(self.former(write));
            match put(self.paths, write) {
                Err(e) if refers_to_others(&e) && self.sheet.writes.len() > 1 => again.push(write),
                other => self.explained(write, other)?,
            }
        }
        for write in again {
            self.explained(write, put(self.paths, write))?;
        }
        if let Some(rules) = &self.devices {
            before.devices = attach::former(self.paths)?;
            attach::change(self.paths, rules)?;
        }
        self.tell_systemd()
    }

    /// systemd writes what it is told into the same files, rounded; so the exact values are written once more.
    fn tell_systemd(&self) -> Result<()> {
        let Some(scope) = self.paths.scope.as_ref().filter(|_| !self.properties.is_empty()) else { return Ok(()) };
        scope::change(self.paths.bus, scope, &self.properties)?;
        self.sheet.writes.iter().try_for_each(|write| self.explained(write, put(self.paths, write)))
    }

    /// What the file of a write says now; none for one that cannot be read, as it cannot be restored either.
    fn former(&self, write: &Write) -> Option<Former> {
        let directory = directory_of(self.paths, write)?;
        let of = |file: &str, value: &str| {
            let path = directory.join(file);
            let text = files::read_text(&path).ok()?;
            Some(Former { value: former_value(file, &text, value)?, path, text })
        };
        match &write.absent {
            Absent::Instead(file, value) => of(&write.file, &write.value).or_else(|| of(file, value)),
            _ => of(&write.file, &write.value),
        }
    }

    fn explained(&self, write: &Write, result: crate::sys::Result<()>) -> Result<()> {
        let error = match result {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if write.file == "memory.limit_in_bytes" && error.errno == Errno(libc::EBUSY) {
            let file = directory_of(self.paths, write).map(|d| d.join("memory.usage_in_bytes"));
            let usage = file.and_then(|file| cgroupfs::read(&file).ok()).unwrap_or_default();
            return Err(error).with_context(|| {
                let (place, value) = (&write.place, &write.value);
                format!("linux.resources.{place} ({value}): {} bytes are in use and cannot be reclaimed", usage.trim())
            });
        }
        Err(write.refused(error))
    }
}

/// Former values in reverse order; a second round for those that depend on others. Returns what did not go back.
fn put_back(mut former: Vec<Former>) -> Vec<String> {
    former.reverse();
    for _ in 0..2 {
        former.retain(|f| cgroupfs::write(&f.path, &f.value).is_err());
    }
    // Some take no value at all at times, and have still theirs.
    former.retain(|f| files::read_text(&f.path).ok().as_ref() != Some(&f.text));
    former.into_iter().map(|f| f.path.display().to_string()).collect()
}

/// What has to be written into `file`, which says `text` now, to have the state back after `value` was written into it.
fn former_value(file: &str, text: &str, value: &str) -> Option<String> {
    if file == "memory.oom_control" {
        return super::processes::value_of(text, "oom_kill_disable").map(|n| n.to_string());
    }
    let key = value.split_whitespace().next().unwrap_or_default();
    let by_device = key.contains(':') || ["rdma.max", "net_prio.ifpriomap"].contains(&file);
    if by_device {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(key));
        return Some(match (line, file) {
            (Some(line), _) => line.to_owned(),
            (None, "io.max") => format!("{key} rbps=max wbps=max riops=max wiops=max"),
            (None, "io.weight" | "io.bfq.weight") => format!("{key} default"),
            (None, "rdma.max") => format!("{key} hca_handle=max hca_object=max"),
            (None, _) => format!("{key} 0"),
        });
    }
    let default = text.lines().find(|line| line.starts_with("default "));
    default.or_else(|| text.lines().next()).map(|line| line.trim_end().to_owned())
}

impl std::fmt::Display for Update<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.sheet.to_string().lines().try_for_each(|line| writeln!(f, "write {line}"))?;
        self.devices.iter().try_for_each(|rules| writeln!(f, "devices {rules}"))?;
        self.properties.iter().try_for_each(|(name, value)| writeln!(f, "property {name} {value:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroups::Hierarchy;

    #[test]
    fn a_file_is_restored_by_the_line_that_the_write_changed() {
        for (file, text, value, expected) in [
            ("memory.max", "max\n", "1000", Some("max")),
            ("cpu.max", "max 100000\n", "5000 10000", Some("max 100000")),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", "1", Some("0")),
            (
                "io.max",
                "8:0 rbps=1 wbps=max riops=max wiops=max\n",
                "8:0 wbps=5",
                Some("8:0 rbps=1 wbps=max riops=max wiops=max"),
            ),
            ("io.max", "", "8:16 rbps=5", Some("8:16 rbps=max wbps=max riops=max wiops=max")),
            ("io.weight", "default 100\n8:0 50\n", "500", Some("default 100")),
            ("io.weight", "default 100\n8:0 50\n", "8:0 70", Some("8:0 50")),
            ("io.weight", "default 100\n", "8:0 70", Some("8:0 default")),
            ("blkio.throttle.read_bps_device", "8:0 77\n", "8:0 1", Some("8:0 77")),
            ("blkio.throttle.read_bps_device", "", "8:0 1", Some("8:0 0")),
            ("net_prio.ifpriomap", "lo 0\neth0 2\n", "eth0 5", Some("eth0 2")),
            ("rdma.max", "", "mlx hca_handle=1", Some("mlx hca_handle=max hca_object=max")),
            ("cpuset.mems", "0\n", "0-1", Some("0")),
            ("memory.reclaim", "", "1000", None),
        ] {
            assert_eq!(former_value(file, text, value).as_deref(), expected, "{file} {value}");
        }
    }

    #[test]
    fn a_file_that_was_written_in_the_place_of_another_gets_its_value_back_too() {
        let directory = tempfile::tempdir().unwrap();
        let hierarchies = ["blkio", "net_cls"].map(|name| Hierarchy {
            name: name.to_owned(),
            mount: directory.path().to_owned(),
            directory: directory.path().join(name),
        });
        hierarchies
            .iter()
            .for_each(|h| rustix::fs::mkdir(&h.directory, rustix::fs::Mode::from_raw_mode(0o755)).unwrap());
        let file = directory.path().join("blkio/blkio.weight");
        files::create_new(&file, b"500", 0o644).unwrap();
        let paths = Paths { hierarchies: hierarchies.to_vec(), ..Paths::default() };
        let wanted = serde_json::from_str(r#"{"blockIO":{"weight":700},"network":{"classID":1}}"#).unwrap();
        let own = OwnCgroups::new();
        let error = update(&paths, &wanted, &own).unwrap().apply().unwrap_err();
        assert!(
            format!("{error:#}").contains("nothing was changed: linux.resources.network.classID: open "),
            "{error:#}"
        );
        assert_eq!(files::read_text(&file).unwrap(), "500");
    }

    #[test]
    fn an_update_lies_over_what_was_stored() {
        let read = |json: &str| serde_json::from_str::<Resources>(json).unwrap();
        let stored = read(r#"{"memory":{"limit":1,"swap":2},"pids":{"limit":3},"unified":{"a.b":"1"}}"#);
        let wanted = read(r#"{"memory":{"limit":9},"cpu":{"shares":4},"unified":{"c.d":"2"}}"#);
        let expected = read(
            r#"{"memory":{"limit":9,"swap":2},"cpu":{"shares":4},"pids":{"limit":3},"unified":{"a.b":"1","c.d":"2"}}"#,
        );
        assert_eq!(merged(Some(&stored), &wanted).unwrap(), expected);
        assert_eq!(merged(None, &wanted).unwrap(), wanted);
    }
}
