//! Who we are to a registry: challenges (RFC 9110, 11), Basic, and docker's token flow.
//!
//! ```text
//! GET /v2/...                  ─▶ 401  WWW-Authenticate: Bearer realm="https://auth/token",service="S",scope="repository:N:pull"
//! GET realm?service=S&scope=…  ─▶ 200  {"token": "..."}          (with Basic, or POST with an identity token)
//! GET /v2/...  Authorization: Bearer ...
//! ```
//! What a registry wants is remembered, so that later requests bring it at once.

use super::credentials::{Credential, Credentials};
use super::http::{Failure, Http, Payload, Request};
use super::tls::Trust;
use super::url::{Url, encoded};
use anyhow::{Context, bail};
use base64::Engine;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use ureq::http::{HeaderMap, Method};

/// No answer of a token server is longer (bytes).
const LIMIT: u64 = 1 << 20;
/// How long a token lives when its server does not say (docker's token specification).
const DEFAULT_LIFE: u64 = 60;

/// What a request wants to do, in the words of docker's token scope.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Scope(Vec<String>);

impl Scope {
    /// Reading a repository.
    pub fn pull(path: &str) -> Scope {
        Scope(vec![format!("repository:{path}:pull")])
    }

    /// Writing a repository.
    pub fn push(path: &str) -> Scope {
        Scope(vec![format!("repository:{path}:pull,push")])
    }

    /// And reading another one of the same registry.
    pub fn and_pull(mut self, path: &str) -> Scope {
        self.0.push(format!("repository:{path}:pull"));
        self
    }
}

/// Whose credentials an endpoint may see.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// The name under which credentials are kept.
    pub registry: &'a str,
    /// The repository.
    pub path: &'a str,
    /// The endpoint's URL.
    pub base: &'a Url,
    /// How TLS is spoken with it.
    pub trust: &'a Trust,
}

/// One challenge: a scheme in lower case and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Challenge {
    scheme: String,
    parameters: HashMap<String, String>,
}

type TokenKey = (String, Scope);

/// What registries wanted, and the tokens that they accept.
pub struct Auth {
    credentials: Credentials,
    wanted: Mutex<HashMap<String, Challenge>>,
    tokens: Mutex<HashMap<TokenKey, (String, Instant)>>,
}

impl Auth {
    /// Nothing is looked up yet.
    pub fn new(credentials: Credentials) -> Auth {
        Auth { credentials, wanted: Mutex::default(), tokens: Mutex::default() }
    }

    /// The Authorization for a request, if the registry has said that it wants one.
    pub fn header(&self, http: &Http, owner: Owner<'_>, scope: &Scope) -> Result<Option<String>, Failure> {
        let wanted = lock(&self.wanted).get(&origin(owner.base)).cloned();
        match wanted {
            Some(challenge) if challenge.scheme == "basic" => self.basic(owner).map_err(Failure::last),
            Some(challenge) => self.bearer(http, owner, scope, &challenge).map(Some),
            None => Ok(None),
        }
    }

