//! Conditional and partial requests (RFC 9110, sections 13 and 14).

use super::problem::Problem;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use spelunk_tree::Time;
use std::ops::Range;
use std::time::{Duration, SystemTime};

/// What is in a backup is not for everybody, and whether one still may see it is asked anew each time.
pub const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("private, no-cache");

/// What a representation is known by.
#[derive(Clone, Debug)]
pub struct Version {
    /// A strong entity tag, with its quotes.
    pub etag: HeaderValue,
    /// When it was last changed, if that is known.
    pub modified: Option<Time>,
    /// Its bytes, if that is known.
    pub len: Option<u64>,
}

/// What is to be answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// All of it.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// The client has it already.
    NotModified,
}

impl Version {
    /// Works a request's conditions and range out. Several ranges are answered with everything, as RFC 9110
    /// permits.
    ///
    /// # Errors
    /// 416 for a range that there is not, 412 for another version than the client demands.
    pub fn answer(&self, request: &HeaderMap) -> Result<Answer, Problem> {
        let text = |name: HeaderName| request.get(name).and_then(|value| value.to_str().ok());
        let is_wanted = match text(header::IF_MATCH) {
            Some(wanted) => self.is_among(wanted),
            None => text(header::IF_UNMODIFIED_SINCE).is_none_or(|since| !self.is_newer_than(since)),
        };
        if !is_wanted {
            let title = "This is not the version that was asked for";
            return Err(Problem::new(StatusCode::PRECONDITION_FAILED, "precondition", title));
        }
        if let Some(known) = text(header::IF_NONE_MATCH) {
            if self.is_among(known) {
                return Ok(Answer::NotModified);
            }
        } else if let Some(since) = text(header::IF_MODIFIED_SINCE)
            && let (Ok(since), Some(modified)) = (httpdate::parse_http_date(since), self.http_time())
            && modified <= since
        {
            return Ok(Answer::NotModified);
        }
        let (Some(range), Some(len)) = (text(header::RANGE), self.len) else { return Ok(Answer::Whole) };
        let is_same = text(header::IF_RANGE).is_none_or(|condition| self.is_same(condition));
        if is_same { part(range, len) } else { Ok(Answer::Whole) }
    }

    /// The answer to whoever has this version already.
    pub fn not_modified(&self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
        response
    }

    /// Sets the headers that name the version. `part` is what of it is sent.
    pub fn describe(&self, headers: &mut HeaderMap, part: Option<&Range<u64>>) {
        headers.insert(header::ETAG, self.etag.clone());
        if let Some(modified) = self.http_date() {
            headers.insert(header::LAST_MODIFIED, modified);
        }
        let Some(len) = self.len else { return };
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let sent = part.map_or(len, |part| part.end - part.start);
        headers.insert(header::CONTENT_LENGTH, sent.into());
        let range = part.map(|part| format!("bytes {}-{}/{len}", part.start, part.end.saturating_sub(1)));
        if let Some(range) = range.and_then(|range| HeaderValue::from_str(&range).ok()) {
            headers.insert(header::CONTENT_RANGE, range);
        }
    }

    /// Of what is no date, and where there is none, nothing is known.
    fn is_newer_than(&self, date: &str) -> bool {
        let date = httpdate::parse_http_date(date).ok();
        date.zip(self.http_time()).is_some_and(|(date, modified)| modified > date)
    }

    fn is_among(&self, list: &str) -> bool {
        let tags = || list.split(',').map(|tag| tag.trim().trim_start_matches("W/"));
        list.trim() == "*" || tags().any(|tag| tag.as_bytes() == self.etag.as_bytes())
    }

    /// RFC 9110, section 13.1.5: the very same tag, or the very same date.
    fn is_same(&self, condition: &str) -> bool {
        let condition = condition.trim().as_bytes();
        condition == self.etag.as_bytes() || self.http_date().is_some_and(|date| condition == date.as_bytes())
    }

    /// The time in whole seconds, where HTTP can write it. Never in the future, which HTTP does not allow.
    fn http_time(&self) -> Option<SystemTime> {
        let seconds = u64::try_from(self.modified?.seconds()).ok()?;
        let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
        (time <= SystemTime::now()).then_some(time)
    }

