//! The name of a repository: a registry (host and port) and a path, by the grammar of distribution's `reference` package,
//! checked before it becomes a part of a URL.

use std::fmt;

/// The registry that a name without one means.
pub const DOCKER_HUB: &str = "docker.io";

/// A repository: `docker.io` and `library/debian`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    host: String,
    path: String,
}

impl Repository {
    /// Checks host and path against the grammar; nothing is filled in.
    pub fn new(host: &str, path: &str) -> Result<Repository, &'static str> {
        if !is_host(host) {
            return Err("the registry is not a host name with an optional port");
        }
        if path.chars().any(|c| c.is_ascii_uppercase()) {
            return Err("a repository name must be in lower case");
        }
        if path.is_empty() || !path.split('/').all(is_component) {
            return Err(
                "a repository name consists of lower-case letters and digits, separated by `/`, `.`, `_`, `__` or `-`",
            );
        }
        if host.len() + 1 + path.len() > 255 {
            return Err("a repository name has at most 255 characters");
        }
        Ok(Repository { host: host.to_owned(), path: path.to_owned() })
    }

    /// Host and optional port, as the user names it: `docker.io`, `localhost:5000`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path below the registry: `library/debian`.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

/// `component(.component)*[:port]`, or an IPv6 address in brackets.
pub fn is_host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            return rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let label = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    name.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// `[a-z0-9]+ ((. | _ | __ | -+) [a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !word(*first) || !word(*last) {
        return false;
    }
    bytes.split(|b| word(*b)).all(|separator| match separator {
        [] | [b'.'] | [b'_'] | [b'_', b'_'] => true,
        dashes => dashes.iter().all(|b| *b == b'-'),
    })
}
