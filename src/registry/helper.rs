//! Credential helpers (`docker-credential-NAME`): another program keeps the secrets, and is asked over its pipes.

use crate::sys;
use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Deserialize;
use std::io::Write;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A helper that says nothing for so long is ended.
const PATIENCE: Duration = Duration::from_secs(60);
/// No answer is longer (bytes).
const LIMIT: usize = 1 << 20;

/// What a helper knows about a registry.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub struct Known {
    /// The name; `<token>` when the secret is an identity token.
    #[serde(default)]
    pub username: String,
    /// Password or token.
    #[serde(default)]
    pub secret: String,
}

/// Asks for the credentials of `server`; none if the helper does not know it.
pub fn get(name: &str, server: &str) -> anyhow::Result<Option<Known>> {
    let (succeeded, output) = ask(name, "get", server.as_bytes())?;
    if !succeeded {
        let said = output.trim();
        if said.contains("credentials not found") {
            return Ok(None);
        }
        bail!("docker-credential-{name} get: {}", said.lines().next().unwrap_or("failed without a word"));
    }
    let known: Known = serde_json::from_str(&output).with_context(|| format!("docker-credential-{name} get"))?;
    Ok(Some(known).filter(|known| !known.secret.is_empty()))
}

/// Gives a secret into the helper's keeping.
pub fn store(name: &str, server: &str, username: &str, secret: &str) -> anyhow::Result<()> {
    let entry = serde_json::json!({ "ServerURL": server, "Username": username, "Secret": secret });
    succeed(name, "store", entry.to_string().as_bytes())
}

/// Lets the helper forget a registry.
pub fn erase(name: &str, server: &str) -> anyhow::Result<()> {
    succeed(name, "erase", server.as_bytes())
}

fn succeed(name: &str, verb: &str, input: &[u8]) -> anyhow::Result<()> {
    let (succeeded, output) = ask(name, verb, input)?;
    if !succeeded {
        bail!("docker-credential-{name} {verb}: {}", output.trim());
    }
    Ok(())
}

/// A helper's name becomes a part of a program's name: no directories, no options.
pub fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    name.bytes().all(plain) && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}

fn ask(name: &str, verb: &str, input: &[u8]) -> anyhow::Result<(bool, String)> {
    if !is_name(name) {
        bail!("{name:?} is no name of a credential helper (letters, digits, `.`, `_`, `-`)");
    }
    let program = format!("docker-credential-{name}");
    let mut command = Command::new(&program);
    command.arg(verb).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| {
        let errno = sys::Errno(error.raw_os_error().unwrap_or(libc::EIO));
        anyhow::anyhow!("{program}: {errno}; hint: install it, or remove it from credsStore or credHelpers")
    })?;
    let answered = converse(&mut child, input, Instant::now() + PATIENCE).with_context(|| format!("{program} {verb}"));
    if answered.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().with_context(|| program.clone())?;
    Ok((status.success(), answered?))
}

/// Writes the question, then reads until the helper closes its output, which it does by ending.
fn converse(child: &mut Child, input: &[u8], until: Instant) -> anyhow::Result<String> {
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input has something to say in its output.
        let _ = stdin.write_all(input);
    }
    let Some(output) = child.stdout.take() else { return Ok(String::new()) };
    let mut bytes = Vec::new();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let time =
            Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN)], Some(&time)) {
            Ok(0) => bail!("no answer within {} s", PATIENCE.as_secs()),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        bytes.reserve(4096);
        let read = rustix::io::read(&output, rustix::buffer::spare_capacity(&mut bytes))?;
        if read == 0 {
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
        if bytes.len() > LIMIT {
            bail!("the answer is longer than {LIMIT} bytes");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helpers_name_is_a_plain_word() {
        for good in ["pass", "osxkeychain", "ecr-login", "gcloud", "desktop.exe"] {
            assert!(is_name(good), "{good}");
        }
        for wrong in ["", "../evil", "a/b", "-x", ".x", "a b", "a;b", "a\n"] {
            assert!(!is_name(wrong), "{wrong}");
        }
    }
}
