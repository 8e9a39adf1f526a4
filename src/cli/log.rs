//! The log that managers read: one object or line for a failing call, and nothing for one that succeeds.
//!
//! containerd takes the last object whose level is `error`; podman parses the whole file as one object. So exactly one is
//! written, unless `--debug` asks for more. Standard error gets the same text, because it is all that some callers see.

use super::globals::{Format, Globals};
use super::output;
use crate::container::Notice;
use crate::sys::{self, clock, files};
use anyhow::Context;
use rustix::fs::OFlags;
use std::path::Path;

/// Makes the log file, so that a wrong `--log` is told before anything is done.
///
/// # Errors
/// It cannot be opened; `globals` then has no log any more.
pub(super) fn prepare(globals: &mut Globals) -> anyhow::Result<()> {
    let Some(path) = &globals.log else { return Ok(()) };
    append(path, "").context("log").inspect_err(|_| globals.log = None)
}

/// Tells the failure of a call on standard error and, when there is one, in the log file.
pub(super) fn failure(globals: &Globals, error: &anyhow::Error) {
    let message = message(error);
    to_stderr(&format!("ocicat: {message}\n"));
    if let Some(path) = &globals.log {
        let line = entry(globals.log_format, "error", &message, &clock::now_rfc3339(), &parts(error));
        if let Err(error) = append(path, &line) {
            to_stderr(&format!("ocicat: log: {error}\n"));
        }
    }
}

/// Tells in the log file what went wrong in a call that succeeds, one entry each; standard error stays silent, it is the
/// container's own, unless `--debug` asks for words. A call that fails tells its error alone.
pub(super) fn warnings(globals: &Globals, messages: &[String]) {
    for message in messages {
        more(globals, "warning", message);
    }
}

/// Tells what an answer leaves out; on standard error where there is no log.
pub(super) fn missing(globals: &Globals, message: &str) {
    match &globals.log {
        None => to_stderr(&format!("ocicat: {}\n", one_line(message))),
        Some(_) => more(globals, "warning", message),
    }
}

/// Tells one of these; what has ended the program goes to standard error where there is no log: nobody else would learn it.
pub(super) fn notice(globals: &Globals, notice: Notice<'_>) {
    match notice {
        Notice::End(message) if globals.log.is_none() => to_stderr(&format!("ocicat: {}\n", one_line(message))),
        Notice::End(message) | Notice::Warning(message) => more(globals, "warning", message),
    }
}

/// Tells a step with `--debug`: in the log file, or on standard error when there is none and the format is text.
pub(super) fn debug(globals: &Globals, message: impl FnOnce() -> String) {
    if !globals.debug {
        return;
    }
    more(globals, "debug", &message());
}

fn more(globals: &Globals, level: &str, message: &str) {
    let line = entry(globals.log_format, level, &one_line(message), &clock::now_rfc3339(), &[]);
    match (&globals.log, globals.log_format) {
        // The failure of the call itself will say that the log cannot be written; a call that succeeds has nobody else to tell.
        (Some(path), _) => drop(append(path, &line)),
        (None, Format::Text) if globals.debug => to_stderr(&line),
        (None, _) => {}
    }
}

/// The form of one entry: logrus's, which is what the callers' parsers were written for. They leave further fields alone.
fn entry(format: Format, level: &str, message: &str, time: &str, parts: &[(&str, String)]) -> String {
    let quoted = serde_json::Value::from(message);
    match format {
        Format::Json => {
            let more: Vec<String> = parts
                .iter()
                .map(|(name, text)| format!(",\"{name}\":{}", serde_json::Value::from(text.as_str())))
                .collect();
            format!("{{\"level\":\"{level}\",\"msg\":{quoted},\"time\":\"{time}\"{}}}\n", more.concat())
        }
        Format::Text => format!("time=\"{time}\" level={level} msg={quoted}\n"),
    }
}

/// What a message is made of, for programs: where in config.json or in the work, which system call, its error number, what
/// can be done. A part that there is not is left out.
fn parts(error: &anyhow::Error) -> Vec<(&'static str, String)> {
    let mut parts = Vec::new();
    let causes: Vec<_> = error.chain().collect();
    let call = causes.iter().position(|cause| sys::failed_call(*cause).is_some());
    let places: Vec<String> = causes.iter().take(call.unwrap_or(0)).map(|cause| one_line(&cause.to_string())).collect();
    if !places.is_empty() {
        parts.push(("place", places.join(": ")));
    }
    if let Some(failed) = causes.iter().find_map(|cause| sys::failed_call(*cause)) {
        parts.push(("call", one_line(&failed.call)));
        let name = failed.errno.name();
        parts.push(("errno", if name.is_empty() { failed.errno.0.to_string() } else { name.to_owned() }));
    }
    if let Some((_, hint)) = message(error).split_once("; hint: ") {
        parts.push(("hint", hint.to_owned()));
    }
    parts
}

