//! The header `Range` (RFC 9110, section 14).

use std::ops::Range;

/// Ranges in one request: more are asked for by nobody but who wants to burden the server.
const RANGES_MAX: usize = 32;

/// What a request wants of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it: there is no such header, or one that may be passed over.
    Whole,
    /// These stretches, none empty, each within the file.
    Ranges(Vec<Range<u64>>),
    /// Nothing that the file has.
    Nothing,
}

/// Reads the header for a file of `len` bytes. Ranges that are together longer than the file give the whole.
pub(super) fn parse(header: Option<&str>, len: u64) -> Wanted {
    let Some(list) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else {
        return Wanted::Whole;
    };
    let mut ranges = Vec::new();
    for spec in list.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
        match parse_one(spec, len) {
            None => return Wanted::Whole,
            Some(range) if range.is_empty() => {}
            Some(_) if ranges.len() == RANGES_MAX => return Wanted::Whole,
            Some(range) => ranges.push(range),
        }
    }
    let total = ranges.iter().fold(0_u64, |total, range| total.saturating_add(range.end - range.start));
    match ranges.len() {
        0 => Wanted::Nothing,
        1 => Wanted::Ranges(ranges),
        _ if total > len => Wanted::Whole,
        _ => Wanted::Ranges(ranges),
    }
}

/// One range, cut at the end of the file, perhaps empty; `None` for what is no range.
fn parse_one(spec: &str, len: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        // More than a number can hold is past every end.
        is_number.then(|| digits.parse::<u64>().unwrap_or(u64::MAX))
    };
    if first.is_empty() {
        return Some(len.saturating_sub(number(last)?)..len);
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some(first.min(len)..last.saturating_add(1).min(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(header: &str) -> Wanted {
        parse(Some(header), 10)
    }

    fn one(start: u64, end: u64) -> Wanted {
        Wanted::Ranges(std::iter::once(start..end).collect())
    }

    #[test]
    fn ranges_are_cut_at_the_end() {
        assert_eq!(ranges("bytes=0-0"), one(0, 1));
        assert_eq!(ranges("bytes=8-99999999999999999999999"), one(8, 10));
        assert_eq!(ranges("bytes=9-"), one(9, 10));
        assert_eq!(ranges("bytes=-3"), one(7, 10));
        assert_eq!(ranges("bytes=-30"), one(0, 10));
        assert_eq!(ranges("bytes=0-1, 4-5,,99-"), Wanted::Ranges(vec![0..2, 4..6]));
    }

    #[test]
    fn what_is_past_the_end_is_nothing() {
        assert_eq!(ranges("bytes=10-"), Wanted::Nothing);
        assert_eq!(ranges("bytes=-0"), Wanted::Nothing);
        assert_eq!(parse(Some("bytes=0-"), 0), Wanted::Nothing);
    }

    #[test]
    fn what_is_no_range_or_a_burden_gives_the_whole() {
        for header in ["bytes=1", "bytes=a-b", "bytes=5-4", "items=0-1", "bytes=+1-2", "bytes=0-8,0-8"] {
            assert_eq!(ranges(header), Wanted::Whole, "{header}");
        }
        assert_eq!(parse(Some(&format!("bytes={}", "0-0,".repeat(33))), 1000), Wanted::Whole);
        assert_eq!(parse(None, 10), Wanted::Whole);
    }
}
