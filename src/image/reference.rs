//! What a user calls an image: `debian`, `localhost:5000/team/app:1.2`, `name@sha256:...`, by docker's rules.

use crate::registry::{Digest, Repository, name};
use anyhow::{Context, bail};
use std::fmt;
use std::str::FromStr;

/// A repository with a tag, a digest, or both (then the digest counts and the tag is a name for people).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Registry and path, filled in: `docker.io/library/debian`.
    pub repository: Repository,
    /// The tag; `latest` when the user named neither tag nor digest.
    pub tag: Option<String>,
    /// The digest, when the user pinned one.
    pub digest: Option<Digest>,
}

impl Reference {
    /// What stands in the URL of the manifest: the digest if there is one, else the tag.
    pub fn selector(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => "latest",
        }
    }

    /// The short form that people know: `debian:12` for `docker.io/library/debian:12`.
    pub fn familiar(&self) -> String {
        let whole = self.to_string();
        match whole.strip_prefix("docker.io/") {
            Some(rest) => match rest.strip_prefix("library/") {
                Some(short) if !short.contains('/') => short.to_owned(),
                _ => rest.to_owned(),
            },
            None => whole,
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Reference> {
        parse(text).with_context(|| format!("image reference {text:?}"))
    }
}

fn parse(text: &str) -> anyhow::Result<Reference> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse::<Digest>()?)),
        None => (text, None),
    };
    // A colon before the last slash belongs to a port.
    let path_begins = rest.rfind('/').map_or(0, |at| at + 1);
    let colon = rest.get(path_begins..).and_then(|last| last.find(':')).map(|at| at + path_begins);
    let (name, tag) = match colon.and_then(|at| rest.split_at_checked(at)) {
        Some((name, tag)) => (name, tag.strip_prefix(':')),
        None => (rest, None),
    };
    if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
        bail!("tag {tag:?} is not a letter, digit or `_`, then at most 127 of these, `.` or `-`");
    }
    if name.is_empty() {
        bail!("no repository is named");
    }
    // docker's rule: such a name would be mistaken for an image id.
    if name.len() == 64 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        bail!("64 hexadecimal digits alone are no repository name; hint: write NAME@sha256:{name}");
    }
    let (host, path) = split_host(name);
    let path =
        if host == name::DOCKER_HUB && !path.contains('/') { format!("library/{path}") } else { path.to_owned() };
    let repository = Repository::new(host, &path).map_err(anyhow::Error::msg)?;
    let tag = match (tag, &digest) {
        (Some(tag), _) => Some(tag.to_owned()),
        (None, None) => Some("latest".to_owned()),
        (None, Some(_)) => None,
    };
    Ok(Reference { repository, tag, digest })
}

/// The first part is a registry if it looks like a host: it has a dot, a colon or a capital letter, or is `localhost`.
fn split_host(name: &str) -> (&str, &str) {
    let Some((first, rest)) = name.split_once('/') else { return (name::DOCKER_HUB, name) };
    let host_like = first.contains(['.', ':']) || first == "localhost" || first.chars().any(|c| c.is_ascii_uppercase());
    match first {
        "index.docker.io" => (name::DOCKER_HUB, rest),
        _ if host_like => (first, rest),
        _ => (name::DOCKER_HUB, name),
    }
}

/// `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`
pub fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_as_docker_completes_them() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for (given, whole) in [
            ("debian", "docker.io/library/debian:latest".to_owned()),
            ("debian:12", "docker.io/library/debian:12".to_owned()),
            ("team/app", "docker.io/team/app:latest".to_owned()),
            ("docker.io/debian", "docker.io/library/debian:latest".to_owned()),
            ("index.docker.io/debian", "docker.io/library/debian:latest".to_owned()),
            ("localhost/app", "localhost/app:latest".to_owned()),
            ("localhost:5000/app", "localhost:5000/app:latest".to_owned()),
            ("localhost:5000/a/b/c:v1.2-x_y", "localhost:5000/a/b/c:v1.2-x_y".to_owned()),
            ("[::1]:5000/app:1", "[::1]:5000/app:1".to_owned()),
            ("Registry/app", "Registry/app:latest".to_owned()),
            ("example.org/a__b/c---d/e.f", "example.org/a__b/c---d/e.f:latest".to_owned()),
            (&format!("app@{digest}"), format!("docker.io/library/app@{digest}")),
            (&format!("app:1@{digest}"), format!("docker.io/library/app:1@{digest}")),
        ] {
            assert_eq!(given.parse::<Reference>().unwrap().to_string(), whole, "{given}");
        }
    }

    #[test]
    fn what_is_no_reference_is_refused_with_the_reason() {
        let hex = "a".repeat(64);
        let long = "a/".repeat(130) + "b";
        for (given, reason) in [
            ("", "no repository is named"),
            (":tag", "no repository is named"),
            ("App", "lower case"),
            ("host.org/App", "lower case"),
            ("a//b", "consists of"),
            ("a/../b", "consists of"),
            ("a___b", "consists of"),
            ("-a", "consists of"),
            ("app:", "tag \"\""),
            ("app:-x", "tag \"-x\""),
            ("app:a/b", "host name with an optional port"),
            ("ho_st.org/app", "host name"),
            ("localhost:99999/app", "host name"),
            ("app@sha256:12", "is not a digest"),
            ("app@md5:00", "is not a digest"),
            (&hex, "no repository name"),
            (&long, "at most 255"),
            ("app\n", "consists of"),
        ] {
            let error = format!("{:#}", given.parse::<Reference>().unwrap_err());
            assert!(error.contains(reason), "{given:?}: {error}");
        }
    }

    #[test]
    fn people_see_the_short_form() {
        for (given, short) in [
            ("debian", "debian:latest"),
            ("team/app:1", "team/app:1"),
            ("localhost:5000/app", "localhost:5000/app:latest"),
        ] {
            assert_eq!(given.parse::<Reference>().unwrap().familiar(), short);
        }
    }
}
