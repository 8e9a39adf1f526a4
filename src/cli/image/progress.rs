//! What a person sees of a transfer: bars on a terminal, plain lines elsewhere, a JSON object a line for machines.

use super::super::output::harmless;
use crate::image::digest::Digest;
use crate::image::progress::Progress;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Bars are drawn again after this time at the earliest.
const FRAME: Duration = Duration::from_millis(80);
/// Cells of a bar.
const WIDTH: u64 = 24;

/// How the work is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Bars,
    Lines,
    Json,
    Nothing,
}

struct Layer {
    digest: Digest,
    size: u64,
    received: u64,
    begun: bool,
    done: bool,
}

struct State {
    layers: Vec<Layer>,
    /// Bytes that came, without those of layers that were here.
    transferred: u64,
    begun: Instant,
    drawn_at: Option<Instant>,
    /// Lines on the terminal that the next frame replaces.
    lines: usize,
}

/// Shows progress on standard error; json goes to standard output.
pub(super) struct Shown {
    style: Style,
    state: Mutex<State>,
}

impl Shown {
    /// Chooses by the options and by what standard error is.
    pub(super) fn new(quiet: bool, json: bool) -> Shown {
        let dumb = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let style = match (quiet, json) {
            (true, _) => Style::Nothing,
            (false, true) => Style::Json,
            (false, false) if std::io::stderr().is_terminal() && !dumb => Style::Bars,
            (false, false) => Style::Lines,
        };
        let state = State { layers: Vec::new(), transferred: 0, begun: Instant::now(), drawn_at: None, lines: 0 };
        Shown { style, state: Mutex::new(state) }
    }

    /// A line that stays, above the bars.
    pub(super) fn line(&self, text: &str) {
        let mut state = self.lock();
        match self.style {
            Style::Nothing => {}
            Style::Json => json(&serde_json::json!({ "event": "note", "text": text })),
            Style::Lines => write(&format!("{}\n", harmless(text))),
            Style::Bars => {
                write(&format!("{}{}\n", state.erase(), harmless(text)));
                state.draw();
            }
        }
    }

