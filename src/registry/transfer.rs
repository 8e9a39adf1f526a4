//! A blob on its way: bytes as they arrive, resumed where the connection broke, verified at the end.
//!
//! ```text
//! GET blob ─▶ 200, reading ─▶ all there, digest right ─▶ end of file
//!                 │ cut or stalled                └ wrong: an error instead of the end of file
//!                 └─▶ wait ─▶ GET with Range ─▶ 206 from where we were (or 200: what we have is passed over)
//! ```

use super::auth::Scope;
use super::client::{Client, Purpose, place};
use super::digest::{Digest, Hasher};
use super::hosts::Endpoint;
use super::http::{Answer, Request};
use super::name::Repository;
use super::refusal::refused;
use anyhow::bail;
use std::io::{Error, Read, Result};
use ureq::BodyReader;
use ureq::http::Method;

/// This many bytes without a break are progress, and patience begins anew.
const PROGRESS: u64 = 64 << 10;

/// A blob of a repository. Reading it to its end succeeds only if size and digest are right.
pub struct Blob<'c> {
    client: &'c Client,
    repository: Repository,
    scope: Scope,
    digest: Digest,
    size: u64,
    at: u64,
    opened_at: u64,
    attempt: u32,
    body: Option<BodyReader<'static>>,
    hasher: Option<Hasher>,
    /// The digest was compared, or is somebody else's business.
    proven: bool,
}

impl<'c> Blob<'c> {
    pub(super) fn new(client: &'c Client, repository: Repository, digest: Digest, size: u64) -> Blob<'c> {
        let scope = Scope::pull(repository.path());
        let hasher = Some(Hasher::new(digest.algorithm()));
        Blob {
            client,
            repository,
            scope,
            digest,
            size,
            at: 0,
            opened_at: 0,
            attempt: 0,
            body: None,
            hasher,
            proven: false,
        }
    }

    /// Leaves the digest to the reader, who computes it anyway; the size is still verified.
    pub fn without_digest(mut self) -> Blob<'c> {
        self.hasher = None;
        self
    }

    /// Opens the connection now, so that a blob that is missing or of another size is an error before anything is written.
    pub fn open(&mut self) -> anyhow::Result<()> {
        if self.body.is_none() && self.at < self.size {
            self.body = self.connect()?;
            match self.body {
                Some(_) => self.opened_at = self.at,
                None => self.broken("cut before it came so far again")?,
            }
        }
        Ok(())
    }

    /// None: what we have came again, but not all of it.
    fn connect(&self) -> anyhow::Result<Option<BodyReader<'static>>> {
        let endpoints = self.client.endpoints(self.repository.host())?;
        let mut fitting: Vec<&Endpoint> = endpoints.iter().filter(|endpoint| endpoint.pull).collect();
        let Some(last) = fitting.pop() else { bail!("{}: no host gives blobs", self.repository.host()) };
        for mirror in fitting {
            match self.connect_to(mirror) {
                Ok(body) => return Ok(body),
                Err(error) => self.client.notice(&format!("{error:#}; asking the next host")),
            }
        }
        self.connect_to(last)
    }

    fn connect_to(&self, endpoint: &Endpoint) -> anyhow::Result<Option<BodyReader<'static>>> {
        let mut request = Request::new(Method::GET, place(endpoint, &self.repository, "blobs", self.digest.as_str()));
        if self.at > 0 {
            request.headers.push(("Range", format!("bytes={}-", self.at)));
        }
        let shown = request.shown();
        let purpose = Purpose { repository: &self.repository, scope: &self.scope };
        let mut answer = self.client.send(endpoint, purpose, request)?;
        let passed_over = match answer.status {
            206 if self.at > 0 => {
                self.check_range(&shown, &answer)?;
                0
            }
            200 => {
                self.check_length(&shown, &answer)?;
                self.at
            }
            _ => return Err(refused(&shown, endpoint, &mut answer)),
        };
        let mut body = answer.body.into_reader();
        // A registry without ranges sends everything again.
        let skipped = std::io::copy(&mut (&mut body).take(passed_over), &mut std::io::sink()).unwrap_or(0);
        Ok((skipped == passed_over).then_some(body))
    }

    fn check_length(&self, shown: &str, answer: &Answer) -> anyhow::Result<()> {
        let length: Option<u64> = answer.header("content-length").and_then(|text| text.parse().ok());
        match length.filter(|length| *length != self.size) {
            Some(length) => bail!("{shown}: {length} bytes, but the manifest says {}", self.size),
            None => Ok(()),
        }
    }

    /// `bytes FIRST-LAST/SIZE`
    fn check_range(&self, shown: &str, answer: &Answer) -> anyhow::Result<()> {
        let range = answer.header("content-range").unwrap_or_default();
        let (first, rest) = range.strip_prefix("bytes ").and_then(|r| r.split_once('-')).unwrap_or_default();
        let size = rest.split_once('/').map(|(_, size)| size).unwrap_or_default();
        let right = first.parse() == Ok(self.at) && (size == "*" || size.parse() == Ok(self.size));
        if !right {
            bail!("{shown}: asked for bytes {}-, got {range:?}", self.at);
        }
        Ok(())
    }

    /// After a break: gives the next attempt its time, or gives up.
    fn broken(&mut self, what: &str) -> anyhow::Result<()> {
        self.body = None;
        if self.at - self.opened_at >= PROGRESS {
            self.attempt = 0;
        }
        self.opened_at = self.at;
        self.attempt += 1;
        let error = anyhow::anyhow!("blob {}: {what} after {} of {} bytes", self.digest.short(), self.at, self.size);
        self.client.wait(self.attempt, None, error)
    }

    fn prove(&mut self) -> anyhow::Result<()> {
        self.proven = true;
        if let Some(mut body) = self.body.take() {
            // Reading the end lets the connection be used again; what comes beyond is not the blob.
            if body.read(&mut [0; 1]).unwrap_or(0) > 0 {
                bail!("blob {}: more than the {} bytes of the manifest", self.digest, self.size);
            }
        }
        match self.hasher.take().map(Hasher::finish) {
            Some(found) if found != self.digest => bail!("blob {}: the bytes have digest {found}", self.digest),
            _ => Ok(()),
        }
    }

    fn next(&mut self, buffer: &mut [u8]) -> anyhow::Result<usize> {
        loop {
            if self.at == self.size {
                if !self.proven {
                    self.prove()?;
                }
                return Ok(0);
            }
            if self.client.is_stopped() {
                bail!("stopped");
            }
            self.open()?;
            let Some(body) = &mut self.body else { continue };
            let room = buffer.len().min(usize::try_from(self.size - self.at).unwrap_or(usize::MAX));
            let Some(room) = buffer.get_mut(..room) else { continue };
            match body.read(room) {
                Ok(0) => self.broken("cut")?,
                Ok(count) => {
                    if let (Some(hasher), Some(bytes)) = (&mut self.hasher, room.get(..count)) {
                        hasher.update(bytes);
                    }
                    self.at += count as u64;
                    return Ok(count);
                }
                Err(error) => self.broken(&error.to_string().to_lowercase())?,
            }
        }
    }
}

impl Read for Blob<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.next(buffer).map_err(|error| Error::other(format!("{error:#}")))
    }
}
