//! Durations as Go writes them, which is how callers write them: `5s`, `1m30s`, `500ms`.

use super::arguments::Given;
use anyhow::{Result, anyhow, bail};
use std::time::Duration;

/// The value of an option; `None` when it is not given.
///
/// # Errors
/// It is no duration, or not longer than nothing.
pub(super) fn of(given: &Given, long: &str) -> Result<Option<Duration>> {
    let Some(text) = given.value(long) else { return Ok(None) };
    let duration = parse(text).ok_or_else(|| anyhow!("invalid {long} {text:?}: must be like 5s or 1m30s"))?;
    if duration.is_zero() {
        bail!("invalid {long}: must be greater than 0");
    }
    Ok(Some(duration))
}

/// Numbers with units, one after the other.
fn parse(mut text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    if text.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !text.is_empty() {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount: f64 = text.get(..end)?.parse().ok()?;
        text = text.get(end..)?;
        let end = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
        let unit = text.get(..end)?;
        seconds += amount * UNITS.iter().find(|u| u.0 == unit)?.1;
        text = text.get(end..)?;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        let table = [("5s", 5.0), ("1m30s", 90.0), ("500ms", 0.5), ("1.5h", 5400.0), ("10us", 1e-5)];
        for (text, seconds) in table {
            assert_eq!(parse(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "5", "s", "5x", "-5s"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