    /// Takes the bars away; what follows is the result.
    pub(super) fn end(&self) {
        if self.style == Style::Bars {
            let text = self.lock().erase();
            write(&text);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Progress for Shown {
    fn layer_known(&self, digest: &Digest, size: u64) {
        self.lock().layer(digest, size);
    }

    fn layer_started(&self, digest: &Digest, size: u64) {
        let mut state = self.lock();
        if let Some(layer) = state.layer(digest, size) {
            layer.begun = true;
        }
        if self.style == Style::Json {
            json(&serde_json::json!({ "event": "layer-started", "digest": digest, "size": size }));
        }
    }

    fn received(&self, digest: &Digest, bytes: u64) {
        let mut state = self.lock();
        if let Some(layer) = state.layers.iter_mut().find(|layer| layer.digest == *digest) {
            layer.received += bytes;
        }
        state.transferred += bytes;
        if self.style == Style::Bars && state.drawn_at.is_none_or(|at| at.elapsed() >= FRAME) {
            state.draw();
        }
    }

    fn layer_done(&self, digest: &Digest, cached: bool) {
        let mut state = self.lock();
        let finished = state.finish(digest);
        let what = if cached { "there already" } else { "done" };
        match self.style {
            Style::Json => json(&serde_json::json!({ "event": "layer-done", "digest": digest, "cached": cached })),
            Style::Lines => match finished {
                Some(Some(size)) => write(&format!("{}: {what} ({})\n", digest.short(), bytes(size))),
                Some(None) => write(&format!("{}: {what}\n", digest.short())),
                None => {}
            },
            Style::Bars => state.draw(),
            Style::Nothing => {}
        }
    }

    fn warning(&self, text: &str) {
        self.line(&format!("warning: {text}"));
    }
}

impl State {
    /// The layer, which is new if nobody spoke of it yet.
    fn layer(&mut self, digest: &Digest, size: u64) -> Option<&mut Layer> {
        if !self.layers.iter().any(|layer| layer.digest == *digest) {
            self.layers.push(Layer { digest: digest.clone(), size, received: 0, begun: false, done: false });
        }
        self.layers.iter_mut().find(|layer| layer.digest == *digest)
    }

    /// Takes a layer as done and answers its size, if it is known; `None` when it was done before: a blob that is here
    /// already may be unpacked after that, and an image may have a layer twice.
    fn finish(&mut self, digest: &Digest) -> Option<Option<u64>> {
        let Some(layer) = self.layers.iter_mut().find(|layer| layer.digest == *digest) else { return Some(None) };
        layer.received = layer.size;
        (!std::mem::replace(&mut layer.done, true)).then_some(Some(layer.size))
    }

    /// The escape sequences that take the last frame away.
    fn erase(&mut self) -> String {
        let lines = std::mem::take(&mut self.lines);
        if lines == 0 { String::new() } else { format!("\x1b[{lines}A\x1b[J") }
    }

    fn draw(&mut self) {
        let columns = columns();
        let mut frame = self.erase();
        for layer in self.layers.iter().filter(|layer| layer.begun && !layer.done) {
            let part = layer.received.min(layer.size);
            let filled = part.saturating_mul(WIDTH).checked_div(layer.size).unwrap_or(WIDTH);
            let bar: String = (0..WIDTH).map(|cell| if cell < filled { '#' } else { '.' }).collect();
            let line = format!("{} {bar} {} of {}", layer.digest.short(), bytes(part), bytes(layer.size));
            frame.push_str(&fitted(&line, columns));
            self.lines += 1;
        }
        let received: u64 = self.layers.iter().map(|layer| layer.received).sum();
        let size: u64 = self.layers.iter().map(|layer| layer.size).sum();
        let done = self.layers.iter().filter(|layer| layer.done).count();
        let rate = self.transferred as f64 / self.begun.elapsed().as_secs_f64().max(0.001);
        let layers = count(self.layers.len() as u64, "layer");
        let line = format!("{done} of {layers}, {} of {}, {}/s", bytes(received), bytes(size), bytes(rate as u64));
        frame.push_str(&fitted(&line, columns));
        self.lines += 1;
        self.drawn_at = Some(Instant::now());
        write(&frame);
    }
}

/// Columns of the terminal; one that does not tell has enough.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(usize::MAX)
}

/// A line that the terminal does not break in two: the next frame takes as many lines away as this one wrote.
fn fitted(line: &str, columns: usize) -> String {
    line.chars().take(columns).chain(['\n']).collect()
}

fn write(text: &str) {
    // Nobody to tell when standard error is gone.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

fn json(value: &serde_json::Value) {
    let _ = super::super::output::json_line(value);
}

/// A number of things for a person: `1 layer`, `2 layers`.
pub(super) fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// A number of bytes for a person: `27.1 MB`.
pub(super) fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_not_many() {
        assert_eq!([0, 1, 2].map(|n| count(n, "layer")), ["0 layers", "1 layer", "2 layers"]);
    }

    #[test]
    fn a_line_of_a_frame_is_one_line_of_the_terminal() {
        for (columns, shown) in [(usize::MAX, "0 of 1 layer, 0 B\n"), (17, "0 of 1 layer, 0 B\n"), (4, "0 of\n")] {
            assert_eq!(fitted("0 of 1 layer, 0 B", columns), shown);
        }
    }

    #[test]
    fn a_layer_is_done_once() {
        let shown = Shown::new(true, false);
        let digest = Digest::of(b"layer");
        shown.layer_known(&digest, 7);
        let told = [true, false].map(|_| shown.lock().finish(&digest));
        assert_eq!(told, [Some(Some(7)), None]);
        assert_eq!(shown.lock().finish(&Digest::of(b"nobody knows it")), Some(None));
    }

    #[test]
    fn bytes_are_told_in_units_of_a_thousand() {
        for (count, text) in [(0, "0 B"), (999, "999 B"), (27_100_000, "27.1 MB"), (u64::MAX, "18446744.1 TB")] {
            assert_eq!(bytes(count), text);
        }
    }
}
