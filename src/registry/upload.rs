//! Blobs to a registry: mounted from another repository, sent whole, or sent in chunks that survive a broken connection.
//!
//! ```text
//! POST uploads/?mount=D&from=R ─▶ 201 there already
//!                              ─▶ 202 Location ─▶ PUT Location?digest=D (whole)          ─▶ 201
//!                                              └▶ PATCH Location (chunk) ─▶ 202 Location … PUT ?digest=D ─▶ 201
//! broken: GET Location ─▶ 204 Range, on from there; or else POST uploads/ again
//! ```

use super::auth::Scope;
use super::client::{Client, Purpose, place};
use super::digest::Digest;
use super::hosts::Endpoint;
use super::http::{Answer, Failure, Payload, Request};
use super::name::Repository;
use super::refusal::refused;
use super::url::Url;
use anyhow::{Context, bail};
use std::io::Read;
use ureq::http::Method;

/// A blob to send: its bytes can be read from any offset, again and again.
pub struct Source<'a> {
    /// Digest of the whole.
    pub digest: &'a Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Opens the bytes from an offset on.
    pub open: &'a (dyn Fn(u64) -> anyhow::Result<Box<dyn Read + 'a>> + Sync),
}

/// How a blob got there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The repository had it.
    Present,
    /// The registry took it from another repository.
    Mounted,
    /// Its bytes were sent.
    Uploaded,
}

impl Client {
    /// Brings a blob into a repository. `from`: another repository of the same registry that is known to have it.
    /// Blobs larger than `chunk` bytes are sent in chunks of that size.
    pub fn push_blob(
        &self,
        repository: &Repository,
        source: &Source<'_>,
        from: Option<&Repository>,
        chunk: u64,
    ) -> anyhow::Result<Sent> {
        let from = from.filter(|other| other.host() == repository.host() && other.path() != repository.path());
        let scope = Scope::push(repository.path());
        if self.has_blob(repository, source.digest, &scope)? {
            return Ok(Sent::Present);
        }
        let endpoint = self.push_endpoint(repository)?;
        if let Some(other) = from {
            let scope = scope.clone().and_pull(other.path());
            let upload =
                Upload { client: self, endpoint: &endpoint, purpose: Purpose { repository, scope: &scope }, source };
            let mut url = place(&endpoint, repository, "blobs/uploads", "");
            url.add_query("mount", source.digest.as_str());
            url.add_query("from", other.path());
            match upload.begin(url) {
                Ok(None) => return Ok(Sent::Mounted),
                Ok(Some((location, least))) => return upload.send(location, chunk.max(least)),
                // Whoever may not read the other repository can still send the bytes.
                Err(error) => self.notice(&format!("{error:#}; sending the blob instead")),
            }
        }
        let upload =
            Upload { client: self, endpoint: &endpoint, purpose: Purpose { repository, scope: &scope }, source };
        match upload.begin(place(&endpoint, repository, "blobs/uploads", ""))? {
            None => Ok(Sent::Mounted),
            Some((location, least)) => upload.send(location, chunk.max(least)),
        }
    }
}

/// Where an upload stands, and where its next bytes go.
struct Place {
    location: Url,
    at: u64,
}

/// Why a request did not do what it should, and when the server wants to see us again.
type Broken = (Failure, Option<std::time::Duration>);

fn lasting(error: anyhow::Error) -> Broken {
    (Failure::last(error), None)
}

struct Upload<'a, 's> {
    client: &'a Client,
    endpoint: &'a Endpoint,
    purpose: Purpose<'a>,
    source: &'a Source<'s>,
}

impl Upload<'_, '_> {
    /// Where to send the bytes and the registry's least size of a chunk; none if the blob was mounted.
    fn begin(&self, url: Url) -> anyhow::Result<Option<(Url, u64)>> {
        let request = Request::new(Method::POST, url);
        let shown = request.shown();
        let mut answer = self.client.send(self.endpoint, self.purpose, request)?;
        match answer.status {
            201 => Ok(None),
            202 => {
                let least = answer.header("oci-chunk-min-length").and_then(|text| text.parse().ok()).unwrap_or(0);
                Ok(Some((self.location(&shown, &answer)?, least)))
            }
            _ => Err(refused(&shown, self.endpoint, &mut answer)),
        }
    }

    /// Sends the bytes, however often the connection breaks: where the registry does not say how far it got, anew.
    fn send(&self, location: Url, chunk: u64) -> anyhow::Result<Sent> {
        let chunk = chunk.max(1);
        let mut place = Place { location, at: 0 };
        let (mut furthest, mut attempt) = (0, 0);
        loop {
            let sent = self.send_next(&place, chunk);
            match sent {
                Ok(None) => return Ok(Sent::Uploaded),
                Ok(Some(next)) => place = next,
                Err((failure, _)) if !failure.passing => return Err(failure.error),
                Err((failure, after)) => {
                    attempt += 1;
                    self.client.wait(attempt, after, failure.error)?;
                    match self.resumed(&place, chunk)? {
                        Some(next) => place = next,
                        None => return Ok(Sent::Mounted),
                    }
                }
            }
            if place.at > furthest {
                (furthest, attempt) = (place.at, 0);
            }
        }
    }

