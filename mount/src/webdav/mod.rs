//! A tree over WebDAV (RFC 4918), read-only, for whatever HTTP server hands requests over.
//!
//! ```text
//! request ─> target (URL to names) ─> view (what this user may see) ─> propfind | get | lock ─> body, piece by piece
//!                                       └── Tree, on threads that may block (calls) ────────────────┘
//! ```
//!
//! Nothing is written, and no path is the host's: a URL is names, looked up one after the other in the tree. What
//! is asked is answered in pieces of bounded size, so neither a directory of a million entries nor a file of a
//! terabyte is ever held in memory. What users of it see stands in `docs/webdav.md`.

mod body;
mod calls;
mod client;
mod conditions;
mod file;
mod get;
mod listing;
mod lock;
mod media;
mod properties;
mod propfind;
mod range;
mod refusal;
mod request;
mod target;
mod view;
mod xml;

pub use body::Body;

use crate::path::Links;
use calls::Calls;
use client::Client;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use refusal::Refusal;
use spelunk_tree::{Name, Tree};
use std::sync::Arc;
use target::Prefix;
use view::View;

/// What is answered to, as `Allow` says it.
const ALLOW: &str = "OPTIONS, PROPFIND, GET, HEAD, LOCK, UNLOCK";
/// Methods that would change something. They are known, and never allowed.
const WRITES: &[&str] =
    &["PUT", "DELETE", "MKCOL", "MOVE", "COPY", "PROPPATCH", "POST", "PATCH", "ACL", "MKCALENDAR"];

/// How a tree is shown.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether a guest's symbolic links are shown as what they lead to inside their volume, or left out. WebDAV has
    /// no links.
    pub links: Links,
    /// Calls to the tree that run at the same time, for all requests together; others wait. At least 1.
    pub calls_max: usize,
}

impl Default for Options {
    /// Links are followed; 32 calls: each may hold a thread until a jailed worker's deadline.
    fn default() -> Options {
        Options { links: Links::Follow, calls_max: 32 }
    }
}

/// What the one who sends a request may do. Paths are names from the tree's root; where a link or another spelling
/// leads elsewhere, the place as it is stored is asked about as well, and both must be allowed.
pub trait Admits: Send + Sync + 'static {
    /// Whether there is such a thing, as far as this user knows: asked for each step of a path and each entry of a
    /// listing, on threads that may block. What lies below something unseen is not seen, and not asked about.
    fn sees(&self, path: &[Name]) -> bool;

    /// Whether the file's content may be read, likewise.
    fn may_read(&self, path: &[Name]) -> bool;

    /// Told when a download has ended, with the place of the file as it is stored and the bytes that went out: less
    /// than the file has when a range was asked for or the transfer broke off. Called where nothing may block.
    fn was_read(&self, path: &[Name], bytes: u64);
}

/// A tree over WebDAV.
#[derive(Clone)]
pub struct Webdav {
    tree: Arc<dyn Tree>,
    prefix: Arc<Prefix>,
    links: Links,
    calls: Calls,
}

impl Webdav {
    /// Shows `tree` below `prefix`, such as `/dav`: the path of URLs, not encoded, with or without slashes around.
    pub fn new(tree: Arc<dyn Tree>, prefix: &str, options: Options) -> Webdav {
        let calls = Calls::new(options.calls_max);
        Webdav { tree, prefix: Arc::new(Prefix::new(prefix)), links: options.links, calls }
    }

    /// Answers a request, whatever its method. `OPTIONS` and `PROPFIND` for the directories above the prefix, up to
    /// `/`, belong here as well: Windows walks down from there.
    pub async fn handle<B>(&self, request: Request<B>, admits: Arc<dyn Admits>) -> Response<Body>
    where
        B: http_body::Body + Send,
        B::Data: Send,
    {
        let is_head = request.method() == Method::HEAD;
        let answer = self.answer(request, admits).await;
        let mut response = answer.unwrap_or_else(|refusal| refusal.response(is_head));
        let headers = response.headers_mut();
        // Whatever a guest stored: a browser that is led here runs none of it.
        headers
            .insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    async fn answer<B>(&self, request: Request<B>, admits: Arc<dyn Admits>) -> Result<Response<Body>, Refusal>
    where
        B: http_body::Body + Send,
        B::Data: Send,
    {
        let (head, body) = request.into_parts();
        let client = Client::of(&head.headers);
        let method = head.method.as_str();
        if method == "OPTIONS" {
            return Ok(options(client));
        }
        if WRITES.contains(&method) {
            return Err(Refusal::Method);
        }
        let target = self.prefix.target(head.uri.path())?;
        let view = View { tree: self.tree.clone(), admits, links: self.links, client };
        match method {
            "PROPFIND" => {
                let body = request::read(body).await?;
                propfind::answer(self, view, target, &head.headers, &body).await
            }
            "GET" | "HEAD" => get::answer(self, view, target, &head).await,
            "LOCK" => {
                let body = request::read(body).await?;
                lock::lock(self, view, target, &head.headers, &body).await
            }
            "UNLOCK" => lock::unlock(&head.headers),
            _ => Err(Refusal::Status(StatusCode::NOT_IMPLEMENTED)),
        }
    }
}

/// What there is to do here. `MS-Author-Via` lets Windows take it for WebDAV.
fn options(client: Client) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert("DAV", HeaderValue::from_static(client.classes()));
    headers.insert("MS-Author-Via", HeaderValue::from_static("DAV"));
    headers.insert(header::ALLOW, HeaderValue::from_static(ALLOW));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}
