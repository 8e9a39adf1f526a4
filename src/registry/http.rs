//! One HTTP exchange: agents by trust and proxy, time limits, and redirects that never carry a credential to another
//! origin (CVE-2020-15157), which is why the HTTP library does not follow them for us.

use super::proxy::Proxies;
use super::tls::Trust;
use super::url::{Url, host_of};
use crate::sys;
use anyhow::Context;
use std::collections::HashMap;
use std::io::Read;
use std::sync::Mutex;
use std::time::Duration;
use ureq::http::{HeaderMap, Method};
use ureq::{Agent, Body, SendBody, http};

/// Redirects followed for one request.
const REDIRECTS: u32 = 5;

/// Time limits of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the name to a connection, TLS included.
    pub connect: Duration,
    /// Until the head of the answer is there.
    pub answer: Duration,
    /// Without a single byte received or sent.
    pub stall: Duration,
    /// The same while something is uploaded: a registry computes the digest of a large blob before it answers.
    pub stall_of_upload: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connect: Duration::from_secs(15),
            answer: Duration::from_secs(600),
            stall: Duration::from_secs(30),
            stall_of_upload: Duration::from_secs(600),
        }
    }
}

/// Opens the bytes of a request anew for each attempt.
pub type Open<'a> = &'a dyn Fn() -> anyhow::Result<Box<dyn Read + 'a>>;

/// What a request carries.
#[derive(Clone, Copy)]
pub enum Payload<'a> {
    /// Nothing.
    None,
    /// A few bytes.
    Bytes(&'a [u8]),
    /// A stream of known length.
    Stream(u64, Open<'a>),
}

/// A request.
#[derive(Clone)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// Where it goes.
    pub url: Url,
    /// Headers that may go to any host: Accept, Range, Content-Type.
    pub headers: Vec<(&'static str, String)>,
    /// Headers for this origin alone: Authorization, and those of hosts.toml.
    pub private: Vec<(String, String)>,
    /// What it carries.
    pub payload: Payload<'a>,
}

impl<'a> Request<'a> {
    /// A request without headers and payload.
    pub fn new(method: Method, url: Url) -> Request<'a> {
        Request { method, url, headers: Vec::new(), private: Vec::new(), payload: Payload::None }
    }

    /// Method and place as errors show them: without the query, which may hold a signature.
    pub fn shown(&self) -> String {
        format!("{} {}", self.method, self.url.with_path(self.url.path.clone()))
    }
}

/// The head of an answer, and its body still to be read.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// Where it came from in the end.
    pub url: Url,
    /// The body.
    pub body: Body,
}

impl Answer {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The media type of Content-Type, in lower case, without parameters.
    pub fn media_type(&self) -> Option<String> {
        let value = self.header("content-type")?.split(';').next()?.trim().to_ascii_lowercase();
        if value.is_empty() { None } else { Some(value) }
    }

    /// The whole body; more than `limit` bytes are an error before they are held in memory.
    pub fn read_all(&mut self, limit: u64) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let read = self.body.as_reader().take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| Failure::of_io("the body", error))?;
        if bytes.len() as u64 > limit {
            return Err(Failure::last(anyhow::anyhow!("the answer is longer than the limit of {limit} bytes")));
        }
        Ok(bytes)
    }
}

/// Why an exchange did not happen.
#[derive(Debug)]
pub struct Failure {
    /// The same request may succeed in a moment.
    pub passing: bool,
    /// What happened.
    pub error: anyhow::Error,
}

impl Failure {
    /// A failure that asking again does not change.
    pub fn last(error: anyhow::Error) -> Failure {
        Failure { passing: false, error }
    }

    fn of_io(what: &str, error: std::io::Error) -> Failure {
        // rustls reports a certificate that it does not trust as invalid data; a refused connection is nobody's moment.
        let lasting = matches!(error.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::ConnectionRefused);
        let text = match error.raw_os_error() {
            Some(number) => sys::Errno(number).to_string(),
            None => lower_first(&error.to_string()),
        };
        Failure { passing: !lasting, error: anyhow::anyhow!("{what}: {text}") }
    }

    /// `host`: whose address was looked up.
    fn of(what: &str, host: &str, error: ureq::Error) -> Failure {
        let lasting = |text: String| Failure::last(anyhow::anyhow!("{what}: {text}"));
        match error {
            ureq::Error::Io(error) if sys::resolver::is_unknown_name(&error) => {
                lasting(format!("no such host: {host}"))
            }
            ureq::Error::HostNotFound => lasting(format!("no such host: {host}")),
            ureq::Error::Io(error) => Failure::of_io(what, error),
            ureq::Error::Timeout(limit) => {
                Failure { passing: true, error: anyhow::anyhow!("{what}: timed out ({limit})") }
            }
            ureq::Error::ConnectionFailed | ureq::Error::BodyStalled => {
                Failure { passing: true, error: anyhow::anyhow!("{what}: connection failed") }
            }
            other => lasting(lower_first(&other.to_string())),
        }
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}

/// The agents, one for each combination of trust, proxy and direction: connections are kept and used again.
pub struct Http {
    proxies: Proxies,
    limits: Limits,
    agents: Mutex<HashMap<Key, Agent>>,
}

/// What makes two agents different.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    trust: Trust,
    proxy: Option<String>,
    uploads: bool,
}

