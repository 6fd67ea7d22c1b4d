//! Points in time, as people write and read them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};
use spelunk_tree::Time;
use std::fmt;

/// The date and time of day to the minute in the system's time zone, as `ls --time-style=long-iso`.
pub fn short(time: Time) -> String {
    match zoned(time) {
        Some(zoned) => zoned.strftime("%Y-%m-%d %H:%M").to_string(),
        None => format!("@{}", time.seconds()),
    }
}

/// All of it, as `ls --full-time` shows it: `2026-01-31 14:05:06.123456789 +0100`.
pub fn full(time: Time) -> String {
    match zoned(time) {
        Some(zoned) => zoned.strftime("%Y-%m-%d %H:%M:%S.%9f %z").to_string(),
        None => Seconds(time).to_string(),
    }
}

/// RFC 3339 in UTC with nanoseconds; `@seconds.nanoseconds` for years that it cannot write.
pub fn rfc3339(time: Time) -> String {
    match timestamp(time).filter(|t| t.as_second() >= YEAR_0 && t.as_second() < YEAR_10000) {
        Some(timestamp) => format!("{timestamp:.9}"),
        None => format!("@{}", Seconds(time)),
    }
}

/// Seconds of 0000-01-01 and 10000-01-01 UTC: outside of these RFC 3339 has no form.
const YEAR_0: i64 = -62_167_219_200;
const YEAR_10000: i64 = 253_402_300_800;

/// Seconds since 1970 and nine digits of nanoseconds, as the manifests write it.
pub struct Seconds(pub Time);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0.seconds(), self.0.nanoseconds())
    }
}

/// Parses a date (`2026-01-31`), a date and time (`2026-01-31 14:05`, in the system's time zone; or RFC
/// 3339 with an offset), `@seconds`, or an age (`7d`, `36h`, `2 weeks`) counted back from now.
pub fn parse(text: &str) -> Result<Time, String> {
    parse_at(text, &Zoned::now())
}

fn parse_at(text: &str, now: &Zoned) -> Result<Time, String> {
    let text = text.trim();
    if let Some(seconds) = text.strip_prefix('@') {
        return seconds.parse().map(Time::from_seconds).map_err(|_| "not a count of seconds".to_owned());
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(time(timestamp));
    }
    if let Ok(civil) = text.parse::<DateTime>() {
        return civil
            .to_zoned(now.time_zone().clone())
            .map(|zoned| time(zoned.timestamp()))
            .map_err(|error| error.to_string());
    }
    let age: Span = text.parse().map_err(|_| {
        "not a date (2026-01-31), a time (2026-01-31 14:05), an age (7d) or @seconds".to_owned()
    })?;
    let then = now.checked_sub(age.abs()).map_err(|error| error.to_string())?;
    Ok(time(then.timestamp()))
}

fn time(timestamp: Timestamp) -> Time {
    let nanoseconds = timestamp.as_nanosecond().rem_euclid(1_000_000_000);
    let seconds = timestamp.as_nanosecond().div_euclid(1_000_000_000);
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let whole = Time::from_seconds(seconds);
    u32::try_from(nanoseconds).ok().and_then(|n| Time::new(seconds, n).ok()).unwrap_or(whole)
}

fn timestamp(time: Time) -> Option<Timestamp> {
    let nanoseconds = i128::from(time.seconds()) * 1_000_000_000 + i128::from(time.nanoseconds());
    Timestamp::from_nanosecond(nanoseconds).ok()
}

fn zoned(time: Time) -> Option<Zoned> {
    timestamp(time).map(|timestamp| timestamp.to_zoned(TimeZone::system()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Time, String> {
        parse_at(text, &"2026-01-31T12:00:00+00:00[UTC]".parse().unwrap())
    }

    #[test]
    fn dates_times_and_ages_parse() {
        let cases = [
            ("2026-01-31", 1_769_817_600),
            ("2026-01-31 14:05", 1_769_868_300),
            ("2026-01-31T14:05:00+02:00", 1_769_861_100),
            ("@12", 12),
            ("@-5", -5),
            ("1d", 1_769_774_400),
            ("2 hours ago", 1_769_853_600),
        ];

        for (text, seconds) in cases {
            assert_eq!(parsed(text), Ok(Time::from_seconds(seconds)), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "yesterdayish", "2026-13-01", "@", "/etc/passwd"] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_print_exactly_even_far_out() {
        assert_eq!(rfc3339(Time::new(-1, 5).unwrap()), "1969-12-31T23:59:59.000000005Z");
        assert_eq!(rfc3339(Time::from_seconds(1 << 60)), "@1152921504606846976.000000000");
        assert_eq!(rfc3339(Time::from_filetime(u64::MAX)), "@1833029933770.955161500");
        assert_eq!(Seconds(Time::new(3, 7).unwrap()).to_string(), "3.000000007");
    }
}
