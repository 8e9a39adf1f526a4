//! The credentials that a user already has: containers' auth.json and docker's config.json, with their helpers.
//!
//! They are asked for only when a registry wants them, by registry and repository, most specific first. A mirror gets
//! what is kept under the mirror's own name, never those of the registry that it stands for.

use super::helper;
use super::name::DOCKER_HUB;
use crate::sys::{self, files};
use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// No file of credentials is larger (bytes).
const LIMIT: usize = 4 << 20;

/// What docker calls its hub in its files and to its helpers.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// How to prove who one is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A name and a password.
    Basic(String, String),
    /// An identity token: the token server exchanges it (OAuth 2 refresh token).
    Identity(String),
    /// A token that the registry itself accepts.
    Bearer(String),
}

/// Secrets do not get into messages.
impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Credential::Basic(user, _) => write!(f, "password of {user}"),
            Credential::Identity(_) => f.write_str("identity token"),
            Credential::Bearer(_) => f.write_str("bearer token"),
        }
    }
}

/// Where credentials are looked for.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// Given on the command line: used for the registry itself, not for its mirrors.
    pub given: Option<(String, Credential)>,
    /// Files, the first that knows a registry counts.
    pub files: Vec<PathBuf>,
}

impl Credentials {
    /// The files of podman and docker, or the one that the user names (`REGISTRY_AUTH_FILE`).
    pub fn from_environment(named: Option<PathBuf>) -> Credentials {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(file) = named.or_else(|| variable("REGISTRY_AUTH_FILE")) {
            return Credentials { given: None, files: vec![file] };
        }
        let home = variable("HOME");
        let uid = rustix::process::geteuid().as_raw();
        let runtime = variable("XDG_RUNTIME_DIR").unwrap_or_else(|| PathBuf::from(format!("/run/containers/{uid}")));
        let runtime = if runtime.starts_with("/run/containers") { runtime } else { runtime.join("containers") };
        let configuration = variable("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
        let docker = variable("DOCKER_CONFIG").or_else(|| home.as_ref().map(|home| home.join(".docker")));
        let files = [
            Some(runtime.join("auth.json")),
            configuration.map(|directory| directory.join("containers/auth.json")),
            docker.map(|directory| directory.join("config.json")),
        ];
        Credentials { given: None, files: files.into_iter().flatten().collect() }
    }

    /// The credential for a repository of a registry, and where it was found.
    pub fn find(&self, registry: &str, path: &str) -> anyhow::Result<Option<(Credential, String)>> {
        if let Some((_, credential)) = self.given.as_ref().filter(|(host, _)| host == registry) {
            return Ok(Some((credential.clone(), "the command line".to_owned())));
        }
        for file in &self.files {
            let Some(document) = read(file)? else { continue };
            let found = find_in(&document, registry, path).with_context(|| file.display().to_string())?;
            if let Some(credential) = found {
                return Ok(Some((credential, file.display().to_string())));
            }
        }
        Ok(None)
    }

    /// Keeps a credential, with the file's helper if it has one. Answers where.
    pub fn store(&self, registry: &str, user: &str, secret: &str) -> anyhow::Result<String> {
        let (file, mut document) = self.for_change()?;
        if let Some(name) = helper_for(&document, registry) {
            helper::store(&name, server_name(registry), user, secret)?;
            // What the file itself says counts first: an entry from before the helper is old now.
            if forget(&mut document, registry) {
                write(file, &document)?;
            }
            return Ok(format!("docker-credential-{name}"));
        }
        let entry = json!({ "auth": STANDARD.encode(format!("{user}:{secret}")) });
        let auths = document.entry("auths").or_insert_with(|| json!({}));
        if auths.is_null() {
            *auths = json!({});
        }
        let Some(auths) = auths.as_object_mut() else { bail!("{}: auths is not an object", file.display()) };
        auths.retain(|key, _| normal_key(key) != registry);
        auths.insert(key_for(file, registry).to_owned(), entry);
        write(file, &document)?;
        Ok(file.display().to_string())
    }

    /// Forgets a registry; false if nothing was known.
    pub fn erase(&self, registry: &str) -> anyhow::Result<bool> {
        let mut known = false;
        for file in &self.files {
            let Some(mut document) = read(file)? else { continue };
            if let Some(name) = helper_for(&document, registry) {
                known |= helper::get(&name, server_name(registry))?.is_some();
                helper::erase(&name, server_name(registry))?;
            }
            if forget(&mut document, registry) {
                known = true;
                write(file, &document)?;
            }
        }
        Ok(known)
    }

    /// The file that a login changes: the first that exists, else the first.
    fn for_change(&self) -> anyhow::Result<(&Path, Map<String, Value>)> {
        for file in &self.files {
            if let Some(document) = read(file)? {
                return Ok((file, document));
            }
        }
        let first = self.files.first().context("no file for credentials; hint: name one with --authfile")?;
        Ok((first, Map::new()))
    }
}

/// Takes a registry's entry out of a file's own; false if there is none.
fn forget(document: &mut Map<String, Value>, registry: &str) -> bool {
    let Some(auths) = document.get_mut("auths").and_then(Value::as_object_mut) else { return false };
    let before = auths.len();
    auths.retain(|key, _| normal_key(key) != registry);
    auths.len() != before
}

fn read(file: &Path) -> anyhow::Result<Option<Map<String, Value>>> {
    match files::read(file, LIMIT) {
        Ok(bytes) if bytes.is_empty() => Ok(Some(Map::new())),
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).with_context(|| file.display().to_string())?)),
        // An unreadable directory of another user is the same as no file.
        Err(error) if matches!(error.errno.0, libc::ENOENT | libc::ENOTDIR | libc::EACCES) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Replaces a file, and of a symbolic link what it leads to: people keep such files elsewhere.
