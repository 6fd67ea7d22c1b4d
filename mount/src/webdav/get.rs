//! GET and HEAD.

use super::file::{Content, Part};
use super::range::{self, Wanted};
use super::target::Target;
use super::view::{Seen, View};
use super::{Body, Refusal, Webdav, conditions, media, properties};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use spelunk_tree::{Error, ErrorKind, Name};
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

/// What a directory answers: browsers and tests of the connection look there.
const DIRECTORY: &str = "A directory, for WebDAV clients.\n";

/// Answers a GET or HEAD.
pub(super) async fn answer(
    dav: &Webdav,
    view: View,
    target: Target,
    head: &Parts,
) -> Result<Response<Body>, Refusal> {
    let is_head = head.method == Method::HEAD;
    let Target::Within { names, is_directory } = target else { return Err(Refusal::not_found()) };
    if view.client.is_search_mark(&names) {
        let mut response = Response::new(Body::empty());
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        return Ok(response);
    }
    let media_type = media::of(names.last());
    let (view, path, seen) = dav.calls.run(move || find(view, &names, is_directory)).await?;
    if seen.is_directory() {
        return Ok(directory(is_head));
    }
    let mut response = Response::new(Body::empty());
    describe(response.headers_mut(), &seen);
    if let Some(status) = conditions::unwanted(&head.headers, &seen) {
        *response.status_mut() = status;
        return Ok(response);
    }
    let wanted = wanted(head, &seen);
    let (status, parts) = parts(response.headers_mut(), wanted, media_type, seen.attr.size)?;
    *response.status_mut() = status;
    let len = parts.iter().map(Part::len).fold(0, u64::saturating_add);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    if is_head {
        return Ok(response);
    }
    let content = Content { tree: view.tree.clone(), node: seen.node, parts };
    let body = dav.calls.body(content).await?.sized(len);
    *response.body_mut() = body.on_end(move |bytes| view.admits.was_read(&path, bytes));
    Ok(response)
}

/// What is there, and where it is stored.
fn find(view: View, names: &[Name], is_directory: bool) -> Result<(View, Vec<Name>, Seen), Error> {
    let found = view.find(names, is_directory)?;
    let (path, seen) = (found.way.names(), found.seen());
    let may_read = || view.admits.may_read(names) && view.admits.may_read(&path);
    if !seen.is_directory() && !may_read() {
        return Err(Error::new(ErrorKind::Denied, "reading is not permitted"));
    }
    Ok((view, path, seen))
}

fn directory(is_head: bool) -> Response<Body> {
    let mut response = Response::new(if is_head { Body::empty() } else { Body::full(DIRECTORY) });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(DIRECTORY.len()));
    response
}

/// What is said of a file, whatever of it is wanted.
fn describe(headers: &mut HeaderMap, seen: &Seen) {
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    let dated = properties::http_date(seen.attr.modified).map(|date| (header::LAST_MODIFIED, date));
    for (name, value) in [(header::ETAG, conditions::etag(seen))].into_iter().chain(dated) {
        headers.extend(HeaderValue::from_str(&value).map(|value| (name, value)));
    }
}

/// What of the file is wanted. Ranges have a meaning for GET alone.
fn wanted(head: &Parts, seen: &Seen) -> Wanted {
    if head.method != Method::GET || !conditions::allows_range(&head.headers, seen) {
        return Wanted::Whole;
    }
    let range = head.headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    range::parse(range, seen.attr.size)
}

/// The status, and the parts of the body, for what is wanted of a file of `len` bytes.
fn parts(
    headers: &mut HeaderMap,
    wanted: Wanted,
    media_type: &'static str,
    len: u64,
) -> Result<(StatusCode, VecDeque<Part>), Refusal> {
    let mut content_type = HeaderValue::from_static(media_type);
    let (status, parts) = match wanted {
        Wanted::Nothing => return Err(Refusal::Range(len)),
        Wanted::Whole => (StatusCode::OK, VecDeque::from([Part::Stretch(0..len)])),
        Wanted::Ranges(ranges) => match <[Range<u64>; 1]>::try_from(ranges) {
            Ok([range]) => {
                let value = HeaderValue::from_str(&content_range(&range, len));
                headers.extend(value.map(|value| (header::CONTENT_RANGE, value)));
                (StatusCode::PARTIAL_CONTENT, VecDeque::from([Part::Stretch(range)]))
            }
            Err(ranges) => {
                // Not to be foreseen by whoever wrote the file.
                let boundary = format!("{:016x}", RandomState::new().hash_one(len));
                let multipart = format!("multipart/byteranges; boundary={boundary}");
                let multipart = HeaderValue::from_str(&multipart);
                content_type = multipart.map_err(|_| Error::internal("a header that cannot be"))?;
                (StatusCode::PARTIAL_CONTENT, multipart_parts(ranges, &boundary, media_type, len))
            }
        },
    };
    headers.insert(header::CONTENT_TYPE, content_type);
    Ok((status, parts))
}

fn content_range(range: &Range<u64>, len: u64) -> String {
    format!("bytes {}-{}/{len}", range.start, range.end.saturating_sub(1))
}

fn multipart_parts(ranges: Vec<Range<u64>>, boundary: &str, media_type: &str, len: u64) -> VecDeque<Part> {
    let mut parts = VecDeque::new();
    for range in ranges {
        let range_header = content_range(&range, len);
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {range_header}\r\n\r\n"
        );
        parts.push_back(Part::Text(head.into()));
        parts.push_back(Part::Stretch(range));
    }
    parts.push_back(Part::Text(format!("\r\n--{boundary}--\r\n").into()));
    parts
}
