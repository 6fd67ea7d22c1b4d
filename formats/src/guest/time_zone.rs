//! The time zone of those who write the time of day as their clock shows it: DOS, and so FAT and exFAT.

use jiff::civil::DateTime;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::{self, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};
use spelunk_tree::Time;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

/// Of the zones in the program itself: a parser in its jail opens no files.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Bytes of a zone's name; IANA's have up to 32.
const NAME_BYTES_MAX: usize = 64;

/// A time zone: UTC (the default), an offset from it such as `+02:00`, or one of the IANA database with its summer
/// times, such as `Europe/Berlin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeZone {
    name: String,
    /// `None` is UTC: nothing to do.
    zone: Option<tz::TimeZone>,
}

impl Default for TimeZone {
    fn default() -> TimeZone {
        TimeZone { name: "UTC".into(), zone: None }
    }
}

impl FromStr for TimeZone {
    type Err = String;

    fn from_str(text: &str) -> Result<TimeZone, String> {
        if text.eq_ignore_ascii_case("UTC") {
            return Ok(TimeZone::default());
        }
        let zone = if text.len() > NAME_BYTES_MAX {
            None
        } else {
            DateTimeParser::new().parse_time_zone_with(&ZONES, text).ok()
        };
        let zone = zone.ok_or("no time zone: UTC, +02:00 and Europe/Berlin are some")?;
        Ok(TimeZone { name: text.into(), zone: Some(zone) })
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl TimeZone {
    /// When clocks in this zone showed what those in UTC show at `local`. Of an hour that was there twice it is the
    /// first; a time that a clock left out counts on from before it. Times far from any clock stay as they are.
    pub(crate) fn when(&self, local: Time) -> Time {
        let Some(zone) = &self.zone else { return local };
        let shown = |local: Time| -> Option<Time> {
            let since = SignedDuration::from_secs(local.seconds());
            let civil = DateTime::constant(1970, 1, 1, 0, 0, 0, 0).checked_add(since).ok()?;
            let seconds = zone.to_ambiguous_timestamp(civil).compatible().map(Timestamp::as_second).ok()?;
            Time::new(seconds, local.nanoseconds()).ok()
        };
        shown(local).unwrap_or(local)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn when(zone: &str, local: &str) -> String {
        let local: Timestamp = local.parse().unwrap();
        let zone: TimeZone = zone.parse().unwrap();
        let time = zone.when(Time::from_seconds(local.as_second()));
        Timestamp::from_second(time.seconds()).unwrap().to_string()
    }

    #[test]
    fn zones_have_their_offsets_and_summer_times() {
        assert_eq!(when("utc", "2026-07-01T12:00:00Z"), "2026-07-01T12:00:00Z");
        assert_eq!(when("+05:45", "2026-07-01T12:00:00Z"), "2026-07-01T06:15:00Z");
        assert_eq!(when("-03", "2026-07-01T12:00:00Z"), "2026-07-01T15:00:00Z");
        assert_eq!(when("Europe/Berlin", "2026-07-01T12:00:00Z"), "2026-07-01T10:00:00Z");
        assert_eq!(when("Europe/Berlin", "2026-01-01T12:00:00Z"), "2026-01-01T11:00:00Z");
    }

    #[test]
    fn clocks_that_are_changed_leave_no_time_without_an_answer() {
        // At 2:00 the clock goes on to 3:00; at 3:00 back to 2:00.
        assert_eq!(when("Europe/Berlin", "2026-03-29T02:30:00Z"), "2026-03-29T01:30:00Z");
        assert_eq!(when("Europe/Berlin", "2026-10-25T02:30:00Z"), "2026-10-25T00:30:00Z");
    }

    #[test]
    fn other_names_are_refused() {
        for bad in ["", "Middle/Earth", "+99:00", "../../etc/passwd", &"x".repeat(1000)] {
            assert!(bad.parse::<TimeZone>().is_err(), "{bad}");
        }
    }
}
