//! The time of day, as RFC 3339 writes it in UTC: in the log and in the state of a container; and whose clock shows another time
//! since boot.

use super::files;
use rustix::time::{ClockId, clock_gettime};
use std::sync::OnceLock;

/// Now: `2026-11-23T08:50:57.123456789Z`.
pub fn now_rfc3339() -> String {
    let now = clock_gettime(ClockId::Realtime);
    rfc3339(now.tv_sec, now.tv_nsec)
}

/// Seconds since 1970-01-01T00:00:00Z.
pub fn now_seconds() -> i64 {
    clock_gettime(ClockId::Realtime).tv_sec
}

/// By how much this process's clock of the time since boot is ahead of the machine's, in nanoseconds (time_namespaces(7)). It is
/// asked for once. 0 where procfs does not tell: before Linux 5.6 there is nothing to tell, and after that only the clock of
/// the namespace that children get is told, which is ours since the last execve (Linux 6.1).
pub fn boot_time_ahead() -> i64 {
    static AHEAD: OnceLock<i64> = OnceLock::new();
    *AHEAD.get_or_init(|| {
        // PROC_TIME_INIT_INO of include/linux/proc_ns.h: the machine's own.
        const INITIAL: u64 = 0xefff_fffa;
        let inode = |name: &str| rustix::fs::stat(format!("/proc/self/ns/{name}")).ok().map(|status| status.st_ino);
        match inode("time") {
            None | Some(INITIAL) => 0,
            own if own != inode("time_for_children") => 0,
            _ => ahead_in(&files::read_text("/proc/self/timens_offsets").unwrap_or_default()).unwrap_or(0),
        }
    })
}

/// The seconds and nanoseconds in the line of the boot clock.
fn ahead_in(offsets: &str) -> Option<i64> {
    let line = offsets.lines().find_map(|line| line.strip_prefix("boottime"))?;
    let mut words = line.split_whitespace().map(|word| word.parse::<i64>().ok());
    words.next()??.checked_mul(1_000_000_000)?.checked_add(words.next()??)
}

/// Writes seconds since 1970 and nanoseconds as RFC 3339 in UTC.
pub fn rfc3339(seconds: i64, nanoseconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z")
}

/// Seconds since 1970 of a time that [`rfc3339`] wrote; `None` for anything else.
pub fn seconds_of(text: &str) -> Option<i64> {
    let field = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    text.ends_with('Z').then_some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days since 1970 to a date of the proleptic Gregorian calendar. An era is 400 years, which are always 146097 days; a year
/// begins in March, so that the leap day is its last.
fn date(days: i64) -> (i64, i64, i64) {
    let from_era_zero = days + 719_468;
    let (era, day_of_era) = (from_era_zero.div_euclid(146_097), from_era_zero.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// The inverse of [`date`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_back() {
        let table = [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000000000Z"),
            (1_795_424_657, "2026-11-23T09:04:17.000000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000000Z"),
        ];
        for (seconds, text) in table {
            assert_eq!(rfc3339(seconds, 0), text);
            assert_eq!(seconds_of(text), Some(seconds));
        }
        assert_eq!(seconds_of("yesterday"), None);
    }

    #[test]
    fn the_clock_of_a_time_namespace_is_read_from_its_offsets() {
        for (text, expected) in [
            ("monotonic           0         0\nboottime         1000         5\n", Some(1_000_000_000_005)),
            ("monotonic          -7         0\nboottime          -10 500000000\n", Some(-9_500_000_000)),
            ("monotonic           0         0\n", None),
            ("", None),
        ] {
            assert_eq!(ahead_in(text), expected, "{text}");
        }
    }
}