    /// One request: all bytes if they are few, else a chunk, or the end. None: the registry has the blob.
    fn send_next(&self, place: &Place, chunk: u64) -> Result<Option<Place>, Broken> {
        let size = self.source.size;
        if size <= chunk {
            let open = || (self.source.open)(0);
            self.finish(&place.location, Payload::Stream(size, &open)).map(|()| None)
        } else if place.at < size {
            let length = chunk.min(size - place.at);
            let location = self.send_chunk(&place.location, place.at, length)?;
            Ok(Some(Place { location, at: place.at + length }))
        } else {
            self.finish(&place.location, Payload::Bytes(b"")).map(|()| None)
        }
    }

    /// Where to go on after a failure: where the registry says, or at the begin of a new upload. Of what came without a
    /// range some registries keep a part and take nothing more (docker's, "upload resumed at wrong offset").
    fn resumed(&self, place: &Place, chunk: u64) -> anyhow::Result<Option<Place>> {
        if self.source.size > chunk
            && let Ok(known) = self.status(&place.location)
        {
            return Ok(Some(known));
        }
        let begun = self.begin(self::place(self.endpoint, self.purpose.repository, "blobs/uploads", ""))?;
        Ok(begun.map(|(location, _)| Place { location, at: 0 }))
    }

    fn finish(&self, location: &Url, payload: Payload<'_>) -> Result<(), Broken> {
        let mut location = location.clone();
        location.add_query("digest", self.source.digest.as_str());
        let mut request = Request::new(Method::PUT, location);
        request.headers.push(("Content-Type", "application/octet-stream".to_owned()));
        let request = Request { payload, ..request };
        let mut answer = self.client.try_once(self.endpoint, self.purpose, &request)?;
        if !matches!(answer.status, 200..=204) {
            return Err(lasting(refused(&request.shown(), self.endpoint, &mut answer)));
        }
        Ok(())
    }

    fn send_chunk(&self, location: &Url, at: u64, length: u64) -> Result<Url, Broken> {
        let open = || -> anyhow::Result<Box<dyn Read + '_>> { Ok(Box::new((self.source.open)(at)?.take(length))) };
        let mut request = Request::new(Method::PATCH, location.clone());
        request.headers.push(("Content-Type", "application/octet-stream".to_owned()));
        request.headers.push(("Content-Range", format!("{at}-{}", at + length - 1)));
        let request = Request { payload: Payload::Stream(length, &open), ..request };
        let shown = request.shown();
        let mut answer = self.client.try_once(self.endpoint, self.purpose, &request)?;
        match answer.status {
            // docker's registry answers 202, some others 204.
            201 | 202 | 204 => self.location(&shown, &answer).map_err(lasting),
            // The upload is not where we think, or is not known any more.
            404 | 416 => {
                let error = refused(&shown, self.endpoint, &mut answer);
                Err((Failure { passing: true, error }, None))
            }
            _ => Err(lasting(refused(&shown, self.endpoint, &mut answer))),
        }
    }

    /// Where an upload stands: `Range: 0-LAST`.
    fn status(&self, location: &Url) -> anyhow::Result<Place> {
        let request = Request::new(Method::GET, location.clone());
        let shown = request.shown();
        let mut answer = self.client.send(self.endpoint, self.purpose, request)?;
        if answer.status != 204 {
            return Err(refused(&shown, self.endpoint, &mut answer));
        }
        let range = answer.header("range").unwrap_or("0-0");
        let last: u64 =
            range.trim_start_matches("bytes=").split_once('-').and_then(|(_, last)| last.parse().ok()).unwrap_or(0);
        // An empty upload is told as `0-0` by docker's registry, and so is one byte: begin anew then.
        let at = if last == 0 { 0 } else { last + 1 };
        if at > self.source.size {
            bail!("{shown}: the registry has {at} bytes of {}", self.source.size);
        }
        let next = self.location(&shown, &answer).unwrap_or_else(|_| location.clone());
        Ok(Place { location: next, at })
    }

    /// Where an answer says that the upload goes on. What is sent there is the blob: not in the open when the registry is
    /// spoken to over https, unless the user does not insist on knowing who answers.
    fn location(&self, shown: &str, answer: &Answer) -> anyhow::Result<Url> {
        let location = answer.header("location").with_context(|| format!("{shown}: the answer names no Location"))?;
        let next = answer.url.join(location).with_context(|| format!("{shown}: Location"))?;
        if self.endpoint.base.secure && !next.secure && !self.endpoint.trust.anything {
            bail!(
                "{shown}: the registry wants the upload over http ({}), where others can read and change it; hint: who runs \
                 it must tell it that it is reached over https (relativeurls, X-Forwarded-Proto), or --insecure",
                next.authority
            );
        }
        Ok(next)
    }
}
