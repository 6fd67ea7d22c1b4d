//! Points in time.

use crate::{Error, Result};

/// A point in time: seconds since 1970-01-01 UTC, which may be negative, and nanoseconds after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    seconds: i64,
    nanoseconds: u32,
}

/// Seconds from 1601-01-01 (FILETIME's zero) to 1970-01-01.
const FILETIME_EPOCH_SECONDS: i64 = 11_644_473_600;
const FILETIME_TICKS_PER_SECOND: u64 = 10_000_000;

impl Time {
    /// Takes a point in time.
    ///
    /// # Errors
    /// `Corrupt` when `nanoseconds` is a second or more.
    pub fn new(seconds: i64, nanoseconds: u32) -> Result<Time> {
        if nanoseconds >= 1_000_000_000 {
            return Err(Error::corrupt(format!("a time with {nanoseconds} nanoseconds")));
        }
        Ok(Time { seconds, nanoseconds })
    }

    /// Whole seconds since 1970-01-01 UTC.
    pub fn from_seconds(seconds: i64) -> Time {
        Time { seconds, nanoseconds: 0 }
    }

    /// A Windows FILETIME: units of 100 ns since 1601-01-01 UTC.
    pub fn from_filetime(ticks: u64) -> Time {
        // Both quotients fit: u64::MAX / 10^7 is far below i64::MAX, and the remainder is below 10^7.
        let seconds = i64::try_from(ticks / FILETIME_TICKS_PER_SECOND).unwrap_or(i64::MAX);
        let nanoseconds = u32::try_from((ticks % FILETIME_TICKS_PER_SECOND) * 100).unwrap_or(0);
        Time { seconds: seconds.saturating_sub(FILETIME_EPOCH_SECONDS), nanoseconds }
    }

    /// Whole seconds since 1970-01-01 UTC, rounded down.
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds after the whole second, below 10^9.
    pub fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filetime_epochs_convert_exactly() {
        assert_eq!(Time::from_filetime(0), Time::from_seconds(-11_644_473_600));
        assert_eq!(Time::from_filetime(116_444_736_000_000_001), Time::new(0, 100).unwrap());
    }

    #[test]
    fn nanoseconds_of_a_second_are_refused() {
        assert!(Time::new(0, 1_000_000_000).is_err());
    }
}
