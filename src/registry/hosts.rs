//! How a registry is reached: `certs.d/HOST/hosts.toml` as containerd writes it (mirrors, certificates, headers), the
//! `*.crt`, `*.cert` and `*.key` files of docker beside or instead of it, and plain http for this machine itself.

use super::name::DOCKER_HUB;
use super::tls::Trust;
use super::url::{Url, host_of, is_loopback};
use crate::sys::{self, files};
use anyhow::{Context, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// No hosts.toml is larger (bytes).
const LIMIT: usize = 1 << 20;

/// Where the directories of the hosts are looked for, and what the command line said.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    /// Directories with one directory per registry; the first that knows a registry counts.
    pub directories: Vec<PathBuf>,
    /// Registries are spoken to in plain http.
    pub plain_http: bool,
    /// Whatever certificate a registry shows is accepted.
    pub insecure: bool,
}

/// One place that serves a registry's repositories: the registry itself, or a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The name under which credentials for it are kept: the registry's as the user knows it, a mirror's own.
    pub registry: String,
    /// What stands before `/NAME/manifests/...`: with `/v2`, unless hosts.toml overrides the path.
    pub base: Url,
    /// How TLS is spoken.
    pub trust: Trust,
    /// Headers that only this host gets.
    pub headers: Vec<(String, String)>,
    /// The registry that a mirror stands for: it is told by `?ns=`.
    pub mirror_of: Option<String>,
    /// Gives blobs and manifests by digest.
    pub pull: bool,
    /// Tells what a tag means.
    pub resolve: bool,
    /// Takes uploads.
    pub push: bool,
}

impl Hosts {
    /// The directories that containerd, docker and podman read, after our own.
    pub fn of_system() -> Hosts {
        let home = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
        let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
        let mut directories: Vec<PathBuf> = home.iter().map(|home| home.join("ocicat/certs.d")).collect();
        for owner in ["ocicat", "containerd", "docker", "containers"] {
            directories.push(Path::new("/etc").join(owner).join("certs.d"));
        }
        Hosts { directories, ..Hosts::default() }
    }

