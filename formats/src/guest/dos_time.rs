//! Dates and times as DOS counted them, and FAT and exFAT still do.

use spelunk_tree::Time;

/// Days of a year that is no leap year before each month, and in all.
const DAYS_BEFORE_MONTH: [i64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];

/// A DOS date (years from 1980 in 7 bits, month in 4, day in 5) and time (hours in 5 bits, minutes in 6,
/// double seconds in 5), and up to 1.99 seconds more. `None` when it is none, such as a date of zero.
pub fn time(date: u16, time: u16, hundredths: u8) -> Option<Time> {
    let (hours, minutes, pairs) =
        (i64::from(time >> 11), i64::from(time >> 5 & 0x3F), i64::from(time & 0x1F));
    if hours > 23 || minutes > 59 || pairs > 29 || hundredths > 199 {
        return None;
    }
    let seconds = days_since_1970(date)?
        .saturating_mul(86_400)
        .saturating_add(hours.saturating_mul(3600))
        .saturating_add(minutes.saturating_mul(60))
        .saturating_add(pairs.saturating_mul(2))
        .saturating_add(i64::from(hundredths / 100));
    Time::new(seconds, u32::from(hundredths % 100).saturating_mul(10_000_000)).ok()
}

fn days_since_1970(date: u16) -> Option<i64> {
    let (year, month, day) =
        (i64::from(date >> 9).saturating_add(1980), date >> 5 & 0x0F, i64::from(date & 0x1F));
    // The only year from 1980 to 2107 that the simple rule gets wrong.
    let is_leap_year = year & 3 == 0 && year != 2100;
    let before = |month: u16| {
        let days = DAYS_BEFORE_MONTH.get(usize::from(month))?;
        Some(days.saturating_add(i64::from(is_leap_year && month >= 2)))
    };
    let before_month = before(month.checked_sub(1)?)?;
    if day == 0 || before_month.saturating_add(day) > before(month)? {
        return None;
    }
    let leap_days = (year.saturating_sub(1969) / 4).saturating_sub(i64::from(year > 2100));
    let of_years = year.saturating_sub(1970).saturating_mul(365).saturating_add(leap_days);
    Some(of_years.saturating_add(before_month).saturating_add(day).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_cover_the_whole_range_and_nonsense_is_none() {
        let date = |year: u16, month: u16, day: u16| (year - 1980) << 9 | month << 5 | day;

        assert_eq!(time(date(1980, 1, 1), 0, 0), Some(Time::from_seconds(315_532_800)));
        assert_eq!(time(date(2000, 2, 29), 0xBF7D, 199), Time::new(951_868_799, 990_000_000).ok());
        assert_eq!(time(date(2107, 12, 31), 0, 0), Some(Time::from_seconds(4_354_732_800)));
        for (date, of_day) in [
            (0, 0),
            (date(2000, 13, 1), 0),
            (date(2001, 2, 29), 0),
            (date(2100, 2, 29), 0),
            (date(2000, 1, 1), 0xC000),
        ] {
            assert_eq!(time(date, of_day, 0), None, "{date:#x} {of_day:#x}");
        }
    }
}
