//! A table that is drawn again and again: in place on a terminal, one after the other elsewhere.
//!
//! Colour only on a terminal, and never with NO_COLOR (no-color.org) or on a terminal that is called dumb.

use super::output;
use anyhow::Result;

/// How much a cell wants to be seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    Heading,
    High,
    Alarming,
}

impl Tone {
    /// By how much of something is used up.
    pub(super) fn of(percent: f64, high: f64, alarming: f64) -> Tone {
        match percent {
            _ if percent >= alarming => Tone::Alarming,
            _ if percent >= high => Tone::High,
            _ => Tone::Plain,
        }
    }

    /// Select Graphic Rendition (ECMA-48, 8.3.117).
    fn code(self) -> &'static str {
        match self {
            Tone::Plain => "",
            Tone::Heading => "\x1b[1m",
            Tone::High => "\x1b[33m",
            Tone::Alarming => "\x1b[31m",
        }
    }
}

/// One cell of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) tone: Tone,
}

impl Cell {
    pub(super) fn plain(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), tone: Tone::Plain }
    }

    pub(super) fn toned(text: impl Into<String>, tone: Tone) -> Cell {
        Cell { text: text.into(), tone }
    }
}

/// Where the table goes.
#[derive(Debug)]
pub(super) struct Screen {
    /// Draw over what was drawn before.
    in_place: bool,
    colour: bool,
    /// Lines that are on the screen.
    drawn: usize,
}

impl Screen {
    /// Standard output as it is.
    pub(super) fn of_stdout() -> Screen {
        let is = |name: &str, value: &str| std::env::var_os(name).is_some_and(|found| found == value);
        let terminal = rustix::termios::isatty(rustix::stdio::stdout()) && !is("TERM", "dumb");
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Screen { in_place: terminal, colour: terminal && !forbidden, drawn: 0 }
    }

    /// Whether a table that is drawn replaces the one before.
    pub(super) fn is_live(&self) -> bool {
        self.in_place
    }

    /// Draws a table; false when nobody reads any more.
    pub(super) fn draw(&mut self, header: &[&str], rows: &[Vec<Cell>]) -> Result<bool> {
        let (height, width) = match rustix::termios::tcgetwinsize(rustix::stdio::stdout()) {
            Ok(size) if self.in_place && size.ws_row > 1 && size.ws_col > 0 => {
                (usize::from(size.ws_row) - 1, usize::from(size.ws_col))
            }
            _ => (usize::MAX, usize::MAX),
        };
        let lines = lines(header, rows, self.colour, width);
        let shown = lines.get(..lines.len().min(height)).unwrap_or_default();
        let mut text = match self.drawn {
            0 => String::new(),
            // Up to the first line of the former table, and everything from there on is erased.
            drawn => format!("\x1b[{drawn}A\r\x1b[J"),
        };
        text.extend(shown.iter().map(|line| format!("{line}\n")));
        self.drawn = if self.in_place { shown.len() } else { 0 };
        output::stream(&text)
    }
}

/// The lines of a table, none wider than `width`: columns are as wide as their widest cell and three spaces apart.
fn lines(header: &[&str], rows: &[Vec<Cell>], colour: bool, width: usize) -> Vec<String> {
    let header: Vec<Cell> = header.iter().map(|&name| Cell::toned(name, Tone::Heading)).collect();
    let all: Vec<&Vec<Cell>> = std::iter::once(&header).chain(rows).collect();
    let widest =
        |column: usize| all.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.chars().count()).max();
    let widths: Vec<usize> = (0..header.len()).map(|column| widest(column).unwrap_or(0) + 3).collect();
    all.iter().map(|row| line(row, &widths, colour, width)).collect()
}

fn line(row: &[Cell], widths: &[usize], colour: bool, width: usize) -> String {
    let mut text = String::new();
    let mut left = width;
    for (column, cell) in row.iter().enumerate() {
        let last = column + 1 == row.len();
        let wanted = if last { 0 } else { widths.get(column).copied().unwrap_or(0) };
        let padded: String = format!("{:wanted$}", cell.text).chars().take(left).collect();
        left -= padded.chars().count();
        match (colour, cell.tone.code()) {
            (true, code) if !code.is_empty() => text.push_str(&format!("{code}{padded}\x1b[0m")),
            _ => text.push_str(&padded),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(colour: bool, width: usize) -> Vec<String> {
        let rows = [
            vec![Cell::plain("web"), Cell::toned("99%", Tone::Alarming), Cell::plain("1")],
            vec![Cell::plain("database"), Cell::toned("80%", Tone::of(80.0, 75.0, 90.0)), Cell::plain("22")],
        ];
        lines(&["ID", "CPU", "PIDS"], &rows, colour, width)
    }

    #[test]
    fn a_table_is_lined_up_cut_to_the_terminal_and_coloured_where_that_is_wanted() {
        assert_eq!(drawn(false, usize::MAX), ["ID         CPU   PIDS", "web        99%   1", "database   80%   22"]);
        assert_eq!(drawn(false, 12), ["ID         C", "web        9", "database   8"]);
        assert_eq!(
            drawn(true, usize::MAX)[1..],
            ["web        \x1b[31m99%   \x1b[0m1", "database   \x1b[33m80%   \x1b[0m22"]
        );
    }
}
