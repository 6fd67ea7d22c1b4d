//! What holds for every request and every answer.

use super::problem::{PROBLEM, Problem};
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::set_header::SetResponseHeaderLayer;

/// Bytes that a request may send: forms and small JSON, no files.
const BODY_BYTES_MAX: usize = 4 << 20;

/// How long a client may take to send them: who sends a byte a second keeps nothing open for long.
const BODY_TIME_MAX: Duration = Duration::from_secs(15);

/// Bytes from which on JSON is compressed.
const COMPRESSED_FROM: u64 = 1024;

/// Headers of every answer that does not say otherwise.
static HEADERS: [(HeaderName, &str); 7] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "SAMEORIGIN"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

/// A year, as the lists of browsers ask for.
const HSTS: &str = "max-age=31536000";

/// Puts the layers around `router`.
pub fn around(router: Router, is_tls: bool) -> Router {
    let is_json = |_: axum::http::StatusCode,
                   _: axum::http::Version,
                   headers: &axum::http::HeaderMap,
                   _: &axum::http::Extensions| {
        headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json")
    };
    let compression = CompressionLayer::new().compress_when(SizeAbove::new(COMPRESSED_FROM).and(is_json));
    let mut router = router
        .layer(compression)
        .layer(CatchPanicLayer::new())
        // In place of axum's own limit, which is lower.
        .layer(DefaultBodyLimit::disable())
        .layer(RequestBodyLimitLayer::new(BODY_BYTES_MAX))
        .layer(from_fn(hurry))
        .layer(from_fn(as_problem));
    for (name, value) in &HEADERS {
        let value = HeaderValue::from_static(value);
        router = router.layer(SetResponseHeaderLayer::if_not_present(name.clone(), value));
    }
    if is_tls {
        let value = HeaderValue::from_static(HSTS);
        router = router.layer(SetResponseHeaderLayer::overriding(header::STRICT_TRANSPORT_SECURITY, value));
    }
    router
}

/// Lets a body fail that takes too long.
async fn hurry(request: Request, next: Next) -> Response {
    let end = Instant::now() + BODY_TIME_MAX;
    let timed = request.map(|body| {
        let pieces = body.into_data_stream();
        Body::from_stream(stream::unfold(pieces, move |mut pieces| async move {
            let piece = match timeout_at(end, pieces.next()).await {
                Ok(piece) => piece?,
                Err(late) => Err(axum::Error::new(late)),
            };
            Some((piece, pieces))
        }))
    });
    next.run(timed).await
}

/// Tells as a problem what the layers and routers below refuse in words of their own. WebDAV's clients expect others.
async fn as_problem(request: Request, next: Next) -> Response {
    let is_dav = request.uri().path().starts_with("/dav");
    let response = next.run(request).await;
    let status = response.status();
    let is_told = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM);
    if is_dav || is_told || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let allowed = response.headers().get(header::ALLOW).cloned();
    let mut problem = Problem::of_status(status).into_response();
    problem.headers_mut().extend(allowed.map(|methods| (header::ALLOW, methods)));
    problem
}
