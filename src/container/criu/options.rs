//! What criu is asked for: fields of its message `criu_opts` with their values, which print themselves.

use super::wire::Message;
use std::fmt;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A field of a message: its name and its number in criu's images/rpc.proto.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::container) struct Field(&'static str, u32);

/// The fields of `criu_opts` that are used, named as rpc.proto names them.
#[allow(missing_docs, reason = "criu(8) describes the options of the same names")]
pub(in crate::container) mod field {
    use super::Field;

    pub(in crate::container) const IMAGES_DIR_FD: Field = Field("images_dir_fd", 1);
    pub(in crate::container) const PID: Field = Field("pid", 2);
    pub(in crate::container) const LEAVE_RUNNING: Field = Field("leave_running", 3);
    pub(in crate::container) const EXT_UNIX_SK: Field = Field("ext_unix_sk", 4);
    pub(in crate::container) const TCP_ESTABLISHED: Field = Field("tcp_established", 5);
    pub(in crate::container) const EVASIVE_DEVICES: Field = Field("evasive_devices", 6);
    pub(in crate::container) const SHELL_JOB: Field = Field("shell_job", 7);
    pub(in crate::container) const FILE_LOCKS: Field = Field("file_locks", 8);
    pub(in crate::container) const LOG_LEVEL: Field = Field("log_level", 9);
    pub(in crate::container) const LOG_FILE: Field = Field("log_file", 10);
    pub(in crate::container) const PAGE_SERVER: Field = Field("ps", 11);
    pub(in crate::container) const NOTIFY_SCRIPTS: Field = Field("notify_scripts", 12);
    pub(in crate::container) const ROOT: Field = Field("root", 13);
    pub(in crate::container) const PARENT_IMG: Field = Field("parent_img", 14);
    pub(in crate::container) const TRACK_MEM: Field = Field("track_mem", 15);
    pub(in crate::container) const AUTO_DEDUP: Field = Field("auto_dedup", 16);
    pub(in crate::container) const WORK_DIR_FD: Field = Field("work_dir_fd", 17);
    pub(in crate::container) const LINK_REMAP: Field = Field("link_remap", 18);
    pub(in crate::container) const CGROUP_ROOT: Field = Field("cg_root", 25);
    pub(in crate::container) const RST_SIBLING: Field = Field("rst_sibling", 26);
    pub(in crate::container) const INHERIT_FD: Field = Field("inherit_fd", 27);
    pub(in crate::container) const MANAGE_CGROUPS_MODE: Field = Field("manage_cgroups_mode", 34);
    pub(in crate::container) const EXTERNAL: Field = Field("external", 37);
    pub(in crate::container) const EMPTY_NS: Field = Field("empty_ns", 38);
    pub(in crate::container) const JOIN_NS: Field = Field("join_ns", 39);
    pub(in crate::container) const FREEZE_CGROUP: Field = Field("freeze_cgroup", 44);
    pub(in crate::container) const TCP_SKIP_IN_FLIGHT: Field = Field("tcp_skip_in_flight", 46);
    pub(in crate::container) const LAZY_PAGES: Field = Field("lazy_pages", 48);
    pub(in crate::container) const ORPHAN_PTS_MASTER: Field = Field("orphan_pts_master", 50);
    pub(in crate::container) const CONFIG_FILE: Field = Field("config_file", 51);
    pub(in crate::container) const TCP_CLOSE: Field = Field("tcp_close", 52);
    pub(in crate::container) const LSM_PROFILE: Field = Field("lsm_profile", 53);
    pub(in crate::container) const LSM_MOUNT_CONTEXT: Field = Field("lsm_mount_context", 63);

