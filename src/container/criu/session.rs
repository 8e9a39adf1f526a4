//! What a dump and a restore have in common: directories, options, the record of the standard streams, a failure's words.

use super::log;
use super::message::{Kind, Response};
use super::options::{Options, field};
use crate::config::Config;
use crate::container::Criu;
use crate::sys::{self, Asked, Errno, files, nodes};
use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Where images are unless it is said (runc's place).
const DEFAULT_IMAGES: &str = "checkpoint";

/// Further options of criu that an administrator gives to container runtimes; runc's file, which crun reads too.
const CONFIG_FILE: &str = "/etc/criu/runc.conf";
/// The annotation that names another one, or none at all.
const CONFIG_ANNOTATION: &str = "org.criu.config";

/// What the standard streams were: a JSON array, as runc and crun keep it beside the images.
const STREAMS: &str = "descriptors.json";

/// The link to the images of an earlier dump.
const PARENT: &str = "parent";

/// The directories of the images and of the log, open.
#[derive(Debug)]
pub(in crate::container) struct Directories {
    images: OwnedFd,
    work: Option<OwnedFd>,
    /// The log's name, and where it is for whoever looks for it.
    log: (&'static str, PathBuf),
}

impl Directories {
    /// Opens them; those of a dump are made (0700: images have the memory of the container) where they are missing.
    ///
    /// # Errors
    /// A directory is not there, or cannot be made.
    pub(in crate::container) fn open(asked: &Criu, dump: bool) -> Result<Directories> {
        let images = asked.image_path.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_IMAGES));
        let open = |path: &Path, make: bool| -> Result<OwnedFd> {
            if make {
                make_directory(path)?;
            }
            Ok(files::open(path, OFlags::RDONLY | OFlags::DIRECTORY)?)
        };
        let name = if dump { "dump.log" } else { "restore.log" };
        let log = asked.work_path.as_ref().unwrap_or(&images).join(name);
        let opened = Directories {
            images: open(&images, dump).context("--image-path")?,
            work: asked.work_path.as_ref().map(|path| open(path, true)).transpose().context("--work-path")?,
            log: (name, std::path::absolute(&log).unwrap_or(log)),
        };
        // The log of another attempt would tell the wrong cause.
        let _ = rustix::fs::unlinkat(opened.log_directory(), name, AtFlags::empty());
        Ok(opened)
    }

    /// The directory of the images.
    pub(in crate::container) fn images(&self) -> &OwnedFd {
        &self.images
    }

    /// Refuses images that lead elsewhere. criu follows links where it reads and where it writes (stats-restore), and waits for
    /// ever where it opens a fifo; who made the files may be somebody else than who restores them (CVE-2026-53489). Only
    /// `parent`, the images of an earlier dump, is a link, and it is relative (criu(8), `--prev-images-dir`); sockets are those of
    /// lazy pages.
    ///
    /// # Errors
    /// The first file that is neither a regular file nor a directory.
    pub(in crate::container) fn refuse_links(&self) -> Result<()> {
        for name in nodes::names(&self.images).context("--image-path")? {
            let shown = || format!("--image-path: {}", name.display());
            let facts = rustix::fs::statat(&self.images, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW);
            let facts = facts.asked(|| format!("stat {}", name.display())).with_context(shown)?;
            let kind = FileType::from_raw_mode(facts.st_mode);
            if kind == FileType::Symlink && name == PARENT {
                let target = PathBuf::from(nodes::readlink(&self.images, Path::new(PARENT)).with_context(shown)?);
                ensure!(!target.is_absolute(), "{}: it leads to {}, which is not relative", shown(), target.display());
            } else if !matches!(kind, FileType::RegularFile | FileType::Directory | FileType::Socket) {
                bail!("{}: it is no regular file, and nothing that a checkpoint has written", shown());
            }
        }
        Ok(())
    }

    /// Reads the images through another mount of their directory; the log and work files stay where they were.
    pub(in crate::container) fn read_images_through(&mut self, mount: OwnedFd) {
        let images = std::mem::replace(&mut self.images, mount);
        self.work.get_or_insert(images);
    }

    fn log_directory(&self) -> &OwnedFd {
        self.work.as_ref().unwrap_or(&self.images)
    }

    /// The options that say where everything is, and those that both directions have. criu opens the directories through
    /// /proc/PID/fd of this process.
    pub(in crate::container) fn options(&self, asked: &Criu, config: &Config) -> Result<Options> {
        let mut options = Options::default();
        options
            .set(field::IMAGES_DIR_FD, self.images.as_raw_fd())
            .given(field::WORK_DIR_FD, self.work.as_ref().map(AsRawFd::as_raw_fd))
            .set(field::LOG_FILE, self.log.0)
            .set(field::LOG_LEVEL, 4)
            .set(field::NOTIFY_SCRIPTS, true)
            .set(field::ORPHAN_PTS_MASTER, true)
            .set(field::MANAGE_CGROUPS_MODE, cgroups_mode(asked.manage_cgroups_mode.as_deref())?)
            .switch(field::TCP_ESTABLISHED, asked.tcp_established)
            .switch(field::EXT_UNIX_SK, asked.ext_unix_sk)
            .switch(field::SHELL_JOB, asked.shell_job)
            .switch(field::FILE_LOCKS, asked.file_locks)
            .switch(field::LAZY_PAGES, asked.lazy_pages)
            .switch(field::AUTO_DEDUP, asked.auto_dedup)
            .given(field::CONFIG_FILE, config_file(config));
        if let Some(other) = asked.empty_ns.iter().find(|kind| *kind != "network") {
            bail!("--empty-ns {other}: only a network namespace can be left empty");
        }
        Ok(options)
    }

    /// Why criu could not do it, in its own words.
    pub(in crate::container) fn failure(&self, kind: Kind, response: &Response) -> anyhow::Error {
        let words = || Some(response.words.trim().replace('\n', "; ")).filter(|words| !words.is_empty());
        let errno = || response.errno.map(|errno| Errno(errno).to_string());
        let cause = log::cause_in(self.log_directory(), self.log.0).or_else(words).or_else(errno);
        let cause = cause.unwrap_or_else(|| "it does not say why".to_owned());
        anyhow!("criu {}: {cause}; hint: {} has the whole story", kind.word(), self.log.1.display())
    }

    /// Keeps what the standard streams of the container are.
    pub(in crate::container) fn keep_streams(&self, streams: &[String]) -> Result<()> {
        files::replace_at(&self.images, STREAMS, &serde_json::to_vec(streams)?, 0o600).context("--image-path")
    }

    /// What the standard streams of the container were.
    pub(in crate::container) fn streams(&self) -> Result<Vec<String>> {
        let read = || -> Result<Vec<String>> {
            let file = files::open_at(&self.images, STREAMS, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK)?;
            Ok(serde_json::from_slice(&files::read_fd(file, 1 << 16)?)?)
        };
        read().with_context(|| format!("--image-path: {STREAMS}, which every checkpoint has"))
    }
}

