//! When to ask again: what failed for the moment is asked again after a growing time, or after the time that the server
//! names (`Retry-After`); what made progress in between begins anew.

use anyhow::bail;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often and how patiently to ask again.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Attempts without progress before giving up.
    pub attempts: u32,
    /// The first wait; each further one is twice as long.
    pub first_wait: Duration,
    /// No wait is longer, and a server that asks for more is an error.
    pub longest_wait: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { attempts: 6, first_wait: Duration::from_millis(250), longest_wait: Duration::from_secs(60) }
    }
}

impl Patience {
    /// The wait before attempt `next` (counted from 1), or why there is none.
    pub fn wait_before(&self, next: u32, retry_after: Option<Duration>) -> anyhow::Result<Duration> {
        if next >= self.attempts {
            bail!("gave up after {next} attempts");
        }
        match retry_after {
            Some(asked) if asked > self.longest_wait => bail!("the server asks to come back in {} s", asked.as_secs()),
            Some(asked) => Ok(asked),
            None => {
                let doubled = self.first_wait.saturating_mul(1 << next.saturating_sub(1).min(16));
                Ok(doubled.min(self.longest_wait))
            }
        }
    }
}

/// Where threads wait between attempts; one call ends all waits, when another layer has failed for good.
#[derive(Default)]
pub struct Pause {
    stopped: Mutex<bool>,
    bell: Condvar,
}

impl Pause {
    /// Waits; an error when the work was stopped meanwhile.
    pub fn wait(&self, time: Duration) -> anyhow::Result<()> {
        let stopped = self.stopped.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let waited = self.bell.wait_timeout_while(stopped, time, |stopped| !*stopped);
        let (stopped, _) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        if *stopped { bail!("stopped") } else { Ok(()) }
    }

    /// Ends all waits, now and later.
    pub fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = true;
        self.bell.notify_all();
    }

    /// True after [`Pause::stop`].
    pub fn is_stopped(&self) -> bool {
        *self.stopped.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// True for the statuses that a moment may change (RFC 9110; 429 is RFC 6585).
pub fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// The value of a `Retry-After` header: seconds, or a date as HTTP writes it.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = http_date(value)?;
    let now = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(Duration::from_secs(date.saturating_sub(now)))
}

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7; the two obsolete forms are not read).
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.strip_suffix(" GMT")?.split([' ', ':']);
    let day: u64 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u64 + 1;
    let year: u64 = words.next()?.parse().ok().filter(|year| (1970..10000).contains(year))?;
    let (hour, minute, second) = (number(words.next())?, number(words.next())?, number(words.next())?);
    // Days from 1970-01-01, counting years from March so that the leap day comes last.
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day;
    Some(days.checked_sub(719_469)? * 86400 + hour * 3600 + minute * 60 + second)
}

fn number(word: Option<&str>) -> Option<u64> {
    word?.parse().ok().filter(|n| *n < 62)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Mon, 07 Nov 1994 08:49:37 GMT", Some(86400)),
            ("Thu, 29 Feb 1996 00:00:00 GMT", Some(825_552_000 - 784_111_777)),
            ("Sun, 06 Nov 1993 08:50:07 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(retry_after(value, now), seconds.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn waits_double_and_end() {
        let patience =
            Patience { attempts: 4, first_wait: Duration::from_secs(1), longest_wait: Duration::from_secs(3) };
        let waits: Vec<_> = (1..=4).map(|n| patience.wait_before(n, None).ok().map(|d| d.as_secs())).collect();
        assert_eq!(waits, [Some(1), Some(2), Some(3), None]);
        assert_eq!(patience.wait_before(1, Some(Duration::from_secs(2))).unwrap().as_secs(), 2);
        assert!(patience.wait_before(1, Some(Duration::from_secs(3600))).unwrap_err().to_string().contains("3600 s"));
    }

    #[test]
    fn a_stopped_pause_waits_no_more() {
        let pause = Pause::default();
        assert!(pause.wait(Duration::from_millis(1)).is_ok());
        pause.stop();
        assert!(pause.wait(Duration::from_secs(3600)).is_err());
    }
}
