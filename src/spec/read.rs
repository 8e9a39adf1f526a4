//! Reads `config.json` and `process.json`, so that every error names the file, the field and the line.

pub use crate::config::json::parse;
use crate::config::{Config, Process, Resources};
use crate::sys::{Asked, files, reach};
use anyhow::{Context, Result, bail};
use rustix::fs::{FileType, OFlags};
use std::os::fd::OwnedFd;
use std::path::Path;

/// The largest document that is read, in bytes: ten thousand times what managers write, and no danger to the host.
pub const LIMIT: usize = 64 << 20;

/// Reads `BUNDLE/config.json`: the model, and the bytes as they are in the file (they become the container's own copy).
///
/// # Errors
/// The file is missing, is not a regular file, is larger than [`LIMIT`], or is not a config.json.
pub fn config(bundle: &Path) -> Result<(Config, Vec<u8>)> {
    let bytes = regular_file(&bundle.join("config.json")).context("config.json")?;
    let config = parse(&bytes).context("config.json")?;
    Ok((config, bytes))
}

/// Reads the process.json of `exec --process`; a pipe is as good as a file.
///
/// # Errors
/// As [`config`]; the message begins with the path as it was given.
pub fn process(path: &Path) -> Result<Process> {
    let name = || path.display().to_string();
    let file = files::open(path, OFlags::RDONLY)?;
    let bytes = bounded(&file).with_context(name)?;
    parse(&bytes).with_context(name)
}

/// Reads the resources of `update --resources`, from a file or, for `-`, from standard input.
///
/// # Errors
/// As [`process`].
pub fn resources(path: &Path) -> Result<Resources> {
    if path == Path::new("-") {
        let bytes = bounded(rustix::stdio::stdin()).context("resources on standard input")?;
        return parse(&bytes).context("resources on standard input");
    }
    let name = || path.display().to_string();
    let file = files::open(path, OFlags::RDONLY)?;
    let bytes = bounded(&file).with_context(name)?;
    parse(&bytes).with_context(name)
}

/// Opens without waiting: a fifo of that name must not hang the caller.
fn regular_file(path: &Path) -> Result<Vec<u8>> {
    let opened = files::open(path, OFlags::RDONLY | OFlags::NONBLOCK);
    let file: OwnedFd = opened.map_err(|error| reach::explain(path, error))?;
    let status = rustix::fs::fstat(&file).asked(|| format!("fstat {}", path.display()))?;
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile => bounded(&file),
        _ => bail!("{} is not a regular file", path.display()),
    }
}

fn bounded(file: impl std::os::fd::AsFd) -> Result<Vec<u8>> {
    match files::read_fd(file, LIMIT) {
        Err(error) if error.errno.0 == libc::EFBIG => bail!("larger than {} MiB", LIMIT >> 20),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> String {
        format!("{:#}", parse::<Config>(json.as_bytes()).unwrap_err())
    }

    #[test]
    fn an_error_names_the_field_the_cause_and_the_line() {
        let table: &[(&str, &str)] = &[
            (
                "{\n \"process\": {\"user\": {\"uid\": \"root\"}}}",
                "process.user.uid: expected a whole number from 0 to 4294967295, found \"root\" at line 2 column 35",
            ),
            (
                "{\"mounts\": [{}, {\"options\": \"ro\"}]}",
                "mounts[1].options: expected an array, found \"ro\" at line 1 column 32",
            ),
            (
                "{\"linux\": {\"sysctl\": {\"net.core.somaxconn\": 7}}}",
                "linux.sysctl.net.core.somaxconn: expected a string, found 7 at line 1 column 45",
            ),
            ("{\"process\": {\"cwd\": \"/\", \"cwd\": \"/x\"}}", "process: duplicate field `cwd` at line 1 column 30"),
            ("{\"hostname\": \"a\",}", "trailing comma at line 1 column 18"),
            ("", "EOF while parsing a value at line 1 column 0"),
            ("{} x", "trailing characters at line 1 column 4"),
            ("7", "expected an object, found 7 at line 1 column 1"),
        ];
        let told: Vec<_> = table.iter().map(|(json, _)| (*json, message(json))).collect();
        let expected: Vec<_> = table.iter().map(|(json, text)| (*json, (*text).to_owned())).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn nesting_without_end_is_an_error_and_not_a_crash() {
        for open in ["{\"mounts\":", "["] {
            let json = format!("{{\"process\": {}", open.repeat(100_000));
            assert!(parse::<Config>(json.as_bytes()).is_err());
            let unknown = format!("{{\"unknown\": {}", open.repeat(100_000));
            assert!(parse::<Config>(unknown.as_bytes()).is_err());
        }
    }

    #[test]
    fn a_missing_file_is_named_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let error = format!("{:#}", config(dir.path()).unwrap_err());
        let path = dir.path().join("config.json");
        assert_eq!(error, format!("config.json: open {}: no such file or directory (ENOENT)", path.display()));
    }

    #[test]
    fn a_fifo_does_not_hang_the_caller() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        let error = format!("{:#}", config(dir.path()).unwrap_err());
        assert_eq!(error, format!("config.json: {} is not a regular file", path.display()));
    }
}
