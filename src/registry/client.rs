//! Requests to a registry and its mirrors: who is asked, with whose credentials, how often, and what the answers mean.

use super::auth::{Auth, Owner, Scope};
use super::credentials::Credentials;
use super::digest::{Digest, Hasher};
use super::hosts::{Endpoint, Hosts};
use super::http::{Answer, Failure, Http, Limits, Payload, Request};
use super::name::Repository;
use super::proxy::Proxies;
use super::refusal::{refused, said};
use super::retry::{Patience, Pause, is_passing, retry_after};
use super::transfer::Blob;
use super::url::Url;
use anyhow::{Context, bail};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use ureq::http::Method;

/// Hears what is worth telling a person: retries, warnings of a registry, mirrors that failed.
pub type Notice = Box<dyn Fn(&str) + Send + Sync>;

/// How a client behaves.
pub struct Options {
    /// Where registries are.
    pub hosts: Hosts,
    /// Who we are.
    pub credentials: Credentials,
    /// How often to ask again.
    pub patience: Patience,
    /// Time limits of a connection.
    pub limits: Limits,
    /// Hears notices.
    pub notice: Notice,
}

/// A client: its connections, tokens and waits are shared by all threads that use it.
pub struct Client {
    hosts: Hosts,
    http: Http,
    auth: Auth,
    patience: Patience,
    pause: Pause,
    reason: Mutex<Option<String>>,
    notice: Notice,
    endpoints: Mutex<HashMap<String, Arc<Vec<Endpoint>>>>,
    warned: Mutex<HashSet<String>>,
}

/// What a request is for: the repository, and what is done with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Purpose<'a> {
    pub(super) repository: &'a Repository,
    pub(super) scope: &'a Scope,
}

/// A manifest or index, as bytes whose digest was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Exactly the bytes that have this digest.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
    /// The media type of Content-Type, without parameters.
    pub media_type: Option<String>,
}

/// What a registry tells about a manifest without sending it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Docker-Content-Digest.
    pub digest: Option<Digest>,
    /// The media type of Content-Type.
    pub media_type: Option<String>,
}

impl Client {
    /// A client; nothing is asked yet.
    pub fn new(options: Options) -> Client {
        Client {
            hosts: options.hosts,
            http: Http::new(Proxies::from_environment(), options.limits),
            auth: Auth::new(options.credentials),
            patience: options.patience,
            pause: Pause::default(),
            reason: Mutex::default(),
            notice: options.notice,
            endpoints: Mutex::default(),
            warned: Mutex::default(),
        }
    }

    /// Ends all waiting: a part of the work has failed for good, and the rest is of no use. The first reason is kept.
    pub fn stop_for(&self, reason: &str) {
        let mut first = self.reason.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        first.get_or_insert_with(|| reason.to_owned());
        self.pause.stop();
    }