    /// Of the messages inside: ps, cg_root, inherit_fd, join_ns.
    pub(super) const ADDRESS: Field = Field("address", 1);
    pub(super) const PORT: Field = Field("port", 2);
    pub(super) const CTRL: Field = Field("ctrl", 1);
    pub(super) const PATH: Field = Field("path", 2);
    pub(super) const KEY: Field = Field("key", 1);
    pub(super) const FD: Field = Field("fd", 2);
    pub(super) const NS: Field = Field("ns", 1);
    pub(super) const NS_FILE: Field = Field("ns_file", 2);
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::container) enum Value {
    Switch(bool),
    Number(i64),
    Text(Vec<u8>),
    Group(Vec<(Field, Value)>),
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Switch(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Value {
        Value::Number(i64::from(value))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Text(value.as_bytes().to_vec())
    }
}

impl From<&Path> for Value {
    fn from(value: &Path) -> Value {
        Value::Text(value.as_os_str().as_bytes().to_vec())
    }
}

/// The message `criu_opts`: what it prints is what criu is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::container) struct Options(Vec<(Field, Value)>);

impl Options {
    /// Adds a field.
    pub(in crate::container) fn set(&mut self, field: Field, value: impl Into<Value>) -> &mut Options {
        self.0.push((field, value.into()));
        self
    }

    /// Adds a switch that is on, and nothing for one that is off.
    pub(in crate::container) fn switch(&mut self, field: Field, on: bool) -> &mut Options {
        if on { self.set(field, true) } else { self }
    }

    /// Adds a field that has a value.
    pub(in crate::container) fn given<V: Into<Value>>(&mut self, field: Field, value: Option<V>) -> &mut Options {
        match value {
            Some(value) => self.set(field, value),
            None => self,
        }
    }

    /// A descriptor of the worker takes the place of what an image calls `key`.
    pub(in crate::container) fn inherit(&mut self, key: &str, fd: RawFd) -> &mut Options {
        self.set(field::INHERIT_FD, Value::Group(vec![(field::KEY, key.into()), (field::FD, fd.into())]))
    }

    /// A namespace that the processes enter when they are made again.
    pub(in crate::container) fn join(&mut self, kind: &str, path: &Path) -> &mut Options {
        self.set(field::JOIN_NS, Value::Group(vec![(field::NS, kind.into()), (field::NS_FILE, path.into())]))
    }

    /// The cgroup of a version 1 controller, or of cgroup2 (an empty name), below which the processes are.
    pub(in crate::container) fn cgroup_root(&mut self, controller: &str, path: &str) -> &mut Options {
        self.set(field::CGROUP_ROOT, Value::Group(vec![(field::CTRL, controller.into()), (field::PATH, path.into())]))
    }

    /// Who takes the pages of memory.
    pub(in crate::container) fn page_server(&mut self, address: &str, port: u16) -> &mut Options {
        let port = i32::from(port);
        self.set(field::PAGE_SERVER, Value::Group(vec![(field::ADDRESS, address.into()), (field::PORT, port.into())]))
    }

    /// Encodes it.
    pub(super) fn message(&self) -> Message {
        encoded(&self.0)
    }
}

fn encoded(fields: &[(Field, Value)]) -> Message {
    let mut message = Message::default();
    for (field, value) in fields {
        match value {
            Value::Switch(on) => message.number(field.1, i64::from(*on)),
            Value::Number(number) => message.number(field.1, *number),
            Value::Text(text) => message.bytes(field.1, text),
            Value::Group(inner) => message.bytes(field.1, encoded(inner).as_bytes()),
        }
    }
    message
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(shown).collect();
        f.write_str(&lines.join("\n"))
    }
}

fn shown((field, value): &(Field, Value)) -> String {
    match value {
        Value::Switch(on) => format!("{}: {on}", field.0),
        Value::Number(number) => format!("{}: {number}", field.0),
        Value::Text(text) => format!("{}: {}", field.0, String::from_utf8_lossy(text)),
        Value::Group(inner) => {
            let inner: Vec<String> = inner.iter().map(shown).collect();
            format!("{} {{ {} }}", field.0, inner.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_encoded_with_the_numbers_of_rpc_proto() {
        let mut options = Options::default();
        options
            .set(field::IMAGES_DIR_FD, 5)
            .switch(field::SHELL_JOB, true)
            .switch(field::FILE_LOCKS, false)
            .given(field::ROOT, Some(Path::new("/r")))
            .given(field::LSM_PROFILE, None::<&str>)
            .inherit("pipe:[7]", 1)
            .cgroup_root("", "/c");
        let expected = [
            &[0x08, 5][..],
            &[0x38, 1],
            &[0x6a, 2, b'/', b'r'],
            &[0xda, 1, 12, 0x0a, 8],
            b"pipe:[7]",
            &[0x10, 1],
            &[0xca, 1, 6, 0x0a, 0, 0x12, 2, b'/', b'c'],
        ];
        assert_eq!(options.message().as_bytes(), expected.concat());
        assert_eq!(
            options.to_string(),
            "images_dir_fd: 5\nshell_job: true\nroot: /r\ninherit_fd { key: pipe:[7], fd: 1 }\n\
             cg_root { ctrl: , path: /c }"
        );
    }
}
