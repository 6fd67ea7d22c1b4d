//! When a backup was made, as its directory is called: `2026-11-23_0243`.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use spelunk_tree::Time;
use std::fmt;

/// A minute of this machine's local time. It sorts as time passes, but for the hour that clocks are set back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    minute: DateTime,
}

impl Moment {
    /// The minute that `time` is in.
    pub fn of(time: Time) -> Moment {
        let timestamp = Timestamp::from_second(time.seconds()).unwrap_or(Timestamp::UNIX_EPOCH);
        Moment::of_civil(timestamp.to_zoned(TimeZone::system()).datetime())
    }

    /// The minute of a date and time as they stand in a name.
    pub fn of_civil(civil: DateTime) -> Moment {
        let minute =
            DateTime::new(civil.year(), civil.month(), civil.day(), civil.hour(), civil.minute(), 0, 0);
        Moment { minute: minute.unwrap_or(civil) }
    }

    /// Its name.
    pub fn name(self) -> String {
        self.minute.strftime("%Y-%m-%d_%H%M").to_string()
    }

    /// A number for it: minutes since 1970 on this machine's clocks. It sorts as moments do.
    pub fn minute(self) -> i64 {
        self.minute.to_zoned(TimeZone::UTC).map_or(0, |zoned| zoned.timestamp().as_second().div_euclid(60))
    }

    /// The moment with this number.
    pub fn of_minute(minute: i64) -> Moment {
        let timestamp = Timestamp::from_second(minute.saturating_mul(60)).unwrap_or(Timestamp::UNIX_EPOCH);
        Moment::of_civil(timestamp.to_zoned(TimeZone::UTC).datetime())
    }

    /// The moment that is called so; see [`Moment::name`].
    pub fn parse(name: &str) -> Option<Moment> {
        let civil = DateTime::strptime("%Y-%m-%d_%H%M", name).ok()?;
        Some(Moment::of_civil(civil)).filter(|moment| moment.name() == name)
    }

    /// When it was.
    pub fn time(self) -> Time {
        let zoned = self.minute.to_zoned(TimeZone::system());
        Time::from_seconds(zoned.map_or(0, |zoned| zoned.timestamp().as_second()))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_minutes_and_sort_as_their_names() {
        let at = |minute, second| Moment::of_civil(jiff::civil::date(2026, 11, 3).at(2, minute, second, 0));

        assert_eq!(at(43, 59).name(), "2026-11-03_0243");
        assert_eq!(at(43, 59), at(43, 0));
        assert!(at(43, 59) < at(44, 0) && at(43, 0).name() < at(44, 0).name());
    }

    #[test]
    fn numbers_and_names_give_the_moment_back() {
        let moment = Moment::of_civil(jiff::civil::date(2026, 3, 29).at(2, 30, 0, 0));

        assert_eq!(Moment::of_minute(moment.minute()), moment);
        assert_eq!(Moment::parse(&moment.name()), Some(moment));
        assert_eq!(Moment::parse("2026-03-29_230"), None);
        assert_eq!(Moment::parse("latest"), None);
    }

    #[test]
    fn time_and_moment_convert_into_each_other() {
        let time = Time::from_seconds(1_800_000_000 / 60 * 60);

        assert_eq!(Moment::of(time).time(), time);
    }
}
