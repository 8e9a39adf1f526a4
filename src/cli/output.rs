//! Standard output: written once, as a whole; a reader that has gone is not an error.

use crate::sys::{self, files};
use anyhow::Result;
use serde::Serialize;

/// Writes text to standard output.
///
/// # Errors
/// Anything but a closed pipe.
pub(super) fn text(text: &str) -> Result<()> {
    match files::write_fd(rustix::stdio::stdout(), text.as_bytes()) {
        // `ocicat list | head -1`
        Err(sys::Error { errno: sys::Errno(libc::EPIPE), .. }) => Ok(()),
        other => Ok(other.map_err(|e| sys::Error { call: "write to standard output".to_owned(), ..e })?),
    }
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
}
