//! What is in a file.

use super::download::{Asker, Download};
use crate::server::access::{Action, Principal, What};
use crate::server::body::{self, Stretch};
use crate::server::headers::{self, Disposition};
use crate::server::location::Location;
use crate::server::problem::Problem;
use crate::server::query::Query;
use crate::server::range::{Answer, CACHE_CONTROL, Version};
use crate::server::state::App;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use spelunk_mount::path::{Found, Links};
use spelunk_tree::{Attr, Error, ErrorKind, Kind, Name, Time};
use std::sync::Arc;
use utoipa::IntoParams;

/// How a file is to be sent.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Options {
    /// A named stream, percent-encoded, in place of the main one.
    stream: Option<String>,
    /// 1: to be looked at, not saved.
    #[serde(default)]
    inline: u8,
    /// 1: of a symbolic link, what it leads to inside its volume.
    #[serde(default)]
    follow: u8,
}

/// A file that is to be sent.
struct Wanted {
    location: Location,
    found: Found,
    stream: Option<Name>,
    size: u64,
}

/// The content of a file.
#[utoipa::path(get, path = "/api/v1/file/{path}", tag = "library", params(("path" = String, Path,), Options),
    responses(
        (status = 200, description = "all of it", content_type = "*/*"),
        (status = 206, description = "the bytes asked for", content_type = "*/*"),
        (status = 304, description = "not modified"),
        (status = "4XX", body = Problem), (status = "5XX", body = Problem)))]
pub async fn file(
    State(app): State<Arc<App>>,
    asker: Asker,
    method: Method,
    request: HeaderMap,
    location: Location,
    Query(options): Query<Options>,
) -> Result<Response, Problem> {
    let disposition = if options.inline == 0 { Disposition::Attachment } else { Disposition::Inline };
    let who = asker.principal.clone();
    let wanted = app.read(move |app| find(app, &who, location, &options)).await?;
    let version = version(&wanted);
    let name = file_name(&wanted);
    let content_type = headers::content_type(&name, disposition);
    let part = match version.answer(&request)? {
        Answer::Part(part) => Some(part),
        Answer::Whole => None,
        Answer::NotModified => {
            // Browsers put what they get here in place of what they have: a policy, too.
            let mut response = version.not_modified();
            headers::confine(response.headers_mut(), &content_type);
            return Ok(response);
        }
    };
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers::confine(headers, &content_type);
    version.describe(headers, part.as_ref());
    headers.insert(header::CONTENT_DISPOSITION, headers::content_disposition(&name, disposition));
    headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
    if part.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    if method != Method::HEAD {
        let range = part.unwrap_or(0..wanted.size);
        let download = Download::new(&app, What::Download, &asker, wanted.location.bytes());
        let stretch =
            Stretch { tree: app.tree.clone(), node: wanted.found.node, stream: wanted.stream, range };
        *response.body_mut() = body::of_file(stretch, download).await?;
    }
    Ok(response.into_response())
}

fn find(app: &App, principal: &Principal, location: Location, options: &Options) -> Result<Wanted, Problem> {
    let location = app.canonical(location)?;
    principal.check(Action::Browse, location.names())?;
    principal.check(Action::Download, location.names())?;
    let links = links(principal, options.follow != 0)?;
    let found = app.find(&location, links)?;
    let refused = |kind, message| Err(Error::new(kind, message).into());
    let stream =
        options.stream.as_deref().map(|name| Name::new(percent_decode_str(name).collect::<Vec<u8>>()));
    let stream = stream.transpose().map_err(|_| Problem::bad_request("A stream's name that cannot be"))?;
    let size = match (&stream, found.attr.kind) {
        (Some(name), _) => {
            let streams = app.tree.streams(found.node)?;
            let known = streams.iter().find(|known| known.name == *name);
            known.ok_or_else(|| Error::not_found("no such stream"))?.size
        }
        (None, Kind::File) => found.attr.size,
        (None, Kind::Directory) => return refused(ErrorKind::IsADirectory, "a directory has no content"),
        (None, Kind::Symlink) => {
            return refused(
                ErrorKind::Unsupported,
                "a symbolic link; with follow=1 it is followed in its volume",
            );
        }
        (None, _) => return refused(ErrorKind::Unsupported, "a device, pipe or socket has no content"),
    };
    Ok(Wanted { location, found, stream, size })
}

/// Whether links are followed. Not by whoever has a share link: they would lead out of what is shared.
///
/// # Errors
/// `denied` for these.
pub fn links(principal: &Principal, follow: bool) -> Result<Links, Problem> {
    match (follow, principal.root()) {
        (true, Some(_)) => Err(Problem::denied("Links are not followed out of what is shared")),
        (true, None) => Ok(Links::Follow),
        (false, _) => Ok(Links::Keep),
    }
}

fn file_name(wanted: &Wanted) -> Vec<u8> {
    let name = wanted.location.name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
    match &wanted.stream {
        Some(stream) => [&name, &b"_"[..], stream.as_bytes()].concat(),
        None => name,
    }
}

fn version(wanted: &Wanted) -> Version {
    let mut hash = Sha256::new();
    hash.update(wanted.location.encoded());
    hash.update(wanted.stream.as_ref().map(|name| name.as_bytes()).unwrap_or_default());
    Version {
        etag: etag(hash, &wanted.found, wanted.size),
        modified: wanted.found.attr.modified,
        len: Some(wanted.size),
    }
}

/// The tag of what is at a place, which `hash` has taken already: the same in every process.
pub fn etag(mut hash: Sha256, found: &Found, size: u64) -> HeaderValue {
    let Attr { modified, changed, .. } = &found.attr;
    hash.update(found.node.get().to_le_bytes());
    hash.update(size.to_le_bytes());
    for time in [modified, changed] {
        let time = time.unwrap_or(Time::from_seconds(i64::MIN));
        hash.update(time.seconds().to_le_bytes());
        hash.update(time.nanoseconds().to_le_bytes());
    }
    let digits: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::from_str(&format!("\"{digits}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}