fn write(file: &Path, document: &Map<String, Value>) -> anyhow::Result<()> {
    #[allow(clippy::disallowed_methods, reason = "the user's own file, replaced in the directory that is opened next")]
    let file = &std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = file.file_name().and_then(std::ffi::OsStr::to_str).context("the file of credentials has no name")?;
    make_private(directory)?;
    let open = files::open(directory, rustix::fs::OFlags::DIRECTORY)?;
    let mut text = serde_json::to_vec_pretty(document)?;
    text.push(b'\n');
    Ok(files::replace_at(&open, name, &text, 0o600)?)
}

fn make_private(directory: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    use sys::Asked;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    Ok(made.asked(|| format!("mkdir {}", directory.display()))?)
}

/// The key under which a file keeps a registry: docker's spelling for its own hub in its own file.
fn key_for<'a>(file: &Path, registry: &'a str) -> &'a str {
    if file.ends_with("config.json") { server_name(registry) } else { registry }
}

/// What a helper calls a registry.
fn server_name(registry: &str) -> &str {
    if registry == DOCKER_HUB { DOCKER_HUB_KEY } else { registry }
}

/// A key as we call it: `https://index.docker.io/v1/` is `docker.io`.
fn normal_key(key: &str) -> &str {
    let (is_url, rest) = match key.split_once("://") {
        Some((_, rest)) => (true, rest),
        None => (false, key),
    };
    let rest = rest.trim_end_matches('/');
    let host = rest.split('/').next().unwrap_or_default();
    let bare = is_url || rest.strip_prefix(host).is_some_and(|path| path == "/v1" || path == "/v2");
    match if bare { host } else { rest } {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        other => other,
    }
}

fn helper_for(document: &Map<String, Value>, registry: &str) -> Option<String> {
    let special = document.get("credHelpers").and_then(Value::as_object).and_then(|helpers| {
        helpers.iter().find(|(key, _)| normal_key(key) == registry).and_then(|(_, name)| name.as_str())
    });
    let general = document.get("credsStore").and_then(Value::as_str);
    special.or(general).filter(|name| !name.is_empty()).map(str::to_owned)
}

fn find_in(document: &Map<String, Value>, registry: &str, path: &str) -> anyhow::Result<Option<Credential>> {
    // registry/a/b/c, registry/a/b, registry/a, registry
    let whole = format!("{registry}/{path}");
    let names = std::iter::successors(Some(whole.as_str()), |name| {
        name.rsplit_once('/').map(|(parent, _)| parent).filter(|parent| parent.len() >= registry.len())
    });
    let auths = document.get("auths").and_then(Value::as_object);
    for name in names {
        for (key, entry) in auths.into_iter().flatten().filter(|(key, _)| normal_key(key) == name) {
            if let Some(credential) = entry_credential(entry).with_context(|| format!("auths[{key:?}]"))? {
                return Ok(Some(credential));
            }
        }
    }
    let Some(name) = helper_for(document, registry) else { return Ok(None) };
    let mut known = helper::get(&name, server_name(registry))?;
    if known.is_none() && registry == DOCKER_HUB {
        known = helper::get(&name, DOCKER_HUB)?;
    }
    Ok(known.map(|known| match known.username.as_str() {
        "<token>" => Credential::Identity(known.secret),
        _ => Credential::Basic(known.username, known.secret),
    }))
}

