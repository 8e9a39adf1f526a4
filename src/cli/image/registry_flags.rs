//! The options of every command that talks to a registry, and the client they make.

use super::super::arguments::Given;
use super::super::command::Flag;
use super::progress::Shown;
use crate::image::access::Access;
use crate::image::manifest::Platform;
use crate::image::pull::Client;
use anyhow::{Result, bail};
use std::path::PathBuf;
use std::sync::Arc;

/// Who we are and how registries are reached.
pub(super) const REGISTRY: &[Flag] = &[
    Flag::value("authfile", "FILE", "credentials, instead of REGISTRY_AUTH_FILE, auth.json and docker's config.json"),
    Flag::value("creds", "USER:PASSWORD", "credentials for this registry (others on this machine can see them)"),
    Flag::value("certs-dir", "DIR", "certs.d: one directory per registry with hosts.toml or *.crt (repeatable)")
        .repeated(),
    Flag::switch("plain-http", "speak http with the registry"),
    Flag::switch("insecure", "accept any certificate of the registry"),
    Flag::value("attempts", "N", "ask N times before giving up (6)"),
];

/// Which image of an index.
pub(super) const PLATFORM: &[Flag] =
    &[Flag::value("platform", "OS/ARCH[/VARIANT]", "the image for that machine, instead of this one's")];

/// The platform asked for, or this machine's.
pub(super) fn platform(given: &Given) -> Result<Platform> {
    match given.value("platform") {
        Some(text) => text.parse(),
        None => Ok(Platform::of_machine()),
    }
}

/// What the options say about registries.
pub(super) fn access(given: &Given) -> Result<Access> {
    let credentials = match given.value("creds").map(|pair| pair.split_once(':')) {
        None => None,
        Some(Some((user, password))) => Some((user.to_owned(), password.to_owned())),
        Some(None) => bail!("--creds wants USER:PASSWORD"),
    };
    Ok(Access {
        credentials_file: given.owned("authfile"),
        credentials,
        hosts: given.all("certs-dir").into_iter().map(PathBuf::from).collect(),
        plain_http: given.is("plain-http"),
        insecure: given.is("insecure"),
        attempts: given.number("attempts")?,
    })
}

/// A client for `registry` whose notices go where the progress is.
pub(super) fn client(given: &Given, registry: &str, shown: &Arc<Shown>) -> Result<Client> {
    Ok(access(given)?.client(registry, notice(shown)))
}

/// Hears notices for `shown`.
pub(super) fn notice(shown: &Arc<Shown>) -> Box<dyn Fn(&str) + Send + Sync> {
    let shown = Arc::clone(shown);
    Box::new(move |text: &str| shown.line(text))
}