    /// Why the work was stopped, if it was.
    pub fn reason(&self) -> Option<String> {
        self.reason.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// True after [`Client::stop_for`].
    pub fn is_stopped(&self) -> bool {
        self.pause.is_stopped()
    }

    /// Proves that the registry accepts our credentials (`GET /v2/`).
    pub fn check_login(&self, registry: &str) -> anyhow::Result<()> {
        let repository = Repository::new(registry, "x").map_err(anyhow::Error::msg)?;
        let scope = Scope::default();
        let endpoints = self.endpoints(registry)?;
        let endpoint = endpoints.last().context("no endpoint")?;
        let url = endpoint.base.with_path(format!("{}/", endpoint.base.path));
        let request = Request::new(Method::GET, url);
        let shown = request.shown();
        let mut answer = self.send(endpoint, Purpose { repository: &repository, scope: &scope }, request)?;
        if answer.status != 200 {
            bail!("{shown}: {}", said(&mut answer));
        }
        Ok(())
    }

    /// What the registry says a tag or digest means; none if there is no such manifest. One HEAD request.
    pub fn head_manifest(&self, repository: &Repository, selector: &str, accept: &str) -> anyhow::Result<Option<Told>> {
        let scope = Scope::pull(repository.path());
        self.first_of(
            repository,
            |e| if selector.contains(':') { e.pull } else { e.resolve },
            |endpoint| {
                let mut request = Request::new(Method::HEAD, place(endpoint, repository, "manifests", selector));
                request.headers.push(("Accept", accept.to_owned()));
                let shown = request.shown();
                let mut answer = self.send(endpoint, Purpose { repository, scope: &scope }, request)?;
                match answer.status {
                    200 => {
                        let digest = answer.header("docker-content-digest").and_then(|text| text.parse().ok());
                        Ok(Some(Told { digest, media_type: answer.media_type() }))
                    }
                    404 if endpoint.mirror_of.is_none() => Ok(None),
                    _ => Err(refused(&shown, endpoint, &mut answer)),
                }
            },
        )
    }

    /// Fetches a manifest or index of at most `limit` bytes. By digest its bytes must have that digest; by tag they
    /// must have the digest that the registry names, if it names one.
    pub fn manifest(
        &self,
        repository: &Repository,
        selector: &str,
        accept: &str,
        limit: u64,
    ) -> anyhow::Result<Fetched> {
        let scope = Scope::pull(repository.path());
        let expected: Option<Digest> = if selector.contains(':') { Some(selector.parse()?) } else { None };
        self.first_of(
            repository,
            |e| if expected.is_some() { e.pull } else { e.resolve },
            |endpoint| {
                let url = place(endpoint, repository, "manifests", selector);
                let (bytes, answer) =
                    self.fetch(endpoint, Purpose { repository, scope: &scope }, url.clone(), accept, limit)?;
                let shown = format!("GET {}", url.with_path(url.path.clone()));
                let named: Option<Digest> = answer.header("docker-content-digest").and_then(|text| text.parse().ok());
                let wanted = expected.clone().or(named);
                let digest = digest_as(&bytes, wanted.as_ref());
                if let Some(wanted) = wanted.filter(|wanted| *wanted != digest) {
                    bail!("{shown}: the bytes have digest {digest}, not {wanted}");
                }
                Ok(Fetched { bytes, digest, media_type: answer.media_type() })
            },
        )
    }

    /// The manifests that refer to `digest`, as the bytes of an index: by the referrers API, or by the tag that stands
    /// in for it where a registry has none. None if there is neither.
    pub fn referrers(
        &self,
        repository: &Repository,
        digest: &Digest,
        accept: &str,
        limit: u64,
    ) -> anyhow::Result<Option<Vec<u8>>> {
        let scope = Scope::pull(repository.path());
        let purpose = Purpose { repository, scope: &scope };
        let fallback = format!("{}-{}", digest.algorithm().name(), digest.hex());
        self.first_of(
            repository,
            |e| e.mirror_of.is_none(),
            |endpoint| {
                for (kind, name) in [("referrers", digest.as_str()), ("manifests", &fallback)] {
                    let mut request = Request::new(Method::GET, place(endpoint, repository, kind, name));
                    request.headers.push(("Accept", accept.to_owned()));
                    let shown = request.shown();
                    let mut answer = self.send(endpoint, purpose, request)?;
                    match answer.status {
                        200 => return Ok(Some(answer.read_all(limit).map_err(|f| f.error.context(shown))?)),
                        404 | 400 | 405 => {}
                        _ => return Err(refused(&shown, endpoint, &mut answer)),
                    }
                }
                Ok(None)
            },
        )
    }

    /// A blob as a stream: resumed when it is cut, its size and digest verified at its end.
    pub fn blob<'c>(&'c self, repository: &Repository, digest: &Digest, size: u64) -> Blob<'c> {
        Blob::new(self, repository.clone(), digest.clone(), size)
    }

    /// True if the registry has a blob.
    pub fn has_blob(&self, repository: &Repository, digest: &Digest, scope: &Scope) -> anyhow::Result<bool> {
        let endpoint = self.push_endpoint(repository)?;
        let request = Request::new(Method::HEAD, place(&endpoint, repository, "blobs", digest.as_str()));
        let shown = request.shown();
        let mut answer = self.send(&endpoint, Purpose { repository, scope }, request)?;
        match answer.status {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(refused(&shown, &endpoint, &mut answer)),
        }
    }

    /// Puts a manifest under a tag or its digest. Answers whether the registry took note of its `subject`.
    pub fn put_manifest(
        &self,
        repository: &Repository,
        selector: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> anyhow::Result<bool> {
        let scope = Scope::push(repository.path());
        let endpoint = self.push_endpoint(repository)?;
        let mut request = Request::new(Method::PUT, place(&endpoint, repository, "manifests", selector));
        request.headers.push(("Content-Type", media_type.to_owned()));
        let request = Request { payload: Payload::Bytes(bytes), ..request };
        let shown = request.shown();
        let mut answer = self.send(&endpoint, Purpose { repository, scope: &scope }, request)?;
        if !matches!(answer.status, 200..=202) {
            return Err(refused(&shown, &endpoint, &mut answer));
        }
        let named: Option<Digest> = answer.header("docker-content-digest").and_then(|text| text.parse().ok());
        if let Some(named) = named.filter(|named| *named != digest_as(bytes, Some(named))) {
            bail!("{shown}: the registry stored something else: {named}");
        }
        Ok(answer.header("oci-subject").is_some())
    }

    /// The endpoint that takes uploads.
    pub(super) fn push_endpoint(&self, repository: &Repository) -> anyhow::Result<Endpoint> {
        let endpoints = self.endpoints(repository.host())?;
        let found = endpoints.iter().find(|endpoint| endpoint.push && endpoint.mirror_of.is_none());
        found.cloned().with_context(|| format!("{}: no host takes uploads; hint: see hosts.toml", repository.host()))
    }

    /// The endpoints of a registry, read once.
    pub(super) fn endpoints(&self, registry: &str) -> anyhow::Result<Arc<Vec<Endpoint>>> {
        let mut known = self.endpoints.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(endpoints) = known.get(registry) {
            return Ok(endpoints.clone());
        }
        let endpoints = Arc::new(self.hosts.endpoints(registry)?);
        known.insert(registry.to_owned(), endpoints.clone());
        Ok(endpoints)
    }

    /// Asks one endpoint after the other, mirrors first, until one answers.
    fn first_of<T>(
        &self,
        repository: &Repository,
        fit: impl Fn(&Endpoint) -> bool,
        ask: impl Fn(&Endpoint) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let endpoints = self.endpoints(repository.host())?;
        let fitting: Vec<&Endpoint> = endpoints.iter().filter(|endpoint| fit(endpoint)).collect();
        let Some((last, mirrors)) = fitting.split_last() else {
            bail!("{}: no host in hosts.toml is capable of this", repository.host())
        };
        for mirror in mirrors {
            match ask(mirror) {
                Ok(found) => return Ok(found),
                Err(error) => self.notice(&format!("{error:#}; asking the next host")),
            }
        }
        ask(last)
    }

    /// A GET whose whole answer is needed; asked again when the body is cut.
    fn fetch(
        &self,
        endpoint: &Endpoint,
        purpose: Purpose<'_>,
        url: Url,
        accept: &str,
        limit: u64,
    ) -> anyhow::Result<(Vec<u8>, Answer)> {
        let mut attempt = 0;
        loop {
            let mut request = Request::new(Method::GET, url.clone());
            request.headers.push(("Accept", accept.to_owned()));
            let shown = request.shown();
            let mut answer = self.send(endpoint, purpose, request)?;
            if answer.status != 200 {
                return Err(refused(&shown, endpoint, &mut answer));
            }
            match answer.read_all(limit) {
                Ok(bytes) => return Ok((bytes, answer)),
                Err(failure) if failure.passing => {
                    attempt += 1;
                    self.wait(attempt, None, failure.error.context(shown))?;
                }
                Err(failure) => return Err(failure.error.context(shown)),
            }
        }
    }

    /// Sends a request until it is answered: with the credentials that the endpoint wants, again after failures that pass.
    /// What comes back may still be a refusal.
    pub(super) fn send(
        &self,
        endpoint: &Endpoint,
        purpose: Purpose<'_>,
        request: Request<'_>,
    ) -> anyhow::Result<Answer> {
        let mut attempt = 0;
        loop {
            let (failure, after) = match self.try_once(endpoint, purpose, &request) {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if !failure.passing {
                return Err(failure.error);
            }
            attempt += 1;
            self.wait_for(endpoint, attempt, after, failure.error)?;
        }
    }

    /// The same without asking again: for a request whose repetition means something else. What failed for the moment
    /// comes with the time that the server names.
    pub(super) fn try_once(
        &self,
        endpoint: &Endpoint,
        purpose: Purpose<'_>,
        request: &Request<'_>,
    ) -> Result<Answer, (Failure, Option<std::time::Duration>)> {
        let owner = owner(endpoint, purpose.repository);
        // Credentials and the headers of hosts.toml are for the endpoint alone, wherever a Location led us.
        let at_home = request.url.same_origin(&endpoint.base);
        let own: Vec<_> = if at_home { endpoint.headers.clone() } else { Vec::new() };
        let shown = request.shown();
        let mut challenges = 0;
        loop {
            let used = self.authorization(owner, purpose.scope, at_home).map_err(|failure| (failure, None))?;
            let mut private = own.clone();
            private.extend(used.clone().map(|value| ("Authorization".to_owned(), value)));
            let request = Request { private, ..request.clone() };
            let mut answer = self.http.exchange(&request, &endpoint.trust).map_err(|failure| (failure, None))?;
            if answer.status == 401 && at_home && challenges < 2 {
                challenges += 1;
                let more = self.auth.challenged(owner, purpose.scope, &answer.headers, used.as_deref());
                if !more.with_context(|| shown.clone()).map_err(|error| (Failure::last(error), None))? {
                    return Ok(answer);
                }
            } else if is_passing(answer.status) {
                let after = answer.header("retry-after").and_then(|v| retry_after(v, SystemTime::now()));
                let error = anyhow::anyhow!("{shown}: {}", said(&mut answer));
                return Err((Failure { passing: true, error }, after));
            } else {
                self.pass_on_warnings(endpoint, &answer);
                return Ok(answer);
            }
        }
    }

    fn authorization(&self, owner: Owner<'_>, scope: &Scope, at_home: bool) -> Result<Option<String>, Failure> {
        if at_home { self.auth.header(&self.http, owner, scope) } else { Ok(None) }
    }

    fn wait_for(
        &self,
        endpoint: &Endpoint,
        attempt: u32,
        after: Option<std::time::Duration>,
        error: anyhow::Error,
    ) -> anyhow::Result<()> {
        // Behind a mirror stands another host: no reason to be patient.
        if endpoint.mirror_of.is_some() && attempt > 1 {
            return Err(error);
        }
        self.wait(attempt, after, error)
    }

    /// Waits before the next attempt, or ends with `error` and why there is no next one.
    pub(super) fn wait(
        &self,
        attempt: u32,
        after: Option<std::time::Duration>,
        error: anyhow::Error,
    ) -> anyhow::Result<()> {
        let wait = match self.patience.wait_before(attempt, after) {
            Ok(wait) => wait,
            Err(reason) => bail!("{error:#} ({reason})"),
        };
        self.notice(&format!("{error:#}; asking again in {:.1} s", wait.as_secs_f64()));
        self.pause.wait(wait).map_err(|_| error)
    }

    fn pass_on_warnings(&self, endpoint: &Endpoint, answer: &Answer) {
        // distribution-spec: `299 - "text"`, shown to the user, each once.
        for value in answer.headers.get_all("warning").iter().filter_map(|value| value.to_str().ok()) {
            let text = value.strip_prefix("299 - \"").and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
            let shown: String = text.chars().filter(|c| !c.is_control()).take(400).collect();
            let line = format!("warning from {}: {shown}", endpoint.base.authority);
            if self.warned.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(line.clone()) {
                self.notice(&line);
            }
        }
    }

    pub(super) fn notice(&self, text: &str) {
        (self.notice)(text);
    }
}

/// Whose credentials an endpoint may see: a registry's own go to its own host, a mirror's to the mirror.
fn owner<'a>(endpoint: &'a Endpoint, repository: &'a Repository) -> Owner<'a> {
    Owner { registry: &endpoint.registry, path: repository.path(), base: &endpoint.base, trust: &endpoint.trust }
}

/// The URL of something in a repository: `BASE/NAME/KIND/WHICH`.
pub(super) fn place(endpoint: &Endpoint, repository: &Repository, kind: &str, which: &str) -> Url {
    let mut url = endpoint.base.with_path(format!("{}/{}/{kind}/{which}", endpoint.base.path, repository.path()));
    if let Some(registry) = &endpoint.mirror_of {
        url.add_query("ns", registry);
    }
    url
}

/// The digest of bytes, by the algorithm of another one.
fn digest_as(bytes: &[u8], like: Option<&Digest>) -> Digest {
    match like {
        Some(digest) => {
            let mut hasher = Hasher::new(digest.algorithm());
            hasher.update(bytes);
            hasher.finish()
        }
        None => Digest::of(bytes),
    }
}
