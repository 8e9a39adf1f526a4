//! The id of a container: a checked value, because it becomes the name of a directory and of cgroups.

use anyhow::{Error, bail};
use std::fmt;
use std::str::FromStr;

/// The longest id in bytes: it must fit a file name together with what managers put around it (`libpod-ID.scope`).
pub const LONGEST: usize = 240;

/// An id that is safe as the name of a file: letters, digits, `_`, `+`, `-`, `.`, and neither `.` nor `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

impl ContainerId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
        if text.is_empty() {
            bail!("container id must not be empty");
        }
        if text.len() > LONGEST {
            bail!("invalid container id: {} bytes are more than {LONGEST}", text.len());
        }
        if let Some(wrong) = text.chars().find(|&c| !allowed(c)) {
            bail!("invalid container id {text:?}: {wrong:?} is not one of A-Z a-z 0-9 _ + - .");
        }
        if text == "." || text == ".." {
            bail!("invalid container id {text:?}: that name means a directory");
        }
        Ok(ContainerId(text.to_owned()))
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<std::path::Path> for ContainerId {
    fn as_ref(&self) -> &std::path::Path {
        std::path::Path::new(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_name_of_one_file_and_nothing_more() {
        for good in ["a", "web-1", "k8s_pod+x.y", "...", "-leading", "0"] {
            assert_eq!(good.parse::<ContainerId>().unwrap().as_str(), good);
        }
        let long = "x".repeat(LONGEST + 1);
        for bad in ["", ".", "..", "a/b", "/", "a b", "a\n", "é", "a\0", long.as_str()] {
            assert!(bad.parse::<ContainerId>().is_err(), "{bad:?}");
        }
    }
}
