//! `--pid-file`: the number of a process, where a manager looks for it.
//!
//! The file appears whole or not at all, by a rename over its name. A rename replaces whatever has the name: the null device of the
//! machine as easily as the pid file of yesterday. So what stands there is looked at, once before anything of the container is
//! made and once more before the rename. A symbolic link is replaced, as with runc, and what it leads to left alone; one
//! to something that is no file (/dev/stdout) was not meant as a pid file.

use crate::sys::{Asked, files};
use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, FileType, OFlags};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Looks whether the file can be written without taking something else away; changes nothing.
pub fn check(file: &Path) -> Result<()> {
    place(file).map(drop).with_context(|| format!("--pid-file {}", file.display()))
}

/// Writes the number as managers parse it: digits and nothing else.
pub fn write(file: &Path, pid: i32) -> Result<()> {
    let written = || -> Result<()> {
        let (directory, name) = place(file)?;
        Ok(files::replace_at(&directory, name, pid.to_string().as_bytes(), 0o644)?)
    };
    written().with_context(|| format!("--pid-file {}", file.display()))
}

/// The directory and the name in it, where a pid file may be.
fn place(file: &Path) -> Result<(OwnedFd, &str)> {
    let (Some(parent), Some(name)) = (file.parent(), file.file_name().and_then(|name| name.to_str())) else {
        bail!("this is no file name");
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let directory = files::open(parent, OFlags::RDONLY | OFlags::DIRECTORY)?;
    if let Some(other) = in_the_way(&directory, name)? {
        bail!("there is {other} of this name, which is not replaced");
    }
    Ok((directory, name))
}

/// What has the name, where that is neither a regular file nor a link to one.
fn in_the_way(directory: &OwnedFd, name: &str) -> Result<Option<&'static str>> {
    let kind = |flags: AtFlags| {
        rustix::fs::statat(directory, name, flags).map(|status| FileType::from_raw_mode(status.st_mode))
    };
    match kind(AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).asked(|| format!("stat {name}")).map_err(Into::into),
        Ok(FileType::Symlink) if leads_to_procfs(directory, name) => Ok(Some("a link to an open file")),
        // One that leads nowhere, or to where we may not look, leads to nothing that we would write to.
        Ok(FileType::Symlink) => Ok(kind(AtFlags::empty()).ok().and_then(other_than_regular)),
        Ok(kind) => Ok(other_than_regular(kind)),
    }
}

/// The likes of /dev/stdout, also where standard output happens to be a regular file.
fn leads_to_procfs(directory: &OwnedFd, name: &str) -> bool {
    let target = rustix::fs::readlinkat(directory, name, Vec::new());
    target.is_ok_and(|target| target.to_bytes().starts_with(b"/proc/"))
}

fn other_than_regular(kind: FileType) -> Option<&'static str> {
    match kind {
        FileType::RegularFile => None,
        FileType::Directory => Some("a directory"),
        FileType::CharacterDevice | FileType::BlockDevice => Some("a device"),
        FileType::Fifo => Some("a fifo"),
        FileType::Socket => Some("a socket"),
        _ => Some("something that is no regular file"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_a_regular_file_or_a_link_to_one_makes_way() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        files::create_new(at("regular"), b"yesterday, and longer", 0o644).unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), rustix::fs::Mode::RUSR).unwrap();
        let links = [
            ("link", "regular"),
            ("dangling", "nowhere"),
            ("null", "/dev/null"),
            ("link-to-fifo", "fifo"),
            ("stdout", "/proc/self/fd/1"),
        ];
        for (name, target) in links {
            symlink(target, at(name)).unwrap();
        }
        let rows = [
            ("new", "written"),
            ("regular", "written"),
            ("link", "written"),
            ("dangling", "written"),
            ("directory", "there is a directory of this name, which is not replaced"),
            ("socket", "there is a socket of this name, which is not replaced"),
            ("fifo", "there is a fifo of this name, which is not replaced"),
            ("link-to-fifo", "there is a fifo of this name, which is not replaced"),
            ("null", "there is a device of this name, which is not replaced"),
            ("stdout", "there is a link to an open file of this name, which is not replaced"),
            ("no/such", "open DIR/no: no such file or directory (ENOENT)"),
            ("..", "this is no file name"),
        ];
        for (name, expected) in rows {
            let kind = || std::fs::symlink_metadata(at(name)).ok().map(|found| found.file_type());
            let (before, path) = (kind(), at(name));
            let checked = check(&path).map_err(|error| format!("{error:#}"));
            assert_eq!(kind(), before, "{name}: the check has changed it");
            let said = write(&path, 4321).map_err(|error| format!("{error:#}"));
            assert_eq!(checked, said, "{name}");
            let shown = said.map_or_else(|error| error, |()| "written".to_owned());
            let expected = match expected {
                "written" => expected.to_owned(),
                error => format!(
                    "--pid-file {}: {}",
                    path.display(),
                    error.replace("DIR", directory.path().to_str().unwrap())
                ),
            };
            assert_eq!(shown, expected);
            match shown.as_str() {
                "written" => assert_eq!(std::fs::read_to_string(&path).unwrap(), "4321", "{name}"),
                _ => assert_eq!(kind(), before, "{name}"),
            }
        }
        assert!(!at("nowhere").exists());
    }
}
