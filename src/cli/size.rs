//! Sizes, as people write and read them.

use std::str::FromStr;

/// The suffixes and how far each shifts: powers of 1024, as in `find` and `ls -h`.
const UNITS: [(char, u32); 6] = [('k', 10), ('m', 20), ('g', 30), ('t', 40), ('p', 50), ('e', 60)];

/// Parses `4096`, `64k`, `1.5G`, `10MiB`, `512c`: a number with an optional unit, powers of 1024.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = shift_of(unit).ok_or_else(|| format!("unknown unit '{unit}' (use k, M, G, T)"))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().map_err(|_| "not a size".to_owned())?;
    let too_large = || "too large".to_owned();
    let base = whole.checked_mul(1 << shift).ok_or_else(too_large)?;
    if fraction.is_empty() {
        return Ok(base);
    }
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err("not a size".to_owned());
    }
    let numerator: u128 = fraction.parse().map_err(|_| "not a size".to_owned())?;
    let denominator = 10u128.pow(u32::try_from(fraction.len()).unwrap_or(9));
    let part = u64::try_from((numerator << shift) / denominator).map_err(|_| too_large())?;
    base.checked_add(part).ok_or_else(too_large)
}

fn shift_of(unit: &str) -> Option<u32> {
    let unit = unit.to_ascii_lowercase();
    if matches!(unit.as_str(), "" | "c" | "b") {
        return Some(0);
    }
    let (letter, rest) = unit.split_at_checked(1)?;
    let known = matches!(rest, "" | "ib" | "b");
    UNITS.iter().find(|(name, _)| known && letter.starts_with(*name)).map(|(_, shift)| *shift)
}

/// A size with one decimal below ten, as `ls -h` shows it: `512`, `1.5K`, `20M`. Rounds up.
pub fn short(bytes: u64) -> String {
    if bytes < 1024 {
        return bytes.to_string();
    }
    let mut shift = 10;
    let mut letters = "KMGTPE".chars();
    let mut letter = letters.next().unwrap_or('K');
    // The next unit as soon as this one would show four digits.
    while let Some(next) = letters.as_str().chars().next().filter(|_| rounded_up(bytes, shift, 1) >= 1024) {
        shift += 10;
        letter = next;
        letters.next();
    }
    let tenths = rounded_up(bytes, shift, 10);
    if tenths < 100 {
        return format!("{}.{}{letter}", tenths / 10, tenths % 10);
    }
    format!("{}{letter}", rounded_up(bytes, shift, 1))
}

/// A size for prose: `1.5 GiB`.
pub fn long(bytes: u64) -> String {
    let short = short(bytes);
    match short.strip_suffix(|c: char| c.is_ascii_alphabetic()) {
        Some(number) => format!("{number} {}iB", &short[number.len()..]),
        None => format!("{short} bytes"),
    }
}

fn rounded_up(bytes: u64, shift: u32, scale: u64) -> u64 {
    let scaled = u128::from(bytes) * u128::from(scale);
    u64::try_from(scaled.div_ceil(1 << shift)).unwrap_or(u64::MAX)
}

/// A condition on a size: `+1M` at least, `-1M` at most, `1M` exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeTest {
    min: u64,
    max: u64,
}

impl SizeTest {
    /// Whether `bytes` meets it.
    pub fn holds(self, bytes: u64) -> bool {
        (self.min..=self.max).contains(&bytes)
    }
}

impl From<SizeTest> for std::ops::RangeInclusive<u64> {
    fn from(test: SizeTest) -> Self {
        test.min..=test.max
    }
}

impl FromStr for SizeTest {
    type Err = String;

    fn from_str(text: &str) -> Result<SizeTest, String> {
        if let Some(size) = text.strip_prefix('+') {
            return Ok(SizeTest { min: parse(size)?, max: u64::MAX });
        }
        if let Some(size) = text.strip_prefix('-') {
            return Ok(SizeTest { min: 0, max: parse(size)? });
        }
        let size = parse(text)?;
        Ok(SizeTest { min: size, max: size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_and_without_units_parse() {
        let cases =
            [("0", 0), ("4096", 4096), ("64k", 65536), ("1.5K", 1536), ("10MiB", 10 << 20), ("2GB", 2 << 30)];

        for (text, bytes) in cases {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn nonsense_and_overflow_are_refused() {
        for text in ["", "k", "1x", "1.2.3", "-1", "16E", "99999999999999999999", "1.0000000001k"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn short_sizes_are_those_of_ls() {
        let cases = [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (1025, "1.1K"),
            (10 << 10, "10K"),
            ((1 << 20) - 1, "1.0M"),
            (5 << 40, "5.0T"),
            (u64::MAX, "16E"),
        ];

        for (bytes, text) in cases {
            assert_eq!(short(bytes), text);
        }
        assert_eq!(long(1536), "1.5 KiB");
        assert_eq!(long(5), "5 bytes");
    }

    #[test]
    fn size_tests_have_three_forms() {
        let holds = |test: &str, bytes| test.parse::<SizeTest>().unwrap().holds(bytes);

        assert!(holds("+1k", 1024) && holds("+1k", u64::MAX) && !holds("+1k", 1023));
        assert!(holds("-1k", 0) && holds("-1k", 1024) && !holds("-1k", 1025));
        assert!(holds("1k", 1024) && !holds("1k", 1025));
    }
}
