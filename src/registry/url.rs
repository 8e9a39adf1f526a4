//! The few things that a registry client needs of a URL: its parts, and where a `Location` leads to (RFC 3986, 5.2).

use anyhow::bail;
use std::fmt;

/// An absolute `http` or `https` URL without user information and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// True for `https`.
    pub secure: bool,
    /// Host and optional port.
    pub authority: String,
    /// Begins with `/`; without the query.
    pub path: String,
    /// Without the `?`; empty if there is none.
    pub query: String,
}

impl Url {
    /// Reads an absolute URL.
    pub fn parse(text: &str) -> anyhow::Result<Url> {
        let (secure, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => bail!("{text:?} is no http or https URL"),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if !super::name::is_host(authority) {
            bail!("{text:?} names no host (user information is not allowed)");
        }
        let mut url = Url { secure, authority: authority.to_owned(), path: "/".to_owned(), query: String::new() };
        url.set_path_and_query(rest)?;
        Ok(url)
    }

    /// Where a `Location` header leads to from here.
    pub fn join(&self, location: &str) -> anyhow::Result<Url> {
        if location.contains("://") && !location.starts_with(['/', '?']) {
            return Url::parse(location);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Url::parse(&format!("{}://{rest}", self.scheme()));
        }
        let mut url = self.clone();
        if location.starts_with('?') {
            let path = self.path.clone();
            url.set_path_and_query(&format!("{path}{location}"))?;
        } else if location.starts_with('/') {
            url.set_path_and_query(location)?;
        } else {
            let directory = self.path.rfind('/').and_then(|at| self.path.get(..=at)).unwrap_or("/");
            url.set_path_and_query(&format!("{directory}{location}"))?;
        }
        Ok(url)
    }

    /// The same with another path, which is given as it shall stand there.
    pub fn with_path(&self, path: String) -> Url {
        Url { path, query: String::new(), ..self.clone() }
    }

    /// Adds `key=value` to the query; the value is encoded.
    pub fn add_query(&mut self, key: &str, value: &str) {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        self.query.push_str(key);
        self.query.push('=');
        self.query.push_str(&encoded(value));
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// The host without the port, and without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        host_of(&self.authority)
    }

    /// The port, or the scheme's own.
    pub fn port(&self) -> u16 {
        let after =
            self.authority.rfind(']').map_or(self.authority.as_str(), |at| self.authority.get(at..).unwrap_or(""));
        let default = if self.secure { 443 } else { 80 };
        after.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(default)
    }

    /// True if credentials for one may be sent to the other: same scheme, host and port.
    pub fn same_origin(&self, other: &Url) -> bool {
        self.secure == other.secure && self.port() == other.port() && self.host().eq_ignore_ascii_case(other.host())
    }

    fn set_path_and_query(&mut self, text: &str) -> anyhow::Result<()> {
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            bail!("{text:?} has characters that a URL may not have");
        }
        let text = text.split('#').next().unwrap_or_default();
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        self.path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        self.query = query.to_owned();
        Ok(())
    }
}

/// The host of `host[:port]`.
pub fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    }
}

/// True for the names and addresses of this machine itself.
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
pub fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority, self.path)?;
        if self.query.is_empty() { Ok(()) } else { write!(f, "?{}", self.query) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_leads_where_rfc_3986_says() {
        let base = Url::parse("https://a.org:5000/v2/x/blobs/uploads/1?state=2").unwrap();
        for (location, target) in [
            ("https://b.org/c?d=e#f", "https://b.org/c?d=e"),
            ("//b.org/c", "https://b.org/c"),
            ("/v2/y?z=1", "https://a.org:5000/v2/y?z=1"),
            ("?z=1", "https://a.org:5000/v2/x/blobs/uploads/1?z=1"),
            ("2", "https://a.org:5000/v2/x/blobs/uploads/2"),
            ("/a?next=https://c.org/", "https://a.org:5000/a?next=https://c.org/"),
            ("http://[::1]:80/x", "http://[::1]:80/x"),
        ] {
            assert_eq!(base.join(location).unwrap().to_string(), target, "{location}");
        }
        for wrong in ["ftp://x/", "https://user:pass@b.org/", "https:///x", "file:///etc/passwd", "/a b", "/a\r\nX: y"]
        {
            assert!(base.join(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let url = |text| Url::parse(text).unwrap();
        assert!(url("https://a.org/x").same_origin(&url("https://A.org:443/y")));
        assert!(url("http://[::1]:5000/x").same_origin(&url("http://[::1]:5000/")));
        for (one, other) in [
            ("https://a.org/", "http://a.org/"),
            ("https://a.org/", "https://a.org:444/"),
            ("https://a.org/", "https://b.a.org/"),
        ] {
            assert!(!url(one).same_origin(&url(other)));
        }
    }
}
