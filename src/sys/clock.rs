//! The time of day, as RFC 3339 writes it in UTC: in the log and in the state of a container.

use rustix::time::{ClockId, clock_gettime};

/// Now: `2026-11-23T08:50:57.123456789Z`.
pub fn now_rfc3339() -> String {
    let now = clock_gettime(ClockId::Realtime);
    rfc3339(now.tv_sec, now.tv_nsec)
}

/// Seconds since 1970-01-01T00:00:00Z.
pub fn now_seconds() -> i64 {
    clock_gettime(ClockId::Realtime).tv_sec
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
}
