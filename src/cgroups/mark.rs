//! For whom a cgroup was made, written on the directory itself: two containers may name the same path, and those of another state
//! root are not to be asked. systemd keeps its invocation ids the same way.
//!
//! ```text
//! trusted.ocicat, or user.ocicat where privileges are missing:  PID START ID
//!                                                              of the runtime that made it, and of the container
//! ```
//!
//! Where the kernel keeps no such attribute there is no mark, and that says nothing.

use super::make::refuse_occupied_directory;
use super::path::Paths;
use crate::sys::pidfd;
use anyhow::Result;
use rustix::fs::XattrFlags;
use std::path::Path;

const NAMES: [&str; 2] = ["trusted.ocicat", "user.ocicat"];
/// Longer than any mark: an id has at most 1024 bytes.
const LONGEST: usize = 2048;

/// The mark of a container that this process makes, whose start time is given (proc_pid_stat(5), field 22).
pub fn mark(start: u64, id: &str) -> String {
    format!("{} {start} {id}", std::process::id())
}

impl Paths {
    /// Marks the directories as this container's, which were just made or are empty.
    ///
    /// # Errors
    /// Another call is making a container in one of them at this moment.
    pub(super) fn put_mark(&self) -> Result<()> {
        let Some(mark) = &self.mark else { return Ok(()) };
        for hierarchy in self.deadly() {
            let directory = hierarchy.directory.as_path();
            if let Some(other) = put(directory, mark, XattrFlags::CREATE) {
                if let Some(id) = id_if_being_made(&other) {
                    let path = directory.display();
                    anyhow::bail!(
                        "cgroup {path} is that of container {id}; hint: give the container a linux.cgroupsPath of its own"
                    );
                }
                // Its runtime has ended: either the container is in by now, which it was not when we looked, or it has stopped.
                refuse_occupied_directory(hierarchy)?;
                put(directory, mark, XattrFlags::REPLACE);
            }
        }
        Ok(())
    }

    /// True when another container has been given one of the directories since.
    pub fn are_of_another(&self) -> bool {
        let Some(mark) = &self.mark else { return false };
        self.deadly().any(|hierarchy| read(&hierarchy.directory).is_some_and(|other| other != *mark))
    }
}

/// Answers with the mark that is there already.
fn put(directory: &Path, mark: &str, flags: XattrFlags) -> Option<String> {
    for name in NAMES {
        match rustix::fs::setxattr(directory, name, mark.as_bytes(), flags) {
            Ok(()) => return None,
            Err(rustix::io::Errno::EXIST) => return read(directory),
            // Not allowed, or not supported.
            Err(_) => {}
        }
    }
    None
}

fn read(directory: &Path) -> Option<String> {
    NAMES.iter().find_map(|name| {
        let mut bytes = [0; LONGEST];
        let length = rustix::fs::getxattr(directory, *name, &mut bytes).ok()?;
        Some(String::from_utf8_lossy(bytes.get(..length)?).into_owned())
    })
}

/// The id in a mark whose runtime has not ended: it is about to put its container there, or to remove the cgroup.
fn id_if_being_made(mark: &str) -> Option<&str> {
    let mut words = mark.splitn(3, ' ');
    let (pid, start): (i32, u64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let is_alive = |(state, now): (char, u64)| now == start && !matches!(state, 'Z' | 'X');
    words.next().filter(|_| pid != std::process::id() as i32 && pidfd::stat(pid).is_ok_and(is_alive))
}
