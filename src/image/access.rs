//! How a user gets at registries: whose credentials, which certificates, how patiently; and login and logout.

use crate::registry::client::{Client, Notice, Options};
use crate::registry::credentials::{Credential, Credentials};
use crate::registry::hosts::Hosts;
use crate::registry::http::Limits;
use crate::registry::name::{DOCKER_HUB, is_host};
use crate::registry::retry::Patience;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;

/// What the user says about registries; everything else is as podman, docker and containerd are configured.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The only file of credentials.
    pub credentials_file: Option<PathBuf>,
    /// Name and password for the one registry that is meant.
    pub credentials: Option<(String, String)>,
    /// The only directories of hosts, if there are any.
    pub hosts: Vec<PathBuf>,
    /// Speak http.
    pub plain_http: bool,
    /// Accept any certificate.
    pub insecure: bool,
    /// Attempts before giving up.
    pub attempts: Option<u32>,
}

impl Access {
    /// A client for `registry`, which hears what is worth telling by `notice`.
    pub fn client(&self, registry: &str, notice: Notice) -> Client {
        let mut credentials = self.kept();
        credentials.given = self
            .credentials
            .as_ref()
            .map(|(user, password)| (registry.to_owned(), Credential::Basic(user.clone(), password.clone())));
        let mut hosts = Hosts::of_system();
        if !self.hosts.is_empty() {
            hosts.directories = self.hosts.clone();
        }
        hosts.plain_http = self.plain_http;
        hosts.insecure = self.insecure;
        let mut patience = Patience::default();
        patience.attempts = self.attempts.unwrap_or(patience.attempts);
        Client::new(Options { hosts, credentials, patience, limits: Limits::default(), notice })
    }

    /// Proves name and password to a registry and keeps them; answers where.
    pub fn login(&self, registry: &str, user: &str, password: &str, notice: Notice) -> Result<String> {
        let proof = Access { credentials: Some((user.to_owned(), password.to_owned())), ..self.clone() };
        proof.client(registry, notice).check_login(registry).with_context(|| format!("login to {registry}"))?;
        self.kept().store(registry, user, password)
    }

    /// Forgets a registry; false if nothing was known.
    pub fn logout(&self, registry: &str) -> Result<bool> {
        self.kept().erase(registry)
    }

    fn kept(&self) -> Credentials {
        Credentials::from_environment(self.credentials_file.clone())
    }
}

/// The registry that a user names: a host, as people copy it from somewhere; none is docker's.
pub fn registry_named(text: &str) -> Result<String> {
    let named = text.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    match named {
        "" | "index.docker.io" => Ok(DOCKER_HUB.to_owned()),
        host if is_host(host) => Ok(host.to_owned()),
        other => bail!("{other:?} is no registry (HOST or HOST:PORT)"),
    }
}
