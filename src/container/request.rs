//! What may be asked of the runtime: plain data, checked by the verb that takes it.
#![allow(missing_docs, reason = "the fields are the options of the command line and documented there")]

use super::Progress;
use crate::host::Host;
use std::path::PathBuf;

/// Who manages the cgroup of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupManager {
    /// We write to the cgroup filesystem ourselves.
    #[default]
    Cgroupfs,
    /// A transient scope of systemd's.
    Systemd,
    /// No cgroup at all.
    None,
}

/// The global options and the facts of this host: the first argument of every verb.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// Where the state directories are (`--root`).
    pub root: PathBuf,
    /// `--systemd-cgroup` or `--cgroup-manager`.
    pub cgroup_manager: CgroupManager,
    /// Facts of this machine.
    pub host: Host,
    /// Hears of what is done.
    pub progress: Progress,
}

/// `create`, and the first half of `run`.
#[derive(Debug, Clone, Default)]
pub struct Create {
    pub id: String,
    /// Absolute or relative to the working directory.
    pub bundle: PathBuf,
    pub console_socket: Option<PathBuf>,
    pub pidfd_socket: Option<PathBuf>,
    pub pid_file: Option<PathBuf>,
    pub no_pivot: bool,
    pub no_new_keyring: bool,
    /// Number of descriptors after 2 that the container inherits.
    pub preserve_fds: u32,
}

/// `run`.
#[derive(Debug, Clone, Default)]
pub struct Run {
    pub create: Create,
    pub detach: bool,
    /// Do not delete the container when it has ended.
    pub keep: bool,
    pub no_subreaper: bool,
}

/// What a verb tells of a call that succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice<'a> {
    /// What could not be granted, or which poststop hook failed.
    Warning(&'a str),
    /// Why the program was ended that was looked after; the standard streams are nobody's by then.
    End(&'a str),
}

/// What `checkpoint` and `restore` have in common.
#[derive(Debug, Clone, Default)]
pub struct Criu {
    /// Where the images are; `checkpoint` in the working directory unless given.
    pub image_path: Option<PathBuf>,
    /// Where criu keeps its log; beside the images unless given.
    pub work_path: Option<PathBuf>,
    pub tcp_established: bool,
    pub ext_unix_sk: bool,
    pub shell_job: bool,
    pub file_locks: bool,
    pub lazy_pages: bool,
    pub auto_dedup: bool,
    /// `soft`, `full`, `strict` or `ignore`.
    pub manage_cgroups_mode: Option<String>,
    /// Kinds of namespaces whose content is not kept.
    pub empty_ns: Vec<String>,
}

/// `checkpoint`.
#[derive(Debug, Clone, Default)]
pub struct Checkpoint {
    pub id: String,
    pub criu: Criu,
    /// Images of an earlier dump, relative to the new ones.
    pub parent_path: Option<PathBuf>,
    pub leave_running: bool,
    pub tcp_skip_in_flight: bool,
    pub link_remap: bool,
    /// Only the memory; the container runs on.
    pub pre_dump: bool,
    /// An inherited descriptor that gets a zero byte when lazy pages can be asked for.
    pub status_fd: Option<u32>,
    /// `ADDRESS:PORT`
    pub page_server: Option<String>,
}

/// `restore`.
#[derive(Debug, Clone, Default)]
pub struct Restore {
    pub create: Create,
    pub criu: Criu,
    pub detach: bool,
    pub no_subreaper: bool,
    /// Connections are closed instead of restored.
    pub tcp_close: bool,
    /// `TYPE:NAME`
    pub lsm_profile: Option<String>,
    pub lsm_mount_context: Option<String>,
}

/// `exec`.
#[derive(Debug, Clone, Default)]
pub struct Exec {
    pub id: String,
    /// A process.json (`--process`); the options below then only add to it.
    pub process: Option<PathBuf>,
    pub args: Vec<String>,
    pub cwd: Option<String>,
    pub env: Vec<String>,
    pub terminal: bool,
    /// `UID[:GID]`
    pub user: Option<String>,
    pub additional_gids: Vec<u32>,
    pub detach: bool,
    pub pid_file: Option<PathBuf>,
    pub console_socket: Option<PathBuf>,
    pub pidfd_socket: Option<PathBuf>,
    pub process_label: Option<String>,
    pub apparmor: Option<String>,
    pub no_new_privileges: bool,
    /// Added to the container's own sets.
    pub capabilities: Vec<String>,
    pub preserve_fds: u32,
    /// `PATH` or `CONTROLLER[,CONTROLLER]:PATH`, below the container's cgroup.
    pub cgroup: Vec<String>,
    pub ignore_paused: bool,
}

/// `kill`.
#[derive(Debug, Clone, Default)]
pub struct Kill {
    pub id: String,
    /// A number, a name, or a name with SIG; `None` is the image's stop signal or TERM.
    pub signal: Option<String>,
    /// Every process of the container and not only the first.
    pub all: bool,
}

/// `update`.
#[derive(Debug, Clone, Default)]
pub struct Update {
    pub id: String,
    /// A JSON file of `linux.resources`, or `-` for standard input; the fields below are then ignored.
    pub resources_file: Option<PathBuf>,
    /// What the options ask for; absent fields stay as they are.
    pub resources: crate::config::Resources,
    /// A line for resctrl's schemata (Intel RDT cache).
    pub l3_cache_schema: Option<String>,
    /// A line for resctrl's schemata (Intel RDT memory bandwidth).
    pub mem_bw_schema: Option<String>,
}

/// `events`.
#[derive(Debug, Clone, Default)]
pub struct Events {
    pub id: String,
    pub interval: std::time::Duration,
    /// One set of statistics, then the end.
    pub once: bool,
}

/// `wait`.
#[derive(Debug, Clone, Default)]
pub struct Wait {
    pub id: String,
    /// `None`: as long as it takes.
    pub timeout: Option<std::time::Duration>,
}
