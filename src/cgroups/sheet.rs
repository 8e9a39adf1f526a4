//! The sheet: every value that a container's resources become, in the order in which they are written.

use crate::sys::{Error, Hinted};
use anyhow::Result;

/// Which interface a controller has on this host: the version of the hierarchy that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// What to do when the file does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Absent {
    /// The limit cannot be had: an error.
    Refuse,
    /// Without the file the value is in force already, or is a courtesy.
    Ignore,
    /// Another file does the same.
    Instead(String, String),
}

/// One value for one file of the container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    /// The controller whose hierarchy has the file.
    pub(super) controller: &'static str,
    pub(super) version: Version,
    pub(super) file: String,
    pub(super) value: String,
    /// The place in config.json, below `linux.resources`.
    pub(super) place: String,
    pub(super) absent: Absent,
}

impl Write {
    /// The kernel's refusal with its place in config.json, and which values would be taken where that is known.
    pub(super) fn refused(&self, error: Error) -> anyhow::Error {
        let of_cpuset =
            "the processors and memory nodes are those of the cgroup above, cpuset.cpus and cpuset.mems there";
        let of_cpu =
            "a period has 1000 to 1000000 microseconds, a quota 1000 or more, and a burst not more than the quota";
        let hint = match (self.file.as_str(), error.errno.0) {
            ("memory.limit_in_bytes" | "memory.memsw.limit_in_bytes", libc::EINVAL) => {
                "memory.swap counts memory and swap together, and is never less than memory.limit"
            }
            ("cpu.cfs_quota_us" | "cpu.cfs_period_us" | "cpu.cfs_burst_us" | "cpu.max", libc::EINVAL) => of_cpu,
            ("cpu.shares" | "cpu.weight", libc::EINVAL) => "an idle cgroup has no weight, set cpu.idle to 0 first",
            ("cpuset.cpus" | "cpuset.mems", libc::EINVAL | libc::ERANGE | libc::EACCES) => of_cpuset,
            _ => "",
        };
        let error = match hint {
            "" => anyhow::Error::from(error),
            hint => Hinted { error, hint: hint.to_owned() }.into(),
        };
        error.context(format!("linux.resources.{}", self.place))
    }
}

/// Values to write and remarks on what has no effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sheet {
    pub(super) writes: Vec<Write>,
    pub(super) notes: Vec<String>,
}

impl Sheet {
    /// The lines of one controller.
    pub(super) fn of(&mut self, controller: &'static str, version: Version) -> Lines<'_> {
        Lines { sheet: self, controller, version }
    }
}

impl std::fmt::Display for Sheet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for write in &self.writes {
            write!(f, "{} {}", write.file, write.value)?;
            match &write.absent {
                Absent::Refuse => writeln!(f)?,
                Absent::Ignore => writeln!(f, " (if there)")?,
                Absent::Instead(file, value) => writeln!(f, " (or {file} {value})")?,
            }
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}

/// Adds lines of one controller to a sheet.
pub(super) struct Lines<'a> {
    sheet: &'a mut Sheet,
    controller: &'static str,
    version: Version,
}

impl Lines<'_> {
    /// `value` goes into `file`.
    pub(super) fn put(&mut self, place: impl Into<String>, file: impl Into<String>, value: impl ToString) {
        self.put_or(place, file, value, Absent::Refuse);
    }

    /// `value` goes into `file`, and `absent` says what if there is none.
    pub(super) fn put_or(
        &mut self,
        place: impl Into<String>,
        file: impl Into<String>,
        value: impl ToString,
        absent: Absent,
    ) {
        self.sheet.writes.push(Write {
            controller: self.controller,
            version: self.version,
            file: file.into(),
            value: value.to_string(),
            place: place.into(),
            absent,
        });
    }

    /// A remark that a field has no effect, and why.
    pub(super) fn note(&mut self, place: &str, why: &str) {
        self.sheet.notes.push(format!("linux.resources.{place}: {why}"));
    }
}

/// An error about one field of `linux.resources`.
pub(super) fn wrong<T>(place: &str, value: impl std::fmt::Display, why: &str) -> Result<T> {
    anyhow::bail!("linux.resources.{place} ({value}): {why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Errno;

    #[test]
    fn a_refused_value_is_told_with_those_that_would_be_taken() {
        let refused = |file: &str, errno| {
            let mut sheet = Sheet::default();
            sheet.of("cpu", Version::V1).put("place", file, 1);
            let error = sheet.writes[0].refused(Error { call: "write".to_owned(), errno: Errno(errno) });
            assert_eq!(crate::sys::errno_of(&error), Some(Errno(errno)));
            format!("{error:#}")
        };
        let rows = [
            (
                "memory.limit_in_bytes",
                libc::EINVAL,
                "invalid argument (EINVAL); hint: memory.swap counts memory and swap together, and is never less than memory.limit",
            ),
            (
                "cpu.max",
                libc::EINVAL,
                "invalid argument (EINVAL); hint: a period has 1000 to 1000000 microseconds, a quota 1000 or more, and a burst not \
                 more than the quota",
            ),
            (
                "cpuset.cpus",
                libc::ERANGE,
                "numerical result out of range (ERANGE); hint: the processors and memory nodes are those of the cgroup above, \
                 cpuset.cpus and cpuset.mems there",
            ),
            ("pids.max", libc::EINVAL, "invalid argument (EINVAL)"),
            ("cpu.max", libc::ENOENT, "no such file or directory (ENOENT)"),
        ];
        for (file, errno, expected) in rows {
            assert_eq!(refused(file, errno), format!("linux.resources.place: write: {expected}"), "{file}");
        }
    }
}