    fn http_date(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&httpdate::fmt_http_date(self.http_time()?)).ok()
    }
}

/// Parses `bytes=...`. What is no range of bytes is ignored, as RFC 9110 demands.
fn part(range: &str, len: u64) -> Result<Answer, Problem> {
    let number = |digits: &str| -> Option<u64> {
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        // Beyond any file all numbers are the same.
        is_number.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    let Some((first, last)) = range.trim().strip_prefix("bytes=").and_then(|range| range.split_once('-'))
    else {
        return Ok(Answer::Whole);
    };
    let (first, last) = (first.trim(), last.trim());
    let (start, end) = match (number(first), number(last)) {
        (Some(start), Some(last)) if start <= last => (start, last.saturating_add(1).min(len)),
        (Some(start), None) if last.is_empty() => (start, len),
        (None, Some(count)) if first.is_empty() => (len - count.min(len), len),
        _ => return Ok(Answer::Whole),
    };
    if start < end { Ok(Answer::Part(start..end)) } else { Err(Problem::no_such_range(len)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version() -> Version {
        let modified = Some(Time::from_seconds(1_700_000_000));
        Version { etag: HeaderValue::from_static("\"a\""), modified, len: Some(10) }
    }

    fn answer(headers: &[(&'static str, &'static str)]) -> Result<Answer, StatusCode> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        version().answer(&map).map_err(|problem| problem.status())
    }

    #[test]
    fn ranges_are_those_of_the_standard() {
        for (range, expected) in [
            ("bytes=0-0", Ok(Answer::Part(0..1))),
            ("bytes=3-", Ok(Answer::Part(3..10))),
            ("bytes=3-99999999999999999999999", Ok(Answer::Part(3..10))),
            ("bytes=-4", Ok(Answer::Part(6..10))),
            ("bytes=-99", Ok(Answer::Part(0..10))),
            ("bytes=10-", Err(StatusCode::RANGE_NOT_SATISFIABLE)),
            ("bytes=-0", Err(StatusCode::RANGE_NOT_SATISFIABLE)),
            ("bytes=5-4", Ok(Answer::Whole)),
            ("bytes=0-1,4-5", Ok(Answer::Whole)),
            ("bytes=+1-2", Ok(Answer::Whole)),
            ("lines=1-2", Ok(Answer::Whole)),
        ] {
            assert_eq!(answer(&[("range", range)]), expected, "{range}");
        }
    }

    #[test]
    fn conditions_hold_for_this_version_alone() {
        let part = Ok(Answer::Part(1..2));
        let range = ("range", "bytes=1-1");
        assert_eq!(answer(&[range, ("if-range", "\"a\"")]), part);
        assert_eq!(answer(&[range, ("if-range", "Tue, 14 Nov 2023 22:13:20 GMT")]), part);
        assert_eq!(answer(&[range, ("if-range", "\"b\"")]), Ok(Answer::Whole));
        assert_eq!(answer(&[range, ("if-range", "W/\"a\"")]), Ok(Answer::Whole), "weak");
        assert_eq!(answer(&[("if-none-match", "\"b\", W/\"a\"")]), Ok(Answer::NotModified));
        assert_eq!(answer(&[("if-none-match", "\"b\"")]), Ok(Answer::Whole));
        assert_eq!(
            answer(&[("if-modified-since", "Tue, 14 Nov 2023 22:13:20 GMT")]),
            Ok(Answer::NotModified)
        );
        assert_eq!(answer(&[("if-match", "\"b\"")]), Err(StatusCode::PRECONDITION_FAILED));
        let since = |date| ("if-unmodified-since", date);
        let before = since("Tue, 14 Nov 2023 22:13:19 GMT");
        assert_eq!(answer(&[before]), Err(StatusCode::PRECONDITION_FAILED));
        assert_eq!(answer(&[before, ("if-match", "\"a\"")]), Ok(Answer::Whole), "the tag says more");
        assert_eq!(answer(&[since("Tue, 14 Nov 2023 22:13:20 GMT")]), Ok(Answer::Whole));
        assert_eq!(answer(&[since("yesterday")]), Ok(Answer::Whole));
    }
}