impl Http {
    /// No connection is made yet.
    pub fn new(proxies: Proxies, limits: Limits) -> Http {
        Http { proxies, limits, agents: Mutex::default() }
    }

    /// Sends a request and follows redirects. What is private to the origin, and the client's certificate, stay there.
    pub fn exchange(&self, request: &Request<'_>, trust: &Trust) -> Result<Answer, Failure> {
        let mut url = request.url.clone();
        for _ in 0..=REDIRECTS {
            let at_home = url.same_origin(&request.url);
            let answer = self.send(request, &url, trust, at_home)?;
            match redirected(request, &answer)? {
                Some(next) => url = next,
                None => return Ok(answer),
            }
        }
        Err(Failure::last(anyhow::anyhow!("{}: more than {REDIRECTS} redirects", request.shown())))
    }

    fn send(&self, request: &Request<'_>, url: &Url, trust: &Trust, at_home: bool) -> Result<Answer, Failure> {
        let shown = format!("{} {}", request.method, url.with_path(url.path.clone()));
        let trust = if at_home { trust.clone() } else { trust.for_others() };
        let uploads = !matches!(request.method, Method::GET | Method::HEAD);
        let agent = self.agent(url, trust, uploads).map_err(Failure::last)?;
        let mut builder = http::Request::builder().method(request.method.clone()).uri(url.to_string());
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        for (name, value) in request.private.iter().filter(|_| at_home) {
            builder = builder.header(name, value);
        }
        let unfit = |error: http::Error| Failure::last(anyhow::anyhow!("{shown}: {error}"));
        let answered = match request.payload {
            Payload::None if matches!(request.method, Method::POST | Method::PUT | Method::PATCH) => {
                agent.run(builder.body(&b""[..]).map_err(unfit)?)
            }
            Payload::None => agent.run(builder.body(()).map_err(unfit)?),
            Payload::Bytes(bytes) => agent.run(builder.body(bytes).map_err(unfit)?),
            Payload::Stream(length, open) => {
                let mut reader = open().map_err(Failure::last)?;
                let body = SendBody::from_reader(&mut reader);
                agent.run(builder.header("Content-Length", length).body(body).map_err(unfit)?)
            }
        };
        let asked = || match self.proxies.proxy_for(url) {
            Some(proxy) => format!("{} (the proxy)", host_of(authority_of(proxy))),
            None => url.host().to_owned(),
        };
        let (head, body) = answered.map_err(|error| Failure::of(&shown, &asked(), error))?.into_parts();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, url: url.clone(), body })
    }

    fn agent(&self, url: &Url, trust: Trust, uploads: bool) -> anyhow::Result<Agent> {
        // Without TLS nothing has to be trusted: no certificate file is read.
        let trust = if url.secure { trust } else { Trust::default() };
        let key = Key { trust, proxy: self.proxies.proxy_for(url).map(str::to_owned), uploads };
        let stall = if uploads { self.limits.stall_of_upload } else { self.limits.stall };
        let mut agents = self.agents.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("ocicat-image/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_connect(Some(self.limits.connect))
            .timeout_recv_response(Some(self.limits.answer))
            .timeout_per_read(Some(stall))
            .timeout_per_write(Some(stall))
            .max_idle_connections_per_host(8)
            .proxy(match &key.proxy {
                Some(proxy) => Some(ureq::Proxy::new(proxy).context("the proxy named by the environment")?),
                None => None,
            });
        if url.secure {
            config = config.tls_config(key.trust.config()?);
        }
        let agent = config.build().new_agent();
        agents.insert(key, agent.clone());
        Ok(agent)
    }
}

/// Host and port of a proxy as the environment has it: with or without a scheme, a name and a password.
fn authority_of(proxy: &str) -> &str {
    let rest = proxy.split_once("://").map_or(proxy, |(_, rest)| rest);
    let rest = rest.split_once('/').map_or(rest, |(authority, _)| authority);
    rest.rsplit_once('@').map_or(rest, |(_, authority)| authority)
}

/// Where an answer sends us, if it does and we may go.
fn redirected(request: &Request<'_>, answer: &Answer) -> Result<Option<Url>, Failure> {
    let reads = matches!(request.method, Method::GET | Method::HEAD);
    let sends_on = match answer.status {
        301..=303 => reads,
        307 | 308 => true,
        _ => false,
    };
    let Some(location) = answer.header("location").filter(|_| sends_on) else { return Ok(None) };
    let shown = request.shown();
    let next = answer.url.join(location).with_context(|| format!("{shown}: redirect")).map_err(Failure::last)?;
    if answer.url.secure && !next.secure {
        let error = anyhow::anyhow!("{shown}: a redirect from https to http ({}) is not followed", next.authority);
        return Err(Failure::last(error));
    }
    Ok(Some(next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_named_without_what_is_secret() {
        for (proxy, host) in [
            ("http://proxy.test:3128", "proxy.test"),
            ("http://me:p@ss@proxy.test:3128/", "proxy.test"),
            ("proxy.test", "proxy.test"),
            ("http://[::1]:80", "::1"),
        ] {
            assert_eq!(host_of(authority_of(proxy)), host, "{proxy}");
        }
    }
}