fn entry_credential(entry: &Value) -> anyhow::Result<Option<Credential>> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|value| !value.is_empty());
    if let Some(token) = text("identitytoken") {
        return Ok(Some(Credential::Identity(token.to_owned())));
    }
    if let Some(token) = text("registrytoken") {
        return Ok(Some(Credential::Bearer(token.to_owned())));
    }
    if let (Some(user), Some(password)) = (text("username"), text("password")) {
        return Ok(Some(Credential::Basic(user.to_owned(), password.to_owned())));
    }
    let Some(auth) = text("auth") else { return Ok(None) };
    let bytes = STANDARD.decode(auth.trim()).context("auth is not base64")?;
    let pair = String::from_utf8(bytes).context("auth is not text")?;
    let (user, password) = pair.split_once(':').context("auth is not USER:PASSWORD in base64")?;
    let password = password.trim_end_matches('\0');
    Ok(Some(match user {
        "<token>" => Credential::Identity(password.to_owned()),
        _ => Credential::Basic(user.to_owned(), password.to_owned()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(document: &str, registry: &str, path: &str) -> String {
        let document: Map<String, Value> = serde_json::from_str(document).unwrap();
        match find_in(&document, registry, path).unwrap() {
            Some(Credential::Basic(user, password)) => format!("{user}:{password}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_most_specific_entry_of_a_registry_counts() {
        let document = json!({"auths": {
            "example.org": {"auth": STANDARD.encode("all:1")},
            "example.org/team": {"auth": STANDARD.encode("team:2")},
            "example.org/team/app": {"username": "app", "password": "3:4"},
            "https://index.docker.io/v1/": {"auth": STANDARD.encode("hub:5")},
            "https://old.org/v2/": {"identitytoken": "x"},
            "empty.org": {},
        }})
        .to_string();
        for (registry, path, expected) in [
            ("example.org", "other", "all:1"),
            ("example.org", "team/x", "team:2"),
            ("example.org", "team/app", "app:3:4"),
            ("example.org", "teams/app", "all:1"),
            ("docker.io", "library/debian", "hub:5"),
            ("old.org", "a", "Some(identity token)"),
            ("empty.org", "a", "None"),
            ("example.or", "g/team", "None"),
            ("ample.org", "team", "None"),
        ] {
            assert_eq!(found(&document, registry, path), expected, "{registry}/{path}");
        }
    }

    #[test]
    fn a_login_keeps_the_link_of_a_file_that_is_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let (elsewhere, link) = (directory.path().join("real.json"), directory.path().join("config.json"));
        crate::sys::files::create_new(&elsewhere, br#"{"auths": null, "other": 1}"#, 0o600).unwrap();
        std::os::unix::fs::symlink("real.json", &link).unwrap();
        let credentials = Credentials { given: None, files: vec![link.clone()] };
        credentials.store("example.org", "user", "secret").unwrap();
        assert!(link.is_symlink());
        let text = std::fs::read_to_string(&elsewhere).unwrap();
        assert_eq!(found(&text, "example.org", "a"), "user:secret");
        assert!(text.contains("other") && credentials.erase("example.org").unwrap() && link.is_symlink());
    }

    #[test]
    fn a_broken_entry_says_which() {
        for (auth, reason) in [("%%%", "not base64"), ("bm9jb2xvbg==", "not USER:PASSWORD")] {
            let document = json!({"auths": {"example.org": {"auth": auth}}});
            let error = format!("{:#}", find_in(document.as_object().unwrap(), "example.org", "a").unwrap_err());
            assert!(error.contains(reason) && error.contains("example.org"), "{error}");
            assert!(!error.contains(auth), "secrets stay out of messages: {error}");
        }
    }

    #[test]
    fn a_login_is_kept_privately_and_forgotten_again() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("new/auth.json");
        let credentials = Credentials { given: None, files: vec![file.clone()] };
        credentials.store("example.org", "me", "pa:ss").unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let (credential, source) = credentials.find("example.org", "x").unwrap().unwrap();
        assert!(credential == Credential::Basic("me".into(), "pa:ss".into()));
        assert_eq!(source, file.display().to_string());
        assert!(credentials.erase("example.org").unwrap());
        assert!(!credentials.erase("example.org").unwrap());
        assert_eq!(credentials.find("example.org", "x").unwrap(), None);
    }
}
