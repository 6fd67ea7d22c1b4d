//! Conditions of GET and HEAD (RFC 9110, section 13): what has changed since the client last looked.

use super::view::Seen;
use http::{HeaderMap, StatusCode, header};
use spelunk_tree::Time;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// When HTTP's dates end: the first second of the year 10000.
const DATES_END_SECONDS: u64 = 253_402_300_800;

/// The entity tag of a file: strong, and the same in every process. What a backup holds never changes, so node,
/// size and time tell contents apart.
pub(super) fn etag(seen: &Seen) -> String {
    let node = seen.node;
    let time = seen.attr.modified.map(|time| format!("{:x}.{:x}", time.seconds(), time.nanoseconds()));
    let time = time.unwrap_or_default();
    format!("\"{:x}-{:x}-{:x}-{time}\"", node.tree(), node.get(), seen.attr.size)
}

/// The time, when HTTP has a date for it.
pub(super) fn system_time(time: Time) -> Option<SystemTime> {
    let seconds = u64::try_from(time.seconds()).ok().filter(|&seconds| seconds < DATES_END_SECONDS)?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// The status in place of an answer, when a condition says that none is wanted.
pub(super) fn unwanted(headers: &HeaderMap, seen: &Seen) -> Option<StatusCode> {
    let tag = etag(seen);
    let modified = seen.attr.modified.and_then(system_time);
    let date = |name| headers.get(name).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    if headers.contains_key(header::IF_MATCH) {
        if !has_tag(headers, &header::IF_MATCH, &tag, false) {
            return Some(StatusCode::PRECONDITION_FAILED);
        }
    } else if let (Some(date), Some(modified)) = (date(header::IF_UNMODIFIED_SINCE), modified)
        && modified > date
    {
        return Some(StatusCode::PRECONDITION_FAILED);
    }
    if headers.contains_key(header::IF_NONE_MATCH) {
        return has_tag(headers, &header::IF_NONE_MATCH, &tag, true).then_some(StatusCode::NOT_MODIFIED);
    }
    let (Some(date), Some(modified)) = (date(header::IF_MODIFIED_SINCE), modified) else { return None };
    (modified <= date).then_some(StatusCode::NOT_MODIFIED)
}

/// Whether a range may be given: `If-Range` names what there still is, by its tag or its date, or is not there.
pub(super) fn allows_range(headers: &HeaderMap, seen: &Seen) -> bool {
    let Some(wanted) = headers.get(header::IF_RANGE) else { return true };
    let Ok(wanted) = wanted.to_str() else { return false };
    if wanted.starts_with('"') || wanted.starts_with("W/") {
        return wanted == etag(seen);
    }
    let date = httpdate::parse_http_date(wanted).ok();
    date.is_some() && date == seen.attr.modified.and_then(system_time)
}

/// Whether a list of tags has `tag`, or is `*`. Ours holds no comma, so the list may be split at each.
fn has_tag(headers: &HeaderMap, name: &header::HeaderName, tag: &str, is_weak_enough: bool) -> bool {
    let lists = headers.get_all(name).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).any(|listed| {
        let listed = if is_weak_enough { listed.strip_prefix("W/").unwrap_or(listed) } else { listed };
        listed == "*" || listed == tag
    })
}