    /// Takes a 401's challenges in; `used` is what the refused request brought. False if there is nothing new to bring.
    pub fn challenged(
        &self,
        owner: Owner<'_>,
        scope: &Scope,
        headers: &HeaderMap,
        used: Option<&str>,
    ) -> anyhow::Result<bool> {
        let values = headers.get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok());
        let challenges: Vec<Challenge> = values.flat_map(challenges).collect();
        let best = ["bearer", "basic"].iter().find_map(|scheme| challenges.iter().find(|c| c.scheme == **scheme));
        let Some(challenge) = best else {
            match challenges.first() {
                Some(other) => bail!("the registry wants authentication by {:?}, which is not known", other.scheme),
                None => return Ok(false),
            }
        };
        lock(&self.wanted).insert(origin(owner.base), challenge.clone());
        if challenge.scheme == "basic" {
            return Ok(used.is_none() && self.basic(owner)?.is_some());
        }
        // A token that was refused is old or too weak: a fresh one is worth one more request.
        lock(&self.tokens).remove(&(origin(owner.base), scope.clone()));
        Ok(true)
    }

    fn basic(&self, owner: Owner<'_>) -> anyhow::Result<Option<String>> {
        let found = self.credentials.find(owner.registry, owner.path)?;
        Ok(match found {
            Some((Credential::Basic(user, password), _)) => Some(basic_header(&user, &password)),
            _ => None,
        })
    }

    fn bearer(&self, http: &Http, owner: Owner<'_>, scope: &Scope, challenge: &Challenge) -> Result<String, Failure> {
        let key = (origin(owner.base), scope.clone());
        // Held while asking, so that parallel layers ask once.
        let mut tokens = lock(&self.tokens);
        if let Some((token, _)) = tokens.get(&key).filter(|(_, until)| *until > Instant::now()) {
            return Ok(format!("Bearer {token}"));
        }
        let credential = self.credentials.find(owner.registry, owner.path).map_err(Failure::last)?;
        if let Some((Credential::Bearer(token), _)) = &credential {
            return Ok(format!("Bearer {token}"));
        }
        let (token, life) = fetch(http, owner, scope, challenge, credential.as_ref())?;
        // Refreshed a little early: a request takes its time.
        let life = Duration::from_secs(life.clamp(10, 86_400) - 5);
        tokens.insert(key, (token.clone(), Instant::now() + life));
        Ok(format!("Bearer {token}"))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn origin(url: &Url) -> String {
    format!("{}://{}", url.scheme(), url.authority)
}

fn basic_header(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

#[derive(Deserialize)]
struct Granted {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

fn fetch(
    http: &Http,
    owner: Owner<'_>,
    scope: &Scope,
    challenge: &Challenge,
    credential: Option<&(Credential, String)>,
) -> Result<(String, u64), Failure> {
    let parameter = |name: &str| challenge.parameters.get(name).map(String::as_str);
    let realm = parameter("realm").context("the registry's challenge names no realm").map_err(Failure::last)?;
    let mut url = owner.base.join(realm).context("the registry's realm for tokens").map_err(Failure::last)?;
    if !url.secure && owner.base.secure && !owner.trust.anything {
        let error =
            anyhow::anyhow!("{url}: a registry that is spoken to over https may not send credentials over http");
        return Err(Failure::last(error));
    }
    let mut scopes = scope.0.clone();
    if let Some(asked) = parameter("scope").filter(|asked| !asked.is_empty() && scopes.is_empty()) {
        scopes.push(asked.to_owned());
    }
    let mut fields = Vec::new();
    fields.extend(parameter("service").map(|service| ("service", service)));
    let joined = scopes.join(" ");
    let form;
    let mut request = if let Some((Credential::Identity(token), _)) = credential {
        fields.extend([("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "ocicat-image")]);
        fields.push(("scope", &joined));
        form = fields.iter().map(|(k, v)| format!("{k}={}", encoded(v))).collect::<Vec<_>>().join("&");
        let mut request = Request::new(Method::POST, url.clone());
        request.payload = Payload::Bytes(form.as_bytes());
        request.headers.push(("Content-Type", "application/x-www-form-urlencoded".to_owned()));
        request
    } else {
        fields.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
        fields.iter().for_each(|(key, value)| url.add_query(key, value));
        Request::new(Method::GET, url.clone())
    };
    if let Some((Credential::Basic(user, password), _)) = credential {
        request.private.push(("Authorization".to_owned(), basic_header(user, password)));
    }
    let shown = request.shown();
    let mut answer = http.exchange(&request, owner.trust)?;
    let bytes = answer.read_all(LIMIT)?;
    if answer.status != 200 {
        let source =
            credential.map_or("without credentials".to_owned(), |(_, source)| format!("with credentials of {source}"));
        let error = anyhow::anyhow!("{shown}: {} ({source})", super::refusal::refusal(answer.status, &bytes));
        return Err(Failure { passing: super::retry::is_passing(answer.status), error });
    }
    let granted: Granted = serde_json::from_slice(&bytes).context(shown.clone()).map_err(Failure::last)?;
    // The same under two names, and a server may leave one of them empty.
    let given = [granted.token, granted.access_token].into_iter().flatten().find(|token| !token.is_empty());
    let token = given.filter(|token| token.bytes().all(|b| b.is_ascii_graphic()));
    let token = token.with_context(|| format!("{shown}: the answer has no token")).map_err(Failure::last)?;
    Ok((token, granted.expires_in.unwrap_or(DEFAULT_LIFE)))
}

/// The challenges of one WWW-Authenticate value: `Bearer realm="x",scope="a,b", Basic realm="y"`.
fn challenges(value: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = value.trim_start_matches([' ', ',', '\t']);
    while !rest.is_empty() {
        let end = rest.find([' ', '=', ',']).unwrap_or(rest.len());
        let (word, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let after = after.trim_start();
        match (after.strip_prefix('='), found.last_mut()) {
            (Some(text), Some(challenge)) => {
                let (value, next) = parameter_value(text.trim_start());
                challenge.parameters.insert(word.to_ascii_lowercase(), value);
                rest = next;
            }
            _ => {
                found.push(Challenge { scheme: word.to_ascii_lowercase(), parameters: HashMap::new() });
                rest = after;
            }
        }
        rest = rest.trim_start_matches([' ', ',', '\t', '=']);
    }
    found
}

/// A quoted string with its escapes undone, or a token; and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        let (value, rest) = text.split_at_checked(end).unwrap_or((text, ""));
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_with_quotes_commas_and_several_in_one_value() {
        for (value, expected) in [
            (
                r#"Bearer realm="https://auth.org/token",service="reg",scope="repository:a/b:pull,push""#,
                "bearer realm=https://auth.org/token scope=repository:a/b:pull,push service=reg",
            ),
            (r#"Basic realm="Registry \"x\" realm""#, "basic realm=Registry \"x\" realm"),
            (r#"bearer realm=x, Basic realm="y""#, "bearer realm=x / basic realm=y"),
            ("Negotiate, Basic realm=z", "negotiate / basic realm=z"),
            (r#"BEARER Realm = "x" , error="invalid_token""#, "bearer error=invalid_token realm=x"),
            (r#"Bearer realm="unfinished"#, "bearer realm=unfinished"),
            ("", ""),
            (",,,=", ""),
        ] {
            let shown: Vec<String> = challenges(value)
                .into_iter()
                .map(|challenge| {
                    let mut words: Vec<_> = challenge.parameters.iter().map(|(k, v)| format!("{k}={v}")).collect();
                    words.sort();
                    words.insert(0, challenge.scheme);
                    words.join(" ")
                })
                .filter(|shown| !shown.is_empty())
                .collect();
            assert_eq!(shown.join(" / "), expected, "{value}");
        }
    }
}
