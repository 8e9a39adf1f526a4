//! What a registry says when it refuses: its status in words, the codes and messages of distribution's error document, and
//! what the user can do about it.

use super::hosts::Endpoint;
use super::http::Answer;
use serde::Deserialize;

/// No error text of a registry is longer (bytes).
const ERROR_LIMIT: u64 = 64 << 10;

/// A refused request, with what the user can do about it.
pub(super) fn refused(shown: &str, endpoint: &Endpoint, answer: &mut Answer) -> anyhow::Error {
    let said = said(answer);
    let host = &endpoint.registry;
    match answer.status {
        401 | 403 => anyhow::anyhow!("{shown}: {said}; hint: ocicat-image login {host}"),
        _ => anyhow::anyhow!("{shown}: {said}"),
    }
}

/// The status of a refusal and what the registry said about it.
pub(super) fn said(answer: &mut Answer) -> String {
    let bytes = answer.read_all(ERROR_LIMIT).unwrap_or_default();
    refusal(answer.status, &bytes)
}

#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<ErrorEntry>,
    #[serde(default)]
    details: Option<String>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The status in words, and the codes and messages of distribution's error document.
pub(super) fn refusal(status: u16, body: &[u8]) -> String {
    let words = ureq::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let mut text = format!("{status} {}", words.unwrap_or("unknown status").to_lowercase());
    if let Ok(document) = serde_json::from_slice::<Errors>(body) {
        for entry in document.errors.iter().take(3) {
            text.push_str(&format!(": {} {}", entry.code, entry.message).trim_end().replace(char::is_control, " "));
        }
        if let Some(details) = document.details {
            text.push_str(&format!(": {}", details.replace(char::is_control, " ")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_one_line() {
        for (status, body, text) in [
            (404, "", "404 not found"),
            (599, "<html>", "599 unknown status"),
            (
                403,
                r#"{"errors":[{"code":"DENIED","message":"not\nfor you"},{"code":"X"}]}"#,
                "403 forbidden: DENIED not for you: X",
            ),
            (
                401,
                r#"{"details":"incorrect username or password"}"#,
                "401 unauthorized: incorrect username or password",
            ),
        ] {
            assert_eq!(refusal(status, body.as_bytes()), text);
        }
    }
}
