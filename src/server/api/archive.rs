//! Archives of any part of the library, streamed.

use super::download::{Asker, Download};
use super::file::{etag, links};
use crate::server::access::{Action, Principal, What};
use crate::server::body;
use crate::server::headers::{self, Disposition};
use crate::server::location::Location;
use crate::server::problem::Problem;
use crate::server::range::{Answer, CACHE_CONTROL, Version};
use crate::server::state::App;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use sha2::{Digest, Sha256};
use spelunk_mount::archive::{Common, Selection, Summary, tar, zip};
use spelunk_tree::Kind;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use utoipa::IntoParams;

/// Places in one archive.
const PATHS_MAX: usize = 10_000;

/// What goes into an archive, and how: a query, or a form.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Options {
    /// The places: one directory, whose content stands at the top; or several things, each under its name.
    path: Vec<String>,
    /// ZIP: `deflate`, or `store`, whose length is known and of which any range can be had.
    compression: Option<String>,
    /// 1, fast, to 9, small; with zstd to 19.
    level: Option<u32>,
    /// 1: what symbolic links lead to inside their volume, in place of the links.
    #[param(value_type = Option<u8>)]
    follow: bool,
}

impl Options {
    fn parse(form: &[u8]) -> Result<Options, Problem> {
        let mut options = Options::default();
        for (name, value) in form_urlencoded::parse(form) {
            match &*name {
                "path" => options.path.push(value.into_owned()),
                "compression" => options.compression = Some(value.into_owned()),
                "level" => {
                    let level = value.parse().map_err(|_| Problem::bad_request("A level that is no number"));
                    options.level = Some(level?);
                }
                "follow" => options.follow = value == "1",
                _ => {}
            }
        }
        if options.path.is_empty() {
            return Err(Problem::bad_request("Nothing is selected").hint("name it with path=..."));
        }
        if options.path.len() > PATHS_MAX {
            return Err(Problem::bad_request(format!("More than {PATHS_MAX} places in one archive")));
        }
        Ok(options)
    }

    fn common(&self) -> Common {
        Common { follow: self.follow, threads: 0 }
    }

    fn zip(&self) -> Result<zip::Compression, Problem> {
        match self.compression.as_deref() {
            Some("store") => Ok(zip::Compression::Store),
            None | Some("deflate") => Ok(zip::Compression::Deflate(self.level.unwrap_or(zip::DEFAULT_LEVEL))),
            Some(_) => Err(Problem::bad_request("compression is deflate or store")),
        }
    }
}

/// Of GET and HEAD the query; of POST a form, or the query where no form comes.
impl<S: Send + Sync> FromRequest<S> for Options {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Options, Problem> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        if request.method() != Method::POST {
            return Options::parse(query.as_bytes());
        }
        let form = Bytes::from_request(request, state).await;
        let form = form.map_err(|_| Problem::bad_request("A form that cannot be read"))?;
        Options::parse(if form.is_empty() { query.as_bytes() } else { &form })
    }
}

/// What was selected, and what is to be called after it.
struct Chosen {
    selection: Selection,
    /// Name of the archive, without its ending.
    name: Vec<u8>,
    /// Of the selection and the options.
    etag: HeaderValue,
    /// For the access log.
    path: Vec<u8>,
}

fn choose(app: &App, principal: &Principal, options: &Options, kind: &str) -> Result<Chosen, Problem> {
    let links = links(principal, options.follow)?;
    let mut hash = Sha256::new();
    hash.update(format!(
        "{} {kind} {:?} {:?}",
        env!("CARGO_PKG_VERSION"),
        options.compression,
        options.level
    ));
    hash.update([u8::from(options.follow)]);
    let mut selection = Selection::default();
    let mut last = None;
    let is_alone = options.path.len() == 1;
    let mut locations = Vec::new();
    for path in &options.path {
        let location = app.canonical(Location::parse(path)?)?;
        principal.check(Action::Browse, location.names())?;
        principal.check(Action::Download, location.names())?;
        let found = app.find(&location, links)?;
        let tag = etag(Sha256::new(), &found, found.attr.size);
        hash.update(location.encoded());
        hash.update(tag.as_bytes());
        if is_alone && found.attr.kind == Kind::Directory {
            selection = Selection::content_of(found.node, found.attr.clone(), &location.bytes());
        } else {
            selection.add(found.node, found.attr.clone(), &location.bytes());
        }
        locations.push(location);
        last = Some(found);
    }
    let (Some(found), Some(first)) = (last, locations.first()) else { return Err(Problem::not_found()) };
    let names = first.names();
    // Of several things, the directory that they are in.
    let name = if is_alone { names.last() } else { names.iter().rev().nth(1) };
    Ok(Chosen {
        selection,
        name: name.map_or_else(|| b"backups".to_vec(), |name| name.as_bytes().to_vec()),
        etag: etag(hash, &found, 0),
        path: first.bytes(),
    })
}

/// A ZIP archive.
#[utoipa::path(get, path = "/api/v1/zip", tag = "archives", params(Options),
    responses(
        (status = 200, description = "the archive", content_type = "application/zip"),
        (status = 206, description = "the bytes asked for, of a stored one", content_type = "application/zip"),
        (status = 304, description = "not modified"),
        (status = "4XX", body = Problem), (status = "5XX", body = Problem)))]
