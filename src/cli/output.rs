//! Standard output: written once, as a whole; a reader that has gone is not an error.

use crate::sys::{self, files};
use anyhow::Result;
use serde::Serialize;

/// Writes text to standard output.
///
/// # Errors
/// Anything but a closed pipe.
pub(super) fn text(text: &str) -> Result<()> {
    // `ocicat list | head -1`
    stream(text).map(drop)
}

/// Writes each as one line, whatever is in it.
///
/// # Errors
/// As [`text`].
pub(super) fn lines(lines: impl Iterator<Item = String>) -> Result<()> {
    text(&lines.map(|line| harmless(&line) + "\n").collect::<String>())
}

/// Writes text and tells whether anybody reads on.
///
/// # Errors
/// As [`text`].
pub(super) fn stream(text: &str) -> Result<bool> {
    match files::write_fd(rustix::stdio::stdout(), text.as_bytes()) {
        Ok(()) => Ok(true),
        Err(sys::Error { errno: sys::Errno(libc::EPIPE), .. }) => Ok(false),
        Err(error) => Err(sys::Error { call: "write to standard output".to_owned(), ..error }.into()),
    }
}

/// Writes text to standard error. Who does not read it, or has closed it, wants none of it.
#[cfg(feature = "image")]
pub(super) fn note(text: &str) {
    let _ = files::write_fd(rustix::stdio::stderr(), text.as_bytes());
}

/// Writes a value as JSON on one line and tells whether anybody reads on.
///
/// # Errors
/// As [`text`].
pub(super) fn json_stream(value: &impl Serialize) -> Result<bool> {
    stream(&(serde_json::to_string(value)? + "\n"))
}

/// Writes a value as indented JSON with a line end.
///
/// # Errors
/// As [`text`].
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    text(&(serde_json::to_string_pretty(value)? + "\n"))
}

/// Writes a value as JSON on one line.
///
/// # Errors
/// As [`text`].
pub(super) fn json_line(value: &impl Serialize) -> Result<()> {
    text(&(serde_json::to_string(value)? + "\n"))
}

/// Text that comes from somebody else, for a terminal or a log: what controls either is shown and not obeyed, line ends and the
/// characters that turn the direction of text around (CVE-2021-42574) included.
pub(super) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// Lines up columns; each is as wide as its widest cell, at least 12, and three spaces apart (as runc's tables are).
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        let widest = cells.chain(header.get(column).map(|h| h.chars().count())).max().unwrap_or(0);
        (widest + 3).max(12)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut text = String::new();
    let header: Vec<String> = header.iter().map(|&h| h.to_owned()).collect();
    for row in std::iter::once(&header).chain(rows) {
        for (column, cell) in row.iter().enumerate() {
            let width = if column + 1 == row.len() { 0 } else { widths.get(column).copied().unwrap_or(0) };
            text.push_str(&format!("{cell:width$}"));
        }
        text.push('\n');
    }
    text
}

/// A number of bytes for a person, in units of 1024: `1.2MiB`.
pub(super) fn binary(count: u64) -> String {
    scaled(count, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// A number of bytes for a person, in units of 1000: `1.2kB`.
pub(super) fn decimal(count: u64) -> String {
    scaled(count, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

fn scaled(count: u64, step: f64, units: &[&str]) -> String {
    let mut value = count as f64;
    let mut unit = units.iter();
    let mut name = unit.next().copied().unwrap_or_default();
    while value >= step
        && let Some(next) = unit.next()
    {
        value /= step;
        name = next;
    }
    let text = if value < 99.95 { format!("{value:.1}") } else { format!("{value:.0}") };
    format!("{}{name}", text.strip_suffix(".0").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_its_columns() {
        let rows = vec![
            vec!["web".to_owned(), "4711".to_owned(), "running".to_owned()],
            vec!["a-much-longer-name".to_owned(), "0".to_owned(), "stopped".to_owned()],
        ];
        assert_eq!(
            table(&["ID", "PID", "STATUS"], &rows),
            "ID                   PID         STATUS\n\
             web                  4711        running\n\
             a-much-longer-name   0           stopped\n"
        );
    }

    #[test]
    fn sizes_have_at_most_one_digit_behind_the_point() {
        for (count, with_1024, with_1000) in [
            (0, "0B", "0B"),
            (1023, "1023B", "1kB"),
            (1536, "1.5KiB", "1.5kB"),
            (67_108_864, "64MiB", "67.1MB"),
            (1_258_291_200, "1.2GiB", "1.3GB"),
            (u64::MAX, "16EiB", "18.4EB"),
        ] {
            assert_eq!((binary(count).as_str(), decimal(count).as_str()), (with_1024, with_1000), "{count}");
        }
    }
}