/// The whole error; a hint stands last.
fn message(error: &anyhow::Error) -> String {
    let text = one_line(&format!("{error:#}"));
    match sys::general_hint(error).filter(|_| !text.contains("; hint: ")) {
        Some(hint) => format!("{text}; hint: {hint}"),
        None => text,
    }
}

/// One line of bounded length, whatever somebody has put into a name. The end has the cause, so it is the middle that goes.
fn one_line(message: &str) -> String {
    const BEGIN: usize = 6000;
    const END: usize = 2000;
    let shown = output::harmless(message.trim_end());
    if shown.len() <= BEGIN + END {
        return shown;
    }
    let (begin, end) = (shown.floor_char_boundary(BEGIN), shown.ceil_char_boundary(shown.len() - END));
    let left_out = end - begin;
    let (Some(begin), Some(end)) = (shown.get(..begin), shown.get(end..)) else { return shown };
    format!("{begin} ({left_out} bytes left out) {end}")
}

/// Appends in one write, so that two runtimes with one log do not mix their lines.
fn append(path: &Path, line: &str) -> sys::Result<()> {
    let file = files::append_to(path, OFlags::NOCTTY, 0o644)?;
    files::write_fd(&file, line.as_bytes())
}

fn to_stderr(line: &str) {
    // A closed standard error leaves nobody to tell.
    let _ = files::write_fd(rustix::stdio::stderr(), line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_the_form_that_the_callers_parse() {
        let time = "2026-11-23T08:50:57.000000001Z";
        assert_eq!(
            entry(Format::Json, "error", "exec: \"x\": not found", time, &[]),
            "{\"level\":\"error\",\"msg\":\"exec: \\\"x\\\": not found\",\"time\":\"2026-11-23T08:50:57.000000001Z\"}\n"
        );
        assert_eq!(
            entry(Format::Text, "error", "no", time, &[("errno", "EPERM".to_owned())]),
            "time=\"2026-11-23T08:50:57.000000001Z\" level=error msg=\"no\"\n"
        );
    }

    #[test]
    fn a_message_is_one_line_that_controls_no_terminal_and_has_an_end() {
        for (message, expected) in [
            ("plain \"text\" with \\ and é\n", "plain \"text\" with \\ and é"),
            ("a\nb\r\n", "a\\nb"),
            ("x\u{1b}[31m\u{7}\u{85}", "x\\u{1b}[31m\\u{7}"),
            ("open /\u{202e}cod.exe\u{2028}: no", "open /\\u{202e}cod.exe\\u{2028}: no"),
        ] {
            assert_eq!(one_line(message), expected);
        }
        let long = format!("open /{}: no such file (ENOENT)", "é".repeat(100_000));
        let shown = one_line(&long);
        assert!(shown.len() < 8100 && shown.starts_with("open /é"), "{}", shown.len());
        assert!(shown.contains(" bytes left out) é") && shown.ends_with("é: no such file (ENOENT)"));
    }

    #[test]
    fn an_entry_for_programs_has_the_parts_of_the_message() {
        let call = sys::Error { call: "open /no/such".to_owned(), errno: sys::Errno(libc::ENOENT) };
        let rows = [
            (anyhow::anyhow!("nothing is known"), "{}"),
            (anyhow::anyhow!("never created; hint: delete --force"), r#"{"hint":"delete --force"}"#),
            (call.clone().into(), r#"{"call":"open /no/such","errno":"ENOENT"}"#),
            (
                anyhow::Error::from(sys::Hinted { error: call.clone(), hint: "make it".to_owned() })
                    .context("root.path"),
                r#"{"place":"root.path","call":"open /no/such","errno":"ENOENT","hint":"make it"}"#,
            ),
            (
                anyhow::Error::from(call).context("linux.namespaces[4] (ipc)").context("config.json"),
                r#"{"place":"config.json: linux.namespaces[4] (ipc)","call":"open /no/such","errno":"ENOENT"}"#,
            ),
        ];
        for (error, expected) in rows {
            let line = entry(Format::Json, "error", "m", "t", &parts(&error));
            let mut value: serde_json::Value = serde_json::from_str(&line).unwrap();
            for name in ["level", "msg", "time"] {
                assert!(value.as_object_mut().unwrap().remove(name).is_some());
            }
            assert_eq!(value, serde_json::from_str::<serde_json::Value>(expected).unwrap(), "{error:#}");
        }
    }

    #[test]
    fn a_failing_call_appends_one_object() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.json");
        append(&path, &entry(Format::Json, "error", "first", "t", &[])).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(value["msg"], "first");
    }
}