    /// The endpoints of a registry in the order in which they are asked; the registry itself is the last.
    pub fn endpoints(&self, registry: &str) -> anyhow::Result<Vec<Endpoint>> {
        let mut found = Vec::new();
        for directory in self.directories.iter().flat_map(|d| names_of(registry).map(|name| d.join(name))) {
            if !directory.is_dir() {
                continue;
            }
            let file = directory.join("hosts.toml");
            match files::read(&file, LIMIT) {
                Ok(bytes) => {
                    let text = String::from_utf8(bytes).with_context(|| file.display().to_string())?;
                    found = from_toml(&text, registry, &directory).with_context(|| file.display().to_string())?;
                    break;
                }
                Err(error) if error.errno == sys::Errno(libc::ENOENT) => {
                    let trust = from_files(&directory)?;
                    if trust != Trust::default() {
                        found = vec![Endpoint { trust, ..server_of(registry, true)? }];
                        break;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        if found.is_empty() {
            found.push(server_of(registry, false)?);
        }
        for endpoint in found.iter_mut().filter(|endpoint| endpoint.mirror_of.is_none()) {
            endpoint.base.secure &= !self.plain_http;
            endpoint.trust.anything |= self.insecure;
        }
        Ok(found)
    }
}

/// A directory is named after the registry, in containerd's spelling for file systems without colons, or stands for all.
fn names_of(registry: &str) -> impl Iterator<Item = String> {
    let without_colon = registry.replace(':', "_") + "_";
    let spelled = registry.contains(':').then_some(without_colon);
    [Some(registry.to_owned()), spelled, Some("_default".to_owned())].into_iter().flatten()
}

/// The registry itself. `certified`: somebody configured certificates, so it speaks TLS even on this machine.
fn server_of(registry: &str, certified: bool) -> anyhow::Result<Endpoint> {
    let authority = if registry == DOCKER_HUB { "registry-1.docker.io" } else { registry };
    let plain = !certified && is_loopback(host_of(registry)) && !registry.ends_with(":443");
    let scheme = if plain { "http" } else { "https" };
    let server = endpoint(&format!("{scheme}://{authority}"), false)?;
    Ok(Endpoint { registry: registry.to_owned(), ..server })
}

fn endpoint(url: &str, override_path: bool) -> anyhow::Result<Endpoint> {
    let url = if url.contains("://") { Url::parse(url)? } else { Url::parse(&format!("https://{url}"))? };
    let prefix = url.path.trim_end_matches('/');
    let path = if override_path || prefix.ends_with("/v2") { prefix.to_owned() } else { format!("{prefix}/v2") };
    Ok(Endpoint {
        registry: url.authority.clone(),
        base: url.with_path(path),
        trust: Trust::default(),
        headers: Vec::new(),
        mirror_of: None,
        pull: true,
        resolve: true,
        push: true,
    })
}

#[derive(Deserialize)]
struct HostsFile {
    server: Option<String>,
    #[serde(default)]
    host: BTreeMap<Spanned<String>, HostTable>,
    #[serde(flatten)]
    of_server: HostTable,
}

#[derive(Deserialize, Default)]
struct HostTable {
    capabilities: Option<Vec<String>>,
    ca: Option<OneOrMore>,
    client: Option<Clients>,
    #[serde(default)]
    skip_verify: bool,
    #[serde(default)]
    override_path: bool,
    #[serde(default)]
    header: BTreeMap<String, OneOrMore>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn into_list(self) -> Vec<String> {
        match self {
            OneOrMore::One(one) => vec![one],
            OneOrMore::More(more) => more,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Clients {
    One(String),
    Files(Vec<String>),
    Pairs(Vec<(String, String)>),
}

fn from_toml(text: &str, registry: &str, directory: &Path) -> anyhow::Result<Vec<Endpoint>> {
    let file: HostsFile = toml::from_str(text).map_err(|error| anyhow::anyhow!("{}", error.message()))?;
    // The order in the file is the order in which hosts are asked.
    let mut tables: Vec<_> = file.host.into_iter().collect();
    tables.sort_by_key(|(name, _)| name.span().start);
    let mut server = match &file.server {
        Some(server) => Endpoint { registry: registry.to_owned(), ..endpoint(server, file.of_server.override_path)? },
        None => server_of(registry, file.of_server.ca.is_some())?,
    };
    file.of_server.apply_to(&mut server, directory)?;
    let mut endpoints = Vec::new();
    for (name, table) in tables {
        let name = name.into_inner();
        let mut host = endpoint(&name, table.override_path).with_context(|| format!("host.{name:?}"))?;
        if host.base.authority == server.base.authority {
            host.registry = registry.to_owned();
        } else {
            host.mirror_of = Some(registry.to_owned());
        }
        table.apply_to(&mut host, directory).with_context(|| format!("host.{name:?}"))?;
        endpoints.push(host);
    }
    if !endpoints.iter().any(|host| host.base == server.base) {
        endpoints.push(server);
    }
    Ok(endpoints)
}

impl HostTable {
    fn apply_to(self, endpoint: &mut Endpoint, directory: &Path) -> anyhow::Result<()> {
        if let Some(capabilities) = &self.capabilities {
            (endpoint.pull, endpoint.resolve, endpoint.push) = (false, false, false);
            for capability in capabilities {
                match capability.as_str() {
                    "pull" => endpoint.pull = true,
                    "resolve" => endpoint.resolve = true,
                    "push" => endpoint.push = true,
                    "referrers" => {}
                    other => bail!("capability {other:?} is none of pull, resolve, push, referrers"),
                }
            }
        }
        endpoint.trust.anything = self.skip_verify;
        let authorities = self.ca.map(OneOrMore::into_list).unwrap_or_default();
        endpoint.trust.authorities = authorities.iter().map(|file| directory.join(file)).collect();
        endpoint.trust.client = match self.client {
            None => None,
            Some(Clients::One(both)) => Some((directory.join(&both), directory.join(&both))),
            Some(Clients::Files(list)) => list.first().map(|both| (directory.join(both), directory.join(both))),
            Some(Clients::Pairs(list)) => list.first().map(|(cert, key)| (directory.join(cert), directory.join(key))),
        };
        for (name, values) in self.header {
            endpoint.headers.extend(values.into_list().into_iter().map(|value| (name.clone(), value)));
        }
        Ok(())
    }
}

/// docker's convention: `*.crt` are trusted, `NAME.cert` and `NAME.key` are ours.
fn from_files(directory: &Path) -> anyhow::Result<Trust> {
    let mut trust = Trust::default();
    let listed = std::fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let mut names: Vec<PathBuf> = listed.filter_map(Result::ok).map(|entry| entry.path()).collect();
    names.sort();
    for path in names {
        match path.extension().and_then(std::ffi::OsStr::to_str) {
            Some("crt") => trust.authorities.push(path),
            Some("cert") => {
                let key = path.with_extension("key");
                if !key.exists() {
                    bail!("{}: {} is missing beside it", path.display(), key.display());
                }
                trust.client = Some((path, key));
            }
            _ => {}
        }
    }
    Ok(trust)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases(endpoints: &[Endpoint]) -> Vec<String> {
        endpoints.iter().map(|e| e.base.to_string()).collect()
    }

    #[test]
    fn without_configuration_only_this_machine_is_spoken_to_in_plain_http() {
        for (registry, base) in [
            ("docker.io", "https://registry-1.docker.io/v2"),
            ("example.org", "https://example.org/v2"),
            ("example.org:5000", "https://example.org:5000/v2"),
            ("localhost:5000", "http://localhost:5000/v2"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000/v2"),
            ("[::1]:5000", "http://[::1]:5000/v2"),
            ("localhost:443", "https://localhost:443/v2"),
        ] {
            assert_eq!(bases(&Hosts::default().endpoints(registry).unwrap()), [base]);
        }
        let plain = Hosts { plain_http: true, ..Hosts::default() };
        assert_eq!(bases(&plain.endpoints("example.org").unwrap()), ["http://example.org/v2"]);
    }

    #[test]
    fn hosts_toml_is_read_as_containerd_reads_it() {
        let text = r#"
            server = "https://registry.example.org"
            [host."https://z-mirror.example.org"]
              capabilities = ["pull", "resolve"]
              ca = "mirror.pem"
              [host."https://z-mirror.example.org".header]
                x-team = ["one", "two"]
            [host."http://a-cache.example.org:8080/prefix/v2"]
              capabilities = ["pull"]
              override_path = true
              skip_verify = true
              client = [["c.pem", "k.pem"]]
        "#;
        let found = from_toml(text, "example.org", Path::new("/conf")).unwrap();
        assert_eq!(
            bases(&found),
            [
                "https://z-mirror.example.org/v2",
                "http://a-cache.example.org:8080/prefix/v2",
                "https://registry.example.org/v2"
            ]
        );
        assert_eq!(found[0].trust.authorities, [PathBuf::from("/conf/mirror.pem")]);
        assert_eq!(found[0].headers.len(), 2);
        assert_eq!(found[0].mirror_of.as_deref(), Some("example.org"));
        assert!(found[0].pull && found[0].resolve && !found[0].push);
        assert!(found[1].trust.anything && !found[1].resolve);
        assert_eq!(found[1].trust.client, Some(("/conf/c.pem".into(), "/conf/k.pem".into())));
        assert_eq!(found[2].mirror_of, None);
    }

    #[test]
    fn a_wrong_hosts_toml_says_where() {
        for (text, reason) in [
            ("server = 3", "invalid type"),
            ("[host.\"https://m.org\"]\ncapabilities = [\"fly\"]", "capability \"fly\""),
            ("[host.\"ftp://m.org\"]", "no http or https URL"),
        ] {
            let error = format!("{:#}", from_toml(text, "example.org", Path::new("/conf")).unwrap_err());
            assert!(error.contains(reason), "{error}");
        }
    }
}
