//! Which proxy the environment names for a URL: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` in either case.

use super::url::{Url, is_loopback};
use std::net::IpAddr;

/// The proxy variables of the environment.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    https: Option<String>,
    http: Option<String>,
    except: Vec<String>,
}

impl Proxies {
    /// Reads the environment.
    pub fn from_environment() -> Proxies {
        Proxies::from_lookup(|name| std::env::var(name).ok())
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Proxies {
        let either = |name: &str| {
            let found = lookup(&name.to_lowercase()).filter(|v| !v.is_empty());
            found.or_else(|| lookup(&name.to_uppercase()).filter(|v| !v.is_empty()))
        };
        let all = either("ALL_PROXY");
        let except = either("NO_PROXY").unwrap_or_default();
        Proxies {
            https: either("HTTPS_PROXY").or_else(|| all.clone()),
            http: either("HTTP_PROXY").or(all),
            except: except.split([',', ' ']).map(str::trim).filter(|e| !e.is_empty()).map(str::to_lowercase).collect(),
        }
    }

    /// The proxy for `url`, as the user wrote it; none for this machine itself and for what `NO_PROXY` names.
    pub fn proxy_for(&self, url: &Url) -> Option<&str> {
        let proxy = if url.secure { self.https.as_deref() } else { self.http.as_deref() }?;
        let host = url.host().to_lowercase();
        let excepted = is_loopback(&host) || self.except.iter().any(|pattern| matches(pattern, &host, url.port()));
        if excepted { None } else { Some(proxy) }
    }
}

/// One entry of `NO_PROXY`: `*`, a name (and everything below it), `.domain`, `*.domain`, an address, `address/bits`, each with an optional port.
fn matches(pattern: &str, host: &str, port: u16) -> bool {
    if pattern == "*" {
        return true;
    }
    if let (Some((network, bits)), Ok(address)) = (pattern.split_once('/'), host.parse::<IpAddr>()) {
        return network.parse().ok().zip(bits.parse().ok()).is_some_and(|(net, bits)| in_network(address, net, bits));
    }
    let pattern = match pattern.rsplit_once(':') {
        Some((name, wanted)) if pattern.parse::<IpAddr>().is_err() => {
            if wanted.parse() != Ok(port) {
                return false;
            }
            name
        }
        _ => pattern,
    };
    let domain = pattern.strip_prefix("*.").or(pattern.strip_prefix('.'));
    match domain {
        Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
        None => host == pattern || host.strip_suffix(pattern).is_some_and(|rest| rest.ends_with('.')),
    }
}

fn in_network(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let prefix = |value: u128, width: u32| value.checked_shr(width.saturating_sub(bits)).unwrap_or(0);
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => prefix(u32::from(a).into(), 32) == prefix(u32::from(n).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(n)) => prefix(u128::from(a), 128) == prefix(u128::from(n), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_names_domains_addresses_and_networks() {
        let proxies = Proxies::from_lookup(|name| match name {
            "https_proxy" => Some("http://p:3128".to_owned()),
            "HTTP_PROXY" => Some("http://q:3128".to_owned()),
            "NO_PROXY" => {
                Some("inside.org, .corp.org,*.star.org,10.0.0.0/8,192.0.2.1,port.org:8443,fd00::/8".to_owned())
            }
            _ => None,
        });
        for (url, proxy) in [
            ("https://a.org/", Some("http://p:3128")),
            ("http://a.org/", Some("http://q:3128")),
            ("https://localhost:5000/", None),
            ("http://127.0.0.1/", None),
            ("http://[::1]:5000/", None),
            ("https://inside.org/", None),
            ("https://x.INSIDE.org/", None),
            ("https://notinside.org/", Some("http://p:3128")),
            ("https://corp.org/", Some("http://p:3128")),
            ("https://a.corp.org/", None),
            ("https://a.star.org/", None),
            ("https://10.1.2.3/", None),
            ("https://11.1.2.3/", Some("http://p:3128")),
            ("https://192.0.2.1/", None),
            ("https://port.org:8443/", None),
            ("https://port.org/", Some("http://p:3128")),
            ("https://[fd12::1]/", None),
        ] {
            assert_eq!(proxies.proxy_for(&Url::parse(url).unwrap()), proxy, "{url}");
        }
    }
}
