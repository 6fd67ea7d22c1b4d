//! The page: what a browser shows of the API.
//!
//! ```text
//! index.html ─> theme.js (before anything is painted)
//!            ─> app.js (session, routes) ─> start | browse | search | account | admin ─> api.js ─> /api/v1
//! ```
//!
//! Its files are compiled in as they stand: no framework, no build step, nothing from elsewhere. They hold nothing of
//! anybody's, so they are for everybody. The same files are the page of a share link; where it is the page finds out
//! from its own address.

use crate::server::problem::Problem;
use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// What the page may do: its own scripts, styles and requests, and nothing written into it by a guest.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; \
                      connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file of the page.
struct Asset {
    name: &'static str,
    content_type: &'static str,
    content: &'static str,
}

macro_rules! asset {
    ($name:literal, $content_type:expr) => {
        Asset { name: $name, content_type: $content_type, content: include_str!($name) }
    };
}

static INDEX: Asset = asset!("index.html", HTML);

/// What `index.html` needs, below `assets/`.
static ASSETS: &[Asset] = &[
    asset!("app.css", CSS),
    asset!("icon.svg", SVG),
    asset!("theme.js", SCRIPT),
    asset!("app.js", SCRIPT),
    asset!("api.js", SCRIPT),
    asset!("dom.js", SCRIPT),
    asset!("format.js", SCRIPT),
    asset!("dialog.js", SCRIPT),
    asset!("start.js", SCRIPT),
    asset!("browse.js", SCRIPT),
    asset!("listing.js", SCRIPT),
    asset!("timeline.js", SCRIPT),
    asset!("panel.js", SCRIPT),
    asset!("preview.js", SCRIPT),
    asset!("search.js", SCRIPT),
    asset!("account.js", SCRIPT),
    asset!("admin.js", SCRIPT),
];

/// The tags of [`ASSETS`], in their order: hashes of the content.
static TAGS: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| ASSETS.iter().map(tag).collect());
static INDEX_TAG: LazyLock<HeaderValue> = LazyLock::new(|| tag(&INDEX));

/// The files of the page: `assets/...`. The page itself is [`index`].
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    ASSETS.iter().enumerate().fold(Router::new(), |router, (at, asset)| {
        let serve = move |request: HeaderMap| async move { answer(&request, asset, &TAGS[at]) };
        router.route(&format!("/assets/{}", asset.name), get(serve))
    })
}

/// The page.
pub async fn index(request: HeaderMap) -> Response {
    answer(&request, &INDEX, &INDEX_TAG)
}

/// A share link without its last `/`, below which the page looks for everything.
///
/// # Errors
/// `not-found` for what no secret is.
pub async fn to_share(uri: Uri) -> Result<Redirect, Problem> {
    let path = uri.path();
    let is_secret = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let secret = path.rsplit_once('/').map(|(_, secret)| secret).unwrap_or_default();
    if !secret.bytes().all(is_secret) {
        return Err(Problem::not_found());
    }
    Ok(Redirect::permanent(&format!("{path}/")))
}

fn tag(asset: &Asset) -> HeaderValue {
    let hash = Sha256::digest(asset.content);
    let digits: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::from_str(&format!("\"{digits}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// `no-cache` has browsers ask each time, so that a new Spelunk is seen at once; what did not change costs no bytes.
fn answer(request: &HeaderMap, asset: &Asset, tag: &HeaderValue) -> Response {
    let is_known = |header: &HeaderValue| {
        let tags = header.to_str().unwrap_or_default().split(',').map(str::trim);
        tags.map(|known| known.trim_start_matches("W/")).any(|known| known == "*" || *tag == known)
    };
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::ETAG, tag.clone()),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    ];
    if request.get_all(header::IF_NONE_MATCH).iter().any(is_known) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type))];
    (headers, content_type, asset.content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of everything that the page loads at first.
    const FIRST_LOAD_MAX: usize = 200_000;

    #[test]
    fn first_load_is_small() {
        let bytes: usize = ASSETS.iter().chain([&INDEX]).map(|asset| asset.content.len()).sum();

        assert!(bytes < FIRST_LOAD_MAX, "{bytes} bytes");
    }

    #[test]
    fn page_runs_no_script_and_no_style_of_its_own_text() {
        let html = INDEX.content;

        assert!(!html.contains("<style") && !html.contains(" style="), "a style in the page");
        assert!(
            html.matches("<script").count()
                == html.matches("<script src=").count()
                    + html.matches("<script type=\"module\" src=").count()
        );
        for asset in ASSETS.iter().filter(|asset| asset.content_type == SCRIPT) {
            for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!asset.content.contains(word), "{}: {word}", asset.name);
            }
        }
    }

    #[test]
    fn what_a_browser_has_is_not_sent_again() {
        let mut request = HeaderMap::new();
        let first = answer(&request, &INDEX, &INDEX_TAG);
        request.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());

        let second = answer(&request, &INDEX, &INDEX_TAG);

        assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::NOT_MODIFIED));
        assert!(TAGS.iter().all(|tag| *tag != *INDEX_TAG));
    }
}