pub async fn zip(
    State(app): State<Arc<App>>,
    asker: Asker,
    method: Method,
    request: HeaderMap,
    options: Options,
) -> Result<Response, Problem> {
    let compression = options.zip()?;
    let who = asker.principal.clone();
    let common = options.common();
    let zip_options = zip::Options { common: common.clone(), compression };
    let (chosen, plan) = app
        .read(move |app| {
            let chosen = choose(app, &who, &options, "zip")?;
            let is_stored = compression == zip::Compression::Store;
            let plan = is_stored.then(|| app.plans.get(app, &chosen, &common)).transpose()?;
            Ok((chosen, plan))
        })
        .await?;
    let len = plan.as_ref().map(|plan| plan.len());
    let version = Version { etag: chosen.etag.clone(), modified: None, len };
    let answer = version.answer(&request)?;
    let part = match &answer {
        Answer::Part(part) => Some(part.clone()),
        Answer::Whole => None,
        Answer::NotModified => return Ok(version.not_modified()),
    };
    let mut response = response(&chosen, &version, part.as_ref(), "zip", "application/zip");
    if method == Method::HEAD {
        return Ok(response);
    }
    let download = Download::new(&app, What::Archive, &asker, chosen.path.clone());
    let permit = app.archives.clone().try_acquire_owned().map_err(|_| Problem::busy())?;
    let tree = app.tree.clone();
    *response.body_mut() = body::of_writer(download.clone(), move |out| {
        let _permit = permit;
        let written = match &plan {
            Some(plan) => {
                let range: Range<u64> = part.unwrap_or(0..plan.len());
                plan.write_range(&*tree, range, out, &mut |_| {}).map_err(|error| error.to_string())
            }
            None => zip::write(&*tree, &chosen.selection, &zip_options, out, &mut |_| {})
                .map_err(|error| why(&error)),
        };
        written.map(|summary| tell(&download, &summary))
    });
    Ok(response)
}

/// A tar archive, compressed with zstd.
#[utoipa::path(get, path = "/api/v1/tar", tag = "archives", params(Options),
    responses(
        (status = 200, description = "the archive", content_type = "application/zstd"),
        (status = 304, description = "not modified"),
        (status = "4XX", body = Problem), (status = "5XX", body = Problem)))]
pub async fn tar(
    State(app): State<Arc<App>>,
    asker: Asker,
    method: Method,
    request: HeaderMap,
    options: Options,
) -> Result<Response, Problem> {
    let level = options.level.and_then(|level| i32::try_from(level).ok()).unwrap_or(tar::DEFAULT_LEVEL);
    let tar_options = tar::Options { common: options.common(), zstd: Some(level) };
    let who = asker.principal.clone();
    let chosen = app.read(move |app| choose(app, &who, &options, "tar")).await?;
    let version = Version { etag: chosen.etag.clone(), modified: None, len: None };
    if version.answer(&request)? == Answer::NotModified {
        return Ok(version.not_modified());
    }
    let mut response = response(&chosen, &version, None, "tar.zst", "application/zstd");
    if method == Method::HEAD {
        return Ok(response);
    }
    let download = Download::new(&app, What::Archive, &asker, chosen.path.clone());
    let permit = app.archives.clone().try_acquire_owned().map_err(|_| Problem::busy())?;
    let tree = app.tree.clone();
    *response.body_mut() = body::of_writer(download.clone(), move |out| {
        let _permit = permit;
        let written = tar::write(&*tree, &chosen.selection, &tar_options, out, &mut |_| {});
        written.map(|summary| tell(&download, &summary)).map_err(|error| error.to_string())
    });
    Ok(response)
}

fn why(error: &zip::Error) -> String {
    match error {
        zip::Error::Output(error) => error.to_string(),
        zip::Error::Tree(error) => error.to_string(),
    }
}

/// What could not be read is listed in the archive, and told to the access log.
fn tell(download: &Download, summary: &Summary) {
    if summary.failed > 0 {
        download.note(format!("{} entries could not be read", summary.failed));
    }
}

fn response(
    chosen: &Chosen,
    version: &Version,
    part: Option<&Range<u64>>,
    ending: &str,
    content_type: &str,
) -> Response {
    // Its length is unknown here: HEAD would tell that of an empty one.
    let mut response = Response::new(Body::from_stream(stream::empty::<io::Result<Bytes>>()));
    if part.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    let headers = response.headers_mut();
    headers::confine(headers, content_type);
    version.describe(headers, part);
    let name = [&chosen.name, format!(".{ending}").as_bytes()].concat();
    headers.insert(header::CONTENT_DISPOSITION, headers::content_disposition(&name, Disposition::Attachment));
    headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
    response
}

/// Plans of stored archives, kept for the next range: a plan knows the checksums of what was sent already.
#[derive(Default)]
pub struct Plans {
    kept: Mutex<VecDeque<(HeaderValue, Arc<zip::Plan>)>>,
}

/// Plans that are kept: each may hold some hundred megabytes of names, most hold little.
const PLANS_MAX: usize = 8;

impl Plans {
    fn get(&self, app: &App, chosen: &Chosen, common: &Common) -> Result<Arc<zip::Plan>, Problem> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, plan)) = kept.iter().find(|(etag, _)| *etag == chosen.etag) {
            return Ok(plan.clone());
        }
        drop(kept);
        let plan = Arc::new(zip::Plan::new(&*app.tree, &chosen.selection, common)?);
        kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((chosen.etag.clone(), plan.clone()));
        if kept.len() > PLANS_MAX {
            kept.pop_front();
        }
        Ok(plan)
    }
}