fn config_file(config: &Config) -> Option<&str> {
    let named = config.annotations.get(CONFIG_ANNOTATION).map_or(CONFIG_FILE, String::as_str);
    Some(named).filter(|name| !name.is_empty())
}

/// `criu_cg_mode` of rpc.proto: who makes cgroups and sets their limits again. With the default, which is `soft`, criu does
/// so only for those below the container's, which is ours.
fn cgroups_mode(word: Option<&str>) -> Result<i32> {
    Ok(match word.unwrap_or_default() {
        "ignore" => 0,
        "soft" => 3,
        "full" => 4,
        "strict" => 5,
        "" => 6,
        other => bail!("--manage-cgroups-mode {other}: must be soft, full, strict or ignore"),
    })
}

fn make_directory(path: &Path) -> sys::Result<()> {
    let made = rustix::fs::mkdir(path, Mode::RWXU);
    match (made, path.parent()) {
        (Ok(()) | Err(rustix::io::Errno::EXIST), _) => Ok(()),
        (Err(rustix::io::Errno::NOENT), Some(parent)) if !parent.as_os_str().is_empty() => {
            make_directory(parent)?;
            rustix::fs::mkdir(path, Mode::RWXU).asked(|| format!("mkdir {}", path.display()))
        }
        (other, _) => other.asked(|| format!("mkdir {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_are_told_where_things_are_and_what_is_allowed() {
        let directory = tempfile::tempdir().unwrap();
        let given = |image: &str, work: Option<&str>| Criu {
            image_path: Some(directory.path().join(image)),
            work_path: work.map(|work| directory.path().join(work)),
            shell_job: true,
            manage_cgroups_mode: Some("ignore".to_owned()),
            ..Criu::default()
        };
        let shown = |asked: &Criu, annotations: &str, dump: bool| {
            let config: Config = serde_json::from_str(&format!("{{\"annotations\": {annotations}}}")).unwrap();
            let opened = Directories::open(asked, dump).unwrap();
            let text = opened.options(asked, &config).unwrap().to_string();
            text.lines().filter(|line| !line.contains("_dir_fd")).collect::<Vec<_>>().join(" ")
        };
        let rest = "log_level: 4 notify_scripts: true orphan_pts_master: true manage_cgroups_mode: 0 shell_job: true";
        assert_eq!(
            shown(&given("a/b", None), "{}", true),
            format!("log_file: dump.log {rest} config_file: /etc/criu/runc.conf")
        );
        assert_eq!(
            shown(&given("a/b", Some("w")), "{\"org.criu.config\": \"/x\"}", false),
            format!("log_file: restore.log {rest} config_file: /x")
        );
        assert_eq!(shown(&given("a", None), "{\"org.criu.config\": \"\"}", true), format!("log_file: dump.log {rest}"));
        let missing = Directories::open(&given("none", None), false).unwrap_err();
        assert!(format!("{missing:#}").ends_with("none: no such file or directory (ENOENT)"), "{missing:#}");
    }

    #[test]
    fn what_criu_does_not_know_is_refused_before_it_is_asked() {
        let directory = tempfile::tempdir().unwrap();
        let asked = Criu { image_path: Some(directory.path().to_owned()), ..Criu::default() };
        let opened = Directories::open(&asked, true).unwrap();
        let refused = |asked: &Criu| opened.options(asked, &Config::default()).unwrap_err().to_string();
        let mode = Criu { manage_cgroups_mode: Some("hard".to_owned()), ..asked.clone() };
        assert_eq!(refused(&mode), "--manage-cgroups-mode hard: must be soft, full, strict or ignore");
        let empty = Criu { empty_ns: vec!["network".to_owned(), "ipc".to_owned()], ..asked };
        assert_eq!(refused(&empty), "--empty-ns ipc: only a network namespace can be left empty");
    }

    #[test]
    fn images_are_files_and_nothing_that_leads_elsewhere() {
        use std::os::unix::fs::symlink;
        type Plant = fn(&Path);
        let rows: [(Plant, &str); 7] = [
            (|_| (), ""),
            (|at| files::create_new(at.join("core-1.img"), b"x", 0o600).unwrap(), ""),
            (|at| symlink("../1", at.join("parent")).unwrap(), ""),
            (|at| symlink("/etc/passwd", at.join("stats-restore")).unwrap(), "stats-restore: it is no regular file"),
            (|at| symlink("pages-1.img", at.join("pages-2.img")).unwrap(), "pages-2.img: it is no regular file"),
            (
                |at| symlink("/other/images", at.join("parent")).unwrap(),
                "parent: it leads to /other/images, which is not relative",
            ),
            (
                |at| {
                    rustix::fs::mknodat(rustix::fs::CWD, at.join("inventory.img"), FileType::Fifo, Mode::RUSR, 0)
                        .unwrap()
                },
                "inventory.img: it is no regular file",
            ),
        ];
        for (plant, expected) in rows {
            let directory = tempfile::tempdir().unwrap();
            plant(directory.path());
            let asked = Criu { image_path: Some(directory.path().to_owned()), ..Criu::default() };
            let said = Directories::open(&asked, false)
                .unwrap()
                .refuse_links()
                .map_or_else(|e| format!("{e:#}"), |()| String::new());
            match expected {
                "" => assert_eq!(said, ""),
                expected => assert!(said.starts_with(&format!("--image-path: {expected}")), "{said}"),
            }
        }
    }

    #[test]
    fn a_failure_is_told_in_the_words_of_the_log_of_criu_or_of_the_kernel() {
        let directory = tempfile::tempdir().unwrap();
        let asked = Criu { image_path: Some(directory.path().to_owned()), ..Criu::default() };
        let opened = Directories::open(&asked, true).unwrap();
        let log = directory.path().join("dump.log");
        let hint = format!("; hint: {} has the whole story", log.display());
        let rows = [
            (Response { words: "first\nsecond\n".to_owned(), errno: Some(22), ..Response::default() }, "first; second"),
            (Response { errno: Some(22), ..Response::default() }, "invalid argument (EINVAL)"),
            (Response::default(), "it does not say why"),
        ];
        for (response, expected) in rows {
            assert_eq!(opened.failure(Kind::Dump, &response).to_string(), format!("criu dump: {expected}{hint}"));
        }
        files::create_new(&log, b"(00.1) Error (criu/tty.c:7): no tty\n", 0o600).unwrap();
        let told = opened.failure(Kind::Dump, &Response::default()).to_string();
        assert_eq!(told, format!("criu dump: no tty (tty.c:7){hint}"));
        // The next attempt begins with no log.
        assert!(Directories::open(&asked, true).is_ok() && !log.exists());
    }

    #[test]
    fn the_streams_are_kept_beside_the_images() {
        let directory = tempfile::tempdir().unwrap();
        let asked = Criu { image_path: Some(directory.path().to_owned()), ..Criu::default() };
        let opened = Directories::open(&asked, true).unwrap();
        assert!(opened.streams().unwrap_err().to_string().contains("descriptors.json"));
        let streams = ["/dev/null".to_owned(), "pipe:[7]".to_owned()];
        opened.keep_streams(&streams).unwrap();
        assert_eq!(opened.streams().unwrap(), streams);
    }
}
